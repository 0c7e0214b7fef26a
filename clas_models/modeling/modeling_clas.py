"""The decoder that every steered family shares: how a row's language reaches the layers."""

from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache

from .auto_language import asks_detector, decide, fill_in, is_packed, with_default
from .configuration_clas import STRENGTHS
from .language import Language, resolve_language
from .language_detector import LanguageDetector
from .layers_clas import ClasDecoderLayerMixin
from .positions import ALL, ends_of_prompts
from .pretrained_clas import ClasPreTrainedMixin
from .write import Write


class ClasModelMixin(ClasPreTrainedMixin):
    """Before a family's decoder: layers with rules, and the languages of the rows."""

    layer_class: type[ClasDecoderLayerMixin]

    def __init__(self, config: Any) -> None:
        config.validate_steering()
        super().__init__(config)
        self.layers = nn.ModuleList(self.layer_class(config, index) for index in range(config.num_hidden_layers))
        self.writes: tuple[Write, ...] = ()
        self.loaded_strengths = {name: deepcopy(getattr(config, name)) for name in STRENGTHS}
        self.language_detector = LanguageDetector.of(config)
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
        positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class.

        Args:
            language: a code, a list of codes (one a row), int64 ids `[batch]`, or "auto", also in a list: decided by
                the detector from `input_ids`, which must then be the whole sequence; by default, and where a list has
                None, `config.language`.
            positions: bool `[batch, tokens]`, the tokens that the checkpoint's vectors are added to.  It may be left
                out where there are none, where they act on all tokens, and where the rows are whole prompts with their
                attention mask: then it is the last token of each.  `generate` makes it from `vector_positions`.

        Raises:
            TypeError, ValueError: `language` is none of these, does not fit the batch, or cannot be decided; or
                `positions` is needed, or does not fit.
            IndexError: an id outside the vocabulary.
        """
        rows = input_ids if input_ids is not None else inputs_embeds
        language = with_default(language, self.config.language)
        if rows is not None and asks_detector(language):
            if is_packed(attention_mask, position_ids, kwargs):
                raise ValueError(
                    'language: "auto" cannot be decided where several sequences share a row; name the one language of '
                    "the row, with language= or model.config.language"
                )
            decided = decide(self.language_detector, input_ids, attention_mask, past_key_values)
            language = fill_in(language, decided, self.config.languages)
        if rows is not None:  # else the base class says what is missing
            kwargs["language_ids"] = resolve_language(self.config, language, rows)
            if positions is None and self._needs_positions():
                packed = is_packed(attention_mask, position_ids, kwargs)
                positions = None if packed else _ends(rows, attention_mask, past_key_values)
            kwargs["positions"] = self._checked_positions(positions, rows)
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )

    def _checked_positions(self, positions: Tensor | None, rows: Tensor) -> Tensor | None:
        if not self.config.vector_layers:
            return None
        if positions is not None:
            if positions.shape != rows.shape[:2]:
                raise ValueError(
                    f"positions: shape {list(positions.shape)} for a batch of {list(rows.shape[:2])}; allowed is a "
                    "bool tensor [batch, tokens]"
                )
            return positions.to(rows.device).bool()
        if self._needs_positions():
            raise ValueError(
                f"positions: the checkpoint's vectors act on some tokens ({self.config.vector_positions}), and forward "
                "cannot know where the prompts end; give the attention_mask of whole prompts or a bool tensor [batch, "
                "tokens] as positions, call generate(), or switch the vectors off with set_steering(vector_strength=0)"
            )
        return None

    def _needs_positions(self) -> bool:
        return self.config.vector_positions != ALL and self.config.add_rule.acts


def _ends(rows: Tensor, attention_mask: Tensor | None, past_key_values: Cache | None) -> Tensor | None:
    cached = past_key_values is not None and int(past_key_values.get_seq_length()) > 0
    return ends_of_prompts(*rows.shape[:2], attention_mask, cached)
