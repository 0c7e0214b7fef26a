"""The evaluation's command line: `python -m eval`, or `clas-eval` once installed.

Reads arguments; what becomes of a user's mistake is said in `clas_models.command_line`.  Which arguments a command has
is in `arguments.py`, what it then calls in `commands.py`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from clas_models.command_line import EVAL, Parser, guarded, joined
from clas_models.errors import InputError

from . import arguments, commands

_NUMBERS = ("--alpha", "--beta", "--gamma", "--default-alpha", "--vector-strength", "--threshold")
_EXTRAS = {  # what the package's extras bring
    **dict.fromkeys(("evaluate", "sklearn", "scipy", "jinja2"), "eval"),
    "peft": "finetune",
}
_EXAMPLES = f"""examples:
  {EVAL} run ./llama-clas --tasks xnli,xquad --methods base,int-mean,clas --samples 200 --out runs/llama
  {EVAL} run ./llama-clas --tasks xnli --methods base,clas:alpha=-2,int:value=zero --out runs/methods
  {EVAL} grid ./llama-clas --task xnli --alpha=-4,-2,2,4 --beta 0.2,0.4 --samples 200 --out runs/grid
  {EVAL} tune ./llama-clas --task xquad --samples 200 --out runs/tune --write
  {EVAL} fit ./llama-clas --task xquad --samples 200 --out runs/fit --write
  {EVAL} finetune ./llama-clas --task xnli --train pairs.jsonl --targets vi,hi,ur --out runs/finetune
  {EVAL} lens ./llama-clas --task belebele --methods base,clas --out runs/lens
  {EVAL} perplexity-change ./llama-clas --corpus rows.jsonl --tokens 100000 --out runs/perplexity-change
  {EVAL} interventions ./llama-clas --task xnli --languages vi,hi,ur --values mean,p90,zero,p10 --out runs/interventions
  {EVAL} vectors ./llama --task mmmlu --samples 50 --out vectors.safetensors    (convert with --vectors puts them in)
  {EVAL} grid ./llama-vectors --task mmmlu --skip 50 --vector-layers 12,16 --vector-strength 1,2,3 --out runs/vectors
  {EVAL} report runs/llama runs/grid
  {EVAL} transfer runs/llama --out transfer.json
  {EVAL} layers ./llama-clas --table neurons --out neurons.csv
  {EVAL} neurons ./llama-clas --select lape,probability --out neurons
  {EVAL} card ./llama-clas runs/llama
"""


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=EVAL,
        description="Does steering help a checkpoint, in which languages, at which strength, and does it do harm?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, what, work, add_arguments in (
        ("run", "methods on tasks", commands.run, arguments.run),
        ("grid", "every combination of strengths on one task", commands.grid, arguments.grid),
        ("tune", "a strength for each language that does no harm", commands.tune, arguments.tune),
        ("fit", "strengths for each language, layer and category, by gradient", commands.fit, arguments.fit),
        (
            "finetune",
            "adapters on the neurons of languages, trained in one language and evaluated in others",
            commands.finetune,
            arguments.finetune,
        ),
        (
            "vectors",
            "vectors towards the anchor, from the prompts of a task",
            commands.vectors,
            arguments.vectors,
        ),
        (
            "lens",
            "what the head reads between layers: in the native language, or in English?",
            commands.lens,
            arguments.lens,
        ),
        (
            "perplexity-change",
            "what writing over the neurons of each language does to the text of every language",
            commands.perplexity_change,
            arguments.perplexity_change,
        ),
        (
            "interventions",
            "what writing over the neurons of each language does to the scores of a task",
            commands.interventions,
            arguments.interventions,
        ),
        ("report", "tables, figures and one HTML page", commands.report, arguments.report),
        (
            "compare",
            "how many predictions of two runs differ, such as of two batch sizes",
            commands.compare,
            arguments.compare,
        ),
        (
            "transfer",
            "consistency and transfer between languages, of choices",
            commands.transfer,
            arguments.transfer,
        ),
        (
            "layers",
            "layers, or neurons, of a steered checkpoint as CSV or JSON",
            commands.layers,
            arguments.layers,
        ),
        (
            "neurons",
            "which neurons each language has, found in several ways",
            commands.neurons,
            arguments.neurons,
        ),
        (
            "card",
            "put the scores of runs into the model card of their checkpoint",
            commands.card,
            arguments.card,
        ),
    ):
        command = parsers.add_parser(name, help=what, allow_abbrev=False)
        command.set_defaults(work=work)
        add_arguments(command.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    return read(sys.argv[1:] if argv is None else argv)()


def read(argv: Sequence[str]) -> Callable[[], int]:
    """What the arguments ask for, to be called; loads nothing heavy.  Ends the process for `--help` and mistakes."""
    parser = build_parser()
    args = parser.parse_args(joined(argv, _NUMBERS))
    return lambda: guarded(lambda: _run(args), parser.prog)


def _run(args: argparse.Namespace) -> int:
    given = vars(args)
    try:
        said = given.pop("work")(given)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise InputError(
            f"the package {missing} is not installed: pip install 'clas-models[{_EXTRAS[missing]}]'"
        ) from error
    if said:
        print(said)
    return 0
