"""A checked source as a model in memory: on which device, in which precision, and with every tensor."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..errors import InputError
from .source import Source
from .weights import is_added


def pick_device(name: str) -> torch.device:
    """A device that works; "auto" is an accelerator where there is one.

    Raises:
        InputError: it cannot be used here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise InputError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def pick_dtype(name: str, device: torch.device) -> str:
    """The precision to load in: "auto" is the checkpoint's, but float32 on a processor.

    Half precision is slow on most processors, and a mean near 0 decides a category.
    """
    return "float32" if name == "auto" and device.type == "cpu" else name


def load_tokenizer(source: Source) -> Any:
    """Raises InputError: it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(source.folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unusable(source, error, "its tokenizer ") from error


def load_model(source: Source, dtype: str, device: torch.device, **overrides: Any) -> Any:
    """The causal language model, in eval mode.

    Args:
        dtype: as `pick_dtype` gives it.
        overrides: fields of the configuration.

    Raises:
        InputError: it cannot be loaded, or lacks a weight.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.folder, dtype=dtype, device_map={"": device}, output_loading_info=True, **overrides
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unusable(source, error) from error
    model, info = loaded
    if missing := sorted(name for name in info["missing_keys"] if not is_added(name)):
        raise InputError(f"{source.name}: no tensor {missing[0]!r} in its weights; download the model again")
    return model.eval()


def _unusable(source: Source, error: Exception, part: str = "") -> InputError:
    return InputError(f"{source.name}: {part}cannot be loaded ({type(error).__name__}: {error})")
