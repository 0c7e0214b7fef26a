"""A family whose base has more parts than its steered class declares is refused in a sentence."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from clas_models import FAMILIES, Family, register_family
from clas_models.modeling.configuration_clas import ClasConfigMixin
from clas_models.modeling.family_check import check_family
from clas_models.modeling.heads_clas import ClasForCausalLMMixin
from clas_models.modeling.layers_clas import ClasMLPMixin, PreNormLayerMixin
from clas_models.modeling.modeling_clas import ClasModelMixin


def by_the_recipe(base: str, prefix: str) -> Family:
    """A family made as `clas_llama.py` is, whatever its base does."""
    module = importlib.import_module(f"transformers.models.{base}.modeling_{base}")
    config_class = getattr(
        importlib.import_module(f"transformers.models.{base}.configuration_{base}"), f"{prefix}Config"
    )
    names: dict[str, Any] = {"__module__": __name__}
    config = type(f"Clas{prefix}Config", (ClasConfigMixin, config_class), {**names, "model_type": f"clas_{base}"})
    mlp = type("MLP", (ClasMLPMixin, getattr(module, f"{prefix}MLP")), names)
    layer = type("Layer", (PreNormLayerMixin, getattr(module, f"{prefix}DecoderLayer")), {**names, "mlp_class": mlp})
    decoder_names = {**names, "config_class": config, "layer_class": layer}
    decoder = type("Decoder", (ClasModelMixin, getattr(module, f"{prefix}Model")), decoder_names)
    head_names = {**names, "config_class": config, "model_class": decoder}
    head = type("Head", (ClasForCausalLMMixin, getattr(module, f"{prefix}ForCausalLM")), head_names)
    model_type = config_class.model_type
    return Family(model_type, config, decoder, head, head, head, head, gguf=None, vllm=None)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_of_the_table_are_what_they_declare(name: str) -> None:
    check_family(FAMILIES[name])


@pytest.mark.parametrize(
    ("base", "prefix", "words"),
    [
        ("gemma2", "Gemma2", "pre_feedforward_layernorm"),
        ("olmo2", "Olmo2", "post_feedforward_layernorm"),
        ("cohere", "Cohere", "its CohereDecoderLayer has input_layernorm, mlp, self_attn"),
        ("phi3", "Phi3", "resid_attn_dropout"),
        ("granite", "Granite", "its configuration has logits_scaling"),
        ("gemma", "Gemma", "GemmaTextScaledWordEmbedding"),
    ],
)
def test_what_is_not_declared_is_refused_in_a_sentence(base: str, prefix: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{base}: .*docs/architecture.md") as caught:
        register_family(by_the_recipe(base, prefix))
    assert words in str(caught.value)


def test_a_family_that_is_built_as_llama_is_taken() -> None:
    check_family(by_the_recipe("qwen3", "Qwen3"))
