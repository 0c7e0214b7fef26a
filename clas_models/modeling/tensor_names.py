"""The names of a decoder's tensors in a checkpoint, those that steering adds among them.

Every place that reads, writes or recognises a tensor by its name asks here.  Checkpoints of version 0.1 have other
names for what steering adds; `current_name` translates them.
"""

import re

MASKS = ("shared_mask", "specific_mask")
ALL_SHARED_MASK, FITTED_STRENGTHS = "all_shared_mask", "fitted_strengths"  # where strengths are fitted
DETECTOR_PREFIX = "model.language_detector."

# How version 0.1 called the tensors: patterns for `from_pretrained(key_mapping=…)`, and what they are now.
RENAMED = {
    r"\.mlp\.shared_mask": ".mlp.scale.shared_mask",
    r"\.mlp\.specific_mask": ".mlp.scale.specific_mask",
    r"language_gate\.": "language_detector.",
}
# Version 0.1 could store neurons that are overwritten; no model reads them any more.
OVERWRITE_TABLES = r"\.mlp\.overwrite\.(mask|values)$"


def layer_weight(layer: int, module: str) -> str:
    """The weight of a module of a layer, as `layer_weight(3, "mlp.down_proj")`."""
    return f"model.layers.{layer}.{module}.weight"


def layer_bias(layer: int, module: str) -> str:
    """Its bias, likewise."""
    return f"model.layers.{layer}.{module}.bias"


def mask_name(layer: int, mask: str) -> str:
    """A mask of a bridge layer, or its fitted strengths; `mask` is one of MASKS, or of the two names beside them."""
    return f"model.layers.{layer}.mlp.scale.{mask}"


def vectors_name(layer: int) -> str:
    """The vectors that are added after a layer."""
    return f"model.layers.{layer}.add.vectors"


def current_name(name: str) -> str:
    """The name in this version of a tensor from a checkpoint of this or an older one."""
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name


def is_mask(name: str) -> bool:
    """Whether a tensor says which neurons are steered."""
    names = (*MASKS, ALL_SHARED_MASK)
    return current_name(name).endswith(tuple(f".mlp.scale.{mask}" for mask in names))


def is_added(name: str) -> bool:
    """Whether a tensor is one that steering added: a mask, strengths, vectors, or a table of the language
    detector.

    Version 0.1's tables of overwritten neurons count, too.
    """
    return (
        is_mask(name)
        or name.endswith((f".mlp.scale.{FITTED_STRENGTHS}", ".add.vectors"))
        or current_name(name).startswith(DETECTOR_PREFIX)
        or re.search(OVERWRITE_TABLES, name) is not None
    )
