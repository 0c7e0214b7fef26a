"""What a report holds, in order: the verdict, an overview, a section for each task of each run, then what is no run's,
settings and versions.

And its Markdown form; `page.py` makes the HTML form of the same.
"""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from .charts import Chart, Choice, choices
from .collect import TaskResults
from .comparison import Comparison, compare
from .grid_tables import best_table, scores_table, settings_table
from .outputs import SideBySide, side_by_side
from .overview import overview_table
from .table import Cell, Column, Table, escape_markdown, markdown_rows
from .tables import answers_table, differences_table, metrics_table
from .transfer import transfer_part
from .tuning import Tuned, read_tuning, tuning_table
from .verdict import UNDECIDED, Verdict, tried_strengths, verdict_table, verdicts
from .words import heading, made_with, slug

_PACKAGES = ("clas-models", "numpy", "scipy", "scikit-learn", "matplotlib", "jinja2")
QUESTION = "Does steering help?"
_COLUMNS = (Column("setting", numeric=False), Column("value", numeric=False))


@dataclass(frozen=True)
class Section:
    """One task of one run: what matters first, `details` last."""

    anchor: str
    title: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    choices: tuple[Choice, ...]
    outputs: tuple[SideBySide, ...]
    details: tuple[Table, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values: the settings of a run, or versions."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Annex:
    """A section about what is no run, and where it comes from: `folder` is the name of a folder."""

    folder: str
    section: Section
    facts: Facts


@dataclass(frozen=True)
class Document:
    title: str
    verdicts: tuple[Verdict, ...]
    by_language: Table
    overview: Table | None
    sections: tuple[Section, ...]
    facts: tuple[Facts, ...]

    @property
    def tables(self) -> list[Table]:
        shown = [table for section in self.sections for table in (*section.tables, *section.details)]
        return [self.by_language, *([self.overview] if self.overview else []), *shown]

    @property
    def charts(self) -> list[Chart]:
        return [chart for section in self.sections for choice in section.choices for chart in choice.charts.values()]

    def to_markdown(self) -> str:
        """Figures and long tables are named by their places beside the file."""
        parts = [f"# {escape_markdown(self.title)}", "", f"## {QUESTION}", ""]
        for verdict in self.verdicts:
            parts += [f"**{escape_markdown(verdict.sentence)}**", ""]
            parts += [f"- {escape_markdown(line)}" for line in verdict.lines()] + [""]
        parts += [table.to_markdown() for table in (self.overview, self.by_language) if table]
        for section in self.sections:
            parts += [f"## {escape_markdown(section.title)}", ""]
            parts += [f"{escape_markdown(note)}\n" for note in section.notes]
            parts += [table.to_markdown() for table in section.tables]
            parts += [_figures(choice) for choice in section.choices]
            parts += [output.to_markdown() for output in section.outputs]
            parts += [table.to_markdown() for table in section.details]
        for facts in self.facts:
            parts += [f"## {escape_markdown(facts.title)}", ""]
            parts += markdown_rows(_COLUMNS, [(Cell(name), Cell(value)) for name, value in facts.rows])
        return "\n".join(parts).rstrip("\n") + "\n"

    def to_json(self) -> str:
        """The verdict, all tables and settings as plain values."""
        values = {
            "verdict": [verdict.to_json() for verdict in self.verdicts],
            "tables": [table.to_json() for table in self.tables],
            "settings": [{"title": facts.title, **dict(facts.rows)} for facts in self.facts],
        }
        return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _figures(choice: Choice) -> str:
    """The first figure, and where the others are."""
    shown = choice.shown
    parts = [f"![{escape_markdown(shown.title)}](figures/{shown.name}.png)\n"]
    others = [f"[{name}](figures/{chart.name}.png)" for name, chart in choice.charts.items() if chart is not shown]
    return "\n".join([*parts, *([f"More figures: {'; '.join(others)}.\n"] if others else [])])


def assemble(results: Sequence[TaskResults], annexes: Sequence[Annex] = ()) -> Document:
    """Everything there is to say about these results, and behind it the annexes.

    Raises InputError: a `tune.json` that cannot be read.
    """
    compared = {index: compare(task) for index, task in enumerate(results)}
    tunings = {index: read_tuning(task) for index, task in enumerate(results)}
    found = verdicts(results, compared, tunings)
    models = dict.fromkeys(task.model_name for task in results)
    tasks = dict.fromkeys(task.task for task in results)
    runs = {task.run: task for task in reversed(results)}
    return Document(
        title=f"{', '.join(models)}: {', '.join(tasks)}",
        verdicts=tuple(found),
        by_language=verdict_table(found),
        overview=overview_table(results, compared, tunings),
        sections=(
            *(_section(task, compared[index], tunings[index]) for index, task in enumerate(results)),
            *(annex.section for annex in annexes),
        ),
        facts=(
            *(_settings(runs[number]) for number in sorted(runs)),
            *(annex.facts for annex in annexes),
            _versions(),
        ),
    )


def _section(task: TaskResults, comparison: Comparison | None, tuning: tuple[Tuned, ...] | None) -> Section:
    tables: list[Table] = []
    details = [metrics_table(task), *([answers] if (answers := answers_table(task)) else [])]
    notes = [_methods(task)]
    if comparison is None:
        notes.append(
            "The unsteered base was not run, so there is nothing to compare with; run with --methods base too."
        )
    elif task.is_grid:
        tables += [settings_table(comparison), best_table(comparison)]
        details.insert(0, scores_table(comparison))
    else:
        tables.append(differences_table(comparison))
    if tuning is not None:
        tables.insert(0, tuning_table(task, tuning))
    elif task.settings.command == "tune":
        notes.append(f"{UNDECIDED}.")
    transfer = transfer_part(task)
    return Section(
        anchor=slug("section", task.run, task.task),
        title=f"{heading(task)} ({task.settings.command})",
        notes=(*notes, *transfer.notes),
        tables=(*tables, *transfer.tables),
        choices=(*(choices(comparison) if comparison else ()), *transfer.choices),
        outputs=tuple(side_by_side(comparison)) if comparison else (),
        details=(*details, *transfer.details),
    )


def _methods(task: TaskResults) -> str:
    """What was in force under each name; of a grid the strengths that were tried."""
    if task.is_grid:
        return f"Tried: {tried_strengths(task)}."
    told = [f"{name} ({made_with(values)})" for name, values in task.settings.methods.items()]
    return f"Methods: {'; '.join(told)}."


def _settings(task: TaskResults) -> Facts:
    values = asdict(task.settings)
    other = values.pop("other")
    rows = {"folder": task.path.name, **values, **other}
    for name, value in rows.items():
        rows[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return Facts(f"Settings of run {task.run}", tuple(rows.items()))


def _versions() -> Facts:
    rows = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:  # a checkout that was not installed
            continue
    return Facts("The report was made with", tuple(rows))
