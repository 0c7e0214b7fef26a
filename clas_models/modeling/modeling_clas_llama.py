"""The steered Llama family: its base classes with the mixins that all families share before them."""

from __future__ import annotations

from torch import nn
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaMLP,
    LlamaModel,
)

from .configuration_clas import ClasLlamaConfig
from .layers_clas import ClasDecoderLayerMixin, ClasMLPMixin
from .modeling_clas import ClasForCausalLMMixin, ClasModelMixin
from .pretrained_clas import ClasPreTrainedMixin


class ClasLlamaMLP(ClasMLPMixin, LlamaMLP):
    """The gated MLP of Llama, steered."""


class ClasLlamaDecoderLayer(ClasDecoderLayerMixin, LlamaDecoderLayer):
    """A bridge layer of Llama."""

    mlp_class = ClasLlamaMLP


class ClasLlamaModel(ClasModelMixin, LlamaModel):
    """The decoder of Llama with bridge layers."""

    config_class = ClasLlamaConfig
    layer_class = ClasLlamaDecoderLayer
    _no_split_modules = ["LlamaDecoderLayer", "ClasLlamaDecoderLayer"]


class ClasLlamaForCausalLM(ClasForCausalLMMixin, LlamaForCausalLM):
    """The causal language model of Llama, steered."""

    config_class = ClasLlamaConfig

    def __init__(self, config: ClasLlamaConfig) -> None:
        # Past LlamaForCausalLM's own constructor, which would first build a plain decoder and throw it away.
        super(LlamaForCausalLM, self).__init__(config)
        self.model = ClasLlamaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class ClasLlamaForSequenceClassification(ClasPreTrainedMixin, LlamaForSequenceClassification):
    """LlamaForSequenceClassification on a steered decoder."""

    config_class = ClasLlamaConfig


class ClasLlamaForTokenClassification(ClasPreTrainedMixin, LlamaForTokenClassification):
    """LlamaForTokenClassification on a steered decoder."""

    config_class = ClasLlamaConfig


class ClasLlamaForQuestionAnswering(ClasPreTrainedMixin, LlamaForQuestionAnswering):
    """LlamaForQuestionAnswering on a steered decoder."""

    config_class = ClasLlamaConfig
    base_model_prefix = "model"  # so that it loads from a causal language model, which the plain class does not
