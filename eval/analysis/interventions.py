"""The command `interventions`: what writing over the neurons of each language does to the scores of a task.

A run like any other, of the base and the method `int` for every selection and value, and after it tables 1, 2, 4 and 5
of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), in the run's folder
(`intervention_tables.py`, `intervention_output.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clas_models.command_line import CONVERT, EVAL
from clas_models.errors import InputError
from clas_models.modeling.language_tags import did_you_mean, matching
from clas_models.profiling.known import Known
from clas_models.profiling.recorder import GATE
from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import check_not_empty, default_selections, read_selection, select
from clas_models.profiling.values import SITES, needs_quantiles, read_value

from ..loading import Checkpoint
from ..method_names import Nested
from ..methods import Method, method_of
from ..plan import Plan
from ..progress import Progress
from ..report.collect import TaskResults, collect
from ..run_folder import BASE, INT
from ..run_options import RunOptions
from ..runner import execute
from ..tasks import task_of
from ..tasks.task import language_codes
from .intervention_output import save_tables, to_markdown
from .intervention_tables import NONE, InterventionTable, rows_of, scales_of

COMMAND = "interventions"
VALUES = ("mean", "p75", "p90", "p95", "zero", "p5", "p10", "p25")
"""Those of tables 4 and 5, in their order."""


@dataclass(frozen=True)
class InterventionOptions:
    """What a user can choose beside what every run has; the defaults are the command line's.

    Attributes:
        selections: whose neurons, as `read_selection` takes them; none is LAPE, and activation probability where the
            checkpoint has quantiles.
        values: what is written, as `read_value` takes it; none is VALUES, or without quantiles those that need none.
        site: where values are taken, a key of `values.SITES`.
    """

    selections: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    site: str = GATE

    def check(self) -> None:
        """Raises InputError for what no checkpoint could make right."""
        for what, given, read in (("selection", self.selections, read_selection), ("value", self.values, read_value)):
            names = [read(text) for text in given]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"{what} {twice!r} stands there twice: name every one once")
        if self.site not in SITES:
            raise InputError(f"site {self.site!r}: choose one of {', '.join(SITES)}")

    def of(self, known: Known) -> "InterventionOptions":
        """With names for everything, each in the one way it is written; the defaults are those of a checkpoint."""
        without = known.quantiles is None
        selections = self.selections or default_selections(known)
        values = self.values or tuple(value for value in VALUES if not (without and needs_quantiles(value)))
        return replace(self, selections=tuple(map(read_selection, selections)), values=tuple(map(read_value, values)))


@dataclass(frozen=True)
class InterventionResult:
    """The tables of a run, one for each selection; `about` is what they are of, as JSON holds it."""

    folder: Path
    about: dict[str, Any]
    tables: tuple[InterventionTable, ...]

    def write(self) -> None:
        """Raises OSError: a file cannot be written; none is half there."""
        save_tables(self.folder / COMMAND, self.tables, self.about)

    def summary(self) -> str:
        """For the command line."""
        where = f"Also in {self.folder / COMMAND}.md, .csv and .json; the whole report: {EVAL} report {self.folder}"
        return f"{to_markdown(self.tables)}\n{where}"


def run_interventions(options: RunOptions, asked: InterventionOptions, progress: Progress) -> InterventionResult:
    """Compute what is not there yet, and write the tables.

    Args:
        options: of one task.

    Raises:
        InputError: something cannot be used.
        OSError: the disk is full or not writable; the run can go on later.
    """
    asked.check()
    checkpoint = options.open()
    if not checkpoint.is_steered:
        raise InputError(
            f"{checkpoint.name}: a plain checkpoint, which carries no profile to find language neurons in; convert it "
            f"first with {CONVERT}"
        )
    known = checkpoint.known()
    if known.quantiles is None and not asked.values:
        progress.say(f"{checkpoint.name}: no quantiles, which percentiles need; {CONVERT} --quantiles makes them")
    asked = asked.of(known)
    selections = {text: check_not_empty(select(text, known), text) for text in asked.selections}
    languages = _languages(options, checkpoint, selections, progress)
    methods = {text: intervention_methods(text, asked.values, asked.site, checkpoint) for text in selections}
    by_name = {method.name: method for by_column in methods.values() for method in by_column.values()}
    plan = Plan.of("run", replace(options, languages=languages), checkpoint, list(by_name.values()))
    execute(plan, progress)
    task = next(task for task in collect([options.out]) if task.task == options.tasks[0])
    names = {text: {column: each.name for column, each in by_column.items()} for text, by_column in methods.items()}
    about = {
        "model": checkpoint.name,
        "task": task.task,
        "anchor": checkpoint.anchor_language,
        "site": asked.site,
        "methods": names,
    }
    tables = [_table(text, each, names[text], asked.site, plan, task) for text, each in selections.items()]
    result = InterventionResult(options.out, about, tuple(tables))
    result.write()
    return result


def _languages(
    options: RunOptions, checkpoint: Checkpoint, selections: Mapping[str, Selection], progress: Progress
) -> tuple[str, ...]:
    """Those that are asked for, which must have neurons, or by default all of the task that were profiled."""
    asked = language_codes(options.languages)
    if asked is None:
        there = tuple(task_of(options.tasks[0]).load(None, options.source))
        profiled = tuple(code for code in there if checkpoint.profiled_as(code) is not None)
        if not profiled:
            raise InputError(f"{options.tasks[0]} has none of the profiled languages {_told(checkpoint)}")
        if left_out := [code for code in there if code not in profiled]:
            progress.say(f"left out, because they were not profiled: {', '.join(left_out)}")
        return profiled
    for code in asked:
        if checkpoint.profiled_as(code) is None:
            raise InputError(
                f"language {code}{did_you_mean(code)} was not profiled, so it has no neurons of its own; choose among "
                f"{_told(checkpoint)}"
            )
    for text, selection in selections.items():
        if without := [code for code in asked if not (_is_anchor(code, checkpoint) or _count(selection, code))]:
            raise InputError(
                f"selection {text!r}: no neurons for {', '.join(without)}; leave it out of --languages, or choose "
                "another --select"
            )
    return asked


def _told(checkpoint: Checkpoint) -> str:
    return ", ".join(checkpoint.config.languages)


def _is_anchor(code: str, checkpoint: Checkpoint) -> bool:
    return checkpoint.profiled_as(code) == checkpoint.anchor_language


def _count(selection: Selection, code: str) -> int:
    """How many neurons of a language are selected; none of one that the selection does not know."""
    known = matching(code, selection.languages)
    return 0 if known is None else selection.counts()[known]


def intervention_methods(selection: str, values: Sequence[str], site: str, checkpoint: Checkpoint) -> dict[str, Method]:
    """By the title of a column: the base, and the method that writes each of the values.

    Args:
        selection: as `selections.select` reads it.
        values: as `values.read_value` takes them.
        site: where they are taken, a key of `values.SITES`.

    Raises InputError: one of them cannot be used on the checkpoint.
    """
    options = {"select": Nested(selection), "site": site}
    written = {_column(value): method_of(INT, {**options, "value": value}, checkpoint) for value in values}
    return {NONE: method_of(BASE, {}, checkpoint), **written}


def _column(value: str) -> str:
    """As in the paper, but for the mean, whose column is Int μ there."""
    return "Int 0" if value == "zero" else f"Int {value.upper() if value.startswith('p') else value}"


def _table(
    text: str, selection: Selection, methods: Mapping[str, str], site: str, plan: Plan, task: TaskResults
) -> InterventionTable:
    languages, checkpoint = plan.jobs[0].languages, plan.checkpoint
    written = [code for code in languages if not _is_anchor(code, checkpoint)]
    counts = {code: _count(selection, code) for code in written}
    told = ", ".join(f"{code} {count:,}" for code, count in counts.items())
    notes = [f"Neurons that are written over: {told or 'none'}. Values are taken at {site}."]
    if without := [code for code, count in counts.items() if not count]:
        notes.append(f"Without neurons: {', '.join(without)}; there every column is {NONE}.")
    if anchors := [code for code in languages if code not in written]:
        notes.append(f"{', '.join(anchors)} is the anchor, where nothing is written: every column is {NONE}.")
    notes += [remark for each in plan.profiled for remark in each.remarks()]
    title = f"{task.model_name}, {task.task}: {text}"
    rows = rows_of(task, methods, languages)
    return InterventionTable(
        title, ("language",), tuple(methods), scales_of(task.scale), tuple(rows), tuple(notes)
    ).adjusted()
