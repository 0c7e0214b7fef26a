"""The heads that every steered family shares: their constructors, and `language=` by name in every forward.

The base classes build a plain decoder and throw it away, or ask an Auto class for one, which without this package finds
none.  Here each head builds its own family's decoder.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from .generation_clas import ClasGenerationMixin
from .language import Language
from .pretrained_clas import ClasPreTrainedMixin


class _HeadMixin(ClasPreTrainedMixin):
    """A head on the decoder `model`, which is what it loads from a causal language model.

    `make_head(config)` of each head makes the modules behind the decoder, under the names of the base class.
    """

    model_class: type[Any]
    base_model_prefix = "model"

    def __init__(self, config: Any) -> None:
        PreTrainedModel.__init__(self, config)
        self.model = self.model_class(config)
        self.make_head(config)
        self.post_init()


class ClasForCausalLMMixin(ClasGenerationMixin, _HeadMixin):
    """Before a family's causal language model."""

    def make_head(self, config: Any) -> None:
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        language: Language = None,
        positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class, with `language` and `positions` as in `ClasModelMixin.forward`."""
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            language=language,
            positions=positions,
            **kwargs,
        )


class _ClassificationMixin(_HeadMixin):
    """A head with a score for each label."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        language: Language = None,
        positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class, with `language` and `positions` as in `ClasModelMixin.forward`."""
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            language=language,
            positions=positions,
            **kwargs,
        )


class ClasForSequenceClassificationMixin(_ClassificationMixin):
    """Before a family's sequence classification."""

    def make_head(self, config: Any) -> None:
        self.num_labels = config.num_labels
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)


class ClasForTokenClassificationMixin(_ClassificationMixin):
    """Before a family's token classification."""

    def make_head(self, config: Any) -> None:
        dropouts = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.num_labels = config.num_labels
        self.dropout = nn.Dropout(next((share for share in dropouts if share is not None), 0.1))
        self.score = nn.Linear(
            config.hidden_size, config.num_labels, bias=getattr(config, "token_classification_bias", True)
        )


class ClasForQuestionAnsweringMixin(_HeadMixin):
    """Before a family's question answering."""

    def make_head(self, config: Any) -> None:
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        language: Language = None,
        positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class, with `language` and `positions` as in `ClasModelMixin.forward`."""
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            start_positions=start_positions,
            end_positions=end_positions,
            language=language,
            positions=positions,
            **kwargs,
        )
