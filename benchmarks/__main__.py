"""`python -m benchmarks`: every ratio of docs/benchmarks.md, measured here and now, as Markdown tables."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import torch
import transformers

from clas_models.conversion.demo import wheel_model
from clas_models.conversion.gguf_source import dequantize

from . import profiling, steering, writing
from .models import llama_8b_shaped, real_plain

PARTS = ("steering", "profiling", "writing", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, metavar="DIR", help="folders of plain checkpoints (default: "
                        "SmolLM2-135M from its Python package, where --llama-8b is not given)")  # fmt: skip
    parser.add_argument("--parts", default=",".join(PARTS), help="which to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--batches", default="1", help="batch sizes of the steering part, as 1,16")
    parser.add_argument("--llama-8b", type=int, metavar="LAYERS", help="a Llama of 8B's shape with random weights")
    args = parser.parse_args()
    parts = args.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}")
    if not args.models and not args.llama_8b:
        args.models = [dequantize(wheel_model(), wheel_model().parent, "float32")]
    _describe(args.device)
    if "steering" in parts:
        _steering(args)
    if "profiling" in parts:
        _profiling(args)
    if "writing" in parts:
        print("\n| model | size | copying | writing / copying |\n|---|---|---|---|")
        for folder in args.models:
            print(writing.measure_writing(folder, args.rounds), flush=True)
    if "memory" in parts:
        print("\n| model | largest shard | peak memory | allowed: 1.5 x shard + 0.5 GB |\n|---|---|---|---|")
        for folder in args.models:
            print(writing.measure_memory(folder, "250MB"), flush=True)


def _describe(device: str) -> None:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    print(
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        flush=True,
    )


def _steering(args: argparse.Namespace) -> None:
    print("\n| model | dtype | batch | phase | plain | steered / plain | hook / plain |\n|---|---|---|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        for folder in args.models:
            plain = real_plain(folder, dtype, args.device)
            for batch in map(int, args.batches.split(",")):
                print("\n".join(steering.measure(plain, folder.name, batch, args.rounds)), flush=True)
    if args.llama_8b:
        plain = llama_8b_shaped(args.llama_8b, torch.bfloat16, args.device)
        for batch in map(int, args.batches.split(",")):
            label = f"Llama 8B's shape, {args.llama_8b} layers"
            print("\n".join(steering.measure(plain, label, batch, args.rounds)), flush=True)


def _profiling(args: argparse.Namespace) -> None:
    print("\n| model | dtype | batch x tokens | tokens/s | profiling / forward |\n|---|---|---|---|---|")
    for folder in args.models:
        plain = real_plain(folder, torch.float32, args.device)
        for rows, length, batch in ((4, 256, 4), (16, 40, 8)):
            print(profiling.measure(plain, folder.name, rows, length, batch, args.rounds), flush=True)
    if args.llama_8b:
        dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
        plain = llama_8b_shaped(args.llama_8b, dtype, args.device)
        label = f"Llama 8B's shape, {args.llama_8b} layers"
        for rows, length, batch in ((1, 256, 1), (8, 512, 8)) if dtype == torch.bfloat16 else ((1, 256, 1),):
            print(profiling.measure(plain, label, rows, length, batch, args.rounds), flush=True)


if __name__ == "__main__":
    main()
