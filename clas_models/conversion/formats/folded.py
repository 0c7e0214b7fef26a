"""A folded checkpoint: a plain one with the factors of one language multiplied into `down_proj`.

Scaling the input of a linear layer is scaling the columns of its weight, so the same function runs without a line of
this package, on whatever runs the base model.
"""

from collections.abc import Iterable, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from ...errors import InputError, VerificationError
from ...modeling.tensor_names import layer_bias, layer_weight
from ...profiling.bridge_layers import format_layers
from ..copying import Change, copy_companions, write_json, write_weights
from ..loading import on_disk
from ..model_card import PLACEHOLDER, short_name
from ..progress import Progress
from ..reading import check_reading, keep_reading
from ..source import Source
from ..weights import Shard, fingerprint, read_shards, read_tensor
from .cards import export_card
from .comparison import Difference, difference, sample_tokens, steered_logits
from .form import Export, Form
from .scaling import profiled_languages, refuse_some_tokens

# Of the largest logit; one rounding of the weights in some layers, as it comes out at the end of all.
_TOLERANCES = {"F64": 1e-4, "F32": 1e-4, "F16": 1e-2, "BF16": 5e-2}


def _languages(codes: tuple[str, ...], config: Any) -> tuple[str, ...]:
    if not codes:
        raise InputError(
            "--format folded holds one language for good: name it with --language; profiled are "
            f"{', '.join(profiled_languages(config))}"
        )
    if len(codes) > 1:
        raise InputError(
            f"{', '.join(codes)}: a folded checkpoint holds one language; make one for each with --language, or "
            "adapters for all with --format ia3, or use the steered checkpoint"
        )
    return codes


def _check(source: Source, config: Any) -> None:
    """A vector is a bias of `down_proj`, which some families cannot have."""
    refuse_some_tokens(source, config)
    if config.add_rule.acts and not hasattr(config, "mlp_bias"):
        raise InputError(
            f"{source.name}: adds vectors after layers {format_layers(config.vector_layers)}, and the MLP of "
            f"{source.family.base} has no bias that could hold them; use --format control-vector, serve the steered "
            "checkpoint, or give --vector-strength 0 for the neurons alone"
        )


def plain_config(source: Source) -> dict[str, Any]:
    """The `config.json` of a steered source as that of a plain checkpoint of its base family."""
    base = source.family.base
    return {**source.base_fields, "model_type": base, "architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[base]]}


def _write(export: Export, folder: Path, progress: Progress) -> None:
    source = export.source
    changes, biases = _changes(export), _biases(export)
    write_json(folder / "config.json", {**plain_config(source), **({"mlp_bias": True} if biases else {})})
    copy_companions(source.folder, folder)
    keep_reading(source, folder)
    with progress.copying(sum(shard.size for shard in source.shards)) as copied:
        write_weights(folder, source.shards, link=source.from_hub, changes=changes, added=biases, done=copied)


def _changes(export: Export) -> dict[str, Change]:
    """What becomes of `down_proj` in each layer, by the tensor's name: its weight, and its bias where it has one."""
    steering = export.scalings[0]
    names = {layer: layer_weight(layer, "mlp.down_proj") for layer in steering.factors}
    changes = {name: _multiply(name, steering.factors[layer]) for layer, name in names.items()}
    if getattr(export.config, "mlp_bias", False):
        changes |= {name: _add(name, steering.added[layer]) for layer, name in _bias_names(steering.added).items()}
    return changes


def _biases(export: Export) -> dict[str, Tensor]:
    """For a model without biases those of all MLPs, with the vectors in them; none where there are no vectors."""
    added, config = export.scalings[0].added, export.config
    if not added or config.mlp_bias:
        return {}
    down = layer_weight(0, "mlp.down_proj")
    dtype = read_tensor(export.source.shards, down).dtype
    biases = {}
    for layer in range(export.source.num_layers):
        for module in ("gate_proj", "up_proj"):
            biases[layer_bias(layer, f"mlp.{module}")] = torch.zeros(config.intermediate_size, dtype=dtype)
        name = layer_bias(layer, "mlp.down_proj")
        plain = torch.zeros(config.hidden_size, dtype=dtype)
        biases[name] = _add(name, added[layer])(plain) if layer in added else plain
    return biases


def _bias_names(layers: Iterable[int]) -> dict[int, str]:
    return {layer: layer_bias(layer, "mlp.down_proj") for layer in layers}


def _add(name: str, vector: Tensor) -> Change:
    """A bias plus a vector, both `[hidden]`, computed in float32 and rounded once."""

    def change(bias: Tensor) -> Tensor:
        return _rounded(name, bias.to(torch.promote_types(bias.dtype, torch.float32)) + vector, bias.dtype)

    return change


def _rounded(name: str, values: Tensor, dtype: torch.dtype) -> Tensor:
    folded = values.to(dtype)
    if not bool(folded.isfinite().all()):
        raise InputError(f"{name}: too large for {dtype} once folded; give a smaller strength")
    return folded


def _multiply(name: str, factor: Tensor) -> Change:
    """A weight `[hidden, neurons]` times a factor for each neuron, computed in float32 and rounded once."""

    def change(weight: Tensor) -> Tensor:
        return _rounded(name, weight.to(torch.promote_types(weight.dtype, torch.float32)) * factor, weight.dtype)

    return change


def _compare(export: Export, folder: Path) -> Difference:
    """Also checks that all other weights are the source's."""
    steering = export.scalings[0]
    changed = {layer_weight(layer, "mlp.down_proj") for layer in steering.factors}
    changed |= {*_bias_names(steering.added).values(), *_biases(export)}
    source, written = export.source, read_shards(folder)
    if fingerprint(_without(source.shards, changed)) != fingerprint(_without(written, changed)):
        raise VerificationError(f"{folder}: weights beside the folded ones differ from those of {source.name}")
    check_reading(source, folder)
    steered = steered_logits(source, export.config, export.scalings)
    with on_disk(folder, may_be_left=source.may_be_left, dtype=torch.float32) as model, torch.inference_mode():
        found = model(sample_tokens(export.config.vocab_size), use_cache=False).logits
    result = difference(steered, found)
    dtypes = {info.dtype for shard in written for name, info in shard.tensors.items() if name in changed}
    # With strength 0 nothing was folded, and nothing may differ by more than the least.
    result.check(max((_TOLERANCES[dtype] for dtype in dtypes), default=min(_TOLERANCES.values())), folder)
    return result


def _without(shards: Iterable[Shard], unwanted: Set[str]) -> list[Shard]:
    """The shards without the tensors of these names."""
    return [replace(shard, tensors={n: i for n, i in shard.tensors.items() if n not in unwanted}) for shard in shards]


def _card(export: Export, measured: Difference) -> str:
    language = export.record.languages[0]
    name = short_name(export.source)
    introduction = (
        f"A plain `{export.source.family.base}` checkpoint that is steered as `{language}` for good: `{name}`, a model "
        f"with cross-lingual activation steering, with {_folded_in(export)}. It needs no code of its own and costs "
        f"nothing at run time. All input is steered, also `{export.config.anchor_language}`; for other languages use "
        "the steered checkpoint or the base model."
    )
    texts = {"title": f"{name}, folded for {language}", "introduction": introduction}
    return export_card(export, measured, **texts, usage=_usage(export, PLACEHOLDER), library_name="transformers")


def _folded_in(export: Export) -> str:
    factors = "the factors of that language multiplied into `down_proj` of its bridge layers"
    vectors = "the vectors of that language in the biases of `down_proj`"
    record = export.record
    return " and ".join([*([factors] if record.bridge_layers else []), *([vectors] if record.vector_layers else [])])


def _usage(export: Export, folder: str) -> list[str]:
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'model, tokenizer = (C.from_pretrained("{folder}") for C in (AutoModelForCausalLM, AutoTokenizer))',
    ]


FOLDED = Form(languages=_languages, check=_check, write=_write, compare=_compare, card=_card, usage=_usage)
