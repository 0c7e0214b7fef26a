"""The report on selections of neurons: what its tables and charts show.

Which numbers there are is said in `neuron_numbers.py`, what files they become in `neuron_output.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from clas_models.profiling.selection import Selection

from ..report.charts import HeatMap, Line, LineChart
from ..report.figures import Named
from ..report.table import MISSING, Cell, Column, Table, count, score
from ..report.words import slug
from .bars import BarChart
from .neuron_numbers import SelectionNumbers, agreement

Statistics: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By site and language, as `neuron_numbers.activation_statistics` gives them."""
Numbers: TypeAlias = Mapping[str, SelectionNumbers]
"""By how a user wrote the selection."""


@dataclass(frozen=True)
class Shown:
    """A part of the page: what it is about, its charts and its tables."""

    title: str
    notes: tuple[str, ...]
    charts: tuple[Named, ...]
    tables: tuple[Table, ...]


def stem_of(number: int, text: str) -> str:
    """What the names of a selection's files have in common; the number tells apart what a name cannot."""
    return f"{number}-{slug(text)}"


def counts_part(model: str, numbers: Numbers, num_neurons: int, notes: tuple[str, ...]) -> Shown:
    languages = tuple(dict.fromkeys(code for each in numbers.values() for code in each.languages))
    counts = {text: dict(zip(each.languages, each.counts, strict=True)) for text, each in numbers.items()}
    table = Table(
        name="neurons-by-language",
        title="Neurons of each language",
        columns=(Column("language", numeric=False), *(Column(text) for text in counts)),
        body=tuple(
            (Cell(code), *(count(found[code]) if code in found else Cell(MISSING) for found in counts.values()))
            for code in languages
        ),
        foot=((Cell("any"), *(count(each.distinct) for each in numbers.values())),),
        notes=(f"any: neurons of one language or more, of {num_neurons:,} of the model.",),
        data=tuple(
            {"selection": text, "language": code, "neurons": value, "share": value / num_neurons}
            for text, found in counts.items()
            for code, value in found.items()
        ),
        summary={text: {"any": each.distinct} for text, each in numbers.items()},
    )
    bars = BarChart(
        name="neurons-by-language",
        title=f"{model}: neurons of each language",
        y_label="neurons",
        rows=languages,
        series={text: tuple(found.get(code, 0) for code in languages) for text, found in counts.items()},
    )
    return Shown("How many neurons each language has", notes, (bars,), (table,))


def agreement_part(model: str, selections: Mapping[str, Selection]) -> Shown:
    pairs = {(one, other): agreement(selections[one], selections[other]) for one, other in combinations(selections, 2)}
    titles = [f"{one} | {other}" for one, other in pairs]
    languages = tuple(dict.fromkeys(code for found, _ in pairs.values() for code in found))
    table = Table(
        name="agreement",
        title="Agreement of selections",
        columns=(Column("language", numeric=False), *map(Column, titles)),
        body=tuple(
            (Cell(code), *(score(_percent(found.get(code)), 1) for found, _ in pairs.values())) for code in languages
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
    names = tuple(selections)
    heat = HeatMap(
        name="agreement",
        title=f"{model}: agreement of selections, all languages",
        x_label="",
        rows=tuple(f"{number} {text}" for number, text in enumerate(names, start=1)),
        columns=tuple(str(number) for number in range(1, len(names) + 1)),
        values=tuple(
            tuple(100.0 if one == other else totals.get((one, other), totals.get((other, one))) for other in names)
            for one in names
        ),
        unit="in both, of those in either, %",
        decimals=1,
        higher_is_better=True,
        ends=(0.0, 100.0),
    )
    return Shown("Do the selections find the same neurons?", (), (heat,), (table,))


def selection_part(model: str, number: int, text: str, selection: Selection, found: SelectionNumbers) -> Shown:
    stem = stem_of(number, text)
    heat = HeatMap(
        name=f"overlap-{stem}",
        title=f"{model}, {text}: neurons that two languages share",
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
        title=f"{model}, {text}: neurons by layer",
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
    made = selection.origin
    note = f"Made by {made.made_by}: {json.dumps(made.arguments, ensure_ascii=False)}."
    return Shown(text, (note,), (heat, layers), (_overlap_table(stem, text, found), _layers_table(stem, text, found)))


def statistics_part(model: str, statistics: Statistics) -> Shown:
    tables, charts = [], []
    for site, by_language in statistics.items():
        names = list(dict.fromkeys(name for told in by_language.values() for name in told))
        tables.append(
            Table(
                name=f"activations-{site}",
                title=f"Activations at the site {site}",
                columns=(Column("language", numeric=False), *map(Column, names)),
                body=tuple(
                    (Cell(code), *(score(told.get(name), 4) for name in names)) for code, told in by_language.items()
                ),
                data=tuple({"site": site, "language": code, **told} for code, told in by_language.items()),
            )
        )
        if percents := [name for name in names if name.startswith("P")]:
            charts.append(_percentile_chart(model, site, percents, by_language))
    notes = ["Averages over all neurons of the mean, and of the percentiles, of each (table 6 of the paper)."]
    if not charts:
        notes.append("No percentiles: the checkpoint has no quantiles; convert it again, with --quantiles.")
    return Shown("Statistics of activations", tuple(notes), tuple(charts), tuple(tables))


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
