"""The converter in several processes: the same checkpoint as in one, and one line for what goes wrong on any of
them.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain
from conversion.support import (
    ROWS,
    Fate,
    change_tensors,
    file_bytes,
    names,
    run_elsewhere,
    run_main,
    save_plain,
    write_corpus,
)

from clas_models import FAMILIES
from clas_models.conversion.profile_step import share_languages
from clas_models.conversion.progress import Progress
from clas_models.conversion.ranks import Ranks, is_launched, on_all_ranks
from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.profiler import profile_neurons

from .support import ROOT, Ended, on_ranks, torchrun

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """A plain model, a corpus in three languages, and what one process makes of them."""

    folder: Path
    plain: Path
    options: tuple[object, ...]
    expected: dict[str, bytes]

    def on_ranks(self, size: int, *arguments: object) -> list[Ended]:
        """The converter with these arguments in `size` processes."""
        return on_ranks(size, run_main, arguments, logs=self.folder)


def made(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint, but for the code, which no conversion makes."""
    return {name: content for name, content in file_bytes(folder).items() if not name.endswith(".py")}


@pytest.fixture(scope="module")
def _converted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    corpus = write_corpus(folder / "rows.jsonl", ROWS * 5)
    plain = save_plain(folder / "plain")
    assert run_main([plain, "--corpus", corpus, "--out", folder / "out", "--quiet", "--alpha", "1"]) == 0
    return folder


@pytest.fixture
def case(_converted_once: Path, tmp_path: Path) -> Case:
    plain, corpus = _converted_once / "plain", _converted_once / "rows.jsonl"
    return Case(
        tmp_path, plain, ("--corpus", corpus, "--out", tmp_path / "out", "--alpha", "1"), made(_converted_once / "out")
    )


def test_torchrun_makes_the_same_checkpoint(case: Case) -> None:
    ended = torchrun(2, ROOT / "convert.py", case.plain, *case.options)
    assert ended.status == 0, ended.err
    assert made(case.folder / "out") == case.expected
    assert ended.err.count("profiling in 2 processes") == 1
    assert ended.out.count("Done in") == 1


def test_torchrun_says_once_what_went_wrong(case: Case) -> None:
    ended = torchrun(2, ROOT / "convert.py", case.folder / "nothing", "--out", case.folder / "out")
    assert ended.status != 0
    assert ended.err.count("python convert.py: error: ") == 1
    assert "no such folder or file" in ended.err
    assert "exitcode  : 2 " in ended.err  # torchrun's own status is 1


@pytest.mark.parametrize(("size", "line"), [(3, "in 3 processes; the bar"), (5, "in 3 processes of 5: a language is")])
def test_any_number_of_ranks_makes_the_same_checkpoint(case: Case, size: int, line: str) -> None:
    first, *others = case.on_ranks(size, case.plain, *case.options)
    assert first.status == 0, first.err
    assert line in first.err
    assert others == [Ended(0, "", "")] * (size - 1)
    assert made(case.folder / "out") == case.expected


def test_quiet(case: Case) -> None:
    assert case.on_ranks(2, case.plain, *case.options, "--quiet") == [
        Ended(0, f"{case.folder / 'out'}\n", ""),
        Ended(0, "", ""),
    ]


def broken(case: Case, character: str) -> Path:
    """The plain model with activations that are NaN in the language that has this character."""
    folder = Path(shutil.copytree(case.plain, case.folder / "broken"))
    first_byte = byte_tokenizer()(character)["input_ids"][0]  # the others occur in many languages

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"][first_byte] = torch.nan

    change_tensors(folder / "model.safetensors", change)
    return folder


@pytest.mark.parametrize(("language", "character", "rank"), [("de", "ä", 0), ("zh", "猫", 1)])
def test_a_failure_on_any_rank_ends_all(case: Case, language: str, character: str, rank: int) -> None:
    corpus = ParallelCorpus("rows", ("en", "de", "zh"), ROWS)
    assert language in share_languages(corpus, 2)[rank]
    first, second = case.on_ranks(2, broken(case, character), *case.options)
    assert (first.status, second) == (2, Ended(2, "", ""))
    assert first.out == ""
    assert first.err.count("python convert.py: error: ") == 1
    assert f"not finite (NaN or infinite) in language '{language}'" in first.err.splitlines()[-1]
    assert "out" not in names(case.folder)
    assert ".out.incomplete" not in names(case.folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-there"], "nothing-there: no such folder or file"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["x", "--samples", "0"], "samples 0: must be at least 1"),
    ],
)
def test_a_mistake_is_said_once(case: Case, arguments: list[str], message: str) -> None:
    first, second = case.on_ranks(2, *arguments)
    assert (first.status, second) == (2, Ended(2, "", ""))
    assert len(first.err.splitlines()) == 1
    assert message in first.err


def test_a_profile_that_an_earlier_attempt_finished_is_taken(case: Case) -> None:
    fate = Fate(case.folder, words="making the language detector")
    assert run_elsewhere([case.plain, *case.options], fate).status < 0
    first, second = case.on_ranks(2, case.plain, *case.options)
    assert (first.status, second.status) == (0, 0), first.err
    assert "profile: finished by an earlier attempt" in first.err
    assert "profiling" not in first.err
    assert made(case.folder / "out") == case.expected


def test_a_steered_source_needs_no_rank_but_the_first(case: Case) -> None:
    assert [ended.status for ended in case.on_ranks(2, case.plain, *case.options)] == [0, 0]
    first, second = case.on_ranks(2, case.folder / "out", "--out", case.folder / "again", "--bridge-layers", "2")
    assert (first.status, second) == (0, Ended(0, "", "")), first.err
    assert "no forward pass needed" in first.err


FAULTS: dict[str, BaseException] = {
    "defect": ZeroDivisionError("by zero"),
    "memory": MemoryError(),
    "disk": OSError(28, "full", "x"),
    "interruption": KeyboardInterrupt(),
}


@dataclass(frozen=True)
class Faulty:
    """A task that goes wrong on rank 1, while rank 0 is far from the end of its own share."""

    how: str

    def run(self, progress: Progress, ranks: Ranks) -> NeuronProfile:
        if self.how in FAULTS:
            if ranks.rank == 1:
                raise FAULTS[self.how]
            while True:
                ranks.check_others()
        if self.how == "death" and ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        corpus = ParallelCorpus("c", ("en", "de"), [{"en": "a cat", "de": "eine Katze" if ranks.rank else "ein Hund"}])
        return profile_neurons(tiny_plain(FAMILIES["llama"]), byte_tokenizer(), corpus)


def lead(how: str) -> int:
    """Rank 0 says which exception it has got."""

    def ask(ranks: Ranks | None) -> int:
        assert ranks is not None
        try:
            ranks.together(Faulty(how), Progress(quiet=True))
        except BaseException as error:
            print("InputError" if isinstance(error, InputError) else type(error).__name__, error)
        return 7

    return on_all_ranks(ask)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("text", "InputError the processes read different text"),
        ("memory", "MemoryError"),
        ("disk", "OSError [Errno 28] full: 'x'"),
        ("interruption", "KeyboardInterrupt"),
        ("defect", "RuntimeError another process failed:"),
    ],
)
def test_rank_0_raises_what_another_rank_met(how: str, line: str, tmp_path: Path) -> None:
    first, second = on_ranks(2, lead, how, logs=tmp_path)
    assert first.out.startswith(line)
    assert ("ZeroDivisionError: by zero" in first.out) == (how == "defect")
    assert (first.status, second) == (7, Ended(7, "", ""))


def test_a_rank_that_dies_is_missed(tmp_path: Path) -> None:
    first, second, third = on_ranks(3, lead, "death", logs=tmp_path)
    assert first.out.startswith("InputError another process of this conversion has died")
    assert second.status == -signal.SIGKILL
    assert (first.status, third) == (7, Ended(2, "", ""))


def test_languages_are_shared_by_the_length_of_their_text() -> None:
    texts = {"en": "a" * 50, "de": "b" * 60, "th": "ก" * 30, "zh": "一" * 10, "fr": "c" * 40}
    corpus = ParallelCorpus("c", tuple(texts), [texts, texts])
    assert share_languages(corpus, 1) == [("th", "de", "en", "fr", "zh")]
    assert share_languages(corpus, 2) == [("th", "fr"), ("de", "en", "zh")]
    assert share_languages(corpus, 6) == [("th",), ("de",), ("en",), ("fr",), ("zh",), ()]


def test_a_launcher_is_known_by_all_its_variables() -> None:
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    assert is_launched(launched)
    assert not is_launched({**launched, "WORLD_SIZE": "1"})
    assert not is_launched({"WORLD_SIZE": "8", "RANK": "3"})
    assert not is_launched({})
