"""Tests of `eval.tasks`; a package, so that they can share `support.py`."""
