"""Tests of `eval.lm_eval_tasks`; a package, so that they can share `support.py`."""
