"""Scores of answers: plain arithmetic, and `evaluate.Metric` modules on top of it.

The arithmetic is in `answers.py` (answers in words) and in `classification.py`; tasks use it directly, example by
example.  `squad.py`, `mlqa.py` and `choice_accuracy.py` each hold one `evaluate.Metric`.  They are
for answers that `python -m eval` did not make, such as those of a server or of another program: a user scores them as a
run's would be, with no model and without this package.  `evaluate` copies a metric's file and the siblings that it
imports into a cache, so a metric loads from its path without a network: `evaluate.load("eval/metrics/mlqa.py")`.  For
that, a metric imports every sibling that it needs itself, each on one line, and the arithmetic imports no sibling.
"""
