"""What a recipe needs of memory and time, from a model's `config.json` and measured rates.

Memory is counted: parameters of the model that the configuration describes, built without its weights.  Time is
computed: so many tokens, by so many operations each, at rates that were measured with another model, or on another
card.  What is told is the time of the arithmetic, with every text as long as the paper's limit; loading, the network
and the disk come on top, and real texts are shorter.

The rates that are the defaults were measured on an H200, with random weights in the shape of Llama 3.1 8B, bfloat16,
not compiled (docs/benchmarks.md, (a) and (b), batches of 8 x 512 tokens, and 16 for generating); an H100 computes as
fast and has less memory, at two thirds of the bandwidth.  For another card they are measured by
`python -m benchmarks --device cuda --llama-8b 32 --batches 16 --parts steering,profiling`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.command_line import Parser, guarded, user_path
from clas_models.errors import InputError
from clas_models.json_data import parse_json
from clas_models.profiling.quantile_bins import NUM_BINS

PROG = "python -m recipes.needs"
CONFIGS = Path(__file__).with_name("configs")
REFERENCE = CONFIGS / "llama-3.1-8b.json"  # the shape that the rates were measured with
RECIPES = ("neurons", "clas")
SITES = 2  # of quantiles
RANK = 64  # of LoRA
_GB = 1e9


@dataclass(frozen=True)
class Rates:
    """What a card does a second, with the reference's shape.

    Attributes:
        forward: tokens of a plain forward pass of the decoder.
        profiling: tokens of a profiling pass, without quantiles.
        step: seconds of a step of decoding with 16 rows.
        counts: values that the recorder of quantiles counts; None is not measured.
    """

    forward: float = 23_518 / 0.63
    profiling: float = 23_518
    step: float = 0.2811 / 16
    counts: float | None = None


@dataclass(frozen=True)
class Shape:
    """Numbers of parameters: of all, of the layers' matrices, of the head; and what else sizes follow from.

    `lora` are the parameters of an update of rank 64 of all matrices of the layers (appendix B.3 of Mondal et al.).
    """

    parameters: int
    matrices: int
    head: int
    layers: int
    neurons: int
    cache: int
    lora: int

    @property
    def all_neurons(self) -> int:
        return self.layers * self.neurons


def read_shape(path: Path) -> Shape:
    """The shape of the model that a `config.json` describes. Raises InputError: it describes none that can be built."""
    try:
        values = parse_json(path.read_bytes())
        if values["model_type"] not in FAMILIES:
            raise ValueError(f"of no supported family, which are {', '.join(sorted(FAMILIES))}")
        config = AutoConfig.for_model(**values)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a config.json") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no configuration of a model ({error}); give a config.json") from error
    matrices = [weight for weight in model.base_model.layers.parameters() if weight.dim() == 2]
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        parameters=sum(weight.numel() for weight in model.parameters()),
        matrices=sum(weight.numel() for weight in matrices),
        head=model.lm_head.weight.numel(),
        layers=config.num_hidden_layers,
        neurons=config.intermediate_size,
        cache=2 * 2 * config.num_hidden_layers * heads * width,
        lora=RANK * sum(sum(weight.shape) for weight in matrices),
    )


# ---- memory


def memory(shape: Shape, recipe: str) -> dict[str, float]:
    """Gigabytes (10^9 bytes) by what they are for."""
    found: dict[str, float] = {
        "weights, bfloat16": 2 * shape.parameters,
        "cache of keys and values, 16 x 512 tokens": 16 * 512 * shape.cache,
    }
    if recipe == "neurons":
        found |= {
            "counts of quantiles, while profiling": SITES * 4 * NUM_BINS * shape.all_neurons,
            # 4 bits, and for 64 of them a scale of 8 bits, and for 256 of these one of 32.
            "weights, nf4 with double quantisation": shape.matrices * (4 + 8 / 64 + 32 / (64 * 256)) / 8
            + 2 * (shape.parameters - shape.matrices),
            # Weights, gradients and two moments, in float32.
            "LoRA of rank 64 in training": 16 * shape.lora,
        }
    return {what: size / _GB for what, size in found.items()}


# ---- time


@dataclass(frozen=True)
class Work:
    """One step: tokens of forward passes, and beside them what else is computed.

    Attributes:
        passes: forward passes that a token costs; training is two, for the weights themselves get no gradient.
        head: every position goes through the head.
        profiled: sums and counts of every neuron.
        steps: steps of decoding, of batches of 16.
    """

    name: str
    tokens: float
    passes: int = 1
    head: bool = False
    profiled: bool = False
    steps: float = 0


LANGUAGES, SET1, SET6, PROBABILITY = 16, 7, 10, 5
XNLI_ROWS, XNLI_LANGUAGES, XNLI_TOKENS = 2_490, 15, 256  # the development set
XQUAD_ROWS, XQUAD_LANGUAGES, XQUAD_TOKENS, ANSWER = 1_190, 12, 512, 32
VALUES, SELECTIONS, TARGETS = 8, 2, 3


def _neurons_work() -> list[Work]:
    """As in `language-neurons`: 100 million tokens a language, a million for the perplexities."""
    matrices = sum(count * (count + 1) for count in (SET1, SET6, PROBABILITY))
    conditions = 1 + SELECTIONS * VALUES
    pairs, questions = TARGETS * XNLI_ROWS * XNLI_TOKENS, TARGETS * XQUAD_ROWS * XQUAD_TOKENS
    answers = TARGETS * XQUAD_ROWS / 16 * ANSWER
    # none and source once and for all targets; random, target and both for each target, and for it alone. All of them
    # are evaluated in English, too.
    trainings, evaluated = 2 + 3 * TARGETS, 2 * (TARGETS + 1) + 3 * TARGETS * 2
    again = (1 + VALUES) * (TARGETS + 1) / TARGETS
    return [
        Work("profile", LANGUAGES * 100e6, profiled=True),
        Work("perplexity-change", matrices * 1e6, head=True),
        Work("interventions, XNLI", conditions * pairs),
        Work("interventions, XQuAD", conditions * questions, steps=conditions * answers),
        Work("finetune, XNLI", SELECTIONS * trainings * 2 * 100_000 * XNLI_TOKENS, passes=2),
        Work("… evaluated", SELECTIONS * evaluated * (1 + VALUES) * pairs / TARGETS),
        Work("finetune, XQuAD", 10 * 87_599 * XQUAD_TOKENS, passes=2),
        Work("… evaluated", again * questions, steps=again * answers),
    ]


def _clas_work() -> list[Work]:
    """As in `clas`: 200 rows in grids of 16 and of 7 settings, all rows in tables of three methods."""
    found = []
    for task, rows, languages, length, answer in (
        ("XNLI", XNLI_ROWS, XNLI_LANGUAGES, XNLI_TOKENS, 0),
        ("XQuAD", XQUAD_ROWS, XQUAD_LANGUAGES, XQUAD_TOKENS, ANSWER),
    ):
        grids, tables = (1 + 16 + 1 + 7) * 200 * languages, 3 * rows * languages
        found += [
            Work(f"profile, {task}", 100 * languages * length, profiled=True),
            Work(f"grids, {task}", grids * length, steps=grids / 16 * answer),
            Work(f"tables, {task}", tables * length, steps=tables / 16 * answer),
        ]
    return found


def seconds(work: Work, shape: Shape, rates: Rates, reference: Shape) -> float:
    """Of the arithmetic: matrices at the measured rate of a forward pass, sums at that of profiling beside it, steps of
    decoding, which wait for kernels to start, by the number of layers.
    """
    operations = work.passes * (shape.matrices + (shape.head if work.head else 0))
    told = work.tokens * operations / (reference.matrices * rates.forward)
    if work.profiled:
        beside = 1 / rates.profiling - 1 / rates.forward
        told += work.tokens * beside * shape.all_neurons / reference.all_neurons
        if rates.counts is not None:
            told += work.tokens * SITES * shape.all_neurons / rates.counts
    return told + work.steps * rates.step * shape.layers / reference.layers


def told(shape: Shape, recipe: str, rates: Rates) -> str:
    """The table as Markdown."""
    reference = read_shape(REFERENCE)
    lines = ["| what | |", "|---|---:|", f"| parameters | {shape.parameters / 1e9:.2f} billion |"]
    lines += [f"| {what} | {size:.1f} GB |" for what, size in memory(shape, recipe).items()]
    for work in _neurons_work() if recipe == "neurons" else _clas_work():
        lines.append(f"| {work.name} | {_duration(seconds(work, shape, rates, reference))} |")
        if recipe == "neurons" and work.profiled and rates.counts is None:
            counts = work.tokens * SITES * shape.all_neurons
            lines.append(f"| … its quantiles | {counts:.1e} counts, at a rate that is not measured |")
    return "\n".join(lines) + "\n"


def _duration(value: float) -> str:
    return f"{value / 3600:.1f} h" if value >= 3600 else f"{max(1, round(value / 60))} min"


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    default = Rates()
    parser = Parser(prog=PROG, description="Memory and time that a recipe needs.", allow_abbrev=False)
    add = parser.add_argument
    add("config", type=user_path, metavar="CONFIG", help="a config.json, such as those in recipes/configs")
    add("--recipe", choices=RECIPES, default="neurons", help="(default: %(default)s)")
    add("--forward-rate", type=float, default=default.forward, metavar="X", help="tokens a second of a plain forward "
        "pass of Llama 3.1 8B's shape (default: %(default).0f)")  # fmt: skip
    add("--profiling-rate", type=float, default=default.profiling, metavar="X", help="of a profiling pass (default: "
        "%(default).0f)")  # fmt: skip
    add("--step", type=float, default=default.step, metavar="X", help="seconds of a step of decoding with 16 rows "
        "(default: %(default).4f)")  # fmt: skip
    add("--count-rate", type=float, metavar="X", help="values a second that are counted for quantiles (default: not "
        "measured, and left out)")  # fmt: skip
    return guarded(partial(_tell, parser.parse_args(arguments)), PROG)


def _tell(given: Any) -> int:
    rates = Rates(given.forward_rate, given.profiling_rate, given.step, given.count_rate)
    if min(rates.forward, rates.profiling, rates.step, rates.counts or 1.0) <= 0 or rates.profiling > rates.forward:
        raise InputError("rates must be above 0, and profiling no faster than a forward pass; give other ones")
    print(told(read_shape(given.config), given.recipe, rates), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
