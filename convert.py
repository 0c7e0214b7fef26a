"""Turn a plain Llama or Qwen2 checkpoint into a steered one; `python convert.py --help` says how."""

import sys

from clas_models.conversion.cli import main

if __name__ == "__main__":
    sys.exit(main())
