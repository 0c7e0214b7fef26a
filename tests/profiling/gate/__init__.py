"""Tests of `clas_models.profiling.gate`; a package, so that its modules need no names of their own."""
