"""A written checkpoint, loaded through the Auto classes as a user loads it, and checked."""

from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, VerificationError
from ..modeling.tensor_names import FITTED_STRENGTHS
from .checkpoint import SteeredCheckpoint
from .loading import on_disk
from .reading import check_reading
from .weights import fingerprint, read_shards

_TOKENS = 8
_SLIGHT = 0.1  # a strength below it may change nothing in half precision
_TRIED_STRENGTH = 1.0  # where the default is 0, that is whether the tables do what they should


def verify(folder: Path, checkpoint: SteeredCheckpoint) -> None:
    """Load `folder` with `AutoModelForCausalLM` and compare it with what was to be written.

    Checks that the base weights are the source's, that no tensor is missing, or left over but those of the source,
    that what steering added is what was given, that text and chats are read as in the source, and that one forward pass
    steers a row of another language and no row of the anchor.

    Raises:
        InputError: text is read in another way; the model's own logits, or the steered ones, are not finite.
        VerificationError: something differs.
    """
    if fingerprint(read_shards(folder)) != checkpoint.source.fingerprint:
        raise VerificationError(f"{folder}: the weights written differ from those of {checkpoint.source.name}")
    check_reading(checkpoint.source, folder)
    with on_disk(folder, may_be_left=checkpoint.source.unused.__contains__) as model:
        _check_added(folder, model, checkpoint)
        _check_forward(folder, model, checkpoint.source.name)


def _check_added(folder: Path, model: Any, checkpoint: SteeredCheckpoint) -> None:
    found = dict(model.named_buffers())
    for name, meant in checkpoint.added_tensors().items():
        # Masks, tables of the detector and strengths keep their dtype; vectors are loaded in that of the model.
        cast = meant.is_floating_point() and not name.endswith(FITTED_STRENGTHS)
        wanted = meant.to(found[name].dtype) if cast else meant
        if found[name].dtype != wanted.dtype or not torch.equal(found[name].cpu(), wanted.cpu()):
            raise VerificationError(f"{folder}: the tensor {name!r} came back changed")


def _check_forward(folder: Path, model: Any, name: str) -> None:
    """Rows of the anchor, of a language that nobody profiled, and of one that has a vector."""
    steering = model.steering
    tokens = torch.arange(1, _TOKENS + 1).remainder(model.config.vocab_size).repeat(3, 1)
    moved = sum((table != 0).any(-1) for table in model.vectors.values())
    with_vector = int(torch.as_tensor(moved).argmax())
    ids = torch.tensor([steering.languages.index(steering.anchor_language), len(steering.languages), with_vector])
    tried = {} if steering.alpha["default"] else {"alpha": _TRIED_STRENGTH}
    if not any((steering.vector_strength or {}).values()):
        tried["vector_strength"] = _TRIED_STRENGTH
    with torch.inference_mode():
        everywhere = torch.ones_like(tokens, dtype=torch.bool)
        with model.temporary_steering(**tried):
            adds = abs(model.config.add_rule.strengths[with_vector]) > _SLIGHT
            steered = model(tokens, language=ids, positions=everywhere, use_cache=False).logits
        with model.temporary_steering(alpha=0, vector_strength=0):
            plain_output = model(tokens, language=ids, use_cache=False, output_hidden_states=True)
    plain = plain_output.logits
    if not plain.isfinite().all():
        states = [bool(state.isfinite().all()) for state in plain_output.hidden_states]
        places = ["the embedding", *(f"layer {layer}" for layer in range(len(states) - 1)), "the head"]
        place = places[[*states, False].index(False)]
        raise InputError(f"{name}: values that are not finite (NaN or infinite) from {place} on; check the weights")
    if not steered.isfinite().all():
        raise InputError(f"{name}: steered logits that are not finite; {_remedy(steering)}")
    if not torch.equal(steered[0], plain[0]):
        raise VerificationError(f"{folder}: the anchor language {steering.anchor_language!r} is not left alone")
    rescales = not steering.fitted and any(
        steering.beta * shared or steering.gamma * specific for shared, specific in steering.neurons.values()
    )
    if rescales and torch.equal(steered[1], plain[1]):
        raise VerificationError(f"{folder}: steering changes nothing")
    if adds and bool(torch.as_tensor(moved).any()) and torch.equal(steered[2], plain[2]):
        raise VerificationError(f"{folder}: vectors change nothing")


def _remedy(steering: Any) -> str:
    neurons = "a smaller --alpha, --beta or --gamma" if steering.neurons else ""
    vectors = "a smaller --vector-strength" if steering.vector_layers else ""
    return f"give {' or '.join(filter(None, (neurons, vectors)))}"
