"""From the records of runs to what they say about languages together: numbers for tables and figures.

Nothing here loads a model or knows a page; `report` shows what is computed here.
"""
