"""Text generation in the language of each prompt, whatever the base class does with the prompts.

Which language that is, is decided once for a call of `generate`; from then on ids travel, one for each prompt.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from .auto_language import asks_detector, decide, fill_in, is_auto, remember, remembered, with_default
from .language import Language, resolve_language
from .language_tags import language_code
from .positions import ALL, PromptEnd, checked_positions


class ClasGenerationMixin:
    """Before a family's causal language model: `language=` on `generate`, and in all that it leads to."""

    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *args: Any,
        language: Language = None,
        positions: str | PromptEnd | None = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class, with `language` as in `ClasModelMixin.forward`, one entry for each prompt.

        Without it, an entry `language` of `generation_config` holds, which is how a request to a server names one;
        then one of the model's own `generation_config`; then `config.language`.  The same holds for None in a list.

        Beams and returned sequences follow their prompt's language.  What "auto" decides from the prompt holds for
        the whole generation, and for later ones that continue with its cache.

        `positions` names the tokens that the checkpoint's vectors are added to, "last" of the prompt, "generated" (from
        there on) or "all"; by default `config.vector_positions`.  A model that drafts for another one is given the end
        of the other one's prompt.
        """
        prompt = inputs if inputs is not None else kwargs.get("input_ids")
        rows = prompt if prompt is not None else kwargs.get("inputs_embeds")
        kwargs |= self._prompt_end(positions, prompt, kwargs.get("inputs_embeds"), kwargs.get("attention_mask"))
        for source in (generation_config, self.generation_config, self.config):
            language = with_default(language, getattr(source, "language", None))
        if asks_detector(language):
            language = fill_in(language, self._auto_language(prompt, rows, kwargs), self.config.languages)
            remember(kwargs.get("past_key_values"), language, len(language))
            output = super().generate(inputs, generation_config, *args, language=language, **kwargs)
            if not isinstance(output, Tensor):
                remember(output.get("past_key_values"), language, len(output.sequences))
            return output
        if language is not None and not isinstance(language, str):
            # Ids are a tensor, which generate() repeats for the beams of a prompt as it repeats the prompt itself.
            rows = torch.empty(1, 0) if rows is None else rows
            language = resolve_language(self.config, language, rows, check_values=True)
        return super().generate(inputs, generation_config, *args, language=language, **kwargs)

    def _prompt_end(
        self,
        positions: str | PromptEnd | None,
        prompt: Tensor | None,
        embeds: Tensor | None,
        attention_mask: Tensor | None,
    ) -> dict[str, PromptEnd]:
        """What every step needs to know of the prompt; nothing where no vector acts."""
        if isinstance(positions, PromptEnd):
            return {"positions": positions} if self.config.add_rule.acts else {}
        acting = checked_positions(self.config.vector_positions if positions is None else positions, "positions")
        if not self.config.add_rule.acts:
            return {}
        known = 0 if prompt is None else prompt.shape[1]
        length = known if embeds is None else embeds.shape[1]
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:  # it may count tokens that a cache holds
            length = max(length, attention_mask.shape[1])
        # Without a prompt generate() begins with the token that begins every text.
        return {"positions": PromptEnd(acting, length or 1, embedded=max(length - known, 0))}

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        *args: Any,
        inputs_embeds: Tensor | None = None,
        positions: PromptEnd | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As in the base class, with the tokens of the step that vectors act on."""
        inputs = super().prepare_inputs_for_generation(input_ids, *args, inputs_embeds=inputs_embeds, **kwargs)
        if positions is not None:
            step = next(inputs[name] for name in ("inputs_embeds", "input_ids") if inputs.get(name) is not None)
            cache = kwargs.get("past_key_values")
            cached = None if cache is None else int(cache.get_seq_length())
            inputs["positions"] = positions.mask(input_ids.shape[1], *step.shape[:2], step.device, cached)
        return inputs

    def _auto_language(self, prompt: Tensor | None, rows: Tensor | None, kwargs: dict[str, Any]) -> Tensor:
        """Ids int64 `[prompts]`: those that the cache was filled under, or else what the prompt says."""
        detector = self.base_model.language_detector
        if rows is None:  # generate() begins with the token that begins every text, which says nothing
            prompt = torch.empty(1, 0, dtype=torch.long, device=self.device)
            return decide(detector, prompt)
        kept = remembered(kwargs.get("past_key_values"), len(rows))
        return decide(detector, prompt, kwargs.get("attention_mask")) if kept is None else kept.to(rows.device)

    def _prepare_generation_config(self, *args: Any, language: Language = None, **kwargs: Any) -> Any:
        # The base class would move the language into an entry of that name, and the model would never see it.
        generation_config, model_kwargs = super()._prepare_generation_config(*args, **kwargs)
        return generation_config, model_kwargs if language is None else {**model_kwargs, "language": language}

    def _get_candidate_generator(
        self, *args: Any, model_kwargs: dict[str, Any], assistant_model: Any = None, **kwargs: Any
    ) -> Any:
        # A plain assistant knows no language and no vectors, and one with other languages has other ids.
        if assistant_model is not None and getattr(assistant_model.config, "languages", None) != self.config.languages:
            model_kwargs = {
                name: value for name, value in model_kwargs.items() if name not in ("language", "positions")
            }
        return super()._get_candidate_generator(
            *args, model_kwargs=model_kwargs, assistant_model=assistant_model, **kwargs
        )

    # ---- continuous batching: requests share a row, and come and go while it runs

    def generate_batch(
        self,
        inputs: list[list[int]],
        generation_config: GenerationConfig | None = None,
        *args: Any,
        language: Language = None,
        **kwargs: Any,
    ) -> Any:
        """As in the base class; all requests are in the one language `config.language`.

        Raises ValueError: that is "auto", another language is named, or vectors act on some tokens of a prompt.
        """
        self._check_shared_rows(language)
        return super().generate_batch(inputs, generation_config, *args, **kwargs)

    def init_continuous_batching(
        self, generation_config: GenerationConfig | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As in the base class; all requests are in the one language `config.language`.

        Raises ValueError: that is "auto", `generation_config` names another language, or vectors act on some tokens
        of a prompt.
        """
        self._check_shared_rows(getattr(generation_config, "language", None))
        self._check_shared_rows(getattr(self.generation_config, "language", None))
        return super().init_continuous_batching(generation_config, *args, **kwargs)

    def _code(self, language: str) -> str:
        return language_code(language, "language", self.config.languages)

    def _check_shared_rows(self, named: Language) -> None:
        if self.config.add_rule.acts and self.config.vector_positions != ALL:
            raise ValueError(
                f"vector_positions: {self.config.vector_positions!r} cannot be told for each request in continuous "
                'batching, where requests share a row; set vector_positions="all", vector_strength=0, or use generate()'
            )
        fixed = self.config.language
        same = isinstance(named, str) and not is_auto(named) and self._code(named) == fixed
        if is_auto(fixed) or not (named is None or same):
            raise ValueError(
                f"language: {fixed if named is None else named!r} cannot be kept for each request in continuous "
                "batching, where requests share a row; set config.language to the one language of all, or use "
                "generate() and serve without continuous batching"
            )
