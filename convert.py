"""Turn a plain checkpoint into a steered one; `python convert.py --help` says how."""

import sys

from eval.launch import convert

if __name__ == "__main__":
    sys.exit(convert())
