"""The table of steered families, and their registration with the Auto classes.

Adding a family is adding its `clas_*.py` and a line here.
"""

import transformers
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

from .clas_llama import LLAMA
from .clas_mistral import MISTRAL
from .clas_qwen2 import QWEN2
from .family import Family
from .family_check import check_family

FAMILIES: dict[str, Family] = {family.base: family for family in (LLAMA, MISTRAL, QWEN2)}


def family_of(model_type: object) -> Family:
    """The family of a plain or a steered model type.

    Raises ValueError: there is none.
    """
    for family in FAMILIES.values():
        if model_type in (family.base, family.model_type):
            return family
    supported = ", ".join(f"{family.base} and {family.model_type}" for family in FAMILIES.values())
    raise ValueError(f"model type {model_type!r} is not supported; supported are {supported}")


def register_family(family: Family) -> None:
    """Teach the Auto classes a family; doing it again changes nothing.

    What is saved from now on carries its modeling files, so that it loads without this package, too.

    Raises ValueError: the family's base class has parts that its steered class does not declare.
    """
    check_family(family)
    AutoConfig.register(family.model_type, family.config, exist_ok=True)
    family.config.register_for_auto_class()
    for name, model_class in family.by_auto_class.items():
        getattr(transformers, name).register(family.config, model_class, exist_ok=True)
        model_class.register_for_auto_class(name)
    if hasattr(transformers, "AutoModelForDecision"):  # which `transformers serve` asks first
        transformers.AutoModelForDecision.register(family.config, family.causal_lm, exist_ok=True)
    tokenizer = TOKENIZER_MAPPING.get(family.base_config, None)
    if tokenizer is not None:
        AutoTokenizer.register(family.config, tokenizer_class=tokenizer, exist_ok=True)


def register() -> None:
    """Register every family."""
    for family in FAMILIES.values():
        register_family(family)
