"""What every model of a steered family can do: load with its masks, tell and change what is in force, detect
languages, and overwrite neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .auto_language import DetectedLanguage, detect
from .language_detector import LanguageDetector
from .layers_clas import ClasDecoderLayerMixin, ClasMLPMixin
from .overwrite import Overwrite, check_tables, filled

_MASKS = (".shared_mask", ".specific_mask")
_DETECTOR = ("language_detector.evidence", "language_detector.kinds", "language_detector.limits")
_OVERWRITE = (".overwrite.mask", ".overwrite.values")


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


class ClasPreTrainedMixin:
    """Before any class of a family: how strengths are read and changed, and how the buffers come to life."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ClasMLPMixin):
            init.zeros_(module.shared_mask)
            init.zeros_(module.specific_mask)
            init.copy_(module.row_scales, module.strengths.row_scales())
        elif isinstance(module, LanguageDetector):
            for buffer in module.buffers():
                init.zeros_(buffer)
        elif isinstance(module, Overwrite):
            init.zeros_(module.mask)
            init.zeros_(module.values)
            init.constant_(module.enabled, self.config.overwrite)

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in the base class, but masks or a detector that are missing are an error: the model would run unsteered.

        Raises:
            ValueError: the checkpoint has no masks for a bridge layer, or no detector, that the configuration or an
                override asks for.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        _check_missing(model.config, info["missing_keys"])
        return (model, info) if output_loading_info else model

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; the modeling files go with the weights, and nothing is written of a wrong field.

        Raises:
            TypeError, ValueError: a field of the configuration cannot be used.
        """
        self.config.validate_steering()
        return super().save_pretrained(*args, **kwargs)

    @property
    def steering(self) -> Steering:
        """What is in force: strengths for every language, and the neurons that they act on."""
        config = self.config
        mlps = [module for module in self.modules() if isinstance(module, ClasMLPMixin) and module.is_bridge]
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
            ValueError: the checkpoint has no detector.
            IndexError: an id outside the vocabulary.
        """
        detector = self.base_model.language_detector
        if detector is None:
            raise ValueError("the checkpoint has no language detector; convert.py adds one to a steered checkpoint")
        return detect(detector, self.config.anchor_language, input_ids, attention_mask)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; the detector follows, and tokens that are new to it say nothing."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.base_model.language_detector is not None:
            self.base_model.language_detector.resize(self.config.vocab_size)
        return embeddings

    def set_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        overwrite: bool | None = None,
    ) -> None:
        """Change strengths on the loaded model; what is not given stays as it is.

        A number for `alpha` holds for every language but the anchor; a mapping needs the key "default".  `overwrite`
        says whether the rule of `set_overwrite` is in force.  The masks and the bridge layers are part of the
        checkpoint and do not change.

        Raises:
            TypeError, ValueError: a value is not allowed; then nothing has changed.
        """
        given = {"alpha": alpha, "beta": beta, "gamma": gamma, "overwrite": overwrite}
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
            elif isinstance(module, Overwrite):
                module.enabled.fill_(wanted.overwrite)

    def set_overwrite(self, masks: Tensor, values: Tensor) -> None:
        """Overwrite `act(gate)` of chosen neurons in every layer, for the rows of a language.

        The rule is in force at once, saved with the checkpoint, and switched by `set_steering(overwrite=…)`.

        Args:
            masks: bool `[languages, layers, neurons]`: which neurons; the anchor's are left alone whatever it says.
            values: floating, the same shape: what they are overwritten with.

        Raises:
            ValueError: another shape or dtype, or a value that is not finite.
        """
        config, decoder = self.config, self.base_model
        check_tables(masks, values, (len(config.languages), config.num_hidden_layers, config.intermediate_size))
        layers = list(range(config.num_hidden_layers))
        for module in self.modules():
            if isinstance(module, ClasPreTrainedMixin):
                module.config.overwrite_layers, module.config.overwrite = layers, True
        masks = masks.clone()
        masks[config.languages.index(config.anchor_language)] = False
        for index, layer in enumerate(decoder.layers):
            if not isinstance(layer, ClasDecoderLayerMixin):
                layer = decoder.layers[index] = self._patched(layer, index)
            layer.mlp.overwrite = filled(masks[:, index], values[:, index]).to(layer.mlp.down_proj.weight.device)

    def _patched(self, layer: nn.Module, index: int) -> ClasDecoderLayerMixin:
        """A layer of this family around the modules of a plain one, which may be quantised or have an adapter."""
        weight = layer.mlp.down_proj.weight
        with torch.device("meta"):
            patched = self.base_model.layer_class(self.config, index)
        for old, new in ((layer, patched), (layer.mlp, patched.mlp)):
            for name, module in old.named_children():
                if module is not layer.mlp:
                    setattr(new, name, module)
        for name in ("shared_mask", "specific_mask"):
            mask = getattr(patched.mlp, name)
            setattr(patched.mlp, name, torch.zeros_like(mask, device=weight.device))
        patched.mlp.row_scales = patched.mlp._row_scales(weight.device)
        return patched.train(layer.training)

    @contextmanager
    def temporary_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        overwrite: bool | None = None,
    ) -> Iterator[None]:
        """`set_steering` for the length of a `with` block; what was in force comes back, also after an exception."""
        config = self.config
        before = {name: getattr(config, name) for name in ("alpha", "beta", "gamma", "overwrite")}
        self.set_steering(alpha=alpha, beta=beta, gamma=gamma, overwrite=overwrite)
        try:
            yield
        finally:
            self.set_steering(**before)


def _check_missing(config: Any, missing_keys: Iterable[str]) -> None:
    """Raises ValueError where a checkpoint lacks what its configuration, or an override, promises."""
    for endings, promise, remedy in (
        (
            _DETECTOR,
            f"detector_languages: {config.detector_languages}",
            "convert.py adds a detector to a steered checkpoint",
        ),
        (_OVERWRITE, f"overwrite_layers: {config.overwrite_layers}", "allowed are the layers that were saved with it"),
        (
            _MASKS,
            f"bridge_layers: {config.bridge_layers}",
            "allowed are layers with masks, and convert.py makes masks for other layers from the profile that it "
            "carries",
        ),
    ):
        missing = sorted(key for key in missing_keys if key.endswith(endings))
        if missing:
            raise ValueError(f"{promise}, but the checkpoint has no {missing[0]!r}; {remedy}")
