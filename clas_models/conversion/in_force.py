"""What strengths are in force, in words: one description for the summary, the card, and whoever changes them later.

A card is changed in the lines that say so, which are known by their beginnings; all else in it stays.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Fields: TypeAlias = Mapping[str, Any]  # steering fields of a configuration

_BEGINNING = "In force: "
_HEADING = "## Steering\n\n"


def format_strength(strength: float | Mapping[str, float]) -> str:
    """`1`, or `de -2, default 1` where it differs by language."""
    if isinstance(strength, Mapping):
        return ", ".join(f"{code} {value:g}" for code, value in strength.items())
    return f"{strength:g}"


def alpha_of(alpha: float | Mapping[str, float], language: str) -> float:
    """A language's alpha."""
    return alpha.get(language, alpha["default"]) if isinstance(alpha, Mapping) else alpha


def steered_language(fields: Fields) -> str | None:
    """The profiled language that alpha does most to, of several the first; None where it does nothing to any."""
    others = [code for code in fields["languages"] if code != fields["anchor_language"]]
    chosen = max(others, key=lambda code: abs(alpha_of(fields["alpha"], code)))
    return chosen if alpha_of(fields["alpha"], chosen) else None


def in_force(fields: Fields) -> str:
    """All strengths of a configuration, on one line, without a full stop."""
    alpha, anchor = fields["alpha"], fields["anchor_language"]
    default = alpha["default"] if isinstance(alpha, Mapping) else alpha
    named = {code: value for code, value in alpha.items() if code != "default"} if isinstance(alpha, Mapping) else {}
    if not default and not any(value for code, value in named.items() if code != anchor):
        nothing = "nothing is rescaled" if fields.get("vector_layers") else "nothing is steered: this is the base model"
        return f"alpha 0 for every language, so {nothing}"
    others = "every other language" if named else f"every language but {anchor}"
    listed = "".join(f"{code} {value:g}, " for code, value in named.items())
    unsteered = "" if default else ", the base model"
    return f"alpha {listed}{default:g} for {others}{unsteered}; beta {fields['beta']:g}, gamma {fields['gamma']:g}"


def card_lines(fields: Fields) -> dict[str, str]:
    """The lines of a card that strengths decide, by the names of their places in its template."""
    anchor, steered = fields["anchor_language"], steered_language(fields)
    example = steered or next(code for code in fields["languages"] if code != anchor)
    does = f"steered: alpha {alpha_of(fields['alpha'], example):g}" if steered else "alpha 0: as the base model"
    return {
        "in_force": f"{_BEGINNING}{in_force(fields)}.",
        "example": f'model.generate(**inputs, max_new_tokens=40, language="{example}")     # {does}',
        "alpha": f"| alpha | {format_strength(fields['alpha'])} |",
        "beta": f"| beta (shared neurons) | {fields['beta']:g} |",
        "gamma": f"| gamma (language-specific neurons) | {fields['gamma']:g} |",
    }


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
            beginning = r'model\.generate\(\*\*inputs, max_new_tokens=40, language="[^"]+"\) +# (?:steered|alpha)'
        else:
            beginning = re.escape(line[: line.index("|", 2) + 1])
        yield re.compile(f"^{beginning}.*$", re.MULTILINE), line
