"""Tests of `clas_models.profiling.detector`; a package, so that its modules need no names of their own."""
