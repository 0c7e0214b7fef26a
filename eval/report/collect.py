"""Run folders -> what a report compares: every prediction of a task, by method and language, checked.

What the numbers mean together is the business of `comparison.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from clas_models.errors import InputError

from ..run_folder import BASE, STEERING, Record, RunFolder, Settings
from ..score_scale import ScoreScale, scale_of

Records: TypeAlias = Mapping[str, Record]  # by the example's key, in the order of the file


@dataclass(frozen=True)
class TaskResults:
    """The predictions of one task in one run.

    Attributes:
        run: number of the run in the report, from 1.
        path: the run's folder.
        scale: of the main score.
        languages: those with predictions, in the order of the settings.
        methods: names of those with predictions, the base first.
        base: name of the unsteered method; None where it was not run.
        records: by (method, language); a pair without predictions is left out.
    """

    run: int
    path: Path
    settings: Settings
    task: str
    scale: ScoreScale
    languages: tuple[str, ...]
    methods: tuple[str, ...]
    base: str | None
    records: Mapping[tuple[str, str], Records]

    @property
    def anchor(self) -> str:
        return self.settings.anchor_language

    @property
    def others(self) -> tuple[str, ...]:
        """The languages without the anchor: those that the tests across languages are about."""
        return tuple(code for code in self.languages if code != self.anchor)

    @property
    def is_grid(self) -> bool:
        """Many settings of one method: a grid, or the search that `tune` makes."""
        return self.settings.command in ("grid", "tune")

    @property
    def model_name(self) -> str:
        """The last part of what the user called the model."""
        return self.settings.model.rstrip("/").rsplit("/", 1)[-1]

    def parameters(self, method: str) -> dict[str, Any]:
        return self.settings.methods.get(method, {})


def collect(paths: Sequence[Path]) -> list[TaskResults]:
    """Every task with predictions, run by run; a folder that is given twice is read once.

    Raises InputError: no folder given, a folder that is not a run's, a run without predictions, a line that is no
    prediction, or runs that cannot stand side by side.
    """
    folders = {path.resolve(): path for path in paths}
    if not folders:
        raise InputError("no run given; give the folders that `run`, `grid` or `tune` wrote with --out")
    results = []
    for number, path in enumerate(folders.values(), start=1):
        run = RunFolder.open(path)
        found = [task for name in run.settings.tasks if (task := _read_task(run, number, name))]
        if not found:
            raise InputError(f"{path}: no predictions yet; start the run again with the same --out, it goes on")
        results += found
    _check_same_examples(results)
    return results


def _read_task(run: RunFolder, number: int, task: str) -> TaskResults | None:
    settings = run.settings
    records = {
        (method, language): _by_key(run.file(task, method, language), lines)
        for method in settings.methods
        for language in settings.languages[task]
        if (lines := run.records(task, method, language))
    }
    if not records:
        return None
    scale = scale_of(settings.main_score(task))
    for (method, language), by_key in records.items():
        _check_scores(run.file(task, method, language), by_key, scale)
    methods = tuple(dict.fromkeys(method for method, _ in records))
    base = _base(settings, methods)
    return TaskResults(
        run=number,
        path=run.path,
        settings=settings,
        task=task,
        scale=scale,
        languages=tuple(code for code in settings.languages[task] if any(code == seen for _, seen in records)),
        methods=tuple(sorted(methods, key=lambda name: name != base)),
        base=base,
        records=records,
    )


def _by_key(file: Path, lines: list[Record]) -> dict[str, Record]:
    by_key: dict[str, Record] = {}
    for number, record in enumerate(lines, start=1):
        if record.key in by_key:
            raise InputError(f"{file}, line {number}: example {record.key} again; delete the file and run again")
        by_key[record.key] = record
    return by_key


def _check_scores(file: Path, records: Records, scale: ScoreScale) -> None:
    for number, record in enumerate(records.values(), start=1):
        if scale.name not in record.scores:
            raise InputError(f"{file}, line {number}: no score {scale.name}; delete the file and run again")
    # A text of a single token has none that is predicted; a language of such texts has no perplexity.
    totals = [sum(record.tokens for record in records.values()), sum(record.bytes for record in records.values())]
    if scale.weight == "tokens" and not all(totals):
        raise InputError(f"{file}: {scale.unit} need the texts' tokens and bytes; delete the file and run again")


def _base(settings: Settings, methods: Sequence[str]) -> str | None:
    """The unsteered method: by its kind, or steering with strength 0, which is the same to the last bit."""
    kinds = {name: settings.methods[name] for name in methods}
    by_kind = (name for name, values in kinds.items() if values.get("kind", name) == BASE)
    by_strength = (
        name
        for name, values in kinds.items()
        if values.get("kind") in STEERING
        and all(values[field] == 0 for field in ("alpha", "vector_strength") if field in values)
    )
    return next(by_kind, None) or next(by_strength, None)


def _check_same_examples(results: Sequence[TaskResults]) -> None:
    """Runs of one command stand side by side in the overview: a task and method must be about the same examples.

    A grid over a part of the data beside a run over all of it is fine, since neither is compared with the other.
    """
    seen: dict[tuple[str, str, str, str], tuple[TaskResults, frozenset[str]]] = {}
    for task in results:
        for (method, language), records in task.records.items():
            keys = frozenset(records)
            other, expected = seen.setdefault((task.settings.command, task.task, method, language), (task, keys))
            if keys != expected:
                raise InputError(
                    f"{other.path} and {task.path} cannot be compared: {task.task}, {method}, {language} has "
                    f"{len(expected)} examples in one and {len(keys)} in the other, {len(keys & expected)} in both; "
                    "finish both runs with the same --samples, or report them one at a time"
                )
