"""The results of a perplexity change as files, every number as JSON and CSV and the heat maps; and the lines told.

What the numbers are is said in `perplexity_numbers.py`.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file

from ..report.charts import HeatMap
from ..report.figures import save_chart
from ..statistics import Array, Interval
from ..summary import aligned
from .perplexity_numbers import Contrast, PerplexityChange
from .perplexity_parts import COMMAND

JSON_NAME, CSV_NAME = f"{COMMAND}.json", f"{COMMAND}.csv"
_STRONGEST = 3  # pairs of two languages that are told


@dataclass(frozen=True)
class PerplexityChangeResult:
    """Attributes:
    folder: where the files go.
    settings: everything that the numbers depend on.
    neurons: of each language, how many are written over in each layer of the model.
    """

    folder: Path
    settings: Mapping[str, Any]
    neurons: Mapping[str, tuple[int, ...]]
    found: PerplexityChange

    def write(self) -> None:
        """Raises OSError: the disk is full or not writable."""
        _write(self.folder / JSON_NAME, json.dumps(self._as_json(), indent=1, ensure_ascii=False, allow_nan=False))
        _write(self.folder / CSV_NAME, self._csv())
        for chart in self.charts():
            save_chart(chart, self.folder)

    def _as_json(self) -> dict[str, Any]:
        found, languages = self.found, self.found.languages
        tokens, nats = found.tokens.sum(-1), found.nats.sum(-1)
        by_text = found.by_text()
        texts = {
            code: {
                "tokens": int(tokens[place]),
                "nats": float(nats[place, 0]),
                "perplexity": _finite(found.before[place]),
                "log_ratio_own_minus_others": _contrast(by_text[code]),
            }
            for place, code in enumerate(languages)
        }
        return {
            "settings": dict(self.settings),
            "languages": list(languages),
            "axes": ["neurons of", "text of"],
            "neurons": {code: {"count": sum(each), "by_layer": list(each)} for code, each in self.neurons.items()},
            "texts": texts,
            "nats": nats.T[1:].tolist(),
            "perplexity": _listed(found.after),
            "perplexity_change": _listed(found.change),
            "log_ratio": _listed(found.log_ratio),
            "diagonal": {
                "perplexity_change": _contrast(found.diagonal(log=False)),
                "log_ratio": _contrast(found.diagonal(log=True)),
            },
        }

    def _csv(self) -> str:
        rows, text = list(self._rows()), io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _rows(self) -> Iterator[dict[str, Any]]:
        found = self.found
        for row, neurons in enumerate(found.languages):
            for column, text in enumerate(found.languages):
                yield {
                    "neurons_of": neurons,
                    "text_of": text,
                    "neurons": sum(self.neurons[neurons]),
                    "tokens": int(found.tokens[column].sum()),
                    "nats_before": float(found.nats[column, 0].sum()),
                    "nats_after": float(found.nats[column, 1 + row].sum()),
                    "perplexity_before": float(found.before[column]),
                    "perplexity_after": float(found.after[row, column]),
                    "perplexity_change": float(found.change[row, column]),
                    "log_ratio": float(found.log_ratio[row, column]),
                }

    def charts(self) -> tuple[HeatMap, HeatMap]:
        """The matrix as the paper has it, and in log ratios."""
        return (
            self._chart(COMMAND, self.found.change, "PPX(j | i) - PPX(j)"),
            self._chart(f"{COMMAND}-log-ratio", self.found.log_ratio, "log PPX(j | i) / PPX(j), nats a token"),
        )

    def _chart(self, name: str, values: Array, unit: str) -> HeatMap:
        languages, finite = self.found.languages, [[_finite(value) for value in row] for row in values]
        largest = max((abs(value) for row in finite for value in row if value is not None), default=0.0)
        return HeatMap(
            name=name,
            title=f"{Path(self.settings['model']).name}: {self._what}",
            x_label="text of j",
            y_label="neurons of i",
            rows=languages,
            columns=languages,
            values=tuple(map(tuple, finite)),
            unit=unit,
            decimals=0 if largest >= 100 else 1 if largest >= 10 else 2,
            higher_is_better=False,
        )

    @property
    def _what(self) -> str:
        value, select = self.settings["value"], self.settings["select"]
        return f"perplexity change by {value} over the neurons of {select}"

    def summary(self) -> str:
        """For the command line: a line for each language, and the diagonal against the rest."""
        found, by_text = self.found, self.found.by_text()
        rows = [
            ["language", "neurons", "from layer", "perplexity", "PPXC own", "log ratio own", "others", "difference"]
        ]
        for place, code in enumerate(found.languages):
            layers, contrast = self.neurons[code], by_text[code]
            first = next(layer for layer, count in enumerate(layers) if count)
            numbers = [f"{found.before[place]:.2f}", f"{found.change[place, place]:+.2f}"]
            ratios = [f"{contrast.own:+.3f}", f"{contrast.others:+.3f}", _told(contrast.difference)]
            rows.append([code, str(sum(layers)), str(first), *numbers, *ratios])
        pairs = ", ".join(f"{i} on {j} {ratio:+.3f}" for i, j, ratio in found.strongest_others(_STRONGEST))
        own, changes, ratios_ = found.largest_own(), found.diagonal(log=False), found.diagonal(log=True)
        return "\n".join(
            [
                f"{self._what}; others: the mean of the other languages' neurons on the same text, with 95 % intervals "
                "over texts",
                aligned(rows),
                f"PPXC: mean on the diagonal {changes.own:+.2f}, off it {changes.others:+.2f}, difference "
                f"{_told(changes.difference, 2)}",
                f"log ratio: mean on the diagonal {ratios_.own:+.3f}, off it {ratios_.others:+.3f}, difference "
                f"{_told(ratios_.difference)}",
                f"own neurons do most: {', '.join(own) or 'in no language'} ({len(own)} of {len(found.languages)}); "
                f"strongest on another language: {pairs}",
                f"Numbers and figures: {self.folder}",
            ]
        )


def _told(interval: Interval, digits: int = 3) -> str:
    return f"{interval.mean:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def _contrast(contrast: Contrast) -> dict[str, Any]:
    difference = contrast.difference
    ends = {"low": _finite(difference.low), "high": _finite(difference.high)}
    own, others = _finite(contrast.own), _finite(contrast.others)
    return {"own": own, "others": others, "difference": {"mean": _finite(difference.mean), **ends}}


def _listed(values: Array) -> list[list[float | None]]:
    return [[_finite(value) for value in row] for row in values]


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return float(value) if math.isfinite(value) else None


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8", newline="")
