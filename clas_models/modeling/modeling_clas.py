"""What every steered family shares: the MLP, the bridge layer, the decoder, and the model's own methods.

A family (`modeling_clas_llama.py`, `modeling_clas_qwen2.py`) only combines these mixins with its base classes.
What travels from `forward` to the MLP is one tensor, `language_ids` `[batch]`, an explicit keyword of every layer:
no hooks, no module state, no globals.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.cache_utils import Cache

from .auto_language import DetectedLanguage, decide, detect, is_auto, remember, remembered
from .language import Language, language_ids
from .language_gate import LanguageGate
from .steering import Strengths, steer

_ADDED = (".shared_mask", ".specific_mask", "language_gate.evidence", "language_gate.kinds", "language_gate.limits")


@dataclass(frozen=True)
class Steering:
    """What is in force on a loaded model.

    `alpha` holds a number for every profiled language and for "default", all others; `neurons` the shared and the
    specific ones of each bridge layer that are rescaled, of `intermediate_size`.
    """

    languages: tuple[str, ...]
    anchor_language: str
    language: str | None
    alpha: dict[str, float]
    beta: float
    gamma: float
    neurons: dict[int, tuple[int, int]]
    intermediate_size: int

    @property
    def bridge_layers(self) -> tuple[int, ...]:
        return tuple(self.neurons)

    def __str__(self) -> str:
        alpha = ", ".join(f"{code} {value:g}" for code, value in self.alpha.items())
        share = ", ".join(f"layer {i}: {s} shared, {p} specific" for i, (s, p) in self.neurons.items())
        return (
            f"alpha {alpha}; beta {self.beta:g}; gamma {self.gamma:g}; default language {self.language}; "
            f"of {self.intermediate_size} neurons {share or 'none (no bridge layers)'}"
        )


class ClasMLPMixin(nn.Module):
    """Before a family's gated MLP: two masks, and the steering rule in front of `down_proj`.

    Buffers:
        shared_mask, specific_mask: bool `[intermediate_size]`, saved with the weights; neurons of the categories
            partial-shared and language-specific.
        row_scales: `[languages + 1, 2, 1, 1]`, made from the strengths, not saved; float32, or float64 in a float64
            model.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.strengths: Strengths = config.strengths
        self.register_buffer("shared_mask", torch.zeros(config.intermediate_size, dtype=torch.bool))
        self.register_buffer("specific_mask", torch.zeros(config.intermediate_size, dtype=torch.bool))
        self.register_buffer("row_scales", self._row_scales(self.shared_mask.device), persistent=False)

    def forward(self, x: Tensor, language_ids: Tensor) -> Tensor:
        """`[batch, tokens, hidden]` to the same shape; `language_ids` is int64 `[batch]`."""
        h = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        h = steer(h, self.shared_mask, self.specific_mask, self.row_scales, language_ids)
        return self.down_proj(h)

    def set_strengths(self, strengths: Strengths) -> None:
        """Put other strengths in force.  In place: a compiled graph stays valid."""
        self.strengths = strengths
        self.row_scales.copy_(strengths.row_scales())

    def _row_scales(self, device: torch.device) -> Tensor:
        dtype = torch.float64 if self.down_proj.weight.dtype == torch.float64 else torch.float32
        return self.strengths.row_scales().to(device=device, dtype=dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Module.to(dtype) would round the strengths to a half-precision format for good, so they are made anew.
        super()._apply(fn, recurse)
        self.row_scales = self._row_scales(self.row_scales.device)
        return self


class ClasDecoderLayerMixin(nn.Module):
    """Before a family's decoder layer: a bridge layer, which hands the rows' languages to its steered MLP."""

    mlp_class: type[ClasMLPMixin]

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.mlp = self.mlp_class(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = False,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        language_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """As in the base class, with `language_ids`, int64 `[batch]`, for the MLP."""
        attended, _ = self.self_attn(
            hidden_states=self.input_layernorm(hidden_states),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            position_embeddings=position_embeddings,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), language_ids)


class ClasPreTrainedMixin:
    """Before any class of a family: how strengths are read and changed, and how the buffers come to life."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ClasMLPMixin):
            init.zeros_(module.shared_mask)
            init.zeros_(module.specific_mask)
            init.copy_(module.row_scales, module.strengths.row_scales())
        elif isinstance(module, LanguageGate):
            for buffer in module.buffers():
                init.zeros_(buffer)

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in the base class, but masks or a gate that are missing are an error: the model would run unsteered.

        Raises:
            ValueError: the checkpoint has no masks for a bridge layer, or no gate, that the configuration or an
                override asks for.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        missing = sorted(key for key in info["missing_keys"] if key.endswith(_ADDED))
        if missing and "language_gate" in missing[0]:
            raise ValueError(
                f"gate_languages: {model.config.gate_languages}, but the checkpoint has no {missing[0]!r}; convert.py "
                "adds a gate to a steered checkpoint"
            )
        if missing:
            raise ValueError(
                f"bridge_layers: {model.config.bridge_layers}, but the checkpoint has no {missing[0]!r}; allowed are "
                "layers with masks, and convert.py makes masks for other layers from the profile that it carries"
            )
        return (model, info) if output_loading_info else model

    @property
    def steering(self) -> Steering:
        """What is in force: strengths for every language, and the neurons that they act on."""
        config = self.config
        mlps = [module for module in self.modules() if isinstance(module, ClasMLPMixin)]
        strengths = mlps[0].strengths if mlps else config.strengths
        return Steering(
            languages=tuple(config.languages),
            anchor_language=config.anchor_language,
            language=config.language,
            alpha=dict(zip([*config.languages, "default"], strengths.alpha, strict=True)),
            beta=strengths.beta,
            gamma=strengths.gamma,
            neurons={
                index: (int(mlp.shared_mask.sum()), int(mlp.specific_mask.sum()))
                for index, mlp in zip(config.bridge_layers, mlps, strict=True)
            },
            intermediate_size=config.intermediate_size,
        )

    def detect_language(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> list[DetectedLanguage]:
        """What `language="auto"` takes every row of a batch for, and how sure it is.

        Args:
            input_ids: integers `[batch, tokens]`.
            attention_mask: `[batch, tokens]`, 0 where a token is padding.

        Raises:
            ValueError: the checkpoint has no gate.
            IndexError: an id outside the vocabulary.
        """
        gate = self.base_model.language_gate
        if gate is None:
            raise ValueError("the checkpoint has no language gate; convert.py adds one to a steered checkpoint")
        return detect(gate, self.config.anchor_language, input_ids, attention_mask)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; the gate follows, and tokens that are new to it say nothing."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.base_model.language_gate is not None:
            self.base_model.language_gate.resize(self.config.vocab_size)
        return embeddings

    def set_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
    ) -> None:
        """Change strengths on the loaded model; what is not given stays as it is.

        A number for `alpha` holds for every language but the anchor; a mapping needs the key "default".  The masks
        and the bridge layers are part of the checkpoint and do not change.

        Raises:
            TypeError, ValueError: a value is not allowed; then nothing has changed.
        """
        given = {"alpha": alpha, "beta": beta, "gamma": gamma}
        given = {name: value for name, value in given.items() if value is not None}
        wanted = deepcopy(self.config)
        for name, value in given.items():
            setattr(wanted, name, dict(value) if isinstance(value, Mapping) else value)
        wanted.validate_steering()
        for module in self.modules():
            if isinstance(module, ClasPreTrainedMixin):
                for name in given:
                    setattr(module.config, name, getattr(wanted, name))
            elif isinstance(module, ClasMLPMixin):
                module.set_strengths(wanted.strengths)

    @contextmanager
    def temporary_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
    ) -> Iterator[None]:
        """`set_steering` for the length of a `with` block; what was in force comes back, also after an exception."""
        config = self.config
        before = {"alpha": config.alpha, "beta": config.beta, "gamma": config.gamma}
        self.set_steering(alpha=alpha, beta=beta, gamma=gamma)
        try:
            yield
        finally:
            self.set_steering(**before)


class ClasModelMixin(ClasPreTrainedMixin):
    """Before a family's decoder: bridge layers where the configuration says, and the languages of the rows."""

    layer_class: type[ClasDecoderLayerMixin]

    def __init__(self, config: Any) -> None:
        config.validate_steering()
        super().__init__(config)
        for index in config.bridge_layers:
            self.layers[index] = self.layer_class(config, index)
        self.language_gate = None
        if config.gate_languages is not None:
            self.language_gate = LanguageGate(
                config.vocab_size, config.gate_languages, config.languages, config.anchor_language
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
            language: a code, a list of codes (one a row), int64 ids `[batch]`, or "auto": decided by the gate from
                `input_ids`, which must then be the whole sequence; by default `config.language`.

        Raises:
            TypeError, ValueError: `language` is none of these, does not fit the batch, or cannot be decided.
            IndexError: an id outside the vocabulary.
        """
        rows = input_ids if input_ids is not None else inputs_embeds
        language = self.config.language if language is None else language
        if rows is not None and is_auto(language):
            language = decide(self.language_gate, input_ids, attention_mask, past_key_values)
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


class ClasForCausalLMMixin(ClasPreTrainedMixin):
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

    def generate(self, inputs: Tensor | None = None, *args: Any, language: Language = None, **kwargs: Any) -> Any:
        """As in the base class, with `language` as in `ClasModelMixin.forward`, one entry a prompt.

        Beams and returned sequences follow their prompt's language.  What "auto" decides from the prompt holds for
        the whole generation, and for later ones that continue with its cache.
        """
        prompt = inputs if inputs is not None else kwargs.get("input_ids")
        rows = prompt if prompt is not None else kwargs.get("inputs_embeds")
        language = self.config.language if language is None else language
        if is_auto(language):
            language = self._auto_language(prompt, rows, kwargs)
            remember(kwargs.get("past_key_values"), language, len(language))
            output = super().generate(inputs, *args, language=language, **kwargs)
            if not isinstance(output, Tensor):
                remember(output.get("past_key_values"), language, len(output.sequences))
            return output
        if language is not None and not isinstance(language, str):
            # Ids are a tensor, which generate() repeats for the beams of a prompt as it repeats the prompt itself.
            rows = torch.empty(1, 0) if rows is None else rows
            language = resolve_language(self.config, language, rows, check_values=True)
        return super().generate(inputs, *args, language=language, **kwargs)

    def _auto_language(self, prompt: Tensor | None, rows: Tensor | None, kwargs: dict[str, Any]) -> Tensor:
        """Ids int64 `[prompts]`: those that the cache was filled under, or else what the prompt says."""
        gate = self.base_model.language_gate
        if rows is None:  # generate() begins with the token that begins every text, which says nothing
            prompt = torch.empty(1, 0, dtype=torch.long, device=self.device)
            return decide(gate, prompt)
        kept = remembered(kwargs.get("past_key_values"), len(rows))
        return decide(gate, prompt, kwargs.get("attention_mask")) if kept is None else kept.to(rows.device)


def resolve_language(config: Any, language: Language, rows: Tensor, check_values: bool | None = None) -> Tensor:
    """Ids int64 `[batch]` on the device of `rows` `[batch, ...]`, from what the caller or the configuration names."""
    if check_values is None:
        check_values = rows.device.type == "cpu" and not torch.compiler.is_compiling()
    return language_ids(language, config.languages, rows.shape[0], rows.device, check_values)
