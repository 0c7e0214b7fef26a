"""A written checkpoint, loaded through the Auto classes as a user loads it, and checked.

The weights stay on disk and are read layer by layer, so that this needs no more memory than the largest of them.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from ..errors import InputError
from .checkpoint import SteeredCheckpoint
from .weights import fingerprint, read_shards

_TOKENS = 8


class VerificationError(RuntimeError):
    """What was written is not what was meant: a defect, or a disk that does not keep what it is given."""


def verify(folder: Path, checkpoint: SteeredCheckpoint) -> None:
    """Load `folder` with `AutoModelForCausalLM` and compare it with what was to be written.

    Checks that the base weights are the source's, that no tensor is missing or left over, that the masks and the
    strengths are the ones given, and that one forward pass steers a row of another language and no row of the anchor.

    Raises:
        InputError: the model's own logits, or the steered ones, are not finite.
        VerificationError: something differs.
    """
    if fingerprint(read_shards(folder)) != checkpoint.source.fingerprint:
        raise VerificationError(f"{folder}: the weights written differ from those of {checkpoint.source.name}")
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it warns that weights stay on disk
    with tempfile.TemporaryDirectory() as offload:
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, device_map={"": "disk"}, offload_folder=offload, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise VerificationError(f"{folder}: cannot be loaded ({type(error).__name__}: {error})") from error
        model, info = loaded
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
            if info[problem]:
                raise VerificationError(f"{folder}: {problem} on loading: {sorted(map(str, info[problem]))[:3]}")
        for layer, masks in checkpoint.masks.items():
            mlp = model.model.layers[layer].mlp
            if not (_same(mlp.shared_mask, masks[0]) and _same(mlp.specific_mask, masks[1])):
                raise VerificationError(f"{folder}: the masks of layer {layer} came back changed")
        _check_detector(folder, model, checkpoint)
        _check_forward(folder, model, checkpoint.source.name)


def _check_detector(folder: Path, model: Any, checkpoint: SteeredCheckpoint) -> None:
    meant = dict(checkpoint.detector.named_buffers()) if checkpoint.detector is not None else {}
    detector = model.model.language_detector
    found = dict(detector.named_buffers()) if detector is not None else {}
    for name in sorted(meant.keys() | found.keys()):
        same = name in meant and name in found and meant[name].dtype == found[name].dtype
        if not same or not torch.equal(meant[name].cpu(), found[name].cpu()):
            raise VerificationError(f"{folder}: the table {name!r} of the language detector came back changed")


def _is_finite(values: torch.Tensor) -> bool:
    return bool(values.isfinite().all())


def _same(loaded: torch.Tensor, meant: torch.Tensor) -> bool:
    return loaded.dtype == torch.bool and torch.equal(loaded.cpu(), meant.cpu())


def _check_forward(folder: Path, model: Any, name: str) -> None:
    steering = model.steering
    tokens = torch.arange(1, _TOKENS + 1).remainder(model.config.vocab_size).repeat(2, 1)
    others = len(steering.languages)
    ids = torch.tensor([steering.languages.index(steering.anchor_language), others])
    with torch.inference_mode():
        steered = model(tokens, language=ids, use_cache=False).logits
        with model.temporary_steering(alpha=0):
            plain_output = model(tokens, language=ids, use_cache=False, output_hidden_states=True)
    plain = plain_output.logits
    if not _is_finite(plain):
        states = [_is_finite(state) for state in plain_output.hidden_states]
        places = ["the embedding", *(f"layer {layer}" for layer in range(len(states) - 1)), "the head"]
        place = places[[*states, False].index(False)]
        raise InputError(f"{name}: values that are not finite (NaN or infinite) from {place} on; check the weights")
    if not _is_finite(steered):
        raise InputError(f"{name}: steered logits that are not finite; give a smaller --alpha, --beta or --gamma")
    if not torch.equal(steered[0], plain[0]):
        raise VerificationError(f"{folder}: the anchor language {steering.anchor_language!r} is not left alone")
    acts = steering.alpha["default"] != 0 and any(
        steering.beta * shared or steering.gamma * specific for shared, specific in steering.neurons.values()
    )
    if acts and torch.equal(steered[1], plain[1]):
        raise VerificationError(f"{folder}: steering changes nothing")
