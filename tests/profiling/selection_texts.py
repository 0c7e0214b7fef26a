"""Selections as somebody may write them, drawn at random: of every kind, with and without options, combined, files."""

from __future__ import annotations

import random
from collections.abc import Iterator

from clas_models.profiling.selections import OPERATIONS, SELECTIONS

OPTIONS = {
    "lape": {"top_rate": ["0.3", "5e-1"], "activation_percentile": ["0.5"], "filter_percentile": ["0.50"],
             "rate_of": ["model", "filtered"]},
    "probability": {"threshold": ["overall", "zero"], "site": ["gate", "activated"], "top_rate": ["0.2", ".125"]},
    "categories": {"statistic": ["mean", "mean_abs", "frequency"], "threshold": ["0", "-0.01", "1e-7"]},
    "random": {"seed": ["0", "7"]},
}  # fmt: skip
FILES = ("mine.safetensors", "/a/b_c/my own (2).safetensors", "../x,y=z:w.safetensors", "~/ä \\ñ.safetensors")


def selection_texts(seed: int, count: int) -> Iterator[str]:
    """So many texts that `select` reads, or would if the files were there."""
    assert OPTIONS.keys() == SELECTIONS.keys(), "a new kind: say which options it has"
    draw = random.Random(seed)
    for _ in range(count):
        yield _combined(draw, depth=2)


def _combined(draw: random.Random, depth: int) -> str:
    terms = [_term(draw, depth) for _ in range(draw.choice((1, 1, 2, 3)))]
    text = terms[0]
    for term in terms[1:]:
        text += f" {draw.choice(tuple(OPERATIONS))}{draw.choice((' ', '  '))}{term}"
    return text


def _term(draw: random.Random, depth: int) -> str:
    if draw.random() < 0.1:
        return draw.choice(FILES)
    if depth and draw.random() < 0.2:
        return f"({_combined(draw, depth - 1)})"
    name = draw.choice(tuple(OPTIONS))
    options = [
        f"{option}{draw.choice(('=', ' = '))}{draw.choice(values)}"
        for option, values in OPTIONS[name].items()
        if draw.random() < 0.3
    ]
    if name == "random" and draw.random() < 0.5:
        like = f"like=({_combined(draw, depth - 1)})" if depth and draw.random() < 0.5 else "per_layer=3"
        options.append(like)
    if draw.random() < 0.2:
        options.append("languages=en/zh")
    draw.shuffle(options)
    return f"{name}:{draw.choice((',', ', ')).join(options)}" if options else name
