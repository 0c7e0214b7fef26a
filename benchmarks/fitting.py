"""`python -m benchmarks.fitting CHECKPOINT …`: what a pass of a fit costs, beside plain forward passes.

Both run in one process, in turns; medians.  "Plain" is every layer and the head of the answers, without a gradient and
with nothing kept.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from eval.fitting.options import FitOptions
from eval.fitting.search import SearchOptions, mean_loss, train_pass
from eval.fitting.tables import Tables, fitting_scales
from eval.fitting.work import FitWork
from eval.progress import Progress
from eval.run_options import RunOptions


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fitting", description=__doc__)
    add = parser.add_argument
    add("checkpoint", help="a steered one")
    add("--task", default="xquad")
    add("--data-dir", type=Path, required=True)
    add("--language", default="de")
    add("--samples", type=int, default=200)
    add("--max-length", type=int, default=None)
    add("--dtypes", default="float32,bfloat16")
    add("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(
        "| dtype | examples | tokens, shared ones once | plain, s | first pass / plain | pass / plain | 12 passes, s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for dtype in args.dtypes.split(","):
        print(measure(args, dtype), flush=True)


def measure(args: argparse.Namespace, dtype: str) -> str:
    options = RunOptions(
        args.checkpoint, Path("unused"), (args.task,), (args.language,), args.samples,
        data_dir=args.data_dir, dtype=dtype, max_length=args.max_length,
    )  # fmt: skip
    work = FitWork(options, FitOptions(split=(2, 1, 1)), options.open(), Progress(quiet=True))
    rows = [each for part in work.rows() for each in part]
    model = work.checkpoint.load().requires_grad_(False)
    order = random.Random(0)
    seconds: dict[str, list[float]] = {"plain": [], "first": [], "pass": []}
    with fitting_scales(model, work.categories) as (decoder, scales):
        for _ in range(args.rounds):
            problem, plain = work.problem(decoder, scales), work.problem(decoder, scales, memory=0)
            batches = {args.language: problem.batches(args.language, rows, options.batch_size)}
            tables = Tables.zeros((args.language,), work.layers, "shrunk", model.device)
            optimizer = torch.optim.Adam(tables.leaves, lr=SearchOptions().rate)
            timed(seconds["plain"], partial(mean_loss, plain, None, batches))
            once = partial(train_pass, problem, tables, batches, optimizer, 0.003, order, lambda loss: None)
            timed(seconds["first"], once)
            timed(seconds["pass"], once)
    found = {name: statistics.median(each) for name, each in seconds.items()}
    tokens = sum(len(pack.ids) for batch in batches[args.language] for pack in batch.packs)
    whole = found["first"] + 11 * found["pass"]
    return (
        f"| {dtype} | {len(rows)} | {tokens:,} | {found['plain']:.1f} | {found['first'] / found['plain']:.2f} | "
        f"{found['pass'] / found['plain']:.2f} | {whole:.0f} |"
    )


def timed(seconds: list[float], run: Callable[[], object]) -> None:
    started = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
