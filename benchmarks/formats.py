"""`python -m benchmarks.formats`: what each form of the same steering costs against the plain model, as a table in
Markdown.

A steered model told its language, a folded one, an IA3 adapter as PEFT runs it, and a forward pre-hook, prefill and
decoding.  All run in turn in one process and share every weight but the folded `down_proj`.  A second plain model is
among them, made as they are from the first one's tensors: its ratio to the first is what noise and another place in
memory do.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import IA3Config, get_peft_model

from clas_models.conversion.demo import wheel_model
from clas_models.conversion.formats.scaling import Scaling, scaling
from clas_models.conversion.gguf_source import dequantize

from .models import llama_8b_shaped, real_plain, steered_twin
from .steering import PREFILL_TOKENS, Hooked, decode, prefill
from .timing import interleaved

LANGUAGE = "de"
FORMS = ("steered", "folded", "ia3", "hook", "again")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, metavar="DIR", help="folders of plain checkpoints (default: "
                        "SmolLM2-135M from its Python package)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=21, help="counted rounds (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="rows (default: %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, timed in processor seconds")
    parser.add_argument("--llama-8b", type=int, metavar="LAYERS", help="also a Llama of 8B's shape with random weights")
    args = parser.parse_args()
    if args.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if args.cpu_time else time.perf_counter
    folders = args.models or [dequantize(wheel_model(), wheel_model().parent, "float32")]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{args.device}; Python {platform.python_version()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, peft {importlib.metadata.version('peft')}; {args.rounds} rounds\n\n"
        "| model | dtype | batch | phase | plain | steered / plain | folded / plain | IA3 / plain | hook / plain | "
        "plain / plain |\n|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for dtype in (getattr(torch, name) for name in args.dtypes.split(",")):
        for folder in folders:
            plain = real_plain(folder, dtype, args.device)
            print("\n".join(measure(plain, folder.name, args.batch, args.rounds, clock)), flush=True)
        if args.llama_8b:
            plain = llama_8b_shaped(args.llama_8b, dtype, args.device)
            label = f"Llama 8B's shape, {args.llama_8b} layers"
            print("\n".join(measure(plain, label, args.batch, args.rounds, clock)), flush=True)


def measure(plain: Any, label: str, batch: int, rounds: int, clock: Callable[[], float]) -> list[str]:
    """Rows of the table, prefill and decoding."""
    steered = steered_twin(plain)
    masks = {
        layer: (scale.shared_mask.cpu(), scale.specific_mask.cpu())
        for layer in steered.config.bridge_layers
        for scale in [steered.model.layers[layer].mlp.scale]
    }
    factors = scaling(steered.config, masks, LANGUAGE)
    folded, adapted, hooked = folded_twin(plain, factors), adapted_twin(plain, factors), Hooked(plain)
    again = plain_twin(plain)
    hooked.learn(steered)
    tokens = torch.randint(0, plain.config.vocab_size, (batch, PREFILL_TOKENS), device=plain.device)
    rows = []
    for phase, run in (("prefill", prefill), ("decoding", decode)):
        tasks: dict[str, Callable[[], object]] = {
            "plain": lambda run=run: run(plain, tokens, {}),
            "steered": lambda run=run: run(steered, tokens, {"language": LANGUAGE}),
            "folded": lambda run=run: run(folded, tokens, {}),
            "ia3": lambda run=run: run(adapted, tokens, {}),
            "hook": lambda run=run: hooked.run(run, tokens),
            "again": lambda run=run: run(again, tokens, {}),
        }
        with torch.inference_mode():
            timings = interleaved(tasks, rounds, plain.device.type, clock)
        ratios = " | ".join(f"{timings.ratio(form, 'plain'):.4f}" for form in FORMS)
        dtype = str(plain.dtype).removeprefix("torch.")
        rows.append(f"| {label} | {dtype} | {batch} | {phase} | {timings.median('plain') * 1e3:.1f} ms | {ratios} |")
    return rows


def plain_twin(plain: Any) -> Any:
    """Another plain model with the same tensors."""
    with torch.device("meta"):
        twin = type(plain)(plain.config)
    twin.load_state_dict(plain.state_dict(), strict=False, assign=True)
    twin.tie_weights()
    twin.model.rotary_emb = copy.deepcopy(plain.model.rotary_emb)
    twin.generation_config = plain.generation_config
    return twin.eval()


def folded_twin(plain: Any, factors: Scaling) -> Any:
    """With weights of its own in `down_proj` of the scaled layers."""
    twin = plain_twin(plain)
    for layer, factor in factors.factors.items():
        projection = twin.model.layers[layer].mlp.down_proj
        weight = projection.weight.data
        folded = (weight.float() * factor.to(weight.device)).to(weight.dtype)
        projection.weight = torch.nn.Parameter(folded, requires_grad=False)
    return twin


def adapted_twin(plain: Any, factors: Scaling) -> Any:
    """Under PEFT, not merged, with an IA3 vector in the scaled layers."""
    targets = [f"layers.{layer}.mlp.down_proj" for layer in factors.factors]
    config = IA3Config(task_type="CAUSAL_LM", target_modules=targets, feedforward_modules=targets, inference_mode=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between PEFT and transformers
        adapted = get_peft_model(plain_twin(plain), config)
    for layer, factor in factors.factors.items():
        vector = adapted.base_model.model.model.layers[layer].mlp.down_proj.ia3_l["default"]
        vector.data.copy_(factor[None])
    return adapted.eval()


if __name__ == "__main__":
    main()
