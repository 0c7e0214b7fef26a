"""A checkpoint with an adapter merged into it: the model that was fine-tuned, as one of its family.

PEFT reads the configuration and merges.  What it only warns of, or tells in many lines, is checked here: that the
adapter has every tensor that its configuration asks for, and the model a place for every tensor.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..conversion.loading import HEAD, load_classifier, load_model, load_tokenizer
from ..conversion.source import Source
from ..errors import InputError
from .adapter import CONFIG_NAME, WEIGHTS_NAME, Adapter

_HEAD = f"base_model.model.{HEAD}.weight"


def load_adapted(source: Source, folder: Path, dtype: str, device: torch.device) -> Any:
    """The model of `source` with the adapter in `folder` merged, in eval mode.

    Weights that the adapter does not touch keep their bits; the others are rounded once to `dtype`.  Steering stays as
    the checkpoint has it.

    Args:
        source: a plain or steered checkpoint.
        folder: an adapter, see `Adapter.open`.
        dtype, device: as for `load_model`.

    Returns:
        The family's sequence classification with the trained head, and `config.id2label` set, where the adapter's
        record has labels; else the causal language model.

    Raises InputError: the model cannot be loaded, or the adapter does not fit it.
    """
    adapter = Adapter.open(folder, source)
    tensors = adapter.tensors()
    if adapter.labels and _HEAD not in tensors:
        raise InputError(
            f"{folder / WEIGHTS_NAME}: no tensor {_HEAD!r}, the head for {', '.join(adapter.labels)}; "
            "train the adapter again, with its head saved"
        )
    model = _base_model(source, adapter, dtype, device)
    merged = _merged(model, adapter, tensors)
    if adapter.labels:
        merged.score.to(merged.model.embed_tokens.weight.dtype)  # PEFT trains and keeps it in float32
    return merged.eval()


def _base_model(source: Source, adapter: Adapter, dtype: str, device: torch.device) -> Any:
    if not adapter.labels:
        return load_model(source, dtype, device)
    model = load_classifier(source, adapter.labels, dtype, device)
    if model.config.pad_token_id is None:  # a batch of several prompts needs one
        model.config.pad_token_id = load_tokenizer(source).pad_token_id
    return model


def _merged(model: Any, adapter: Adapter, tensors: Mapping[str, Tensor]) -> Any:
    import peft

    path, parts = adapter.folder / CONFIG_NAME, set(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names within transformers that PEFT still uses
        try:
            config = peft.PeftConfig.from_pretrained(str(adapter.folder))
            config.base_model_name_or_path = None  # PEFT warns where it is another name of the same model
            wrapped: Any = peft.get_peft_model(model, config)
            places = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
            _check_places(adapter.folder / WEIGHTS_NAME, tensors, places, model)
            peft.set_peft_model_state_dict(wrapped, dict(tensors))
            merged = wrapped.merge_and_unload(safe_merge=True)  # which looks for values that are not finite
        except InputError:
            raise
        except Exception as error:  # whatever PEFT finds wrong with a user's configuration
            told = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{path}: PEFT cannot put it into {type(model).__name__} ({told}); give an adapter of this model that "
                "can be merged"
            ) from error
    if type(merged) is not type(model) or set(merged.state_dict()) != parts:
        raise InputError(f"{path}: it makes another model of {type(model).__name__}; give one that can be merged")
    return merged


def _check_places(path: Path, tensors: Mapping[str, Tensor], places: Mapping[str, Tensor], model: Any) -> None:
    """Raises InputError: the adapter's tensors are others than its configuration has in this model."""
    remedy = f"give an adapter of this model, with its own {CONFIG_NAME}"
    if missing := sorted(set(places) - set(tensors)):
        raise InputError(f"{path}: no tensor {missing[0]!r}, which its {CONFIG_NAME} asks for; {remedy}")
    if left := sorted(set(tensors) - set(places)):
        raise InputError(f"{path}: {type(model).__name__} has no place for its tensor {left[0]!r}; {remedy}")
    for name, tensor in tensors.items():
        if tensor.shape != places[name].shape:
            raise InputError(
                f"{path}: tensor {name!r} is {list(tensor.shape)}, and its place in {type(model).__name__} "
                f"{list(places[name].shape)}; {remedy}"
            )
