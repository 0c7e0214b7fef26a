"""(a) Steered / plain, prefill and decoding, and a forward pre-hook that does the same product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from clas_models.modeling.steering import neuron_factors

from .models import steered_twin
from .timing import interleaved

PREFILL_TOKENS = 256
DECODE_STEPS = 16


def measure(plain: Any, label: str, batch: int, rounds: int) -> list[str]:
    """Rows of the table: steered / plain and hook / plain for prefill and decoding."""
    steered, hooked, device = steered_twin(plain), Hooked(plain), plain.device.type
    hooked.learn(steered)
    tokens = torch.randint(0, plain.config.vocab_size, (batch, PREFILL_TOKENS), device=plain.device)
    ids = torch.full((batch,), 1, device=plain.device)
    rows = []
    for phase, run in (("prefill", prefill), ("decoding", decode)):
        tasks: dict[str, Callable[[], object]] = {
            "plain": lambda run=run: run(plain, tokens, {}),
            "steered": lambda run=run: run(steered, tokens, {"language": ids}),
            "hook": lambda run=run: hooked.run(run, tokens),
        }
        with torch.inference_mode():
            timings = interleaved(tasks, rounds, device)
        dtype = str(plain.dtype).removeprefix("torch.")
        rows.append(
            f"| {label} | {dtype} | {batch} | {phase} | {timings.median('plain') * 1e3:.1f} ms | "
            f"{timings.ratio('steered', 'plain'):.4f} | {timings.ratio('hook', 'plain'):.4f} |"
        )
    return rows


def prefill(model: Any, tokens: torch.Tensor, kwargs: dict[str, Any]) -> None:
    model(tokens, use_cache=True, logits_to_keep=1, **kwargs)


def decode(model: Any, tokens: torch.Tensor, kwargs: dict[str, Any]) -> None:
    output = model(tokens[:, :8], use_cache=True, logits_to_keep=1, **kwargs)
    for step in range(DECODE_STEPS):
        output = model(tokens[:, step : step + 1], past_key_values=output.past_key_values, logits_to_keep=1, **kwargs)


class Hooked:
    """The plain model with the factors of one language in forward pre-hooks on `down_proj`."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain
        self.factors: dict[int, torch.Tensor] = {}

    def learn(self, steered: Any) -> None:
        for index in steered.config.bridge_layers:
            scale = steered.model.layers[index].mlp.scale
            factors = neuron_factors(scale.shared_mask, scale.specific_mask, scale.row_scales[1])
            self.factors[index] = factors.to(self.plain.dtype)

    def run(self, run: Callable[..., None], tokens: torch.Tensor) -> None:
        handles = [
            self.plain.model.layers[index].mlp.down_proj.register_forward_pre_hook(
                lambda module, args, factor=factor: (args[0] * factor,)
            )
            for index, factor in self.factors.items()
        ]
        try:
            run(self.plain, tokens, {})
        finally:
            for handle in handles:
                handle.remove()
