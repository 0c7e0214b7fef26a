"""From the records of runs to what they say about languages together: numbers for tables and figures.

Only `lens.py` loads a model.
"""
