"""`python -m benchmarks.vectors`: what trying vectors costs, as Markdown tables.

(sweep) layers x strengths of vectors on the last token of multiple-choice prompts, in one run / the base run alone;
(all) the same on all tokens / what the layers above the vectors would cost alone.  Both sides run the same weights and
take turns; with one thread (`OMP_NUM_THREADS=1`) it is the processor's seconds that count, which other work does not
change.  The vectors are random: they change no timing.

The questions are data that is not part of the project: give the folder with the files of the task `mmmlu`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer

from eval.engine.choices import choose
from eval.prompts import PromptBuilder, choice_ids
from eval.tasks import ExampleSource, task_of
from eval.templates import find_templates

from .models import real_plain, steered_twin
from .timing import interleaved

STRENGTHS = (-2.0, -1.0, 1.0, 2.0, 3.0)
LAYERS = 7


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder of a plain checkpoint")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/okapi-m-mmlu"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=48, help="(default: %(default)s)")
    parser.add_argument("--language", default="de", help="of the questions, not en (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    args = parser.parse_args()
    if not args.data.is_dir():
        parser.exit(0, f"skipped: no {args.data}; give the folder with the files of mmmlu as --data\n")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
    print(
        "\n| model | tokens acted on | questions | settings | base alone | all settings | ratio | goal |\n"
        + "|---" * 8
        + "|"
    )
    for positions in ("last", "all"):
        print(_measure(args, positions), flush=True)


def _measure(args: argparse.Namespace, positions: str) -> str:
    model = steered_twin(real_plain(args.model, torch.float32, "cpu"))
    count = model.config.num_hidden_layers
    layers = [round((place + 1) * count / (LAYERS + 1)) for place in range(LAYERS)]
    model.set_vectors({layer: _random(model, layer) for layer in layers}, strength=0.0, positions=positions)
    prompts, choices = _prompts(args)
    base: dict[str, Any] = {"alpha": 0.0, "vectors": {}}
    settings = [{"alpha": 0.0, "vectors": {layer: strength}} for layer, strength in product(layers, STRENGTHS)]
    asked = (model, prompts, choices, args.language)

    def run(conditions: list[dict[str, Any]]) -> None:
        for _ in choose(*asked, conditions, batch_size=args.batch_size):
            pass

    tasks = {"base": lambda: run([base]), "sweep": lambda: run([base, *settings])}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    timings = interleaved(tasks, args.rounds, clock=clock)
    above = 1 + sum(count - 1 - layer for layer in layers) * len(STRENGTHS) / count
    goal = "at most 1.6" if positions == "last" else f"the layers above: {above:.1f}"
    return (
        f"| {args.model.name} | {positions} | {len(prompts)} | {len(settings)} | {timings.median('base'):.2f} s | "
        f"{timings.median('sweep'):.2f} s | {timings.ratio('sweep', to='base'):.2f} | {goal} |"
    )


def _random(model: Any, layer: int) -> Tensor:
    generator = torch.Generator().manual_seed(layer)
    table = torch.randn(len(model.config.languages), model.config.hidden_size, generator=generator)
    table[model.config.languages.index(model.config.anchor_language)] = 0
    return table


def _prompts(args: argparse.Namespace) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    task, tokenizer = task_of("mmmlu"), AutoTokenizer.from_pretrained(args.model)
    examples = task.load([args.language], ExampleSource(data_dir=args.data, samples=args.questions))[args.language]
    builder = PromptBuilder(tokenizer, find_templates(task.template), task)
    return [builder.build(example, args.language).ids for example in examples], choice_ids(tokenizer, task)


if __name__ == "__main__":
    main()
