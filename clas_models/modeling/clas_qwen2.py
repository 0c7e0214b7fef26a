"""The steered Qwen2 family: its base classes with what all families share before them."""

# mypy: disable-error-code="misc"
# What the mixins define stands before what the base classes of transformers define.

from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2DecoderLayer,
    Qwen2ForCausalLM,
    Qwen2ForQuestionAnswering,
    Qwen2ForSequenceClassification,
    Qwen2ForTokenClassification,
    Qwen2MLP,
    Qwen2Model,
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


class ClasQwen2Config(ClasConfigMixin, Qwen2Config):
    """A steered Qwen2: `Qwen2Config` and the fields of `ClasConfigMixin`."""

    model_type = "clas_qwen2"


class ClasQwen2MLP(ClasMLPMixin, Qwen2MLP):
    """The gated MLP of Qwen2 with rules."""


class ClasQwen2DecoderLayer(PreNormLayerMixin, Qwen2DecoderLayer):
    """A layer of Qwen2 with rules."""

    mlp_class = ClasQwen2MLP


class ClasQwen2Model(ClasModelMixin, Qwen2Model):
    config_class, layer_class = ClasQwen2Config, ClasQwen2DecoderLayer
    _no_split_modules = ["ClasQwen2DecoderLayer"]


class ClasQwen2ForCausalLM(ClasForCausalLMMixin, Qwen2ForCausalLM):
    config_class, model_class = ClasQwen2Config, ClasQwen2Model


class ClasQwen2ForSequenceClassification(ClasForSequenceClassificationMixin, Qwen2ForSequenceClassification):
    config_class, model_class = ClasQwen2Config, ClasQwen2Model


class ClasQwen2ForTokenClassification(ClasForTokenClassificationMixin, Qwen2ForTokenClassification):
    config_class, model_class = ClasQwen2Config, ClasQwen2Model


class ClasQwen2ForQuestionAnswering(ClasForQuestionAnsweringMixin, Qwen2ForQuestionAnswering):
    config_class, model_class = ClasQwen2Config, ClasQwen2Model


QWEN2 = Family(
    base="qwen2",
    config=ClasQwen2Config,
    model=ClasQwen2Model,
    causal_lm=ClasQwen2ForCausalLM,
    sequence_classification=ClasQwen2ForSequenceClassification,
    token_classification=ClasQwen2ForTokenClassification,
    question_answering=ClasQwen2ForQuestionAnswering,
    gguf="qwen2",
    vllm="vllm.model_executor.models.qwen2:Qwen2ForCausalLM",
)
join_tables(QWEN2)
