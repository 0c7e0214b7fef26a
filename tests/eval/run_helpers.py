"""What the tests of the command line share: a tiny steered checkpoint, small data files, and the command in a process
of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command, Ended
from conftest import byte_tokenizer, tiny_plain
from conversion.support import DEADLINE, write_corpus
from conversion.support import run_main as run_converter

from clas_models import FAMILIES
from clas_models.command_line import EVAL
from eval.cli import main
from eval.run_folder import Record, RunFolder

CHAT = "{% for message in messages %}<s>{{ message.content }}</s>{% endfor %}"
CHAT += "{% if add_generation_prompt %}<s>{% endif %}"
LANGUAGES = ("en", "de", "zh", "sw")  # the tiny checkpoint is profiled for the first three
LABELS = ("entailment", "neutral", "contradiction")
VARIANTS = {"en": "eng_Latn", "de": "deu_Latn", "zh": "zho_Hans", "sw": "swh_Latn"}
WORDS = {
    "en": "the cat sleeps on bread",
    "de": "die Katze schläft auf Brot",
    "zh": "猫在桌上睡觉",
    "sw": "paka analala",
}


@pytest.fixture(scope="module", name="steered")
def steered_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny steered checkpoint, made once for all modules; tests that change it take a copy."""
    folder = tmp_path_factory.getbasetemp() / "evaluated" / "steered"
    return folder if folder.is_dir() else save_steered(folder)


@pytest.fixture(scope="module", name="quantified")
def quantified_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with quantiles."""
    folder = tmp_path_factory.getbasetemp() / "evaluated" / "quantified"
    return folder if folder.is_dir() else save_steered(folder, "--quantiles")


@pytest.fixture(scope="module", name="data")
def data_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data files of both published data sets."""
    folder = tmp_path_factory.mktemp("data")
    write_xnli(folder / "xnli", rows=12)
    write_xquad(folder / "xquad", paragraphs=2)
    return folder


@pytest.fixture(scope="module", name="templates")
def templates_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Templates of few tokens: a byte is one, and the default ones are long."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "xnli.txt").write_text("{premise}|{hypothesis}", encoding="utf-8")
    (folder / "xquad.txt").write_text("{context}|{question}", encoding="utf-8")
    (folder / "multiple_choice.txt").write_text("{passage}|{question}|{a}|{b}|{c}|{d}", encoding="utf-8")
    (folder / "question_choice.txt").write_text("{question}|{a}|{b}|{c}|{d}", encoding="utf-8")
    return folder


@pytest.fixture(name="evaluation")
def evaluation_fixture(capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd, run_main, EVAL)


def save_plain(folder: Path, chat_template: str | None = CHAT) -> Path:
    """A tiny plain Llama with the byte tokenizer."""
    tiny_plain(FAMILIES["llama"]).save_pretrained(folder)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return folder


def save_steered(folder: Path, *options: object) -> Path:
    """A tiny steered Llama, profiled for `LANGUAGES` without the last."""
    work = folder.with_name(f"{folder.name}-sources")
    save_plain(work / "plain")
    corpus = write_corpus(work / "rows.jsonl")
    settings = (
        "--bridge-layers",
        "2,3",
        "--detector-corpus",
        "none",
        "--alpha",
        "4",
        "--beta",
        "0.9",
        "--gamma",
        "0.6",
    )
    assert run_converter([work / "plain", "--corpus", corpus, "--out", folder, "--quiet", *settings, *options]) == 0
    return folder


def write_xnli(folder: Path, rows: int, languages: Sequence[str] = LANGUAGES) -> Path:
    """`dev-LANG.tsv` with pairs of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages:
        lines = [
            f"{_sentence(language, row)}\t{_sentence(language, 3 * row + 1)}\t{LABELS[row % 3]}\n"
            for row in range(rows)
        ]
        (folder / f"dev-{language}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def write_xquad(folder: Path, paragraphs: int, questions: int = 3, languages: Sequence[str] = LANGUAGES) -> Path:
    """`xquad.LANG.json` with questions on shared paragraphs."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages:
        found = [
            {
                "context": " ".join(_sentence(language, 7 * number + line) for line in range(2 + number)),
                "qas": [_question(language, number, place) for place in range(questions)],
            }
            for number in range(paragraphs)
        ]
        content = {"version": "1.1", "data": [{"title": "t", "paragraphs": found}]}
        (folder / f"xquad.{language}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_belebele(folder: Path, questions: int, languages: Sequence[str] = LANGUAGES) -> Path:
    """`VARIANT.jsonl` with questions whose choices are of different lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages:
        rows = []
        for number in range(questions):
            words = f"{WORDS[language]} {number}"
            choices = {f"mc_answer{place}": f"{words[: 3 * place]} {place}" for place in range(1, 5)}
            texts = {"flores_passage": words, "question": f"{words}?"}
            row = {"link": f"q{number}", "question_number": 1, **texts, **choices}
            rows.append(json.dumps({**row, "correct_answer_num": number % 4 + 1}))
        (folder / f"{VARIANTS[language]}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_choices(folder: Path, rows: int = 7, languages: Sequence[str] = LANGUAGES) -> Path:
    """`mmmlu/m_mmlu_val.LANG.jsonl` and `xcopa/val.LANG.jsonl`, with choices of different lengths."""
    for language in languages:
        asked = [f"{_sentence(language, row)}?" for row in range(rows)]
        options = [[f"{_sentence(language, row + place)} {place}" for place in range(4)] for row in range(rows)]
        questions = [
            {"id": f"s/val/{row}", "instruction": asked[row], "answer": "ABCD"[row % 4]}
            | {f"option_{name}": text for name, text in zip("abcd", options[row], strict=True)}
            for row in range(rows)
        ]
        pairs = [
            {"idx": row, "premise": asked[row], "choice1": options[row][0], "choice2": options[row][1]}
            | {"question": ("cause", "effect")[row % 2], "label": row % 2}
            for row in range(rows)
        ]
        for name, found in (("mmmlu/m_mmlu_val", questions), ("xcopa/val", pairs)):
            path = folder / f"{name}.{language}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return folder


def _question(language: str, paragraph: int, place: int) -> dict[str, Any]:
    asked = f"{_sentence(language, paragraph + place)}?"
    answers = [{"text": WORDS[language].split()[-1], "answer_start": 0}]
    return {"id": f"q{paragraph}-{place}", "question": asked, "answers": answers}


def _sentence(language: str, number: int) -> str:
    words = WORDS[language].split() if " " in WORDS[language] else list(WORDS[language])
    return (" " if " " in WORDS[language] else "").join([*words[number % 4 :], str(number), *words[: number % 3]])


def run_main(arguments: Sequence[object]) -> int:
    """The command line in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        return int(str(stop.code))


def contents(run: Path) -> dict[str, bytes]:
    """What a run has written, by path; not its lock."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def records(run: Path, task: str, method: str, language: str) -> list[Record]:
    return RunFolder.open(run).records(task, method, language)


def written(run: Path) -> int:
    """Bytes of all predictions so far."""
    return sum(path.stat().st_size for path in (run / "predictions").rglob("*.jsonl"))


def _meet(arguments: Sequence[str], log: Path, largest_file: int | None) -> None:
    torch.set_num_threads(1)
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.exit(run_main(arguments))


@dataclass(frozen=True)
class Running:
    """The command in a process of its own."""

    process: Any
    log: Path

    def end(self) -> Ended:
        self.process.join(DEADLINE)
        assert self.process.exitcode is not None, "the command does not end"
        said = (self.log.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
        return Ended(self.process.exitcode, *said)

    def kill(self) -> None:
        self.process.kill()
        self.process.join(DEADLINE)

    def wait(self, seconds: float) -> None:
        """Return after so long, or when the process has ended."""
        self.process.join(seconds)

    def wait_while(self, condition: Callable[[], bool]) -> None:
        """Return when the condition no longer holds, or the process has ended."""
        end = time.monotonic() + DEADLINE
        while self.process.is_alive() and condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.001)


@contextmanager
def running(arguments: Sequence[object], folder: Path, largest_file: int | None = None) -> Iterator[Running]:
    """A fresh process, forked from one that has imported everything; its output goes to files in `folder`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["eval.summary", "clas_models.conversion.conversion", "pytest"])
    log = folder / f"log-{time.monotonic_ns()}"
    process = context.Process(target=_meet, args=([str(argument) for argument in arguments], log, largest_file))
    process.start()
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.join()
