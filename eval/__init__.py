"""Evaluation of steered checkpoints: tasks, methods, resumable runs, grids, tuning and reports.

`python -m eval` in a checkout, `clas-eval` or the import name `clas_eval` once installed.
"""
