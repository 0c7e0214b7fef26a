"""The converter's command line: `python convert.py`, or `clas-convert` once installed.

Reads arguments; what becomes of a user's mistake is said in `command_line.py`.  The work is in `conversion.py` and
`demo.py`.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..command_line import Parser, guarded, joined
from .ranks import Ranks, on_all_ranks

_NUMBERS = ("--alpha", "--beta", "--gamma", "--threshold")
_EXAMPLES = """examples:
  convert.py Qwen/Qwen2.5-0.5B-Instruct
  convert.py ./Llama-3.1-8B-Instruct --corpus xquad --languages en,de,hi,th --out ./llama-clas
  convert.py ./llama-clas --bridge-layers 24-29 --alpha de=-2,default=1 --out ./llama-clas-2    (no forward pass)
  convert.py ./llama-clas --detector-corpus builtin --out ./llama-auto    (adds a language detector; no forward pass)
  convert.py ./llama-clas --format folded --language de --out ./llama-de    (plain, steered as German for good)
  convert.py ./llama-clas --format ia3 --out ./llama-ia3    (a PEFT adapter for each language)
  convert.py ./Llama-3.1-8B-Instruct --out ./llama-clas --push-to-hub me/llama-clas
  convert.py --out ./llama-clas --push-to-hub me/llama-clas    (uploads what is there, or goes on with an upload)
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
        description="Turn a plain checkpoint into one that steers its neurons by language.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="a Hub id, a folder with safetensors, or a .gguf file; a steered "
        "checkpoint gets new masks from the profile that it carries")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="where the checkpoint goes (default: ./NAME-clas)")
    add("--corpus", metavar="CORPUS", help="builtin (default), xquad, xnli, FILE.jsonl with a language code a key, or "
        "a Hub data set with a configuration for each language")  # fmt: skip
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
    add("--detector-corpus", metavar="CORPUS", help="what the language detector learns from, several with commas "
        "(default: the profiled corpus), or none for a checkpoint without a detector")  # fmt: skip
    add("--language", metavar="CODE", help="language of inputs that come without one: auto (default where there is a "
        "detector), a code, or none for an unnamed language that is not the anchor")  # fmt: skip
    add("--profile", type=Path, metavar="FILE", help="use this finished profile instead of a corpus")
    add("--dtype", default="auto", metavar="NAME", help="precision of the profiling pass: auto (the "
        "checkpoint's, float32 on a CPU), float32, bfloat16 or float16")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--format", default="steered", metavar="NAME", help="steered (default); or, from a steered MODEL: folded, a "
        "plain checkpoint of one --language, or ia3, a PEFT adapter for each of --languages; --alpha, --beta and "
        "--gamma are then the checkpoint's own unless given")  # fmt: skip
    add("--overwrite", action="store_true", help="replace what an earlier conversion left at --out")
    add("--push-to-hub", metavar="REPO", help="upload the result to the Hub, as owner/name; without a MODEL, "
        "upload the finished checkpoint at --out as it is")  # fmt: skip
    add("--private", action="store_true", help="only you see the repository, if --push-to-hub creates it")
    add("--demo", action="store_true", help="convert a small model and show what steering does; needs no argument")
    add("--quiet", action="store_true", help="no progress, no summary: print the folder, the address of an "
        "upload, and nothing else")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the converter, in one process or under a launcher; returns the exit status."""
    return on_all_ranks(lambda ranks: _main(argv, ranks))


def _main(argv: Sequence[str] | None, ranks: Ranks | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    args = parser.parse_args(joined(arguments, _NUMBERS))
    if fault := _fault(parser, args):
        parser.error(fault)
    given = _given(parser, joined(arguments, _NUMBERS), vars(args))
    return guarded(lambda: _run(args, given, ranks), parser.prog)


def _given(parser: argparse.ArgumentParser, arguments: Sequence[str], names: Iterable[str]) -> dict[str, Any]:
    """The options that stand on the command line, also those with their default value."""
    # argparse sets no default where there is a value already.
    values = parser.parse_args(arguments, argparse.Namespace(**dict.fromkeys(names)))
    return {name: value for name, value in vars(values).items() if value is not None}


def _fault(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """What makes no sense together, "" if nothing does."""
    if args.demo and args.format != "steered":
        return "--format is for a steered MODEL, --demo makes one of its own"
    if args.demo and args.push_to_hub is not None:
        return "--demo uploads nothing; leave out --push-to-hub, and upload what it made with --out and --push-to-hub"
    if args.push_to_hub is None:
        if args.private:
            return "--private says how --push-to-hub makes a repository; give that, too, or neither"
        return "give a MODEL, or --demo" if args.model is None and not args.demo else ""
    if args.model is not None:
        return ""
    if args.out is None:
        return "--push-to-hub needs a MODEL to convert, or --out, a finished checkpoint"
    uploading = ["out", "push_to_hub", "private", "quiet"]
    for option, value in vars(args).items():
        if option not in uploading and value != parser.get_default(option):
            return f"--{option.replace('_', '-')} is for a conversion, and there is no MODEL"
    return ""


def _run(args: argparse.Namespace, given: dict[str, Any], ranks: Ranks | None) -> int:
    from .conversion import convert, summarize
    from .demo import run_demo
    from .formats.export import export, summarize_export
    from .formats.options import ExportOptions
    from .hub_upload import check_new, prepare_repository, upload, upload_finished
    from .options import ConversionOptions
    from .progress import Progress
    from .source import check_name

    chosen = vars(args)
    demo, quiet = chosen.pop("demo"), chosen.pop("quiet")
    repository, private = chosen.pop("push_to_hub"), chosen.pop("private")
    progress = Progress(quiet=quiet)
    if demo:
        run_demo(model=chosen["model"], out=chosen["out"], overwrite=chosen["overwrite"], progress=progress)
        return 0
    if chosen["model"] is None:
        print(upload_finished(chosen["out"].expanduser(), repository, private=private, quiet=quiet))
        return 0
    exporting = chosen.pop("format") != "steered"
    options: ConversionOptions | ExportOptions = ExportOptions.of(given) if exporting else ConversionOptions(**chosen)
    if repository is not None:
        options.check()
        check_new(options.target(), overwrite=options.overwrite)
        check_name(options.model)
        repository = prepare_repository(repository, private=private)
    start = time.monotonic()
    if isinstance(options, ExportOptions):
        exported = export(options, progress)
        out, summary = exported.out, summarize_export(exported, time.monotonic() - start)
    else:
        result = convert(options, progress, ranks)
        out, summary = result.out, summarize(result, time.monotonic() - start)
    print(out if quiet else summary)
    if repository is not None:
        print(upload(out, repository, quiet=quiet))
    return 0
