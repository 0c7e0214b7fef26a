"""What every model of a steered family can do: load with its tables, tell and change what is in force, detect
languages, and run with neurons that are written over.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from transformers import initialization as init

from .add import AddInLayer
from .auto_language import DetectedLanguage, detect
from .configuration_clas import STRENGTHS
from .fitted import ClasFittedMixin
from .language_detector import LanguageDetector
from .layers_clas import put_write
from .masks import ClasMasksMixin
from .rule import Rule
from .scale import FittedScaleInLayer, ScaleInLayer
from .tensor_names import ALL_SHARED_MASK, DETECTOR_PREFIX, FITTED_STRENGTHS, MASKS, OVERWRITE_TABLES, RENAMED
from .vectors import ClasVectorsMixin
from .write import Write


@dataclass(frozen=True)
class Steering:
    """What is in force on a loaded model.

    `alpha` and `vector_strength` hold a number for every profiled language and for "default", all others; `neurons` the
    shared and the specific ones of each bridge layer that are rescaled, of `intermediate_size`.  Where strengths are
    `fitted`, beta and gamma say nothing, and all neurons of those layers may be rescaled.
    """

    languages: tuple[str, ...]
    anchor_language: str
    language: str | None
    alpha: dict[str, float]
    beta: float
    gamma: float
    neurons: dict[int, tuple[int, int]]
    intermediate_size: int
    vector_layers: tuple[int, ...] = ()
    vector_strength: dict[str, float] | None = None
    vector_positions: str | None = None
    fitted: bool = False

    @property
    def bridge_layers(self) -> tuple[int, ...]:
        return tuple(self.neurons)

    def __str__(self) -> str:
        share = ", ".join(f"layer {i}: {s} shared, {p} specific" for i, (s, p) in self.neurons.items())
        times = "fitted strengths" if self.fitted else f"beta {self.beta:g}; gamma {self.gamma:g}"
        scaled = (
            f"alpha {_listed(self.alpha)}; {times}; default language {self.language}; "
            f"of {self.intermediate_size} neurons {share or 'none (no bridge layers)'}"
        )
        if self.vector_strength is None:
            return scaled
        layers = ", ".join(map(str, self.vector_layers))
        return f"{scaled}; vectors in layers {layers} ({self.vector_positions}): {_listed(self.vector_strength)}"


class ClasPreTrainedMixin(ClasMasksMixin, ClasFittedMixin, ClasVectorsMixin):
    """Before any class of a family: how strengths are read and changed, and how the buffers come to life."""

    _keys_to_ignore_on_load_unexpected = [OVERWRITE_TABLES]
    _keep_in_fp32_modules_strict = {FITTED_STRENGTHS}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ScaleInLayer):
            init.zeros_(module.shared_mask)
            init.zeros_(module.specific_mask)
            if isinstance(module, FittedScaleInLayer):
                init.zeros_(module.all_shared_mask)
                init.zeros_(module.fitted_strengths)
            init.copy_(module.row_scales, module.scales())
        elif isinstance(module, AddInLayer):
            init.zeros_(module.vectors)
            init.copy_(module.row_strengths, module.row_strengths.new_tensor(module.strengths, device="cpu"))
        elif isinstance(module, LanguageDetector):
            for buffer in module.buffers():
                init.zeros_(buffer)

    @classmethod
    def from_pretrained(
        cls, *args: Any, output_loading_info: bool = False, key_mapping: dict[str, str] | None = None, **kwargs: Any
    ) -> Any:
        """As in the base class, but tables that are missing are an error: the model would run unsteered.

        Reads what version 0.1 wrote.

        Raises ValueError: the checkpoint has no masks or strengths for a bridge layer, no vectors or no detector, that
        the configuration or an override asks for; masks that overlap; or strengths or vectors that are not finite, or
        not 0 for the anchor.
        """
        mapping = {**RENAMED, **(key_mapping or {})}
        model, info = super().from_pretrained(*args, output_loading_info=True, key_mapping=mapping, **kwargs)
        _check_missing(model.config, info["missing_keys"])
        model.check_masks()
        model.check_fitted()
        model.check_vectors()
        return (model, info) if output_loading_info else model

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; the modeling files go with the weights, and nothing is written of a wrong field.

        Raises TypeError, ValueError: a field of the configuration cannot be used.
        """
        self.config.validate_steering()
        return super().save_pretrained(*args, **kwargs)

    # ---- what is in force

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force: `Scale` where there are bridge layers, `Add` where there are vectors, and the `Write`s of
        the blocks of `intervening` that this runs in.
        """
        config, decoder = self.config, self.base_model
        scale, add = self._in_layers(ScaleInLayer), self._in_layers(AddInLayer)
        rules: list[Rule] = []
        if scale:
            rules.append(replace(config.scale_rule, strengths=scale[0].strengths))
        if add:
            rules.append(replace(config.add_rule, strengths=add[0].strengths))
        return (*rules, *decoder.writes)

    @property
    def steering(self) -> Steering:
        """What is in force of the checkpoint's own rules: strengths for every language, and what they act on."""
        config = self.config
        scales, adds = self._in_layers(ScaleInLayer), self._in_layers(AddInLayer)
        strengths = scales[0].strengths if scales else config.scale_rule.strengths
        codes = [*config.languages, "default"]
        return Steering(
            languages=tuple(config.languages),
            anchor_language=config.anchor_language,
            language=config.language,
            alpha=dict(zip(codes, strengths.alpha, strict=True)),
            beta=strengths.beta,
            gamma=strengths.gamma,
            neurons={index: scale.rescaled() for index, scale in zip(config.bridge_layers, scales, strict=True)},
            intermediate_size=config.intermediate_size,
            vector_layers=tuple(config.vector_layers),
            vector_strength=dict(zip(codes, adds[0].strengths, strict=True)) if adds else None,
            vector_positions=config.vector_positions if adds else None,
            fitted=config.fitted,
        )

    def set_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        vector_strength: float | Mapping[str, float] | None = None,
    ) -> None:
        """Change strengths on the loaded model; what is not given stays as it is.

        A number for `alpha` or `vector_strength` holds for every language but the anchor; a mapping needs the key
        "default".  Masks, vectors and layers are part of the checkpoint and do not change.

        Raises TypeError, ValueError: a value is not allowed; then nothing has changed.
        """
        self._put_strengths(
            self.config.with_strengths(alpha=alpha, beta=beta, gamma=gamma, vector_strength=vector_strength)
        )

    def reset_steering(self) -> None:
        """Put the strengths back that the model was loaded or built with, overrides in `from_pretrained` included.

        Masks stay as they are, those of `set_masks`, too.
        """
        self._restore_strengths(self.base_model.loaded_strengths)

    @contextmanager
    def temporary_steering(
        self,
        *,
        alpha: float | Mapping[str, float] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        vector_strength: float | Mapping[str, float] | None = None,
    ) -> Iterator[None]:
        """`set_steering` for the length of a `with` block; what was in force comes back, also after an exception."""
        before = {name: getattr(self.config, name) for name in STRENGTHS}
        self.set_steering(alpha=alpha, beta=beta, gamma=gamma, vector_strength=vector_strength)
        try:
            yield
        finally:
            self._restore_strengths(before)

    def _restore_strengths(self, strengths: Mapping[str, Any]) -> None:
        """Those that were in force before, a beta and a gamma, too, that say nothing where strengths are fitted now."""
        wanted = deepcopy(self.config)
        for name, value in strengths.items():
            setattr(wanted, name, deepcopy(value))
        wanted.validate_steering()
        self._put_strengths(wanted)

    def _put_strengths(self, wanted: Any) -> None:
        for module in self.modules():
            if isinstance(module, ClasPreTrainedMixin):
                for name in STRENGTHS:
                    setattr(module.config, name, getattr(wanted, name))
            elif isinstance(module, ScaleInLayer):
                module.set_strengths(wanted.scale_rule.strengths)
            elif isinstance(module, AddInLayer):
                module.set_strengths(wanted.add_rule.strengths)

    @contextmanager
    def intervening(self, write: Write) -> Iterator[None]:
        """Write over neurons for the length of a `with` block, beside the rules of the checkpoint.

        For experiments: it is in force for every caller of the model meanwhile, also from other threads, and nothing of
        it is saved.

        Raises ValueError: the tables do not fit the model, or another `Write` is in force.
        """
        config, decoder = self.config, self.base_model
        write.check_fits(config.languages, config.num_hidden_layers, config.intermediate_size)
        if decoder.writes:
            raise ValueError("write: another one is in force; leave its block first, or put both into one table")
        try:
            for layer in write.layers:
                put_write(decoder.layers[layer], write.in_layer(layer, config.languages))
            decoder.writes = (write,)
            yield
        finally:
            for layer in write.layers:
                put_write(decoder.layers[layer], None)
            decoder.writes = ()

    # ---- the language detector

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
            raise ValueError("the checkpoint has no language detector; clas-convert adds one to a steered checkpoint")
        return detect(detector, self.config.anchor_language, input_ids, attention_mask)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; the detector follows, and tokens that are new to it say nothing."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.base_model.language_detector is not None:
            self.base_model.language_detector.resize(self.config.vocab_size)
        return embeddings


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{code} {value:g}" for code, value in values.items())


def _check_missing(config: Any, missing_keys: Iterable[str]) -> None:
    """Raises ValueError where a checkpoint lacks what its configuration, or an override, promises."""
    detector = tuple(f"{DETECTOR_PREFIX.partition('.')[2]}{name}" for name in ("evidence", "kinds", "limits"))
    masks = tuple(f".scale.{mask}" for mask in (*MASKS, ALL_SHARED_MASK))
    for endings, promise, remedy in (
        (
            detector,
            f"detector_languages: {config.detector_languages}",
            "clas-convert adds a detector to a steered checkpoint",
        ),
        (
            (f".scale.{FITTED_STRENGTHS}",),
            f"fitted: {config.fitted}",
            "allowed are layers with fitted strengths, which clas-convert --strengths puts into a checkpoint",
        ),
        ((".add.vectors",), f"vector_layers: {config.vector_layers}", "allowed are layers with vectors"),
        (
            masks,
            f"bridge_layers: {config.bridge_layers}",
            "allowed are layers with masks, and clas-convert makes masks for other layers from the profile that it "
            "carries",
        ),
    ):
        missing = sorted(key for key in missing_keys if key.endswith(endings))
        if missing:
            raise ValueError(f"{promise}, but the checkpoint has no {missing[0]!r}; {remedy}")
