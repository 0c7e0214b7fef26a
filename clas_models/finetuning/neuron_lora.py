"""LoRA whose update of the MLPs touches chosen neurons only, as an ordinary PEFT adapter.

The update of the paper is M * (B A), with a mask M over entries of the weight.  A mask over neurons is one over rows of
`gate_proj` and `up_proj` and over columns of `down_proj`, and

    diag(m) (B A) = (diag(m) B) A        (B A) diag(m) = B (A diag(m))

so it is the same as zeros in rows of B, or in columns of A.  They stay zero because their gradients are: Adam does not
move an entry whose gradient was always 0, and decay shrinks what is there.  Hence nothing in a forward pass knows of a
mask, and what is saved loads, merges and runs wherever PEFT does.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 2.2.
Training it is left to `training.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError
from ..profiling.selection import Selection

if TYPE_CHECKING:
    from peft import LoraConfig

ROWS, COLUMNS = ("gate_proj", "up_proj"), ("down_proj",)  # of a weight of the MLP that are neurons
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MASKED = re.compile(
    rf"\blayers\.(\d+)\.mlp\.(?:(?:{'|'.join(ROWS)})\.(lora_B)|(?:{'|'.join(COLUMNS)})\.(lora_A))(?:\.\w+)?\.weight$"
)


def neuron_masks(selection: Selection, languages: Sequence[str], what: str) -> dict[int, Tensor]:
    """The neurons of several languages together.

    Args:
        selection: says which neurons.
        languages: codes.
        what: describes the selection, for a message.

    Returns:
        By layer, bool `[neurons]`; a layer without any is left out.

    Raises InputError: a language is not in the selection, or has no neuron there.
    """
    rows = [selection.row(language) for language in languages]
    if bare := [code for code, row in zip(languages, rows, strict=True) if not bool(selection.masks[row].any())]:
        raise InputError(
            f"selection {what!r}: no neuron of {', '.join(bare)} to train; loosen what it asks for, or leave that "
            "language out"
        )
    masks = selection.masks[rows].any(dim=0)
    return {layer: mask for layer, mask in zip(selection.layers, masks, strict=True) if bool(mask.any())}


def check_trains(masks: Mapping[int, Tensor], attention: bool) -> None:
    """Raises InputError: neither neurons nor attention would be trained."""
    if not masks and not attention:
        raise InputError("attention: false, without neurons: nothing but a head is left to train; set attention: true")


def lora_config(
    masks: Mapping[int, Tensor],
    layers: int,
    *,
    rank: int,
    lora_alpha: int,
    dropout: float = 0.0,
    attention: bool = True,
    head: str | None = None,
) -> LoraConfig:
    """An adapter on the MLPs of the masks' layers, and on the attention of all.

    Args:
        masks: of `neuron_masks`; none is attention alone.
        layers: how many the model has.
        rank, lora_alpha, dropout: as in PEFT; the update is B A, times lora_alpha / rank.
        attention: whether queries, keys, values and outputs of every layer have a LoRA of their own.
        head: the module of a classification head, trained whole; None is a causal language model.

    Raises InputError: nothing of the model would be trained.
    """
    from peft import LoraConfig, TaskType

    check_trains(masks, attention)
    targets = [f"layers.{layer}.mlp.{name}" for layer in masks for name in (*ROWS, *COLUMNS)]
    if attention:
        targets += [f"layers.{layer}.self_attn.{name}" for layer in range(layers) for name in ATTENTION]
    return LoraConfig(
        task_type=TaskType.SEQ_CLS if head else TaskType.CAUSAL_LM,
        r=rank,
        lora_alpha=lora_alpha,
        lora_dropout=dropout,
        target_modules=targets,
        modules_to_save=[head] if head else None,
    )


def mask_update(model: Any, masks: Mapping[int, Tensor]) -> None:
    """Set what is outside of the masks to zero, and keep it there while the model is trained.

    Args:
        model: a PEFT model of `lora_config(masks, …)`; from now on its gradients are zero outside of the masks.
    """
    for _, parameter, outside in _masked(dict(model.named_parameters()), masks):
        with torch.no_grad():
            parameter[outside.to(parameter.device).expand_as(parameter)] = 0.0
        # Filled, not multiplied: 0 times a gradient that overflowed is no 0.
        parameter.register_hook(lambda gradient, where=outside: gradient.masked_fill(where.to(gradient.device), 0.0))


def check_masked(tensors: Mapping[str, Tensor], masks: Mapping[int, Tensor]) -> None:
    """Raises RuntimeError: an adapter's tensor has an entry outside of the masks that is not exactly 0.

    Args:
        tensors: of a model or a file, by the names that PEFT gives them.
    """
    for name, tensor, outside in _masked(tensors, masks):
        if bool(tensor.detach().masked_select(outside.to(tensor.device)).any()):
            raise RuntimeError(
                f"{name}: moved outside of its neurons; this is a fault of the program, please report it"
            )


def trained_numbers(model: Any, masks: Mapping[int, Tensor]) -> int:
    """How many numbers of a PEFT model are trained: those outside of the masks, which stay 0, are not."""
    parameters = dict(model.named_parameters())
    count = sum(each.numel() for each in parameters.values() if each.requires_grad)
    return count - sum(int(outside.expand_as(each).sum()) for _, each, outside in _masked(parameters, masks))


def _masked(tensors: Mapping[str, Tensor], masks: Mapping[int, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Tensors whose rows or columns are neurons: name, tensor, and where it has to be zero, as broadcast over it."""
    for name, tensor in tensors.items():
        if found := _MASKED.search(name):
            outside = ~masks[int(found[1])]
            yield name, tensor, outside[:, None] if found[2] else outside[None, :]


def layers_of(masks: Collection[int]) -> str:
    """Layers as people read them: `0, 2 to 5, 23`."""
    runs: list[tuple[int, int]] = []
    for layer in sorted(masks):
        if runs and layer == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], layer)
        else:
            runs.append((layer, layer))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)
