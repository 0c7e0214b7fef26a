"""Tests of `clas_models.conversion`; a package, so that they can share `support.py`."""
