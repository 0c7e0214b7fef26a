"""The results of the lens as files: every number as JSON and CSV, and the figures."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file

from ..report.charts import Line, LineChart
from ..report.figures import save_chart
from ..run_folder import RunFolder
from ..summary import aligned
from .correlations import Correlation
from .lens_numbers import ACCURACIES, LOG_RATIO, MEASURES, QUANTITIES, LensCorrelation, Numbers, across
from .projection import ScatterPanels

JSON_NAME, CSV_NAME, CORRELATIONS_NAME = "lens.json", "lens.csv", "lens-correlations.csv"
MISSING = "–"


@dataclass(frozen=True)
class LensResult:
    """Attributes:
    layers: whose output was read.
    numbers: by method and language, the anchor among them.
    chance: the accuracy of guessing.
    points: the states as points, where there are any.
    """

    folder: RunFolder
    task: str
    layers: tuple[int, ...]
    numbers: Mapping[str, Mapping[str, Numbers]]
    correlations: Sequence[LensCorrelation]
    chance: float
    points: ScatterPanels | None

    @property
    def anchor(self) -> str:
        return self.folder.settings.anchor_language

    def others(self, method: str) -> dict[str, Numbers]:
        """By language, without the anchor."""
        return {code: numbers for code, numbers in self.numbers[method].items() if code != self.anchor}

    def write(self) -> None:
        """Raises OSError: the disk is full or not writable."""
        path = self.folder.path
        _write(path / JSON_NAME, json.dumps(self._as_json(), indent=1, ensure_ascii=False) + "\n")
        _write(path / CSV_NAME, _csv(self._rows()))
        _write(path / CORRELATIONS_NAME, _csv(each.to_dict() for each in self.correlations))
        for chart in (*self._charts(), self.points):
            if chart is not None:
                save_chart(chart, path)

    def _as_json(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.folder.settings),
            "task": self.task,
            "anchor": self.anchor,
            "layers": self.layers,
            "chance": self.chance,
            "languages": {
                method: {code: {name: numbers[name].tolist() for name in QUANTITIES} for code, numbers in given.items()}
                for method, given in self.numbers.items()
            },
            "means_without_anchor": {
                method: {name: [asdict(mean) for mean in across(self.others(method), name)] for name in QUANTITIES}
                for method in self.numbers
            },
            "correlations": [each.to_dict() for each in self.correlations],
        }

    def _rows(self) -> Iterable[dict[str, Any]]:
        for method, given in self.numbers.items():
            for (code, numbers), (place, layer) in product(given.items(), enumerate(self.layers)):
                accuracies = {f"accuracy_{name}": float(numbers[name][place]) for name in ACCURACIES}
                ratio = float(numbers[LOG_RATIO][place])
                yield {"method": method, "language": code, "layer": layer, LOG_RATIO: ratio, **accuracies}

    def _charts(self) -> tuple[LineChart, LineChart]:
        several = len(self.numbers) > 1
        accuracy = {"native": "in the native language", "anchor": f"in {self.anchor}"}
        where = f"{self.task}, mean of {len(self.others(next(iter(self.numbers))))} languages without {self.anchor}"
        bands = "95 % bootstrap over languages"
        ratio = LineChart(
            name="lens-log-ratio",
            title=f"{where}, {bands}",
            x_label="layer",
            y_label=f"log p(native choices) / p({self.anchor} choices), nats a token",
            lines=tuple(self._line(method, LOG_RATIO, method) for method in self.numbers),
            level=0.0,
            level_label="as likely",
            decimals=2,
        )
        lines = [
            self._line(method, name, f"{method}, {label}" if several else label, 100)
            for method in self.numbers
            for name, label in accuracy.items()
        ]
        latent = LineChart(
            name="lens-accuracy",
            title=f"{where}, {bands}",
            x_label="layer",
            y_label="latent accuracy of the choices' texts, %",
            lines=tuple(lines),
            level=100 * self.chance,
            level_label="chance",
            decimals=1,
        )
        return ratio, latent

    def _line(self, method: str, quantity: str, label: str, factor: float = 1) -> Line:
        means = [mean.times(factor) for mean in across(self.others(method), quantity)]
        return Line(label, tuple(map(float, self.layers)), tuple(mean.mean for mean in means), tuple(means))

    def summary(self) -> str:
        """For the command line: by method and layer the means of the languages, and the correlations over them."""
        heads = [f"{self.task}: means of the languages without {self.anchor}, accuracies in %; r of the log ratio and"]
        heads += [f"{', '.join(MEASURES)} over languages (* p < .05, ** p < .01, *** p < .001)"]
        rows = [["method", "layer", f"log native/{self.anchor}", "native", self.anchor, "letters", *MEASURES]]
        for method in self.numbers:
            means = {name: across(self.others(method), name) for name in QUANTITIES}
            for place, layer in enumerate(self.layers):
                shares = [f"{100 * means[name][place].mean:.1f}" for name in ACCURACIES]
                ratio = f"{means[LOG_RATIO][place].mean:+.2f}"
                rows.append([method, str(layer), ratio, *shares, *self._starred(method, layer)])
            ratio = f"{sum(mean.mean for mean in means[LOG_RATIO]) / len(self.layers):+.2f}"
            rows.append([method, "mean", ratio, *[""] * len(ACCURACIES), *self._starred(method, None)])
        return "\n".join([" ".join(heads), aligned(rows), f"Numbers and figures: {self.folder.path}"])

    def _starred(self, method: str, layer: int | None) -> list[str]:
        found = [each for each in self.correlations if (each.method, each.layer) == (method, layer)]
        by_measure = {each.measure: starred(each.found) for each in found}
        return [by_measure.get(measure, MISSING) for measure in MEASURES]


def starred(found: Correlation) -> str:
    """As in Table 2 of the paper."""
    return MISSING if found.r is None else f"{found.r:+.2f}{found.mark}"


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
