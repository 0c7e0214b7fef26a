"""What strengths are in force, in words: one description for the summary, the card, and whoever changes them later.

A card is changed in the lines that say so, which are known by their beginnings; all else in it stays.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Fields: TypeAlias = Mapping[str, Any]  # steering fields of a configuration
Strength: TypeAlias = float | Mapping[str, float]

_BEGINNING = "In force: "
_HEADING = "## Steering\n\n"


def format_strength(strength: Strength) -> str:
    """`1`, or `de -2, default 1` where it differs by language."""
    if isinstance(strength, Mapping):
        return ", ".join(f"{code} {value:g}" for code, value in strength.items())
    return f"{strength:g}"


def alpha_of(alpha: Strength, language: str) -> float:
    """A language's alpha, or another strength that is given by language."""
    return alpha.get(language, alpha["default"]) if isinstance(alpha, Mapping) else alpha


def acts(strength: Strength) -> bool:
    """Whether a strength is not 0 in some language."""
    return any(strength.values()) if isinstance(strength, Mapping) else bool(strength)


def steered_language(fields: Fields) -> str | None:
    """The profiled language that strengths do most to, of several the first; None where they do nothing to any."""
    others = [code for code in fields["languages"] if code != fields["anchor_language"]]
    chosen = max(others, key=lambda code: sum(abs(value) for value in _strengths_of(fields, code).values()))
    return chosen if any(_strengths_of(fields, chosen).values()) else None


def in_force(fields: Fields) -> str:
    """All strengths of a configuration, on one line, without a full stop."""
    named = _acting(fields)
    nothing = [name for name, value in named.items() if not acts(value)]
    if len(nothing) == len(named):
        return f"{' and '.join(nothing)} 0 for every language, so nothing is steered: this is the base model"
    told = [_told(name, value, fields) for name, value in named.items() if name not in nothing]
    what = {"alpha": "nothing is rescaled", "vector strength": "no vector is added"}
    return "; ".join([*(f"{name} 0 for every language, so {what[name]}" for name in nothing), *told])


def _acting(fields: Fields) -> dict[str, Strength]:
    """The strengths by language of the rules that a configuration has."""
    vectors = {"vector strength": fields["vector_strength"]} if fields.get("vector_layers") else {}
    return vectors if vectors and not fields["bridge_layers"] else {"alpha": fields["alpha"], **vectors}


def _strengths_of(fields: Fields, language: str) -> dict[str, float]:
    return {name: alpha_of(value, language) for name, value in _acting(fields).items()}


def _told(name: str, value: Strength, fields: Fields) -> str:
    default = value["default"] if isinstance(value, Mapping) else value
    named = {code: each for code, each in value.items() if code != "default"} if isinstance(value, Mapping) else {}
    others = "every other language" if named else f"every language but {fields['anchor_language']}"
    listed = "".join(f"{code} {each:g}, " for code, each in named.items())
    unsteered = "" if default else ", the base model"
    times = "fitted strengths" if fields.get("fitted") else f"beta {fields['beta']:g}, gamma {fields['gamma']:g}"
    also = f"; {times}" if name == "alpha" else ""
    return f"{name} {listed}{default:g} for {others}{unsteered}{also}"


def card_lines(fields: Fields) -> dict[str, str]:
    """The lines of a card that strengths decide, by the names of their places in its templates."""
    anchor, steered = fields["anchor_language"], steered_language(fields)
    example = steered or next(code for code in fields["languages"] if code != anchor)
    told = ", ".join(f"{name} {value:g}" for name, value in _strengths_of(fields, example).items())
    does = f"steered: {told}" if steered else f"{told}: as the base model"
    lines = {
        "in_force": f"{_BEGINNING}{in_force(fields)}.",
        "example": f'model.generate(**inputs, max_new_tokens=40, language="{example}")     # {does}',
        "alpha": f"| alpha | {format_strength(fields['alpha'])} |",
        "beta": f"| beta (shared neurons) | {fields['beta']:g} |",
        "gamma": f"| gamma (language-specific neurons) | {fields['gamma']:g} |",
    }
    if fields.get("vector_layers"):
        lines["vector_strength"] = f"| vector strength | {format_strength(fields['vector_strength'])} |"
    return lines


def with_strengths(card: str, fields: Fields) -> str:
    """A card with the strengths of a configuration, in place of those that it was written with."""
    lines = card_lines(fields)
    for pattern, line in _patterns(lines):
        card = pattern.sub(lambda _, line=line: line, card, count=1)  # type: ignore[misc]
    if lines["in_force"] not in card:  # of an older version
        card = card.replace(_HEADING, f"{_HEADING}{lines['in_force']}\n\n", 1)
    return card


def _patterns(lines: Mapping[str, str]) -> Iterator[tuple[re.Pattern[str], str]]:
    for name, line in lines.items():
        if name == "in_force":
            beginning = re.escape(_BEGINNING)
        elif name == "example":  # its language may change; the one of the anchor, below it, says "the base model"
            beginning = (
                r'model\.generate\(\*\*inputs, max_new_tokens=40, language="[^"]+"\) +# (?:steered|alpha|vector)'
            )
        else:
            beginning = re.escape(line[: line.index("|", 2) + 1])
        yield re.compile(f"^{beginning}.*$", re.MULTILINE), line
