"""Tests of `clas_models.conversion.formats`; a package, as the folder above is."""
