"""The steering fields of a checkpoint: what the user says, what holds in a steered source, the defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from ..modeling.auto_language import AUTO
from ..modeling.language_detector import LanguageDetector
from ..profiling.fitted_strengths import FittedStrengths
from .detector import NONE, MadeDetector
from .options import STRENGTHS, ConversionOptions
from .source import Source

Strength: TypeAlias = float | Mapping[str, float]


def steering_fields(
    options: ConversionOptions,
    source: Source,
    languages: Sequence[str],
    bridge_layers: Sequence[int],
    detector: MadeDetector | None,
    fitted: FittedStrengths | None = None,
) -> dict[str, Any]:
    """All but those of vectors, which are `vector_step.py`'s.

    Args:
        fitted: the strengths in place of beta and gamma; those that the user gives bring an alpha along.
    """
    language = options.wanted_language() or (AUTO if detector is not None and detector.is_trusted else None)
    return {
        "languages": list(languages),
        "anchor_language": options.anchor_among(languages),
        "bridge_layers": list(bridge_layers),
        **_strengths(options, source, languages, fitted),
        "fitted": fitted is not None,
        "language": None if language == NONE else language,
        **(_detector_fields(detector.detector) if detector is not None else {"detector_languages": None}),
    }


def chosen_strength(given: Strength | None, before: Strength, others: Sequence[str]) -> Strength:
    """A strength of the user's, or else the one before without languages that are not there any more.

    Of languages that a mapping does not name, it is what would hold without any.

    Args:
        others: the languages of the checkpoint without the anchor.
    """
    if isinstance(before, Mapping):
        before = {code: value for code, value in before.items() if code in ("default", *others)}
    chosen = before if given is None else given
    if not isinstance(chosen, Mapping):
        return chosen
    own = before["default"] if isinstance(before, Mapping) else before
    return {**chosen, "default": chosen.get("default", own)}


def _strengths(
    options: ConversionOptions, source: Source, languages: Sequence[str], fitted: FittedStrengths | None
) -> dict[str, Any]:
    """Those of a steered source hold where its profile is used, but for an alpha of other strengths."""
    before: dict[str, Any] = dict(STRENGTHS)
    if source.is_steered and options.corpus is None and options.profile is None:
        before = {name: getattr(source.config, name) for name in STRENGTHS}
    if fitted is not None and options.strengths is not None:
        named = dict(fitted.alpha)
        default = named.pop("default", 0.0)
        before["alpha"] = {**named, "default": default}
    elif fitted is None and source.is_steered and source.config.fitted:  # an alpha of 1 was meant for those
        before["alpha"] = STRENGTHS["alpha"]
    others = [code for code in languages if code != options.anchor_among(languages)]
    return {name: chosen_strength(getattr(options, name), value, others) for name, value in before.items()}


def _detector_fields(detector: LanguageDetector) -> dict[str, Any]:
    calibration = {f"detector_{name}": value for name, value in asdict(detector.calibration).items()}
    return {"detector_languages": list(detector.detector_languages), **calibration}
