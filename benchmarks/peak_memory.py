"""Converts MODEL with a finished PROFILE to OUT and prints the peak memory in bytes; run by `writing.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from clas_models.conversion.conversion import convert
from clas_models.conversion.options import ConversionOptions

from .writing import peak_bytes

if __name__ == "__main__":
    model, profile, out = sys.argv[1:]
    convert(ConversionOptions(model, profile=Path(profile), out=Path(out)))
    print(peak_bytes())
