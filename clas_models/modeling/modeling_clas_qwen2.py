"""The steered Qwen2 family: its base classes with the mixins that all families share before them."""

from __future__ import annotations

from torch import nn
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2DecoderLayer,
    Qwen2ForCausalLM,
    Qwen2ForQuestionAnswering,
    Qwen2ForSequenceClassification,
    Qwen2ForTokenClassification,
    Qwen2MLP,
    Qwen2Model,
)

from .configuration_clas import ClasQwen2Config
from .layers_clas import ClasDecoderLayerMixin, ClasMLPMixin
from .modeling_clas import ClasForCausalLMMixin, ClasModelMixin
from .pretrained_clas import ClasPreTrainedMixin


class ClasQwen2MLP(ClasMLPMixin, Qwen2MLP):
    """The gated MLP of Qwen2, steered."""


class ClasQwen2DecoderLayer(ClasDecoderLayerMixin, Qwen2DecoderLayer):
    """A bridge layer of Qwen2."""

    mlp_class = ClasQwen2MLP


class ClasQwen2Model(ClasModelMixin, Qwen2Model):
    """The decoder of Qwen2 with bridge layers."""

    config_class = ClasQwen2Config
    layer_class = ClasQwen2DecoderLayer
    _no_split_modules = ["Qwen2DecoderLayer", "ClasQwen2DecoderLayer"]


class ClasQwen2ForCausalLM(ClasForCausalLMMixin, Qwen2ForCausalLM):
    """The causal language model of Qwen2, steered."""

    config_class = ClasQwen2Config

    def __init__(self, config: ClasQwen2Config) -> None:
        # Past Qwen2ForCausalLM's own constructor, which would first build a plain decoder and throw it away.
        super(Qwen2ForCausalLM, self).__init__(config)
        self.model = ClasQwen2Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class ClasQwen2ForSequenceClassification(ClasPreTrainedMixin, Qwen2ForSequenceClassification):
    """Qwen2ForSequenceClassification on a steered decoder."""

    config_class = ClasQwen2Config


class ClasQwen2ForTokenClassification(ClasPreTrainedMixin, Qwen2ForTokenClassification):
    """Qwen2ForTokenClassification on a steered decoder."""

    config_class = ClasQwen2Config


class ClasQwen2ForQuestionAnswering(ClasPreTrainedMixin, Qwen2ForQuestionAnswering):
    """Qwen2ForQuestionAnswering on a steered decoder."""

    config_class = ClasQwen2Config
    base_model_prefix = "model"  # so that it loads from a causal language model, which the plain class does not
