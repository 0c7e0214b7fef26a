"""Tests of `eval.metrics`; a package, so that names of files need not be unique."""
