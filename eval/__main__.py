"""`python -m eval`."""

import sys

from .launch import evaluate

sys.exit(evaluate())
