"""The folder that `neurons` wrote, as a section of the report on runs.

Everything is in that folder: the selections, and the numbers that no selection has in `neurons.json`.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clas_models.errors import InputError
from clas_models.json_data import parse_json
from clas_models.keeping import RUN_NAME
from clas_models.profiling.selection import Selection

from ..report.charts import Choice, DotChart, HeatMap, LineChart
from ..report.document import Annex, Facts, Section
from ..report.table import Table
from .neuron_output import JSON_NAME, NeuronReport
from .neuron_parts import Shown

_REMEDY = "make it again with neurons --overwrite, or leave it out"


def is_neuron_report(folder: Path) -> bool:
    return (folder / JSON_NAME).is_file() and not (folder / RUN_NAME).is_file()


def read_neuron_report(folder: Path) -> NeuronReport:
    """What was written. Raises InputError: a file is missing, damaged, or not as the command writes it."""
    path = folder / JSON_NAME
    try:
        values = parse_json(path.read_bytes())
        files = [name for name in values["files"] if name.startswith("selections/")]
        texts = list(values["selections"])
        settings = dict(values["settings"])
        per_layer, layers = int(settings["neurons a layer"]), int(settings["layers"])
        if len(files) != len(texts):
            raise ValueError(f"{len(texts)} selections in {len(files)} files")
        return NeuronReport(
            model=str(values["model"]),
            selections={text: Selection.load(folder / name) for text, name in zip(texts, files, strict=True)},
            statistics=_statistics(values["tables"]),
            num_neurons=per_layer * layers,
            settings=settings,
            notes=tuple(map(str, values["notes"])),
        )
    except OSError as error:
        raise InputError(f"{error.filename or path}: {error.strerror or error}; {_REMEDY}") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not as neurons writes it ({error!r}); {_REMEDY}") from error


def _statistics(tables: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for table in tables:
        if not table["name"].startswith("activations-"):
            continue
        for row in table["rows"]:
            told = {name: float(value) for name, value in row.items() if name not in ("site", "language")}
            found.setdefault(row["site"], {})[row["language"]] = told
    return found


def annexes(folders: Iterable[Path]) -> tuple[Annex, ...]:
    """A section for each folder, with names of its own for tables and figures. Raises as `read_neuron_report`."""
    return tuple(_annex(number, folder) for number, folder in enumerate(folders, start=1))


def _annex(number: int, folder: Path) -> Annex:
    report, prefix = read_neuron_report(folder), f"neurons-{number}"
    first, *others = report.parts
    notes = [*first.notes, *(f"{part.title}: {note}" for part in others for note in part.notes)]
    tables = [[replace(table, name=f"{prefix}-{table.name}") for table in part.tables] for part in (first, *others)]
    section = Section(
        anchor=f"section-{prefix}",
        title=report.title,
        notes=tuple(notes),
        tables=tuple(tables[0]),
        choices=tuple(choice for part in others if (choice := _choice(prefix, part, report.model))),
        outputs=(),
        details=tuple(_headed(table, part) for part, found in zip(others, tables[1:], strict=True) for table in found),
    )
    name = folder.resolve().name
    return Annex(name, section, Facts(f"Neurons {number}", (("folder", name), *report.settings.items())))


def _headed(table: Table, part: Shown) -> Table:
    """Under other tables of the same kind, a table says of which selection it is."""
    return table if len(part.tables) == 1 else replace(table, title=f"{part.title}: {table.title}")


def _choice(prefix: str, part: Shown, model: str) -> Choice | None:
    """The charts of a part that the page can show; its bars are those of a table."""
    charts = [chart for chart in part.charts if isinstance(chart, LineChart | HeatMap | DotChart)]
    named = {
        chart.title.removeprefix(model).lstrip(",: "): replace(chart, name=f"{prefix}-{chart.name}") for chart in charts
    }
    return Choice(f"{prefix}-{charts[0].name}-choice", named, next(iter(named))) if charts else None
