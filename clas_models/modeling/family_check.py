"""Whether a family's base classes are built as its steered classes say.

The forward of a steered layer is written once for each topology, and the evaluation's engine calls the parts of a
decoder by their names.  A base that has more parts (norms behind attention, scaled embeddings, soft-capped logits)
would run, and give other numbers.  So registration looks at the parts of a tiny layer and refuses what is not declared;
that the numbers are the same is what the contract test shows.
"""

from typing import Any

import torch
from torch import nn

from .family import Family

# The parts of a base class by what the steered class declares.
LAYER_PARTS = {"pre-norm": {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}}
MLP_PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}
DECODER_PARTS = {"embed_tokens", "layers", "norm", "rotary_emb"}
# Fields with which families change logits or streams on the way; none of them is supported yet.
TRANSFORMATIONS = (
    "final_logit_softcapping", "attn_logit_softcapping", "logit_scale", "logits_scaling", "residual_multiplier",
    "embedding_multiplier", "attention_multiplier",
)  # fmt: skip
_SIZES = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
}
_REMEDY = "declare it as docs/architecture.md says, or leave the family out"


def check_family(family: Family) -> None:
    """Raises ValueError: a part of the base class that the steered class does not declare; it names the part."""
    config: Any = family.base_config(**_SIZES)  # type: ignore[arg-type]
    decoder_class = next(cls for cls in family.model.__mro__ if cls.__module__.startswith("transformers.models."))
    with torch.device("meta"):
        decoder: Any = decoder_class(config)
    layer = decoder.layers[0]
    topology = family.model.layer_class.topology  # type: ignore[attr-defined]
    _check_parts(family, f"the topology {topology}", layer, LAYER_PARTS[topology])
    _check_parts(family, "an MLP with separate projections", layer.mlp, MLP_PARTS)
    _check_parts(family, "a decoder", decoder, DECODER_PARTS)
    if type(decoder.embed_tokens) is not nn.Embedding:
        raise ValueError(f"{family.base}: its embedding is a {type(decoder.embed_tokens).__name__}; {_REMEDY}")
    for name in TRANSFORMATIONS:
        if getattr(config, name, None) is not None:
            raise ValueError(f"{family.base}: its configuration has {name}, which nothing here applies; {_REMEDY}")


def _check_parts(family: Family, what: str, module: nn.Module, declared: set[str]) -> None:
    found = {name for name, _ in module.named_children()}
    if found != declared:
        raise ValueError(
            f"{family.base}: {what} has {', '.join(sorted(declared))}, and its {type(module).__name__} has "
            f"{', '.join(sorted(found))}; {_REMEDY}"
        )
