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
from ...modeling.tensor_names import layer_weight
from ..copying import Change, copy_companions, write_json, write_weights
from ..loading import on_disk
from ..model_card import PLACEHOLDER, short_name
from ..progress import Progress
from ..reading import check_reading, keep_reading
from ..source import Source
from ..weights import Shard, fingerprint, read_shards
from .cards import export_card
from .comparison import Difference, difference, sample_tokens, steered_logits
from .form import Export, Form
from .scaling import profiled_languages

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


def plain_config(source: Source) -> dict[str, Any]:
    """The `config.json` of a steered source as that of a plain checkpoint of its base family."""
    base = source.family.base
    return {**source.base_fields, "model_type": base, "architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[base]]}


def _write(export: Export, folder: Path, progress: Progress) -> None:
    source = export.source
    changes = _changes(export)
    write_json(folder / "config.json", plain_config(source))
    copy_companions(source.folder, folder)
    keep_reading(source, folder)
    with progress.copying(sum(shard.size for shard in source.shards)) as copied:
        write_weights(folder, source.shards, link=source.from_hub, changes=changes, done=copied)


def _changes(export: Export) -> dict[str, Change]:
    """What becomes of `down_proj` in each bridge layer, by the tensor's name."""
    factors = export.scalings[0].factors
    names = {layer: layer_weight(layer, "mlp.down_proj") for layer in factors}
    return {name: _multiply(name, factors[layer]) for layer, name in names.items()}


def _multiply(name: str, factor: Tensor) -> Change:
    """A weight `[hidden, neurons]` times a factor for each neuron, computed in float32 and rounded once."""

    def change(weight: Tensor) -> Tensor:
        product = weight.to(torch.promote_types(weight.dtype, torch.float32)) * factor
        folded = product.to(weight.dtype)
        if not bool(folded.isfinite().all()):
            raise InputError(f"{name}: too large for {weight.dtype} once folded; give a smaller --alpha or --beta")
        return folded

    return change


def _compare(export: Export, folder: Path) -> Difference:
    """Also checks that all other weights are the source's."""
    changed = {layer_weight(layer, "mlp.down_proj") for layer in export.scalings[0].factors}
    source, written = export.source, read_shards(folder)
    if fingerprint(_without(source.shards, changed)) != fingerprint(_without(written, changed)):
        raise VerificationError(f"{folder}: weights beside the folded ones differ from those of {source.name}")
    check_reading(source, folder)
    steered = steered_logits(source, export.config, export.scalings)
    with on_disk(folder, may_be_left=source.may_be_left, dtype=torch.float32) as model, torch.inference_mode():
        found = model(sample_tokens(export.config.vocab_size), use_cache=False).logits
    result = difference(steered, found)
    dtypes = {info.dtype for shard in source.shards for name, info in shard.tensors.items() if name in changed}
    result.check(max(_TOLERANCES[dtype] for dtype in dtypes), folder)
    return result


def _without(shards: Iterable[Shard], unwanted: Set[str]) -> list[Shard]:
    """The shards without the tensors of these names."""
    return [replace(shard, tensors={n: i for n, i in shard.tensors.items() if n not in unwanted}) for shard in shards]


def _card(export: Export, measured: Difference) -> str:
    language = export.record.languages[0]
    name = short_name(export.source)
    introduction = (
        f"A plain `{export.source.family.base}` checkpoint that is steered as `{language}` for good: `{name}`, a model "
        "with cross-lingual activation steering (CLAS), with the factors of that language multiplied into `down_proj` "
        "of its bridge layers. It needs no code of its own and costs nothing at run time. All input is steered, also "
        f"`{export.config.anchor_language}`; for other languages use the steered checkpoint or the base model."
    )
    texts = {"title": f"{name}, folded for {language}", "introduction": introduction}
    return export_card(export, measured, **texts, usage=_usage(export, PLACEHOLDER), library_name="transformers")


def _usage(export: Export, folder: str) -> list[str]:
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'model, tokenizer = (C.from_pretrained("{folder}") for C in (AutoModelForCausalLM, AutoTokenizer))',
    ]


FOLDED = Form(languages=_languages, write=_write, compare=_compare, card=_card, usage=_usage)
