"""Strengths found by gradient: what is fitted, to what, and the search itself.

`objectives.py` says what a fit lowers, `tables.py` what it changes, `problem.py` holds the examples and the states of
the layers below, `search.py` goes down.  The command is `eval/fit.py`.
"""
