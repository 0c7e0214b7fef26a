"""The configuration of a steered checkpoint: the base family's fields plus the steering fields.

Every steering field is checked on construction, on load, on an override in `from_pretrained(..., alpha=-2)`, and
again when a model is built or saved; an error names the field, the value and what is allowed.

Source of the fields: "Cross-Lingual Activation Steering for Multilingual Language Models", section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar

from transformers import LlamaConfig, Qwen2Config

from .auto_language import AUTO, is_auto
from .language import language_code
from .steering import Strengths
from .version import VERSION, check_version

STEERING_FIELDS = (
    "languages", "anchor_language", "bridge_layers", "alpha", "beta", "gamma", "language", "detector_languages",
    "overwrite_layers", "overwrite", "clas_version",
)  # fmt: skip
MODEL_CLASSES = {
    "AutoModel": "Model",
    "AutoModelForCausalLM": "ForCausalLM",
    "AutoModelForSequenceClassification": "ForSequenceClassification",
    "AutoModelForTokenClassification": "ForTokenClassification",
    "AutoModelForQuestionAnswering": "ForQuestionAnswering",
}


@dataclass(kw_only=True, repr=False, eq=False)
class ClasConfigMixin:
    """The steering fields of a checkpoint, the same for every family.

    Args:
        languages: ISO 639-1 codes of the profiled languages; a language's position here is its id.
        anchor_language: the language that is never steered, one of `languages`.
        bridge_layers: indices of the steered layers, each in `0 .. num_hidden_layers - 1`.
        alpha: strength and direction of the blend: one number for every language but the anchor, or a mapping from
            language to number with the key "default" for all that it does not name.
        beta: how much a shared neuron is boosted.
        gamma: how much a language-specific neuron is damped.
        language: the language of inputs that come without one; "auto" lets the detector decide, None is an unnamed
            language that is not the anchor.
        detector_languages: the languages that the checkpoint's detector tells from the anchor, profiled or not; None is a
            checkpoint without a detector.
        overwrite_layers: layers in which neurons of a language are overwritten; see `overwrite.py`.
        overwrite: whether they are, in these layers.
        clas_version: the version of this package that wrote the checkpoint.

    Raises:
        TypeError, ValueError: a field cannot be used.
    """

    languages: list[str] = field(default_factory=lambda: ["en"])
    anchor_language: str = "en"
    bridge_layers: list[int] = field(default_factory=list)
    alpha: float | dict[str, float] = 1.0
    beta: float = 0.4
    gamma: float = 0.2
    language: str | None = None
    detector_languages: list[str] | None = None
    overwrite_layers: list[int] = field(default_factory=list)
    overwrite: bool = True
    clas_version: str = VERSION

    family: ClassVar[str] = ""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.validate_steering()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in the base class, where overrides are set after construction; here they are checked, too."""
        result = super().from_dict(config_dict, **kwargs)
        config = result[0] if isinstance(result, tuple) else result
        config.validate_steering()
        return result

    @classmethod
    def code_map(cls) -> dict[str, str]:
        """`auto_map` of `config.json`: the class that each Auto class loads from the files in the checkpoint."""
        prefix = cls.__name__.removesuffix("Config")
        models = {auto: f"modeling_clas_{cls.family}.{prefix}{suffix}" for auto, suffix in MODEL_CLASSES.items()}
        # The one Auto class through which `transformers serve` loads such code; it takes any causal language model.
        models["AutoModelForDecision"] = models["AutoModelForCausalLM"]
        return {"AutoConfig": f"configuration_clas.{cls.__name__}", **models}

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; what is written says which code wrote it, and where each Auto class finds it."""
        self.validate_steering()
        self.clas_version, self.auto_map = VERSION, self.code_map()
        return super().save_pretrained(*args, **kwargs)

    def validate(self) -> None:
        """Checked by `save_pretrained` before anything is written."""
        super().validate()
        self.validate_steering()

    def validate_steering(self) -> None:
        """Check all steering fields, alone and against each other, and bring codes into their normal form."""
        check_version(self.clas_version)
        self.languages = _languages(self.languages, "languages")
        self.anchor_language = language_code(self.anchor_language, "anchor_language")
        if self.anchor_language not in self.languages:
            raise ValueError(
                f"anchor_language: {self.anchor_language!r} is not among the languages {', '.join(self.languages)}"
            )
        self.bridge_layers = _layers(self.bridge_layers, "bridge_layers", self.num_hidden_layers)
        self.overwrite_layers = _layers(self.overwrite_layers, "overwrite_layers", self.num_hidden_layers)
        if not isinstance(self.overwrite, bool):
            raise TypeError(
                f"overwrite: {self.overwrite!r} is of type {type(self.overwrite).__name__}; allowed is a bool"
            )
        self.alpha = _alpha(self.alpha, self.languages, self.anchor_language)
        self.beta = _strength(self.beta, "beta")
        self.gamma = _strength(self.gamma, "gamma")
        self._validate_language()

    def _validate_language(self) -> None:
        if self.detector_languages is not None:
            self.detector_languages = _languages(self.detector_languages, "detector_languages")
            if self.anchor_language in self.detector_languages:
                raise ValueError(
                    f"detector_languages: {self.anchor_language!r} is the anchor language, which the detector tells all others "
                    "from; leave it out"
                )
        if is_auto(self.language):
            self.language = AUTO
            if self.detector_languages is None:
                raise ValueError(
                    'language: "auto", but the checkpoint has no language detector (detector_languages is None); name a '
                    'language such as "de", or add a detector with convert.py'
                )
        elif self.language is not None:
            self.language = language_code(self.language, "language")

    @property
    def strengths(self) -> Strengths:
        """The strengths of every language id, as these fields say."""
        return Strengths.of(self.languages, self.anchor_language, self.alpha, self.beta, self.gamma)


class ClasLlamaConfig(ClasConfigMixin, LlamaConfig):
    """A steered Llama: `LlamaConfig` and the fields of `ClasConfigMixin`."""

    model_type = "clas_llama"
    family = "llama"


class ClasQwen2Config(ClasConfigMixin, Qwen2Config):
    """A steered Qwen2: `Qwen2Config` and the fields of `ClasConfigMixin`."""

    model_type = "clas_qwen2"
    family = "qwen2"


def _languages(value: object, name: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}; allowed is a list of language codes")
    codes = [language_code(code, f"{name}[{position}]") for position, code in enumerate(value)]
    if not codes:
        raise ValueError(f"{name}: the list is empty; it must hold at least one language")
    if len(set(codes)) < len(codes):
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        raise ValueError(f"{name}: {', '.join(repeated)} more than once in {codes}; each may stand there once")
    return codes


def _layers(value: object, name: str, num_layers: int) -> list[int]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}; allowed is a list of layer indices")
    layers = []
    for position, layer in enumerate(value):
        if isinstance(layer, bool) or not isinstance(layer, Integral):
            raise TypeError(f"{name}[{position}]: {layer!r} is not an integer; layers are 0 to {num_layers - 1}")
        if not 0 <= layer < num_layers:
            raise ValueError(f"{name}[{position}]: {layer} is out of range; layers are 0 to {num_layers - 1}")
        layers.append(int(layer))
    if len(set(layers)) < len(layers):
        raise ValueError(f"{name}: a layer stands more than once in {layers}; each may stand there once")
    return sorted(layers)


def _strength(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}; allowed is a finite number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name}: {value} is not finite; allowed is a finite number")
    return number


def _alpha(value: object, languages: list[str], anchor: str) -> float | dict[str, float]:
    if not isinstance(value, Mapping):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"alpha: {value!r} is of type {type(value).__name__}; allowed is a number or a mapping")
        return _strength(value, "alpha")
    by_code: dict[str, float] = {}
    for key, number in value.items():
        code = key if key == "default" else language_code(key, "alpha")
        if code in by_code:
            raise ValueError(f"alpha: {code!r} more than once in {value!r}; each language may stand there once")
        by_code[code] = _strength(number, f"alpha[{code!r}]")
        if code not in (*languages, "default"):
            raise ValueError(
                f"alpha: {code!r} is not among the languages {', '.join(languages)}, nor the key 'default'"
            )
    if "default" not in by_code:
        raise ValueError(f"alpha: {value!r} lacks the key 'default', the strength of languages that it does not name")
    if by_code.get(anchor):
        raise ValueError(f"alpha: the anchor language {anchor!r} is never steered; allowed is 0, or leave it out")
    return by_code
