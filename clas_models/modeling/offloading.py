"""Tensors that accelerate keeps elsewhere, in another memory or on disk, until their module runs.

A forward pass need not know of it.  What reads, changes or places the tensors of a module outside of one does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def in_memory(module: nn.Module) -> Iterator[None]:
    """The tensors of a module, not of its children, are at hand for the length of a `with` block, to be read."""
    hook = _hook(module)
    if hook is None:
        yield
        return
    hook.pre_forward(module)
    try:
        yield
    finally:
        hook.post_forward(module, None)


def keep_in_memory(module: nn.Module) -> None:
    """Fetch the tensors of a module, not of its children, for good, so that they can be replaced."""
    hook = _hook(module)
    if hook is not None:
        hook.pre_forward(module)
        hook.offload = False


def device_of(module: nn.Module, weight: torch.Tensor) -> torch.device:
    """Where a module computes; its `weight` may lie elsewhere until it does."""
    device = getattr(_hook(module), "execution_device", None)
    return weight.device if device is None else torch.device(device)


def moved(module: nn.Module, device: torch.device) -> nn.Module:
    """A module on a device; one that accelerate has placed, which comes back into its layer, stays where it is."""
    return module.to(device) if _hook(module) is None else module


def _hook(module: nn.Module) -> Any:
    return getattr(module, "_hf_hook", None)
