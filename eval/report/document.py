"""What a report holds, in order: an overview, a section for each task of each run, settings and versions.

And its Markdown form; `page.py` makes the HTML form of the same.
"""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from ..run_folder import TUNE_NAME
from .charts import Chart, charts
from .collect import TaskResults
from .comparison import Comparison, compare
from .grid_tables import best_table, scores_table, settings_table, tuning_table
from .outputs import SideBySide, side_by_side
from .table import Cell, Column, Table, escape_markdown, markdown_rows
from .tables import differences_table, heading, metrics_table, overview_table, slug

_PACKAGES = ("clas-models", "numpy", "scipy", "scikit-learn", "matplotlib", "plotly", "jinja2")
_COLUMNS = (Column("setting", numeric=False), Column("value", numeric=False))


@dataclass(frozen=True)
class Section:
    """One task of one run: what matters first, `details` last."""

    anchor: str
    title: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    outputs: tuple[SideBySide, ...]
    details: tuple[Table, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values: the settings of a run, or versions."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    title: str
    overview: Table | None
    sections: tuple[Section, ...]
    facts: tuple[Facts, ...]

    @property
    def tables(self) -> list[Table]:
        shown = [table for section in self.sections for table in (*section.tables, *section.details)]
        return [self.overview, *shown] if self.overview else shown

    @property
    def charts(self) -> list[Chart]:
        return [chart for section in self.sections for chart in section.charts]

    def to_markdown(self) -> str:
        """Figures and long tables are named by their places beside the file."""
        parts = [f"# {escape_markdown(self.title)}", ""]
        if self.overview:
            parts.append(self.overview.to_markdown())
        for section in self.sections:
            parts += [f"## {escape_markdown(section.title)}", ""]
            parts += [f"{escape_markdown(note)}\n" for note in section.notes]
            parts += [table.to_markdown() for table in section.tables]
            parts += [f"![{escape_markdown(chart.title)}](figures/{chart.name}.png)\n" for chart in section.charts]
            parts += [output.to_markdown() for output in section.outputs]
            parts += [table.to_markdown() for table in section.details]
        for facts in self.facts:
            parts += [f"## {escape_markdown(facts.title)}", ""]
            parts += markdown_rows(_COLUMNS, [(Cell(name), Cell(value)) for name, value in facts.rows])
        return "\n".join(parts).rstrip("\n") + "\n"

    def to_json(self) -> str:
        """All tables and settings as plain values."""
        values = {
            "tables": [table.to_json() for table in self.tables],
            "settings": [{"title": facts.title, **dict(facts.rows)} for facts in self.facts],
        }
        return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def assemble(results: Sequence[TaskResults]) -> Document:
    """Everything there is to say about these results.

    Raises InputError: a `tune.json` that cannot be read.
    """
    compared = {index: compare(task) for index, task in enumerate(results)}
    plain = [found for found in compared.values() if found and not found.task.is_grid]
    models = dict.fromkeys(task.model_name for task in results)
    tasks = dict.fromkeys(task.task for task in results)
    runs = {task.run: task for task in reversed(results)}
    return Document(
        title=f"{', '.join(models)}: {', '.join(tasks)}",
        overview=overview_table(plain) if any(found.across for found in plain) else None,
        sections=tuple(_section(task, compared[index]) for index, task in enumerate(results)),
        facts=(*(_settings(runs[number]) for number in sorted(runs)), _versions()),
    )


def _section(task: TaskResults, comparison: Comparison | None) -> Section:
    tables: list[Table | None] = []
    details = [metrics_table(task)]
    notes = []
    if comparison is None:
        notes.append(
            "The unsteered base was not run, so there is nothing to compare with; run with --methods base too."
        )
    elif task.is_grid:
        tables += [settings_table(comparison), best_table(comparison)]
        details.insert(0, scores_table(comparison))
    else:
        tables.append(differences_table(comparison))
    if task.settings.command == "tune":
        tables.insert(0, tuning_table(task))
        if not (task.path / TUNE_NAME).is_file():
            notes.append("This search has not decided yet; start it again with the same --out, it goes on.")
    return Section(
        anchor=slug("section", task.run, task.task),
        title=f"{heading(task)} ({task.settings.command})",
        notes=tuple(notes),
        tables=tuple(table for table in tables if table),
        charts=tuple(charts(comparison)) if comparison else (),
        outputs=tuple(side_by_side(comparison)) if comparison else (),
        details=tuple(details),
    )


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
