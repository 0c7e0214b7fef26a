"""A run's folder on disk: its settings, and one file of predictions for each task, method and language.

    RUN/run.json                                  the settings, written once, before the first prediction
    RUN/predictions/TASK/METHOD/LANGUAGE.jsonl    one line for each example, in the order of computing;
                                                  METHOD is the method's name as `folder_of` writes it
    RUN/tune.json                                 what `tune` decided

Reading lives here, so that a report needs no model; `predictions.py` appends.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from clas_models.errors import InputError
from clas_models.json_data import from_json, parse_json
from clas_models.keeping import RUN_NAME

FORMAT_VERSION = 1
_NAME = re.compile(r"[^./\\\0][^/\\\0]*")
SETTINGS_NAME = RUN_NAME
PREDICTIONS_NAME = "predictions"
TUNE_NAME = "tune.json"
BASE = "base"
CLAS = "clas"
VECTORS = "vectors"
CLAS_VECTORS = "clas+vectors"
FITTED = "fitted"
INT = "int"
STEERING = (CLAS, VECTORS, CLAS_VECTORS, FITTED)  # the kinds of methods that a checkpoint can carry
_LONGEST = 100  # characters of a method in a folder's name


@dataclass(frozen=True)
class Record:
    """One line of a predictions file.

    Attributes:
        key: the example's.
        prediction: index of the choice, generated text, or nats; those a token of the right answer for a likelihood.
        gold: as in `Example`.
        scores: of this example, by the names in the task's `metrics`, each in 0 .. 1 or in nats.
        shown: what a reader wants to see beside the answers, such as the question; short.
        cut: tokens of the context that were left out.
        tokens: tokens of the prompt; of the text for a perplexity.
        bytes: bytes of the text in UTF-8, for a perplexity; 0 otherwise.
        choice_scores: of a choice, what its choices were ranked by, the largest first: the natural logarithm of each
            one's probability, as the task's scoring has it (of the likelihood of a text, the mean over its tokens);
            empty for other tasks, and in older runs.
    """

    key: str
    prediction: int | str | float
    gold: tuple[str, ...] | tuple[int, ...]
    scores: dict[str, float]
    shown: str = ""
    cut: int = 0
    tokens: int = 0
    bytes: int = 0
    choice_scores: tuple[float, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Raises ValueError or TypeError for a line that is none."""
        return from_json(cls, parse_json(line))


@dataclass(frozen=True)
class Settings:
    """Everything that predictions depend on, and what a report says about it.

    Attributes:
        command: run, grid or tune.
        model: as the user named it, and its adapter; `fingerprint` identifies the weights and masks.
        anchor_language: of the checkpoint.
        languages: by task, in the order of the report.
        methods: by name, what was in force: {"kind": "base"}, {"kind": "clas", "alpha": 1.0, "beta": 0.4,
            "gamma": 0.2}, {"kind": "vectors", "vector_layers": [14], "vector_strength": 2.0, "vector_positions":
            "last"}, {"kind": "int", "select": "lape", "value": "mean", "site": "gate"}; alpha and vector_strength may
            be by language, and "as" is the language that the method acts as for, where that is not the examples'.
        samples: examples a language, None for all.
        other: everything else, such as the template's digest, precision, maximum length and versions; "parts" are the
            numbers of samples that the run had before it was given more, where it was; "skip", "scoring" and "adapter"
            (its folder and digest) are there where they are not the default.
    """

    command: str
    model: str
    fingerprint: str
    anchor_language: str
    languages: dict[str, list[str]]
    methods: dict[str, dict[str, Any]]
    samples: int | None
    other: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def tasks(self) -> list[str]:
        return list(self.languages)

    def main_score(self, task: str) -> str | None:
        """The name of a task's main score, a line of `score_scale.SCALES`."""
        metrics = self.other.get("metrics")
        named = metrics.get(task) if isinstance(metrics, dict) else None
        return named[0] if isinstance(named, list) and named else None


@dataclass(frozen=True)
class RunFolder:
    """A run that was begun; predictions may still be incomplete."""

    path: Path
    settings: Settings

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises InputError: no folder, no run in it, or one of another format."""
        file = path / SETTINGS_NAME
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; give one that `run`, `grid` or `tune` wrote with --out")
        if not file.is_file():
            raise InputError(f"{path}: no {SETTINGS_NAME}, so not the folder of a run; give one written with --out")
        try:
            values = parse_json(file.read_text(encoding="utf-8"))
            version = values.get("format_version")
            if version != FORMAT_VERSION:
                raise InputError(f"{file}: format version {version}, this package reads {FORMAT_VERSION}")
            settings = from_json(Settings, values)
            codes = [code for codes in settings.languages.values() for code in codes]
            for name in (*settings.languages, *codes, *map(folder_of, settings.methods)):
                if not _NAME.fullmatch(name):  # it becomes a part of a path
                    raise ValueError(f"{name!r} is no name of a task, a language or a method")
            return cls(path, settings)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: not the settings of a run ({error}); run again into another folder") from error

    def file(self, task: str, method: str, language: str) -> Path:
        return self.path / PREDICTIONS_NAME / task / folder_of(method) / f"{language}.jsonl"

    def records(self, task: str, method: str, language: str) -> list[Record]:
        """The finished predictions, [] where there are none yet; a last line without its newline is unfinished.

        Raises InputError: a line that is no prediction; it names file and line.
        """
        path = self.file(task, method, language)
        return list(parsed(path, whole_lines(path)))


def folder_of(method: str) -> str:
    """A method's name without the characters that file systems keep for themselves; different ones stay different."""
    if "=(" in method:  # of a syntax of its own, such as the path of a file: any character may be in it
        name = re.sub(r"[^A-Za-z0-9=.+_-]+", "_", method).strip("_")
        return f"{name[:_LONGEST]}~{hashlib.sha256(method.encode()).hexdigest()[:12]}"
    name = method.translate(str.maketrans(":,/", "__~"))
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}~{hashlib.sha256(method.encode()).hexdigest()[:12]}"


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a predictions file without their ends, [] where there is none.

    A last line without its newline is unfinished and left out; it may end within a character.
    """
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def parsed(path: Path, lines: list[bytes]) -> Iterator[Record]:
    """The predictions on these lines of a file, the first of them its first.

    Raises InputError: a line that is no prediction; it names file and line.
    """
    for number, line in enumerate(lines, start=1):
        try:
            yield Record.from_json(line.decode())
        except (ValueError, TypeError) as error:
            fault = f"not a prediction ({error}); delete the file and run again"
            raise InputError(f"{path}, line {number}: {fault}") from None
