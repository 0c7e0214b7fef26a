"""The converter's command line: `python convert.py`, or `clas-convert` once installed.

Reads arguments; what becomes of a user's mistake is said in `command_line.py`.  The work is in `conversion.py` and
`demo.py`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..command_line import (
    CONVERT,
    Parser,
    guarded,
    joined,
    path_or_name,
    paths_or_names,
    strengths_by_language,
    user_path,
)

if TYPE_CHECKING:
    from .ranks import Ranks

_NUMBERS = ("--alpha", "--beta", "--gamma", "--threshold", "--vector-strength")
_EXAMPLES = f"""examples:
  {CONVERT} Qwen/Qwen2.5-0.5B-Instruct
  {CONVERT} ./Llama-3.1-8B-Instruct --corpus xquad --languages en,de,hi,th --out ./llama-clas
  {CONVERT} ./llama-clas --bridge-layers 24-29 --alpha de=-2,default=1 --out ./llama-clas-2    (no forward pass)
  {CONVERT} ./llama-clas --quantiles --out ./llama-q    (percentiles of the activations, for clas-eval neurons)
  {CONVERT} ./llama-clas --detector-corpus builtin --out ./llama-auto    (adds a language detector; no forward pass)
  {CONVERT} ./Llama-3.1-8B-Instruct --vectors builtin --vector-strength 1 --out ./llama-vectors    (vectors alone)
  {CONVERT} ./llama-clas --vectors FILE --vector-layers 12-16 --out ./llama-both    (FILE from: clas-eval vectors)
  {CONVERT} ./llama-clas --strengths FILE --out ./llama-fitted    (FILE from: clas-eval fit)
  {CONVERT} ./llama-clas --format folded --language de --out ./llama-de    (plain, steered as German for good)
  {CONVERT} ./llama-clas --format ia3 --out ./llama-ia3    (a PEFT adapter for each language)
  {CONVERT} ./llama-vectors --format control-vector --out ./llama-cv    (a file for llama.cpp for each language)
  {CONVERT} ./Llama-3.1-8B-Instruct --out ./llama-clas --push-to-hub me/llama-clas
  {CONVERT} --out ./llama-clas --push-to-hub me/llama-clas    (uploads what is there, or goes on with an upload)
"""


def parse_alpha(text: str) -> float | dict[str, float]:
    """`1`, or `de=-2,zh=1,default=0.5`."""
    try:
        return strengths_by_language(text, ",")
    except ValueError as error:
        fault = str(error) if "twice" in str(error) else "write a number, or de=-2,zh=1,default=0.5"
        raise argparse.ArgumentTypeError(f"{text!r}: {fault}") from None


def parse_languages(text: str) -> tuple[str, ...]:
    """`de,zh,en`."""
    return tuple(code.strip() for code in text.split(","))


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=CONVERT,
        description="Turn a plain checkpoint into one that steers its neurons by language.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", type=path_or_name, metavar="MODEL", nargs="?", help="a Hub id, a folder with safetensors, or a "
        ".gguf file; a steered checkpoint gets new masks from the profile that it carries")  # fmt: skip
    add("--out", type=user_path, metavar="DIR", help="where the checkpoint goes (default: ./NAME-clas)")
    add("--corpus", type=path_or_name, metavar="CORPUS", help="builtin (default), xquad, xnli, FILE.jsonl with a "
        "language code a key, or a Hub data set with a configuration for each language")  # fmt: skip
    add("--data-dir", type=user_path, metavar="DIR", help="folder with the published files of XQuAD or XNLI")
    add("--languages", type=parse_languages, metavar="de,zh,…", help="languages to profile beside the anchor (default: "
        "all there are)")  # fmt: skip
    add("--anchor", default="en", metavar="LANGUAGE", help="the language that is never steered (default: %(default)s)")
    add("--samples", type=int, metavar="N", help="parallel samples to profile (default: 100, or all there are)")
    add("--max-length", type=int, default=512, metavar="N", help="tokens a sample (default: %(default)s)")
    add("--batch-size", type=int, default=8, metavar="N", help="samples a forward pass (default: %(default)s)")
    add("--statistic", default="mean", metavar="NAME", help="what decides whether a neuron is active: mean (default), "
        "mean_abs or frequency")  # fmt: skip
    add("--threshold", type=float, metavar="X", help="active means above it (default: 0 for mean, 0.5 for frequency, "
        "the median of the layer for mean_abs)")  # fmt: skip
    add("--bridge-layers", default="auto", metavar="SPEC", help="auto (default), 24-29, or 24,25")
    add("--alpha", type=parse_alpha, metavar="A", help="strength and direction: a number, or by language as "
        "de=-2,zh=1,default=0.5 (default, and without default=: that of a steered MODEL, else 0)")  # fmt: skip
    add("--beta", type=float, metavar="B", help="boost of shared neurons (default: likewise, else 0.4)")
    add("--gamma", type=float, metavar="C", help="damping of specific neurons (default: likewise, else 0.2)")
    add("--vectors", type=path_or_name, metavar="SOURCE", help="add a vector of each row's language to the residual "
        "stream: a file of vectors, or a corpus to measure them on; without --corpus, --profile or --masks a plain "
        "MODEL gets vectors alone (default: those of a steered MODEL)")  # fmt: skip
    add("--vector-layers", metavar="SPEC", help="the layers behind which they are added: auto, 14, 12-16, or 12,14 "
        "(default: those of a steered MODEL whose vectors stay, else auto)")  # fmt: skip
    add("--vector-strength", type=parse_alpha, metavar="A", help="by what they are multiplied: a number, or by "
        "language as de=1.5,default=2 (default: likewise, else 0)")  # fmt: skip
    add("--vector-positions", metavar="TOKENS", help="the tokens that they are added to: last of the prompt, generated "
        "(from there on), or all (default: likewise, else last for vectors of last tokens, or all)")  # fmt: skip
    add("--detector-corpus", type=paths_or_names, metavar="CORPUS", help="what the language detector learns from, "
        "several with commas (default: the profiled corpus), or none for a checkpoint without a detector")  # fmt: skip
    add("--language", metavar="LANGUAGE", help="language of inputs that come without one: auto (default where there is "
        "a detector), a language, or none for an unnamed language that is not the anchor")  # fmt: skip
    add("--profile", type=user_path, metavar="FILE", help="use this finished profile instead of a corpus")
    add("--masks", type=user_path, metavar="FILE", help="use these masks instead of the profile's: safetensors with "
        "the names that masks have in a checkpoint")  # fmt: skip
    add("--strengths", type=user_path, metavar="FILE", help="strengths that were fitted to a task, from clas-eval fit, "
        "in place of --beta and --gamma; MODEL is the steered checkpoint that they were fitted on")  # fmt: skip
    add("--quantiles", action="store_true", help="percentiles of every neuron's activations, for eval neurons: in "
        "the profiling pass, or in their own beside a finished profile (default: a steered MODEL's)")  # fmt: skip
    add("--dtype", default="auto", metavar="NAME", help="precision of the profiling pass: auto (the "
        "checkpoint's, float32 on a CPU), float32, bfloat16 or float16")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--format", default="steered", metavar="NAME", help="steered (default); or, from a steered MODEL: folded, a "
        "plain checkpoint of one --language; ia3, a PEFT adapter for each of --languages; or control-vector, a GGUF "
        "file for each; strengths are then the checkpoint's own unless given")  # fmt: skip
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
    return read(sys.argv[1:] if argv is None else argv)()


def read(argv: Sequence[str]) -> Callable[[], int]:
    """What the arguments ask for, to be called; loads nothing heavy.  Ends the process for `--help` and mistakes."""
    arguments = joined(argv, _NUMBERS)
    parser = build_parser()
    args = parser.parse_args(arguments)
    if fault := _fault(parser, args):
        parser.error(fault)
    given = _given(parser, arguments, vars(args))
    return lambda: _work(parser.prog, args, given)


def _work(prog: str, args: argparse.Namespace, given: dict[str, Any]) -> int:
    from .ranks import on_all_ranks

    return on_all_ranks(lambda ranks: guarded(lambda: _run(args, given, ranks), prog))


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


def _run(args: argparse.Namespace, given: dict[str, Any], ranks: "Ranks | None") -> int:
    from .conversion import convert
    from .demo import run_demo
    from .formats.export import export, summarize_export
    from .formats.options import ExportOptions
    from .hub_upload import check_new, prepare_repository, upload, upload_finished
    from .options import ConversionOptions
    from .progress import Progress
    from .source import check_name
    from .summary import summarize

    chosen = vars(args)
    demo, quiet = chosen.pop("demo"), chosen.pop("quiet")
    repository, private = chosen.pop("push_to_hub"), chosen.pop("private")
    progress = Progress(quiet=quiet)
    if demo:
        run_demo(model=chosen["model"], out=chosen["out"], overwrite=chosen["overwrite"], progress=progress)
        return 0
    if chosen["model"] is None:
        print(upload_finished(chosen["out"], repository, private=private, quiet=quiet))
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
