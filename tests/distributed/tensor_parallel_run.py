"""What a steered model does; as a program, what it does under tensor parallelism.

torchrun --nproc-per-node N tensor_parallel_run.py SPELLING STEERED PLAIN OUT [NAME …]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed
from transformers import AutoModelForCausalLM

from clas_models.modeling.write import Write

GERMAN, CHINESE, ENGLISH = 10, 20, 30  # tokens that the detector of the tests knows
CODES = ["en", "de", "zh", "fr"]
IDS = torch.tensor([0, 3, 2, 4])
TOKENS = torch.randint(40, 250, (4, 9), generator=torch.Generator().manual_seed(7))
TOKENS[:3, 3:6] = torch.tensor([[ENGLISH], [GERMAN], [CHINESE]])


def some_neurons_written(config: Any) -> Write:
    generator = torch.Generator().manual_seed(5)
    shape = (len(config.languages), config.num_hidden_layers, config.intermediate_size)
    return Write(torch.rand(shape, generator=generator) < 0.3, torch.randn(shape, generator=generator))


def _after_set_steering(model: Any) -> Tensor:
    model.set_steering(alpha=-3.0, **({} if model.config.fitted else {"beta": 0.7}))
    return model(TOKENS, language=CODES).logits


def _intervening(model: Any) -> Tensor:
    with model.intervening(some_neurons_written(model.config)):
        return model(TOKENS, language=CODES).logits


def _loss(model: Any) -> Tensor:
    with torch.enable_grad():  # transformers takes another way where there may be a gradient
        return model(TOKENS, language=CODES, labels=TOKENS).loss.detach()


OBSERVATIONS: dict[str, Callable[[Any], Tensor]] = {
    "codes": lambda model: model(TOKENS, language=CODES).logits,
    "ids": lambda model: model(TOKENS, language=IDS).logits,
    "auto": lambda model: model(TOKENS, language="auto").logits,
    "english": lambda model: model(TOKENS, language="en").logits,
    "loss": _loss,
    "greedy": lambda model: model.generate(TOKENS, language=CODES, max_new_tokens=8, do_sample=False),
    "beams": lambda model: model.generate(TOKENS, max_new_tokens=4, do_sample=False, num_beams=2),
    "intervening": _intervening,
    "set_steering": _after_set_steering,
}


@torch.no_grad()
def observe(model: Any, names: list[str]) -> dict[str, Tensor]:
    """What is asked for, in this order; the last changes the model."""
    return {name: OBSERVATIONS[name](model) for name in names}


def _distributed(spelling: str) -> dict[str, Any]:
    if spelling == "tp_plan":
        return {"tp_plan": "auto"}
    from transformers.distributed import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_plan="auto", tp_size=int(os.environ["WORLD_SIZE"]))}


def run(folder: Path, spelling: str, names: list[str]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / "steered", **_distributed(spelling))
    plain = AutoModelForCausalLM.from_pretrained(folder / "plain", **_distributed(spelling))
    weight = model.model.layers[model.config.bridge_layers[0]].mlp.down_proj.weight
    neurons = [0] * distributed.get_world_size()
    # transformers 5.15 keeps a plain tensor, the rank's own part.
    distributed.all_gather_object(neurons, weight.to_local().shape[1] if hasattr(weight, "to_local") else len(weight.T))
    with torch.no_grad():
        seen = {"plain": plain(TOKENS).logits, **observe(model, names)}
    if "set_steering" in names:
        model.save_pretrained(folder / "saved")
    if distributed.get_rank() == 0:
        save_file({name: tensor.contiguous() for name, tensor in seen.items()}, folder / "seen.safetensors")
        (folder / "told.json").write_text(json.dumps({"neurons": neurons, "steering": str(model.steering)}))


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    for case in arguments[:split]:
        folder, _, spelling = case.rpartition(":")
        run(Path(folder), spelling, arguments[split + 1 :])
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
