"""What a comparison says about one language: steer it, leave it alone, or cannot tell yet, and why.

    steer            the score is significantly better, in a plain run (Holm) or on the examples that decide in `tune`;
                     and better than guessing
    leave alone      the difference's 95 % interval lies on the wrong side of 0, or leaves no room for a gain of
                     `ScoreScale.worth`
    cannot tell yet  everything else: too few examples, answers that carry no information, a gain that was chosen on
                     the examples that it is shown on

Only rules; the numbers come from `comparison.py` and `tuning.py`, the words for all languages from `verdict.py`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ..run_folder import STEERING
from ..statistics import Interval, share_interval, smallest_visible
from ..tasks import TASKS
from .collect import TaskResults
from .comparison import Comparison, Difference
from .grid_tables import GridPoint, best_point, grid_points
from .tuning import Tuned


class Call(Enum):
    """In the order in which one outweighs another."""

    STEER = "steer"
    UNKNOWN = "cannot tell yet"
    LEAVE = "leave alone"

    @property
    def before(self) -> str:
        """What stands before languages in a sentence."""
        return f"{self.value} in" if self is Call.UNKNOWN else self.value


# What a reader is told about a language; {} is the smallest difference that could have been seen.
TOO_FEW = "too few examples to see less than {}"
ONE_EXAMPLE = "a single example shows nothing"
NOT_SURELY = "a gain, but not surely on the examples that decide"
NO_BASE = "the unsteered base was not run; run with --methods base too"
NO_STEERING = "no steering was run; run a steered checkpoint with --methods base,clas"
NO_PREDICTIONS = "no predictions yet"


@dataclass(frozen=True)
class Finding:
    """The answer for one language, from one method of one run.

    Attributes:
        reason: without the language's own numbers, so that languages with the same one can be told together.
        steered: in short how, where a language has a setting of its own.
        examples: that the numbers are about; 0 where there are none.
        base, score: of these.
        interval: `score - base`.
        changed, outputs: outputs that are not the base's, and of how many; None where outputs are numbers.
        visible: the smallest difference that these examples could have shown.
    """

    language: str
    call: Call
    reason: str
    steered: str = ""
    examples: int = 0
    base: float | None = None
    score: float | None = None
    interval: Interval | None = None
    changed: int | None = None
    outputs: int = 0
    visible: float | None = None


def plain_findings(comparison: Comparison, method: str) -> list[Finding]:
    """One for each language but the anchor, for a method of `run`."""
    return [_plain(comparison, method, code) for code in _languages(comparison.task)]


def grid_findings(comparison: Comparison) -> list[Finding]:
    """One for each language but the anchor: never steer, since what is best of many was chosen on its own examples."""
    cells = {row.language: row.differences for row in comparison.rows}
    points = grid_points(comparison)
    found = []
    for code in _languages(comparison.task):
        tried = {point: cell for point in points if (cell := cells.get(code, {}).get(point.method))}
        found.append(_best_of(comparison.task, code, tried) if tried else _nothing(code))
    return found


def tune_findings(comparison: Comparison, tuning: Iterable[Tuned]) -> list[Finding]:
    """One for each tuned language: steer where a strength was kept, unless the rest of the examples says otherwise."""
    cells = {row.language: row.differences for row in comparison.rows}
    points = grid_points(comparison)
    judge = {True: _confirmed, False: _not_kept}
    found = []
    for tuned in tuning:
        tried = {point: cell for point in points if (cell := cells.get(tuned.language, {}).get(point.method))}
        found.append(judge[tuned.kept](comparison.task, tuned, tried) if tried else _nothing(tuned.language))
    return found


def without_numbers(task: TaskResults, reason: str) -> list[Finding]:
    """The same for every language."""
    return [replace(_nothing(code), reason=reason) for code in _languages(task)]


def _languages(task: TaskResults) -> list[str]:
    return [code for code in task.settings.languages[task.task] if code != task.anchor]


def _nothing(language: str) -> Finding:
    return Finding(language, Call.UNKNOWN, NO_PREDICTIONS)


def _told(task: TaskResults, language: str, cell: Difference) -> Finding:
    """The numbers, with a decision that is made afterwards."""
    visible = smallest_visible(cell.interval, examples=cell.examples, largest=task.scale.largest)
    numbers = (cell.examples, cell.base, cell.score, cell.interval, cell.changed, cell.examples, visible)
    reason = TOO_FEW if math.isfinite(visible) else ONE_EXAMPLE
    return Finding(language, Call.UNKNOWN, reason, "", *numbers)


def _plain(comparison: Comparison, method: str, language: str) -> Finding:
    task = comparison.task
    cell = next((row.differences.get(method) for row in comparison.rows if row.language == language), None)
    if cell is None:
        return _nothing(language)
    told = _told(task, language, cell)
    gain = cell.interval.times(task.scale.sign)
    if _is_off(task.parameters(method), language):
        return replace(told, call=Call.LEAVE, reason="its strength is 0 there, which is the base model")
    if gain.high < 0:
        return replace(told, call=Call.LEAVE, reason="it loses")
    if reason := uninformative(task, method, language, cell, gains=cell.significant):
        return replace(told, reason=reason)
    if cell.significant and gain.low > 0:
        return replace(told, call=Call.STEER, reason="it gains")
    if gain.low > 0:
        return replace(told, reason=f"a gain, which may be chance among {len(task.others)} languages")
    return _room_for_a_gain(task, told, [gain])


def _best_of(task: TaskResults, language: str, tried: Mapping[GridPoint, Difference]) -> Finding:
    gains = [cell.interval.times(task.scale.sign) for cell in tried.values()]
    point = best_point(tried, task.scale.sign)
    told = replace(_told(task, language, tried[point]), steered=point.all_strengths)
    if all(gain.high < 0 for gain in gains):
        return replace(told, call=Call.LEAVE, reason="every setting loses")
    if reason := uninformative(task, point.method, language, tried[point]):
        return replace(told, reason=reason)
    if tried[point].interval.times(task.scale.sign).low > 0:
        best = f"the best of {len(gains)} settings gains, " if len(gains) > 1 else "it gains, "
        return replace(told, reason=f"{best}on the examples that it was chosen on; tune can tell")
    return _room_for_a_gain(task, told, gains)


def _confirmed(task: TaskResults, tuned: Tuned, tried: Mapping[GridPoint, Difference]) -> Finding:
    """A strength that was kept, in the numbers of the examples that only report."""
    point, cell = _at(tried, tuned, tuned.chosen)
    outputs = cell.examples
    gain = tuned.gain or _NOTHING_KNOWN
    interval = gain.times(task.scale.sign)
    cell = replace(cell, examples=tuned.held_out, base=tuned.base, score=tuned.tuned, interval=interval)
    told = replace(_told(task, tuned.language, cell), steered=tuned.told(tuned.chosen), outputs=outputs)
    if gain.high < 0:
        return replace(told, call=Call.LEAVE, reason="a gain on the examples that decide, a loss on those that report")
    if reason := uninformative(task, point.method, tuned.language, cell, gains=True):
        return replace(told, reason=reason)
    together = "it gains together with other languages" if tuned.together else "it gains"
    return replace(told, call=Call.STEER, reason=f"{together} on the examples that decide")


def _not_kept(task: TaskResults, tuned: Tuned, tried: Mapping[GridPoint, Difference]) -> Finding:
    """A strength that was not kept, or the best where none was chosen, on all examples: is there room for a gain?"""
    there = {point: cell for point, cell in tried.items() if dict(point.beside).get("vector_layers") == tuned.layer}
    gains = [cell.interval.times(task.scale.sign) for point, cell in there.items() if point.dial]
    best = best_point(there or tried, task.scale.sign)
    point, cell = _at(tried, tuned, tuned.chosen or best.dial)
    told = replace(_told(task, tuned.language, cell), steered=tuned.told(point.dial))
    if gains and all(gain.high < 0 for gain in gains):
        return replace(told, call=Call.LEAVE, reason=f"every {tuned.dial} loses")
    if reason := uninformative(task, point.method, tuned.language, cell):
        return replace(told, reason=reason)
    if cell.interval.times(task.scale.sign).low > 0:
        return replace(told, reason=NOT_SURELY)
    return _room_for_a_gain(task, told, gains or [_NOTHING_KNOWN])


_NOTHING_KNOWN = Interval(0.0, -math.inf, math.inf)


def _at(tried: Mapping[GridPoint, Difference], tuned: Tuned, dial: float) -> tuple[GridPoint, Difference]:
    there = [item for item in tried.items() if dict(item[0].beside).get("vector_layers") == tuned.layer]
    return next((item for item in there if item[0].dial == dial), next(iter(there or tried.items())))


def _room_for_a_gain(task: TaskResults, told: Finding, gains: Iterable[Interval]) -> Finding:
    """Leave alone where even the best that the intervals allow is not worth it; else there were too few examples."""
    for gain in gains:
        visible = smallest_visible(gain, examples=told.examples, largest=task.scale.largest)
        if max(gain.high, gain.mean + visible) >= task.scale.worth:
            return told
    return replace(told, call=Call.LEAVE, reason=f"no gain of {task.scale.worth:g} {task.scale.step} or more")


def _is_off(parameters: Mapping[str, object], language: str) -> bool:
    """Whether this kind of steering does nothing in a language, by its strengths."""

    def strength(name: str) -> object:
        value = parameters.get(name)
        return value.get(language, value.get("default")) if isinstance(value, Mapping) else value

    known = [strength(name) for name in ("alpha", "vector_strength") if name in parameters]
    return parameters.get("kind") in STEERING and not any(value != 0 for value in known)


def uninformative(task: TaskResults, method: str, language: str, cell: Difference, *, gains: bool = False) -> str:
    """Why the answers of base and method carry no information; "" where they do.

    Args:
        gains: the method is better than the base, so that the base may well be at chance.
    """
    keys = task.records[method, language].keys() & task.records[task.base or "", language].keys()
    both = {name: [task.records[name, language][key] for key in sorted(keys)] for name in (task.base or "", method)}
    asked = [method] if gains else list(both)
    chance = TASKS[task.task].chance if task.task in TASKS else None
    if chance is not None:
        for name in asked:
            if len({record.prediction for record in both[name]}) == 1 < len({record.gold for record in both[name]}):
                return "answers one class only"
        # By the answers and not by the score, which may be a likelihood.
        right = {name: sum(record.prediction in record.gold for record in both[name]) for name in asked}
        intervals = [share_interval(count, len(keys)) for count in right.values()]
        if all(interval.low <= chance for interval in intervals):
            below = all(interval.high < chance for interval in intervals)
            return f"{'below' if below else 'at'} chance ({100 * chance:.3g} %)"
    elif task.scale.higher_is_better and cell.base == cell.score == 0:
        return "no answer is right"
    return ""
