"""Sound inputs, as small as they can be; each is made once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from conftest import byte_tokenizer, tiny_plain
from conversion.support import ROWS, change_tensors, rewrite_json, write_corpus

from clas_models import FAMILIES
from clas_models.conversion.cli import main as convert
from clas_models.modeling.tensor_names import vectors_name
from eval.cli import main as evaluate

_TINY = {"num_hidden_layers": 4, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2,
         "num_key_value_heads": 1, "head_dim": 4}  # fmt: skip
LANGUAGES = ("en", "de", "zh")
_LABELS = ("entailment", "neutral", "contradiction")
_EXAMPLES = 12


def _made(main: Callable[[Sequence[str]], int], *arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="clas-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def corpus() -> Path:
    """Parallel text as JSON Lines."""
    return write_corpus(_folder() / "rows.jsonl")


@cache
def plain() -> Path:
    """A plain Llama in several shards."""
    folder = _folder() / "plain"
    tiny_plain(FAMILIES["llama"], **_TINY).save_pretrained(folder, max_shard_size="8KB")
    byte_tokenizer().save_pretrained(folder)
    return folder


@cache
def steered() -> Path:
    """A steered Llama with all that a checkpoint can have: masks, a language detector, vectors, a profile."""
    folder = _folder() / "steered"
    _made(convert, plain(), "--corpus", corpus(), "--bridge-layers", "1-2", "--alpha", 4, "--out", folder, "--quiet")
    added = sorted(folder.glob("*.safetensors"))[-2]
    vectors = torch.tensor([[0.0], [1.0], [1.0]]).expand(len(LANGUAGES), 8).contiguous()  # none of the anchor
    change_tensors(added, lambda tensors: tensors.update({vectors_name(1): vectors}))
    rewrite_json(folder / "config.json", lambda config: config.update(vector_layers=[1], vector_positions="all"))
    rewrite_json(
        folder / "model.safetensors.index.json",
        lambda index: index["weight_map"].update({vectors_name(1): added.name}),
    )
    return folder


@cache
def xnli() -> Path:
    """A folder with `dev-LANG.tsv`."""
    folder = _folder() / "xnli"
    folder.mkdir()
    for language in LANGUAGES:
        texts = [(ROWS[row % len(ROWS)][language], ROWS[(row + 1) % len(ROWS)][language]) for row in range(_EXAMPLES)]
        lines = [f"{one}\t{other} {row}\t{_LABELS[row % 3]}\n" for row, (one, other) in enumerate(texts)]
        (folder / f"dev-{language}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


CHOICES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "belebele": (
        "belebele.*.jsonl",
        [
            {
                "link": "a",
                "question_number": row,
                "flores_passage": "Brot.",
                "question": "Was?",
                "correct_answer_num": "2",
            }
            | {f"mc_answer{place}": f"{row}, {place}" for place in range(1, 5)}
            for row in range(3)
        ],
    ),
    "mmmlu": (
        "m_mmlu_val.*.jsonl",
        [
            {"id": str(row), "instruction": "Was?", "answer": "B", **{f"option_{name}": name for name in "abcd"}}
            for row in range(3)
        ],
    ),
    "hellaswag": (
        "m_hellaswag_val.*.jsonl",
        [
            {"ind": row, "source_id": "s", "ctx": "Er", "endings": ["a", "b", "c", "d"], "label": str(row)}
            for row in range(3)
        ],
    ),
    "xcopa": (
        "val.*.jsonl",
        [
            {"idx": row, "premise": "Brot.", "choice1": "a", "choice2": "b", "question": "cause", "label": row % 2}
            for row in range(3)
        ],
    ),
}
"""By task the pattern of the files' names, and what stands in one."""


def xquad_values() -> dict[str, object]:
    """What `xquad.LANG.json` holds."""
    answers = [{"text": "Brot", "answer_start": 0}]
    questions = [{"id": f"q{number}", "question": f"Was {number}?", "answers": answers} for number in range(3)]
    paragraphs = [{"context": "Brot liegt auf dem Tisch.", "qas": questions}]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


@cache
def templates() -> Path:
    """Templates of few tokens."""
    folder = _folder() / "templates"
    folder.mkdir()
    (folder / "xnli.txt").write_text("{premise}|{hypothesis}", encoding="utf-8")
    (folder / "xquad.txt").write_text("{context}|{question}", encoding="utf-8")
    return folder


def run_arguments(out: Path) -> list[object]:
    """A run of two tasks."""
    given = [
        "--tasks",
        "xnli,perplexity",
        "--corpus",
        corpus(),
        "--data-dir",
        xnli(),
        "--templates",
        templates(),
        "--no-chat-template",
    ]
    return ["run", steered(), *given, "--samples", 4, "--out", out, "--quiet"]


@cache
def run_folder() -> Path:
    """What the run of `run_arguments` writes."""
    folder = _folder() / "run"
    _made(evaluate, *run_arguments(folder))
    return folder


def vectors_arguments(out: Path) -> list[object]:
    """Vectors from the prompts of a task."""
    given = ["--task", "xnli", "--data-dir", xnli(), "--templates", templates(), "--no-chat-template", "--samples", 4]
    return ["vectors", plain(), *given, "--out", out, "--quiet"]


@cache
def vectors() -> Path:
    """What the command of `vectors_arguments` writes."""
    file = _folder() / "vectors.safetensors"
    _made(evaluate, *vectors_arguments(file))
    return file


def tune_arguments(checkpoint: Path, out: Path) -> list[object]:
    """A search on one task."""
    given = ["--task", "xnli", "--data-dir", xnli(), "--templates", templates(), "--no-chat-template", "--alpha=-2,2"]
    return ["tune", checkpoint, *given, "--out", out, "--quiet"]


@cache
def tuned_folder() -> Path:
    """What the search of `tune_arguments` writes."""
    folder = _folder() / "tuned"
    _made(evaluate, *tune_arguments(steered(), folder))
    return folder
