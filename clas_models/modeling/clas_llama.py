"""The steered Llama family: its base classes with what all families share before them."""

# mypy: disable-error-code="misc"
# What the mixins define stands before what the base classes of transformers define.

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaMLP,
    LlamaModel,
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


class ClasLlamaConfig(ClasConfigMixin, LlamaConfig):
    """A steered Llama: `LlamaConfig` and the fields of `ClasConfigMixin`."""

    model_type = "clas_llama"


class ClasLlamaMLP(ClasMLPMixin, LlamaMLP):
    """The gated MLP of Llama with rules."""


class ClasLlamaDecoderLayer(PreNormLayerMixin, LlamaDecoderLayer):
    """A layer of Llama with rules."""

    mlp_class = ClasLlamaMLP


class ClasLlamaModel(ClasModelMixin, LlamaModel):
    config_class, layer_class = ClasLlamaConfig, ClasLlamaDecoderLayer
    _no_split_modules = ["ClasLlamaDecoderLayer"]


class ClasLlamaForCausalLM(ClasForCausalLMMixin, LlamaForCausalLM):
    config_class, model_class = ClasLlamaConfig, ClasLlamaModel


class ClasLlamaForSequenceClassification(ClasForSequenceClassificationMixin, LlamaForSequenceClassification):
    config_class, model_class = ClasLlamaConfig, ClasLlamaModel


class ClasLlamaForTokenClassification(ClasForTokenClassificationMixin, LlamaForTokenClassification):
    config_class, model_class = ClasLlamaConfig, ClasLlamaModel


class ClasLlamaForQuestionAnswering(ClasForQuestionAnsweringMixin, LlamaForQuestionAnswering):
    config_class, model_class = ClasLlamaConfig, ClasLlamaModel


LLAMA = Family(
    base="llama",
    config=ClasLlamaConfig,
    model=ClasLlamaModel,
    causal_lm=ClasLlamaForCausalLM,
    sequence_classification=ClasLlamaForSequenceClassification,
    token_classification=ClasLlamaForTokenClassification,
    question_answering=ClasLlamaForQuestionAnswering,
    gguf="llama",
    vllm="vllm.model_executor.models.llama:LlamaForCausalLM",
)
join_tables(LLAMA)
