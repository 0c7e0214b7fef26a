"""The report on selections of neurons: its tables and charts, and the files that they become.

    OUT/neurons.html       everything, in one file that needs no network
    OUT/neurons.json       every number of every table, and how each selection was made
    OUT/tables/*.csv       one file for each table
    OUT/figures/*.png, *.svg
    OUT/selections/*.safetensors

Which numbers there are is said in `neuron_numbers.py`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file
from clas_models.json_data import parse_json
from clas_models.profiling.selection import Selection

from .. import report as report_package
from ..report.figures import Named, save_chart
from .neuron_numbers import numbers_of
from .neuron_parts import (
    Numbers,
    Shown,
    Statistics,
    agreement_part,
    counts_part,
    selection_part,
    statistics_part,
    stem_of,
)

PAGE_NAME, JSON_NAME = "neurons.html", "neurons.json"
_TEMPLATE = "neurons.html.j2"
_FOLDERS = ("tables", "figures", "selections")


@dataclass(frozen=True)
class NeuronReport:
    """Attributes:
    selections: by how a user wrote them.
    num_neurons: of the layers that were profiled.
    settings: names and values, for the end of the page.
    notes: what a reader should know first.
    """

    model: str
    selections: Mapping[str, Selection]
    statistics: Statistics
    num_neurons: int
    settings: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"Language neurons of {self.model}"

    @cached_property
    def numbers(self) -> Numbers:
        return {text: numbers_of(selection) for text, selection in self.selections.items()}

    @cached_property
    def parts(self) -> tuple[Shown, ...]:
        found = [counts_part(self.model, self.numbers, self.num_neurons, self.notes)]
        if len(self.selections) > 1:
            found.append(agreement_part(self.model, self.selections))
        for number, (text, selection) in enumerate(self.selections.items(), start=1):
            found.append(selection_part(self.model, number, text, selection, self.numbers[text]))
        return (*found, statistics_part(self.model, self.statistics))

    def files(self) -> dict[str, Callable[[Path], Any]]:
        """By the name within the folder, what writes it there; the page last, because it shows the figures."""
        found: dict[str, Callable[[Path], Any]] = {}
        for number, (text, selection) in enumerate(self.selections.items(), start=1):
            found[f"selections/{stem_of(number, text)}.safetensors"] = selection.save
        for part in self.parts:
            found |= {f"tables/{table.name}.csv": _text(table.to_csv()) for table in part.tables}
            for chart in part.charts:
                found[f"figures/{chart.name}.svg"] = _figures(chart)
                found[f"figures/{chart.name}.png"] = lambda _: None  # written with the other one
        # The list of what is there first: after an interruption the same command removes it all.
        return {JSON_NAME: _text(self.to_json(list(found))), **found, PAGE_NAME: self._write_page}

    def write(self, folder: Path) -> None:
        """What an earlier report has left and this one has not goes. Raises OSError: the folder cannot be written."""
        names = self.files()
        for left in sorted(earlier_files(folder) - set(names)):
            (folder / left).unlink(missing_ok=True)
        for name, write in names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)

    def to_json(self, names: list[str]) -> str:
        values = {
            "model": self.model,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "selections": {text: asdict(selection.origin) for text, selection in self.selections.items()},
            "tables": [table.to_json() for part in self.parts for table in part.tables],
            "files": names,
        }
        return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def to_html(self, folder: Path) -> str:
        """The page, with the figures that lie in `folder`."""
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        package = report_package.__name__
        environment = Environment(
            loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, keep_trailing_newline=True,
        )  # fmt: skip
        environment.filters["picture"] = lambda chart: base64.b64encode(
            (folder / "figures" / f"{chart.name}.svg").read_bytes()
        ).decode()
        style = Markup((files(package) / "templates" / "report.css").read_text(encoding="utf-8"))
        return environment.get_template(_TEMPLATE).render(report=self, style=style)

    def _write_page(self, path: Path) -> None:
        _text(self.to_html(path.parent))(path)


def earlier_files(folder: Path) -> set[str]:
    """What a report that was written into the folder says that it wrote."""
    try:
        listed = parse_json((folder / JSON_NAME).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    safe = (Path(name) for name in listed if isinstance(name, str))
    return {path.as_posix() for path in safe if len(path.parts) == 2 and path.parts[0] in _FOLDERS}


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")

    return write


def _figures(chart: Named) -> Callable[[Path], Any]:
    return lambda path: save_chart(chart, path.parent)
