"""Tiny stand-ins for what the recipes take from the Hub: models of the same architectures, Wikipedia, and the tasks."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conftest import tiny_plain
from hub_folder import write_hub_folder
from trained_tokenizers import builtin_rows, byte_level_tokenizer

from clas_models import FAMILIES

# As in the real configurations: fewer heads of keys and values, and with Mistral Nemo heads narrower than the states.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2},
    "mistral": {"hidden_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    "qwen2": {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 1},
}
# The first and the last letter of the scripts of languages that the built-in corpus lacks.
_LETTERS = {
    "ja": "あん", "bn": "কহ", "ta": "கஹ", "te": "కహ", "mr": "कह", "kn": "ಕಹ", "ml": "കഹ", "pa": "ਕਹ", "id": "az",
}  # fmt: skip
LABELS = ("entailment", "neutral", "contradiction")


def save_tiny(folder: Path, kind: str) -> Path:
    """A plain checkpoint with random weights and a tokenizer trained on the built-in corpus."""
    tokenizer = copy.deepcopy(byte_level_tokenizer())
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 2048, "pad_token_id": tokenizer.pad_token_id}
    sizes["intermediate_size"] = 512  # enough that every language has neurons of its own
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    tiny_plain(FAMILIES[kind], **ARCHITECTURES[kind], **sizes, **ends).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentences(language: str, seed: int = 0) -> Iterator[str]:
    """Sentences of the language, or of words in its script, without an end."""
    drawn = random.Random(seed)
    while True:
        if language in _LETTERS:
            first, last = map(ord, _LETTERS[language])
            letters = [chr(code) for code in range(first, last + 1) if chr(code).isalpha()]
            yield " ".join("".join(drawn.choices(letters, k=drawn.randint(2, 8))) for _ in range(9)) + "."
        else:
            yield drawn.choice(builtin_rows())[language]


def articles(language: str, number: int) -> list[dict[str, str]]:
    """Rows as Wikipedia has them, of one to six paragraphs."""
    texts = sentences(language)
    return [
        {"id": str(row), "title": f"{language} {row}", "text": "\n\n".join(next(texts) for _ in range(1 + row % 6))}
        for row in range(number)
    ]


def write_wikipedia(folder: Path, languages: Sequence[str], number: int = 60) -> str:
    return write_hub_folder(folder, {f"20231101.{code}": {"train": articles(code, number)} for code in languages})


def write_tasks(folder: Path, languages: Sequence[str], rows: int = 8) -> Path:
    """The published files of XNLI and XQuAD, in small."""
    folder.mkdir()
    for code in languages:
        texts = sentences(code, seed=1)
        pairs = "".join(f"{next(texts)}\t{next(texts)}\t{LABELS[row % 3]}\n" for row in range(rows))
        (folder / f"dev-{code}.tsv").write_text(pairs, encoding="utf-8")
        paragraphs = [_paragraph(next(texts), next(texts), number) for number in range(rows)]
        content = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
        (folder / f"xquad.{code}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _paragraph(context: str, question: str, number: int) -> dict[str, Any]:
    answers = [{"text": context[:9], "answer_start": 0}]
    return {"context": context, "qas": [{"id": f"q{number}", "question": question, "answers": answers}]}


def mnli_rows(number: int) -> list[dict[str, Any]]:
    """As MultiNLI has them, with one that has no label."""
    texts = sentences("en", seed=2)
    rows = [{"premise": next(texts), "hypothesis": next(texts), "label": row % 3} for row in range(number)]
    return [*rows, {"premise": "A man sleeps.", "hypothesis": "He is awake.", "label": -1}]


def squad_rows(number: int) -> list[dict[str, Any]]:
    """As SQuAD has them: answers in two lists."""
    texts = sentences("en", seed=3)
    contexts = [next(texts) for _ in range(number)]
    return [
        {"context": context, "question": f"Who {row}?", "answers": {"text": [context[4:12]], "answer_start": [4]}}
        for row, context in enumerate(contexts)
    ]
