"""The steered Mistral family: its base classes with what all families share before them."""

# mypy: disable-error-code="misc"
# What the mixins define stands before what the base classes of transformers define.

from transformers import MistralConfig
from transformers.models.mistral.modeling_mistral import (
    MistralDecoderLayer,
    MistralForCausalLM,
    MistralForQuestionAnswering,
    MistralForSequenceClassification,
    MistralForTokenClassification,
    MistralMLP,
    MistralModel,
)

from .configuration_clas import ClasConfigMixin
from .family import Family
from .heads_clas import (
    ClasForCausalLMMixin,
    ClasForQuestionAnsweringMixin,
    ClasForSequenceClassificationMixin,
    ClasForTokenClassificationMixin,
)
from .layers_clas import ClasMLPMixin, PreNormLayerMixin
from .modeling_clas import ClasModelMixin
from .name_tables import join_tables


class ClasMistralConfig(ClasConfigMixin, MistralConfig):
    """A steered Mistral: `MistralConfig` and the fields of `ClasConfigMixin`."""

    model_type = "clas_mistral"


class ClasMistralMLP(ClasMLPMixin, MistralMLP):
    """The gated MLP of Mistral with rules."""


class ClasMistralDecoderLayer(PreNormLayerMixin, MistralDecoderLayer):
    """A layer of Mistral with rules."""

    mlp_class = ClasMistralMLP


class ClasMistralModel(ClasModelMixin, MistralModel):
    config_class, layer_class = ClasMistralConfig, ClasMistralDecoderLayer
    _no_split_modules = ["ClasMistralDecoderLayer"]


class ClasMistralForCausalLM(ClasForCausalLMMixin, MistralForCausalLM):
    config_class, model_class = ClasMistralConfig, ClasMistralModel


class ClasMistralForSequenceClassification(ClasForSequenceClassificationMixin, MistralForSequenceClassification):
    config_class, model_class = ClasMistralConfig, ClasMistralModel


class ClasMistralForTokenClassification(ClasForTokenClassificationMixin, MistralForTokenClassification):
    config_class, model_class = ClasMistralConfig, ClasMistralModel


class ClasMistralForQuestionAnswering(ClasForQuestionAnsweringMixin, MistralForQuestionAnswering):
    config_class, model_class = ClasMistralConfig, ClasMistralModel


MISTRAL = Family(
    base="mistral",
    config=ClasMistralConfig,
    model=ClasMistralModel,
    causal_lm=ClasMistralForCausalLM,
    sequence_classification=ClasMistralForSequenceClassification,
    token_classification=ClasMistralForTokenClassification,
    question_answering=ClasMistralForQuestionAnswering,
    gguf=None,  # files of it name "llama", and are read as a Llama
    vllm="vllm.model_executor.models.mistral:MistralForCausalLM",
)
join_tables(MISTRAL)
