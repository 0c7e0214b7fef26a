"""The texts that the detector is asked about: XQuAD and XNLI, bare, and inside an English instruction and template."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Texts = dict[str, list[str]]
Pair = tuple[str, str]

_NLI = (
    "Read the premise and the hypothesis, and classify the relationship between them. Answer with a single integer: "
    "0 if the premise entails the hypothesis (entailment), 1 if the hypothesis may or may not be true (neutral), "
    "2 if the premise contradicts the hypothesis (contradiction).\n\n"
    "Premise: {}\nHypothesis: {}\n\nAnswer with 0, 1 or 2 only."
)
_QA = (
    "Read the context and answer the question with a short span copied from the context.\n\n"
    "Context: {}\nQuestion: {}\nAnswer:"
)


@dataclass(frozen=True)
class TextSet:
    """One test: where its pairs come from, how a pair becomes a text, and whether the chat template goes around it."""

    title: str
    read: Callable[[Path], dict[str, list[Pair]]]
    text: Callable[[Pair], str]
    chat: bool = False
    languages: tuple[str, ...] | None = None


def _xquad(data: Path) -> dict[str, list[Pair]]:
    """(context, question) of every language."""
    rows = {}
    for path in sorted((data / "xquad").glob("xquad.*.json")):
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        rows[path.name.split(".")[1]] = [(p["context"], q["question"]) for p in paragraphs for q in p["qas"]]
    return rows


def _xnli(data: Path) -> dict[str, list[Pair]]:
    """(premise, hypothesis) of every language."""
    rows = {}
    for path in sorted((data / "xnli").glob("dev-*.tsv")):
        cells = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
        rows[path.stem.removeprefix("dev-")] = [(premise, hypothesis) for premise, hypothesis, _ in cells]
    return rows


SETS = {
    "xquad": TextSet("XQuAD, context and question", _xquad, "\n".join),
    "question": TextSet("XQuAD, question alone", _xquad, lambda pair: pair[1]),
    "xnli": TextSet("XNLI, premise and hypothesis", _xnli, "\n".join),
    "xnli-template": TextSet(
        "XNLI inside an English instruction and the chat template", _xnli, lambda pair: _NLI.format(*pair), chat=True
    ),
    "xquad-template": TextSet(
        "English XQuAD inside an English instruction and the chat template",
        _xquad,
        lambda pair: _QA.format(*pair),
        chat=True,
        languages=("en",),
    ),
}
# Parameters were chosen on "tenth".
PARTS: dict[str, Callable[[int], bool]] = {
    "all": lambda number: True,
    "tenth": lambda number: number % 10 == 0,
    "rest": lambda number: number % 10 != 0,
    "another-tenth": lambda number: number % 10 == 5,
}
TARGETS = {
    "xquad": "anchor or not 99.9, language 99; en 99.5",
    "question": "anchor or not 99, language 97",
    "xnli": "anchor or not 99, language 96; en 99.5",
    "xnli-template": "anchor or not 98, language 95; en 99.5",
    "xquad-template": "en 99.5",
}


def read_texts(name: str, data: Path, tokenizer: Any, rows: str) -> Texts:
    """Texts of one test by language; `rows` is one of PARTS."""
    chosen = SETS[name]
    pairs = chosen.read(data)
    codes = chosen.languages or tuple(pairs)
    texts = {code: [chosen.text(pair) for pair in _part(pairs[code], rows)] for code in codes}
    return {code: [_chat(tokenizer, row) for row in found] for code, found in texts.items()} if chosen.chat else texts


def _part(pairs: Sequence[Pair], rows: str) -> list[Pair]:
    return [pair for number, pair in enumerate(pairs) if PARTS[rows](number)]


def _chat(tokenizer: Any, text: str) -> str:
    message = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
