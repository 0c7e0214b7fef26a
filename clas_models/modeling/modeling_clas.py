"""The decoder and the causal language model that every steered family shares: how a row's language reaches the layers.

A family (`modeling_clas_llama.py`, `modeling_clas_qwen2.py`) only combines these mixins, and those of `layers_clas.py`,
`generation_clas.py` and `pretrained_clas.py`, with its base classes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache

from .auto_language import decide, is_auto, is_packed
from .generation_clas import ClasGenerationMixin
from .language import Language, resolve_language
from .language_detector import LanguageDetector
from .layers_clas import ClasDecoderLayerMixin
from .pretrained_clas import ClasPreTrainedMixin


class ClasModelMixin(ClasPreTrainedMixin):
    """Before a family's decoder: bridge layers where the configuration says, and the languages of the rows."""

    layer_class: type[ClasDecoderLayerMixin]

    def __init__(self, config: Any) -> None:
        config.validate_steering()
        super().__init__(config)
        for index in sorted({*config.bridge_layers, *config.overwrite_layers}):
            self.layers[index] = self.layer_class(config, index)
        self.language_detector = None
        if config.detector_languages is not None:
            self.language_detector = LanguageDetector(
                config.vocab_size, config.detector_languages, config.languages, config.anchor_language
            )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        language: Language = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class.

        Args:
            language: a code, a list of codes (one a row), int64 ids `[batch]`, or "auto": decided by the detector from
                `input_ids`, which must then be the whole sequence; by default `config.language`.

        Raises:
            TypeError, ValueError: `language` is none of these, does not fit the batch, or cannot be decided.
            IndexError: an id outside the vocabulary.
        """
        rows = input_ids if input_ids is not None else inputs_embeds
        language = self.config.language if language is None else language
        if rows is not None and is_auto(language):
            if is_packed(attention_mask, position_ids, kwargs):
                raise ValueError(
                    'language: "auto" cannot be decided where several sequences share a row; name the one language of '
                    "the row, with language= or model.config.language"
                )
            language = decide(self.language_detector, input_ids, attention_mask, past_key_values)
        if rows is not None:  # else the base class says what is missing
            kwargs["language_ids"] = resolve_language(self.config, language, rows)
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )


class ClasForCausalLMMixin(ClasGenerationMixin, ClasPreTrainedMixin):
    """Before a family's causal language model: `language=` on `forward` and `generate`."""

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
        **kwargs: Any,
    ) -> Any:
        """As in the base class, with `language` as in `ClasModelMixin.forward`."""
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
            **kwargs,
        )
