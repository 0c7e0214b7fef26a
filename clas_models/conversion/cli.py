"""The converter's command line: `python convert.py`, or `clas-convert` once installed.

Reads arguments; what becomes of a user's mistake is said in `command_line.py`.  The work is in `conversion.py` and
`demo.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..command_line import Parser, guarded, joined

_NUMBERS = ("--alpha", "--beta", "--gamma", "--threshold")
_EXAMPLES = """examples:
  convert.py Qwen/Qwen2.5-0.5B-Instruct
  convert.py ./Llama-3.1-8B-Instruct --corpus xquad --languages en,de,hi,th --out ./llama-clas
  convert.py ./llama-clas --bridge-layers 24-29 --alpha de=-2,default=1 --out ./llama-clas-2    (no forward pass)
  convert.py ./llama-clas --gate-corpus builtin --out ./llama-clas-auto    (adds a language gate; no forward pass)
"""


def parse_alpha(text: str) -> float | dict[str, float]:
    """`1`, or `de=-2,zh=1,default=0.5`."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [item.partition("=") for item in text.split(",")]
        alpha = {code.strip().lower(): float(value) for code, _, value in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number, or de=-2,zh=1,default=0.5") from None
    if len(alpha) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: names a language twice")
    if "default" not in alpha:
        raise argparse.ArgumentTypeError(f"{text!r}: add default=…, the strength of all other languages")
    return alpha


def parse_languages(text: str) -> tuple[str, ...]:
    """`de,zh,en`."""
    return tuple(code.strip() for code in text.split(","))


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="convert.py",
        description="Turn a plain Llama or Qwen2 checkpoint into one that steers its neurons by language.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="a Hub id, a folder with safetensors, or a .gguf file; a steered "
        "checkpoint gets new masks from the profile that it carries")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="where the checkpoint goes (default: ./NAME-clas)")
    add("--corpus", metavar="SOURCE", help="builtin (default), xquad, xnli, FILE.jsonl with a language code a key, or "
        "a Hub data set with a configuration a language")  # fmt: skip
    add("--data-dir", type=Path, metavar="DIR", help="folder with the published files of XQuAD or XNLI")
    add("--languages", type=parse_languages, metavar="de,zh,…", help="languages to profile beside the anchor (default: "
        "all there are)")  # fmt: skip
    add("--anchor", default="en", metavar="CODE", help="the language that is never steered (default: %(default)s)")
    add("--samples", type=int, metavar="N", help="parallel samples to profile (default: 100, or all there are)")
    add("--max-length", type=int, default=512, metavar="N", help="tokens a sample (default: %(default)s)")
    add("--batch-size", type=int, default=8, metavar="N", help="samples a forward pass (default: %(default)s)")
    add("--statistic", default="mean", metavar="NAME", help="what decides whether a neuron is active: mean (default), "
        "mean_abs or frequency")  # fmt: skip
    add("--threshold", type=float, default=0.0, metavar="X", help="active means above it (default: %(default)s)")
    add("--bridge-layers", default="auto", metavar="SPEC", help="auto (default), 24-29, or 24,25")
    add("--alpha", type=parse_alpha, default=1.0, metavar="A", help="strength and direction: a number, or by language "
        "as de=-2,zh=1,default=0.5 (default: 1)")  # fmt: skip
    add("--beta", type=float, default=0.4, metavar="B", help="boost of shared neurons (default: %(default)s)")
    add("--gamma", type=float, default=0.2, metavar="C", help="damping of specific neurons (default: %(default)s)")
    add("--gate-corpus", metavar="SOURCE", help="what the language gate learns from (default: the profiled corpus), or "
        "none for a checkpoint without a gate")  # fmt: skip
    add("--language", metavar="CODE", help="language of inputs that come without one: auto (default where there is a "
        "gate), a code, or none for an unnamed language that is not the anchor")  # fmt: skip
    add("--profile", type=Path, metavar="FILE", help="use this finished profile instead of a corpus")
    add("--dtype", default="auto", metavar="NAME", help="precision of the profiling pass: auto (the "
        "checkpoint's, float32 on a CPU), float32, bfloat16 or float16")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--overwrite", action="store_true", help="replace a steered checkpoint that stands at --out")
    add("--demo", action="store_true", help="convert a small model and show what steering does; needs no argument")
    add("--quiet", action="store_true", help="no progress, no summary: print the folder and nothing else")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the converter; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    args = parser.parse_args(joined(arguments, _NUMBERS))
    if args.model is None and not args.demo:
        parser.error("give a MODEL, or --demo")
    return guarded(lambda: _run(args), parser.prog)


def _run(args: argparse.Namespace) -> int:
    from .conversion import Options, convert
    from .demo import run_demo
    from .progress import Progress
    from .summary import summarize

    chosen = vars(args)
    demo, quiet = chosen.pop("demo"), chosen.pop("quiet")
    progress = Progress(quiet=quiet)
    if demo:
        run_demo(model=chosen["model"], out=chosen["out"], overwrite=chosen["overwrite"], progress=progress)
        return 0
    start = time.monotonic()
    result = convert(Options(**chosen), progress)
    print(result.out if quiet else summarize(result, time.monotonic() - start))
    return 0
