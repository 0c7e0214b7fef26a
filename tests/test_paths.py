"""Paths as users type them, for every option of both programs that takes one.

The options are found by looking at the parsers: one that takes text is a path, or stands in `NO_PATHS`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from command import Command
from conversion.support import save_plain, write_corpus

from clas_models.command_line import CONVERT, EVAL, path_or_name, paths_or_names, user_path
from clas_models.conversion.cli import build_parser as converter
from clas_models.conversion.cli import main as convert
from eval.cli import build_parser as evaluation
from eval.cli import main as evaluate

# Options that take text which is no path; a new option that takes text belongs here, or gets one of the two types.
NO_PATHS = {
    *("languages", "anchor", "language", "alpha", "statistic", "bridge_layers", "dtype", "device", "format"),
    *("push_to_hub", "tasks", "task", "methods", "samples", "max_length", "batch_size", "skip", "scoring", "state"),
    *("beta", "gamma", "threshold", "default_alpha", "vector_layers", "vector_strength", "vector_positions"),
    *("layers", "pca", "objective", "end", "sharing", "split", "penalty", "epochs", "rate", "seed", "groups", "memory"),
    *("tokens", "select", "value", "site", "selections", "values"),
    *("targets", "setups", "random", "source", "changes", "rows"),
}
PLACES = {"model", "checkpoint", "runs", "first", "second", "out", "data_dir", "profile", "corpus", "detector_corpus",
          "vectors", "strengths"}  # fmt: skip

Option = tuple[str, argparse.ArgumentParser, argparse.Action]


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield "convert", converter()
    parser = evaluation()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def options() -> Iterator[Option]:
    """Every option, and every argument, that takes a value and is no known exception."""
    for name, parser in commands():
        for action in parser._actions:
            if action.nargs != 0 and action.choices is None and action.dest not in NO_PATHS:
                yield name, parser, action


PATHS = list(options())
IDS = [f"{name} {action.dest}" for name, _, action in PATHS]


def parsed(option: Option, text: str) -> Path:
    """What becomes of `text` at this option, the value of which may be a list."""
    _, parser, action = option
    words: list[str] = []
    for other in parser._actions:
        flags = other.option_strings[:1]
        if other is action:
            words.append("=".join([*flags, text]))
        elif other.required:
            words += [*flags, "x"]
    value = getattr(parser.parse_args(words), action.dest)
    return Path(value[0] if isinstance(value, list) else value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another home folder, with a link in it, and what is relative begins elsewhere."""
    folder = tmp_path / "home"
    (folder / "kept here").mkdir(parents=True)
    (folder / "link").symlink_to("kept here")
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_all_that_takes_a_path_is_found() -> None:
    found = {action.dest for _, _, action in PATHS}
    assert found >= PLACES | {"templates"}


@pytest.mark.parametrize("option", PATHS, ids=IDS)
def test_an_option_that_takes_text_is_a_path_or_a_known_exception(option: Option) -> None:
    assert option[2].type in (user_path, path_or_name, paths_or_names)


@pytest.mark.parametrize("option", PATHS, ids=IDS)
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~", "{home}"),
        ("~/run", "{home}/run"),
        ("~/a b/Läufe 走", "{home}/a b/Läufe 走"),
        ("~/link/run", "{home}/link/run"),
        ("run", "run"),
        ("./run~", "run~"),
        ("../up/run", "../up/run"),
        ("/abs olute/run", "/abs olute/run"),
    ],
)
def test_every_path_is_read_alike(option: Option, typed: str, meant: str, home: Path) -> None:
    assert parsed(option, typed) == Path(meant.format(home=home))


@pytest.mark.parametrize("option", PATHS, ids=IDS)
@pytest.mark.parametrize("typed", ["", "~nobody-of-that-name/run"])
def test_what_is_no_path_is_said_in_one_line(option: Option, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(option, typed)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "an empty path" in said or "no home folder" in said


def test_several_paths_are_read_each(home: Path) -> None:
    assert paths_or_names("builtin,~/rows.jsonl,~/a b") == f"builtin,{home}/rows.jsonl,{home}/a b"


@pytest.mark.parametrize("name", ["owner/name", "builtin", "org/set:text", "C:x"])
def test_a_name_stays_as_it_is(name: str) -> None:
    assert path_or_name(name) == name


# ---- from end to end: where the results go


@pytest.fixture(name="programs")
def programs_fixture(capfd: pytest.CaptureFixture[str]) -> dict[str, Command]:
    def run(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[object]], int]:
        return lambda arguments: main([str(argument) for argument in arguments])

    return {prog: Command(capfd, run(main), prog) for prog, main in ((CONVERT, convert), (EVAL, evaluate))}


@pytest.fixture
def arguments(home: Path) -> dict[str, list[str]]:
    """What each program needs to make something small, all of it named from the home folder, but for `--out`."""
    save_plain(home / "kept here" / "ein Modell")
    write_corpus(home / "rows.jsonl")
    steering = ["--corpus=~/rows.jsonl", "--detector-corpus=none", "--bridge-layers", "2", "--quiet"]
    texts = ["--tasks", "perplexity", "--corpus=~/rows.jsonl", "--languages", "de", "--quiet"]
    return {CONVERT: ["~/link/ein Modell", *steering], EVAL: ["run", "~/link/ein Modell", *texts]}


@pytest.mark.parametrize("prog", [CONVERT, EVAL])
@pytest.mark.parametrize("typed", ["~/Ergebnis 1", "~/link/Ergebnis", "Ergebnis", "new/Ergebnis"])
def test_results_go_where_the_user_means(
    prog: str, typed: str, programs: dict[str, Command], arguments: dict[str, list[str]], home: Path
) -> None:
    meant = Path(typed.replace("~", str(home)))
    made = programs[prog].made(*arguments[prog], f"--out={typed}")
    assert made.out == f"{meant}\n"
    assert meant.is_dir()
    assert not Path("~").exists()
    assert not (home / "~").exists()


@pytest.mark.parametrize("prog", [CONVERT, EVAL])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    prog: str,
    programs: dict[str, Command],
    arguments: dict[str, list[str]],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / "file").write_text("")
    (home / "nowhere").symlink_to("gone")
    (home / "closed").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    for parent in ("file", "nowhere", "closed"):
        said = programs[prog].refused(*arguments[prog], f"--out=~/{parent}/deep/run")
        assert said == f"{home / parent} is not a folder that can be written; give another --out"
    assert list((home / "closed").iterdir()) == []
