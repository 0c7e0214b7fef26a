"""Scores of answers: plain arithmetic, and `evaluate.Metric` modules on top of it.

The arithmetic is in `normalisation.py` and `overlap.py` (answers in words) and in `classification.py`; tasks use it
directly.  `squad.py`, `mlqa.py` and `choice_accuracy.py` each hold one `evaluate.Metric`.  `evaluate` copies a metric's
file and the siblings that it imports into a cache, so a metric loads from its path without this package and without a
network: `evaluate.load("eval/metrics/squad.py")`.  For that, a metric imports every sibling that it needs itself, each
on one line, and the arithmetic imports no sibling.
"""
