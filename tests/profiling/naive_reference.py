"""Neuron statistics the plain way: one sample at a time, no padding, the whole model, every activation kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.neuron_profile import NeuronProfile, Provenance


@dataclass(frozen=True)
class NaiveReference:
    """The statistics as a profile, and sums of absolute values of the gate and of act(gate), which no profile has."""

    profile: NeuronProfile
    gate_sum_abs: Tensor
    act_sum_abs: Tensor


def naive_reference(model: Any, tokenizer: Any, corpus: ParallelCorpus, max_length: int = 512) -> NaiveReference:
    """What `profile_neurons` should give, from hooks on `down_proj` and `gate_proj` and float64 sums."""
    tokens, h, gate, act = [], [], [], []
    for language in corpus.languages:
        samples = [
            _activations(model, tokenizer(row[language], truncation=True, max_length=max_length)["input_ids"])
            for row in corpus.rows
        ]
        for kept, of_samples in zip((h, gate, act), zip(*samples, strict=True), strict=True):
            kept.append(torch.cat(of_samples, dim=1))  # [layers, tokens, neurons]
        tokens.append(h[-1].shape[1])
    profile = NeuronProfile(
        languages=corpus.languages,
        layers=tuple(range(len(model.model.layers))),
        num_model_layers=len(model.model.layers),
        tokens=torch.tensor(tokens),
        sum=torch.stack([values.sum(1) for values in h]),
        sum_abs=torch.stack([values.abs().sum(1) for values in h]),
        sum_sq=torch.stack([(values**2).sum(1) for values in h]),
        positive=torch.stack([(values > 0).sum(1) for values in h]),
        gate_sum=torch.stack([values.sum(1) for values in gate]),
        gate_positive=torch.stack([(values > 0).sum(1) for values in gate]),
        act_sum=torch.stack([values.sum(1) for values in act]),
        provenance=Provenance("reference", "reference", None, (corpus.name,), 0, max_length, "float64", ("0",), {}),
    )
    gate_sum_abs, act_sum_abs = (torch.stack([values.abs().sum(1) for values in kept]) for kept in (gate, act))
    return NaiveReference(profile, gate_sum_abs, act_sum_abs)


def _activations(model: Any, ids: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """`h`, the gate's outputs and act(gate) for one text, float64 `[layers, tokens, neurons]`."""
    h: list[Tensor] = []
    gate: list[Tensor] = []
    handles = []
    for layer in model.model.layers:
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(partial(_keep_input, h)))
        handles.append(layer.mlp.gate_proj.register_forward_hook(partial(_keep_output, gate)))
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    # In the model's own dtype, as the model computes it.
    act = [layer.mlp.act_fn(values) for layer, values in zip(model.model.layers, gate, strict=True)]
    return torch.stack(h).double(), torch.stack(gate).double(), torch.stack(act).double()


def _keep_input(kept: list[Tensor], module: Any, args: tuple[Tensor, ...]) -> None:
    kept.append(args[0][0])


def _keep_output(kept: list[Tensor], module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
    kept.append(output[0])
