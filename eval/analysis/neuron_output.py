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
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from clas_models.atomic import atomic_file
from clas_models.json_data import parse_json
from clas_models.profiling.selection import Selection

from ..report.charts import HeatMap, Line, LineChart
from ..report.figures import Named, save_chart
from ..report.table import MISSING, Cell, Column, Table, count, score
from ..report.words import slug
from .bars import BarChart
from .neuron_numbers import SelectionNumbers, agreement, numbers_of

PAGE_NAME, JSON_NAME = "neurons.html", "neurons.json"
_TEMPLATE = "neurons.html.j2"
Statistics: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By site and language, as `neuron_numbers.activation_statistics` gives them."""


@dataclass(frozen=True)
class Shown:
    """A part of the page: what it is about, its charts and its tables."""

    title: str
    notes: tuple[str, ...]
    charts: tuple[Named, ...]
    tables: tuple[Table, ...]


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
    def numbers(self) -> Mapping[str, SelectionNumbers]:
        return {text: numbers_of(selection) for text, selection in self.selections.items()}

    @cached_property
    def parts(self) -> tuple[Shown, ...]:
        found = [self._counts()]
        if len(self.selections) > 1:
            found.append(self._agreement())
        found += [self._selection(number, text) for number, text in enumerate(self.selections, start=1)]
        return (*found, self._statistics())

    def files(self) -> dict[str, Callable[[Path], Any]]:
        """By the name within the folder, what writes it there; the page last, because it shows the figures."""
        found: dict[str, Callable[[Path], Any]] = {JSON_NAME: _text(self.to_json())}
        for number, (text, selection) in enumerate(self.selections.items(), start=1):
            found[f"selections/{number}-{slug(text)}.safetensors"] = selection.save
        for part in self.parts:
            found |= {f"tables/{table.name}.csv": _text(table.to_csv()) for table in part.tables}
            for chart in part.charts:
                found[f"figures/{chart.name}.png"] = lambda path, chart=chart: save_chart(chart, path.parent)
                found[f"figures/{chart.name}.svg"] = lambda path: None  # written with the one before
        found[PAGE_NAME] = lambda path: _text(self.to_html(path.parent))(path)
        return found

    def write(self, folder: Path) -> None:
        """What an earlier report has left and this one has not goes. Raises OSError: the folder cannot be written."""
        names = self.files()
        for left in sorted(earlier_files(folder) - set(names)):
            (folder / left).unlink(missing_ok=True)
        for name, write in names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)

    def to_json(self) -> str:
        values = {
            "model": self.model,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "selections": {text: asdict(selection.origin) for text, selection in self.selections.items()},
            "tables": [table.to_json() for part in self.parts for table in part.tables],
            "files": [name for part in self.parts for name in _names(part)],
        }
        return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def to_html(self, folder: Path) -> str:
        """The page, with the figures that lie in `folder`."""
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        package = "eval.report" if __package__ == "eval.analysis" else "clas_eval.report"
        environment = Environment(
            loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, keep_trailing_newline=True,
        )  # fmt: skip
        environment.filters["picture"] = lambda chart: base64.b64encode(
            (folder / "figures" / f"{chart.name}.svg").read_bytes()
        ).decode()
        style = Markup((files(package) / "templates" / "report.css").read_text(encoding="utf-8"))
        return environment.get_template(_TEMPLATE).render(report=self, style=style)

    def _counts(self) -> Shown:
        languages = tuple(dict.fromkeys(code for each in self.numbers.values() for code in each.languages))
        counts = {text: dict(zip(each.languages, each.counts, strict=True)) for text, each in self.numbers.items()}
        table = Table(
            name="neurons-by-language",
            title="Neurons of each language",
            columns=(Column("language", numeric=False), *(Column(text) for text in counts)),
            body=tuple(
                (Cell(code), *(count(found[code]) if code in found else Cell(MISSING) for found in counts.values()))
                for code in languages
            ),
            foot=((Cell("any"), *(count(each.distinct) for each in self.numbers.values())),),
            notes=(f"any: neurons of one language or more, of {self.num_neurons:,} of the model.",),
            data=tuple(
                {"selection": text, "language": code, "neurons": value, "share": value / self.num_neurons}
                for text, found in counts.items()
                for code, value in found.items()
            ),
            summary={text: {"any": each.distinct} for text, each in self.numbers.items()},
        )
        bars = BarChart(
            name="neurons-by-language",
            title=f"{self.model}: neurons of each language",
            y_label="neurons",
            rows=languages,
            series={text: tuple(found.get(code, 0) for code in languages) for text, found in counts.items()},
        )
        return Shown("How many neurons each language has", self.notes, (bars,), (table,))

    def _agreement(self) -> Shown:
        pairs = {
            (one, other): agreement(self.selections[one], self.selections[other])
            for one, other in combinations(self.selections, 2)
        }
        titles = [f"{one} | {other}" for one, other in pairs]
        languages = tuple(dict.fromkeys(code for found, _ in pairs.values() for code in found))
        table = Table(
            name="agreement",
            title="Agreement of selections",
            columns=(Column("language", numeric=False), *map(Column, titles)),
            body=tuple(
                (Cell(code), *(score(_percent(found.get(code)), 1) for found, _ in pairs.values()))
                for code in languages
            ),
            foot=((Cell("all"), *(score(_percent(total), 1) for _, total in pairs.values())),),
            notes=("Per cent: neurons of a language in both, of those in either.",),
            data=tuple(
                {"selection": one, "other": other, "language": code, "agreement": value}
                for (one, other), (found, total) in pairs.items()
                for code, value in [*found.items(), ("all", total)]
            ),
        )
        totals = {pair: _percent(total) for pair, (_, total) in pairs.items()}
        names = tuple(self.selections)
        heat = HeatMap(
            name="agreement",
            title=f"{self.model}: agreement of selections, all languages",
            x_label="",
            rows=names,
            columns=tuple(str(number) for number in range(1, len(names) + 1)),
            values=tuple(
                tuple(100.0 if one == other else totals.get((one, other), totals.get((other, one))) for other in names)
                for one in names
            ),
            unit="in both, of those in either, %",
            decimals=0,
            higher_is_better=True,
            ends=(0.0, 100.0),
        )
        return Shown("Do the selections find the same neurons?", (), (heat,), (table,))

    def _selection(self, number: int, text: str) -> Shown:
        found, stem = self.numbers[text], f"{number}-{slug(text)}"
        heat = HeatMap(
            name=f"overlap-{stem}",
            title=f"{self.model}, {text}: neurons that two languages share",
            x_label="",
            rows=found.languages,
            columns=found.languages,
            values=found.overlap,
            unit="neurons",
            decimals=0,
            higher_is_better=True,
            ends=(0.0, float(max(map(max, found.overlap)) or 1)),
        )
        layers = LineChart(
            name=f"layers-{stem}",
            title=f"{self.model}, {text}: neurons by layer",
            x_label="layer",
            y_label="neurons",
            lines=tuple(
                Line(code, tuple(map(float, found.layers)), tuple(map(float, row)))
                for code, row in zip(found.languages, found.by_layer, strict=True)
            ),
            level=None,
            level_label="",
            decimals=0,
        )
        made = self.selections[text].origin
        note = f"Made by {made.made_by}: {json.dumps(made.arguments, ensure_ascii=False)}."
        return Shown(
            text, (note,), (heat, layers), (_overlap_table(stem, text, found), _layers_table(stem, text, found))
        )

    def _statistics(self) -> Shown:
        tables, charts = [], []
        for site, by_language in self.statistics.items():
            names = list(dict.fromkeys(name for told in by_language.values() for name in told))
            tables.append(
                Table(
                    name=f"activations-{site}",
                    title=f"Activations at the site {site}",
                    columns=(Column("language", numeric=False), *map(Column, names)),
                    body=tuple(
                        (Cell(code), *(score(told.get(name), 4) for name in names))
                        for code, told in by_language.items()
                    ),
                    data=tuple({"site": site, "language": code, **told} for code, told in by_language.items()),
                )
            )
            if percents := [name for name in names if name.startswith("P")]:
                charts.append(_percentile_chart(self.model, site, percents, by_language))
        notes = ["Averages over all neurons of the mean, and of the percentiles, of each (table 6 of the paper)."]
        if not charts:
            notes.append("No percentiles: the checkpoint has no quantiles; convert it again, with --quantiles.")
        return Shown("Statistics of activations", tuple(notes), tuple(charts), tuple(tables))


def earlier_files(folder: Path) -> set[str]:
    """What a report that was written into the folder says that it wrote."""
    try:
        listed = parse_json((folder / JSON_NAME).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    safe = (Path(name) for name in listed if isinstance(name, str))
    return {path.as_posix() for path in safe if len(path.parts) == 2 and path.parts[0] in ("tables", "figures")}


def _names(part: Shown) -> list[str]:
    tables = [f"tables/{table.name}.csv" for table in part.tables]
    return [*tables, *(f"figures/{chart.name}{ending}" for chart in part.charts for ending in (".png", ".svg"))]


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")

    return write


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _overlap_table(stem: str, text: str, found: SelectionNumbers) -> Table:
    return Table(
        name=f"overlap-{stem}",
        title="Neurons that two languages share",
        columns=(Column("language", numeric=False), *map(Column, found.languages)),
        body=tuple((Cell(code), *map(count, row)) for code, row in zip(found.languages, found.overlap, strict=True)),
        notes=("On the diagonal: all of one language.",),
        data=tuple(
            {"selection": text, "language": one, "other": other, "shared": value}
            for one, row in zip(found.languages, found.overlap, strict=True)
            for other, value in zip(found.languages, row, strict=True)
        ),
    )


def _layers_table(stem: str, text: str, found: SelectionNumbers) -> Table:
    by_layer = list(zip(*found.by_layer, strict=True))
    return Table(
        name=f"layers-{stem}",
        title="Neurons by layer",
        columns=(Column("layer"), *map(Column, found.languages)),
        body=tuple((count(layer), *map(count, row)) for layer, row in zip(found.layers, by_layer, strict=True)),
        data=tuple(
            {"selection": text, "layer": layer, "language": code, "neurons": value}
            for layer, row in zip(found.layers, by_layer, strict=True)
            for code, value in zip(found.languages, row, strict=True)
        ),
    )


def _percentile_chart(
    model: str, site: str, names: list[str], by_language: Mapping[str, Mapping[str, float]]
) -> LineChart:
    return LineChart(
        name=f"activations-{site}",
        title=f"{model}: percentiles of activations at the site {site}, average over neurons",
        x_label="percentile",
        y_label="activation",
        lines=tuple(
            Line(code, tuple(float(name[1:]) for name in names), tuple(told[name] for name in names))
            for code, told in by_language.items()
            if set(names) <= set(told)
        ),
        level=0.0,
        level_label="0",
        decimals=2,
    )
