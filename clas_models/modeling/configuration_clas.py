"""The configuration of a steered checkpoint: the base family's fields plus the steering fields.

Every steering field is checked on construction, on load, on an override in `from_pretrained(..., alpha=-2)`, and
again when a model is built or saved; an error names the field, the value and what is allowed.

Source of the fields: "Cross-Lingual Activation Steering for Multilingual Language Models", section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from transformers.utils import logging

from .add import Add
from .auto_language import AUTO, is_auto
from .language_tags import language_code, matching, own_code
from .name_tables import join_peft_tables
from .positions import LAST, checked_positions
from .scale import Scale
from .steering import Strengths, by_language_id, warn_of_negative_factors
from .version import VERSION, check_version

logger = logging.get_logger(__name__)

MODEL_CLASSES = {
    "AutoModel": "Model",
    "AutoModelForCausalLM": "ForCausalLM",
    "AutoModelForSequenceClassification": "ForSequenceClassification",
    "AutoModelForTokenClassification": "ForTokenClassification",
    "AutoModelForQuestionAnswering": "ForQuestionAnswering",
}
STRENGTHS = ("alpha", "beta", "gamma", "vector_strength")
UNSTEERED = {"alpha": 0.0, "vector_strength": 0.0}  # with these strengths a model is its base, bit for bit
_DEFAULT_STRENGTH = 1.0  # of alpha and vector_strength
# Fields that version 0.1 had under another name, or has no use for any more.
_RENAMED = {"gate_languages": "detector_languages"}
_DROPPED = ("overwrite_layers", "overwrite")
OLD_FIELDS = (*_RENAMED, *_DROPPED)


@dataclass(kw_only=True, repr=False, eq=False)
class ClasConfigMixin:
    """The steering fields of a checkpoint, the same for every family.

    Args:
        languages: canonical tags of the profiled languages; a language's position here is its id.
        anchor_language: the language that is never steered, one of `languages`.
        bridge_layers: indices of the layers that CLAS steers, each in `0 .. num_hidden_layers - 1`.
        alpha: strength and direction of the blend: one number for every language but the anchor, or a mapping from
            language to number with the key "default" for all that it does not name; without it the default is 1, and
            where strengths are changed it stays as it was.
        beta: how much a shared neuron is boosted.
        gamma: how much a language-specific neuron is damped.
        fitted: whether every bridge layer has a table with a strength for each language and category of neurons, in
            place of beta and gamma; alpha multiplies it.
        vector_layers: indices of the layers after which a vector of the row's language is added.
        vector_strength: by what the vectors are multiplied, in the form of `alpha`.
        vector_positions: the tokens that they are added to: "last" of the prompt, "generated" (from there on), "all".
        language: the language of inputs that come without one; "auto" lets the detector decide, None is an unnamed
            language that is not the anchor.
        detector_languages: the languages that the checkpoint's detector tells from the anchor, profiled or not; None is
            a checkpoint without a detector.
        detector_floor: a row whose language the detector gives a lower confidence, 0 to 1, is taken for the anchor; 0
            takes every answer.
        detector_temperature, detector_handicap: how the converter calibrated the detector; see `DetectorCalibration`.
        clas_version: the version of this package that wrote the checkpoint.

    Raises TypeError, ValueError: a field cannot be used.
    """

    languages: list[str] = field(default_factory=lambda: ["en"])
    anchor_language: str = "en"
    bridge_layers: list[int] = field(default_factory=list)
    alpha: float | dict[str, float] = _DEFAULT_STRENGTH
    beta: float = 0.4
    gamma: float = 0.2
    fitted: bool = False
    vector_layers: list[int] = field(default_factory=list)
    vector_strength: float | dict[str, float] = _DEFAULT_STRENGTH
    vector_positions: str = LAST
    language: str | None = None
    detector_languages: list[str] | None = None
    detector_floor: float = 0.0
    detector_temperature: float = 1.0
    detector_handicap: float = 0.0
    clas_version: str = VERSION

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.validate_steering()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in the base class, where overrides are set after construction; here they are checked, too.

        Reads what version 0.1 wrote.
        """
        config_dict = {_RENAMED.get(name, name): value for name, value in config_dict.items()}
        if config_dict.get("overwrite_layers") and config_dict.get("overwrite", True):
            logger.warning(
                "overwrite_layers: this version reads no stored overwriting of neurons; without it the model runs as "
                "if saved after set_steering(overwrite=False). See model.intervening"
            )
        config_dict = {name: value for name, value in config_dict.items() if name not in _DROPPED}
        kwargs = {name: _completed(name, value, config_dict.get(name)) for name, value in kwargs.items()}
        if kwargs.get("fitted", config_dict.get("fitted")):
            _check_unused(kwargs, config_dict)
        result = super().from_dict(config_dict, **kwargs)
        config = result[0] if isinstance(result, tuple) else result
        config.validate_steering()
        return result

    def update(self, config_dict: dict[str, Any]) -> None:
        """As in the base class; strengths by language that come without a default keep the one in force."""
        super().update(
            {name: _completed(name, value, getattr(self, name, None)) for name, value in config_dict.items()}
        )

    @classmethod
    def code_map(cls) -> dict[str, str]:
        """`auto_map` of `config.json`: the class that each Auto class loads from the files in the checkpoint."""
        file, prefix = cls.__module__.rpartition(".")[2], cls.__name__.removesuffix("Config")
        models = {auto: f"{file}.{prefix}{suffix}" for auto, suffix in MODEL_CLASSES.items()}
        # The one Auto class through which `transformers serve` loads such code; it takes any causal language model.
        models["AutoModelForDecision"] = models["AutoModelForCausalLM"]
        return {"AutoConfig": f"{file}.{cls.__name__}", **models}

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; what is written says which code wrote it, and where each Auto class finds it."""
        self.validate_steering()
        self.clas_version, self.auto_map = VERSION, self.code_map()
        return super().save_pretrained(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As in the base class.

        It is what PEFT asks for right before it looks up which modules to adapt, so that is when PEFT's tables, which
        may have been loaded long after the model, get to know this family.
        """
        plain = next(cls for cls in type(self).__mro__ if cls.__module__.startswith("transformers.models."))
        join_peft_tables(plain.model_type, self.model_type)
        return super().to_dict()

    def validate(self) -> None:
        """Checked by `save_pretrained` before anything is written."""
        super().validate()
        self.validate_steering()

    def validate_steering(self) -> None:
        """Check all steering fields, alone and against each other, and bring codes into their normal form."""
        check_version(self.clas_version)
        self.languages = _languages(self.languages, "languages")
        anchor = language_code(self.anchor_language, "anchor_language", self.languages)
        if (found := matching(anchor, self.languages)) is None:
            raise ValueError(f"anchor_language: {anchor!r} is not among the languages {', '.join(self.languages)}")
        self.anchor_language = found
        self.bridge_layers = _layers(self.bridge_layers, "bridge_layers", self.num_hidden_layers)
        self.vector_layers = _layers(self.vector_layers, "vector_layers", self.num_hidden_layers)
        self.vector_positions = checked_positions(self.vector_positions, "vector_positions")
        self.alpha = _by_language(self.alpha, "alpha", self.languages, self.anchor_language)
        self.beta = _strength(self.beta, "beta")
        self.gamma = _strength(self.gamma, "gamma")
        if not isinstance(self.fitted, bool):
            raise TypeError(
                f"fitted: {self.fitted!r} is of type {type(self.fitted).__name__}; allowed is true or false"
            )
        self.vector_strength = _by_language(
            self.vector_strength, "vector_strength", self.languages, self.anchor_language
        )
        self._validate_language()
        if self.bridge_layers and not self.fitted:
            warn_of_negative_factors(self.scale_rule.strengths, self.languages)

    def _validate_language(self) -> None:
        if self.detector_languages is not None:
            self.detector_languages = _languages(self.detector_languages, "detector_languages")
            if self.anchor_language in self.detector_languages:
                raise ValueError(
                    f"detector_languages: {self.anchor_language!r} is the anchor language, which the detector tells "
                    "all others from; leave it out"
                )
        self.detector_floor = _strength(self.detector_floor, "detector_floor")
        if not 0 <= self.detector_floor <= 1:
            raise ValueError(f"detector_floor: {self.detector_floor:g} is no confidence; allowed is 0 to 1")
        self.detector_temperature = _strength(self.detector_temperature, "detector_temperature")
        if self.detector_temperature <= 0:
            raise ValueError(f"detector_temperature: {self.detector_temperature:g}; allowed is a number above 0")
        self.detector_handicap = _strength(self.detector_handicap, "detector_handicap")
        if self.detector_handicap < 0:
            raise ValueError(f"detector_handicap: {self.detector_handicap:g}; allowed is 0 or a number above it")
        if is_auto(self.language):
            self.language = AUTO
            if self.detector_languages is None:
                raise ValueError(
                    'language: "auto", but the checkpoint has no language detector (detector_languages is None); name '
                    'a language such as "de", or add a detector with clas-convert'
                )
        elif self.language is not None:
            own = (*self.languages, *(self.detector_languages or ()))
            self.language = language_code(self.language, "language", own)

    def with_strengths(self, **strengths: Any) -> Any:
        """A copy with other strengths, checked; None leaves one as it is, and a mapping without "default" its default.

        Args:
            strengths: any of STRENGTHS.

        Raises TypeError, ValueError: there is no such strength, or the value is not allowed.
        """
        if unknown := sorted(set(strengths) - set(STRENGTHS)):
            raise TypeError(f"{', '.join(unknown)}: no strength; allowed are {', '.join(STRENGTHS)}")
        if self.fitted:
            _check_unused(strengths, vars(self))
        config = deepcopy(self)
        for name, value in strengths.items():
            if value is not None:
                setattr(config, name, _completed(name, value, getattr(self, name)))
        config.validate_steering()
        return config

    @property
    def scale_rule(self) -> Scale:
        """CLAS, as these fields say."""
        alpha = by_language_id(self.alpha, self.languages, self.anchor_language)
        strengths = Strengths(alpha, float(self.beta), float(self.gamma))
        return Scale(tuple(self.bridge_layers), strengths, self.intermediate_size, self.fitted)

    @property
    def add_rule(self) -> Add:
        """The vectors, as these fields say."""
        strengths = by_language_id(self.vector_strength, self.languages, self.anchor_language)
        return Add(tuple(self.vector_layers), strengths, self.vector_positions, self.hidden_size)


STEERING_FIELDS = tuple(field.name for field in fields(ClasConfigMixin))


def _languages(value: object, name: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}; allowed is a list of language codes")
    written: dict[str, str] = {}
    for position, text in enumerate(value):
        if not isinstance(text, str) or (code := own_code(text, shortest=2)) is None:
            code = language_code(text, f"{name}[{position}]")
        if code in written:
            both = code if written[code] == text else f"{written[code]} and {text}, both {code},"
            raise ValueError(f"{name}: {both} more than once in {list(value)}; each may stand there once")
        written[code] = text
    if not written:
        raise ValueError(f"{name}: the list is empty; it must hold at least one language")
    return list(written)


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


def _by_language(value: object, name: str, languages: list[str], anchor: str) -> float | dict[str, float]:
    """A strength for all languages, or by language."""
    if not isinstance(value, Mapping):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}; allowed is a number or a mapping")
        return _strength(value, name)
    by_code: dict[str, float] = {}
    for key, number in value.items():
        code = key if key == "default" else _named(key, name, languages)
        if code in by_code:
            raise ValueError(f"{name}: {code!r} more than once in {value!r}; each language may stand there once")
        by_code[code] = _strength(number, f"{name}[{code!r}]")
    by_code.setdefault("default", _DEFAULT_STRENGTH)
    if by_code.get(anchor):
        raise ValueError(f"{name}: the anchor language {anchor!r} is never steered; allowed is 0, or leave it out")
    return by_code


def _check_unused(given: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Raises ValueError: other strengths are asked for than those that are fitted."""
    for name in ("beta", "gamma"):
        if given.get(name) is not None and given[name] != before.get(name, given[name]):
            raise ValueError(
                f"{name}: {given[name]!r}, but the checkpoint's strengths are fitted, which {name} is no part of; "
                "change alpha, which multiplies them all"
            )


def _named(key: object, name: str, languages: list[str]) -> str:
    """The profiled language that has a strength of its own."""
    tag = language_code(key, name, languages)
    if (code := matching(tag, languages)) is None:
        raise ValueError(f"{name}: {tag!r} is not among the languages {', '.join(languages)}, nor the key 'default'")
    return code


def _completed(name: str, value: Any, before: Any) -> Any:
    """A strength by language with the default of the one before, where it has none of its own."""
    if name not in ("alpha", "vector_strength") or not isinstance(value, Mapping) or "default" in value:
        return value
    default = before.get("default") if isinstance(before, Mapping) else before
    return {**value, "default": _DEFAULT_STRENGTH if default is None else default}
