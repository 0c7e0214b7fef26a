"""The report's answer: for each model and task, where to steer, where to leave alone, and where nobody can tell yet.

Wording and order only: what is said about one language is decided by `findings.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..run_folder import STEERING
from .collect import TaskResults
from .comparison import LEVEL, Comparison
from .findings import (
    NO_BASE,
    NO_STEERING,
    TOO_FEW,
    Call,
    Finding,
    grid_findings,
    plain_findings,
    tune_findings,
    without_numbers,
)  # fmt: skip
from .table import (
    CHANGED,
    MISSING,
    Cell,
    Table,
    Value,
    columns,
    count,
    difference,
    interval_cells,
    interval_data,
    plain,
    score,
)  # fmt: skip
from .tuning import TUNED, Tuned
from .words import listed, made_with, numbers

UNDECIDED = "tune has not decided yet; start it again with the same --out"
_BY_LANGUAGE = 40  # rows of a table that the Markdown report still shows
_NAMED = 6  # languages whose differences a sentence holds


@dataclass(frozen=True)
class Evidence:
    """What one method of one run says, language by language.

    Attributes:
        method: its name, or `best of 8 settings`, `tuned alphas`.
        strengths: that it was made with.
    """

    task: TaskResults
    method: str
    strengths: str
    findings: tuple[Finding, ...]

    @property
    def origin(self) -> str:
        """`clas with α = 1, β = 0.4 (run 1)`."""
        strengths = f" with {self.strengths}" if self.strengths else ""
        return f"{self.method}{strengths} ({self.task.settings.command} {self.task.run})"

    def sentences(self) -> list[tuple[Call, str, str]]:
        """A call, its languages and the reason, for every reason that there is."""
        codes = [finding.language for finding in self.findings]
        told = []
        for call in Call:
            reasons = dict.fromkeys(finding.reason for finding in self.findings if finding.call is call)
            for reason in reasons:
                found = [each for each in self.findings if (each.call, each.reason) == (call, reason)]
                told.append((call, listed([each.language for each in found], codes), self._because(reason, found)))
        return told

    def _because(self, reason: str, found: Sequence[Finding]) -> str:
        scale = self.task.scale
        if reason == TOO_FEW:
            seen = numbers([each.visible for each in found if each.visible is not None], scale.digits - 1)
            reason = f"{TOO_FEW.format(seen)} {scale.step}"
        if found[0].call is Call.UNKNOWN:
            return "; ".join(filter(None, (reason, _changed(found))))
        moved = [each for each in found if each.interval is not None and each.interval.mean]
        if not moved:
            return reason
        return f"{reason}: {self._moved(moved)} {scale.step}{'' if scale.higher_is_better else ', lower is better'}"

    def _moved(self, found: Sequence[Finding]) -> str:
        """`de +5.0 with α = 2, sw +3.1`, or the two ends of many."""
        places = self.task.scale.digits - 1
        means = [each.interval.mean for each in found if each.interval is not None]
        if len(found) > _NAMED:
            return " to ".join(difference(mean, places).text for mean in (min(means), max(means)))
        return ", ".join(
            f"{each.language} {difference(mean, places).text}{f' with {each.steered}' if each.steered else ''}"
            for each, mean in zip(found, means, strict=True)
        )


def _changed(found: Sequence[Finding]) -> str:
    known = [each for each in found if each.changed is not None]
    if not known:
        return ""
    total, all_of_them = sum(each.changed or 0 for each in known), sum(each.outputs for each in known)
    return f"{total} of {all_of_them} outputs changed"


@dataclass(frozen=True)
class Verdict:
    """The answer about one task and model, from all runs of it that the report is about."""

    model: str
    task: str
    anchor: str
    evidence: tuple[Evidence, ...]

    @property
    def calls(self) -> dict[Call, tuple[str, ...]]:
        """The languages of each call: steer where anything says so, leave alone where everything does."""
        best: dict[str, Call] = {}
        order = list(Call)
        for finding in (finding for each in self.evidence for finding in each.findings):
            known = best.get(finding.language, finding.call)
            best[finding.language] = min(known, finding.call, key=order.index)
        return {call: codes for call in order if (codes := tuple(code for code in best if best[code] is call))}

    @property
    def sentence(self) -> str:
        """`xnli: steer de, sw; leave alone hi; cannot tell yet in zh.`"""
        codes = [code for found in self.calls.values() for code in found]
        told = [f"{call.before} {listed(found, codes)}" for call, found in self.calls.items()]
        return f"{self.task}: {'; '.join(told) or f'nothing but {self.anchor}, which is never steered'}."

    def lines(self) -> list[str]:
        """What each method of each run says, a line for every reason."""
        return [
            f"{each.origin}: {call.before} {languages} ({because})"
            for each in self.evidence
            for call, languages, because in each.sentences()
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "task": self.task,
            "verdict": self.sentence,
            "languages": {code: call.value for call, codes in self.calls.items() for code in codes},
            "because": [
                {
                    "run": each.task.run,
                    "command": each.task.settings.command,
                    "method": each.method,
                    "strengths": each.strengths,
                    "languages": {finding.language: _data(each, finding) for finding in each.findings},
                }
                for each in self.evidence
            ],
        }


def verdicts(
    results: Sequence[TaskResults],
    comparisons: Mapping[int, Comparison | None],
    tunings: Mapping[int, tuple[Tuned, ...] | None],
) -> list[Verdict]:
    """One for each model and task, in the order of the report.

    Args:
        comparisons, tunings: by the place of a task in `results`.
    """
    found: dict[tuple[str, str, str], list[Evidence]] = {}
    for index, task in enumerate(results):
        known = found.setdefault((task.settings.fingerprint, task.model_name, task.task), [])
        known += _evidence(task, comparisons[index], tunings[index])
    anchors = {task.settings.fingerprint: task.anchor for task in results}
    return [
        Verdict(model, task, anchors[fingerprint], tuple(evidence))
        for (fingerprint, model, task), evidence in found.items()
    ]


def _evidence(task: TaskResults, comparison: Comparison | None, tuning: tuple[Tuned, ...] | None) -> list[Evidence]:
    steering = [name for name in task.settings.methods if task.parameters(name).get("kind") in STEERING]
    if not task.is_grid:
        if comparison is None:
            return [Evidence(task, "scores", "", tuple(without_numbers(task, NO_BASE)))]
        names = [name for name in steering if name != task.base]
        if not names:
            return [Evidence(task, "scores", "", tuple(without_numbers(task, NO_STEERING)))]
        findings = {name: plain_findings(comparison, name) for name in names}
        return [Evidence(task, name, made_with(task.parameters(name)), tuple(findings[name])) for name in names]
    strengths = tried_strengths(task)
    if comparison is None:
        return [Evidence(task, "grid", strengths, tuple(without_numbers(task, NO_BASE)))]
    if task.settings.command != "tune":
        return [Evidence(task, f"best of {len(steering)}", strengths, tuple(grid_findings(comparison)))]
    decided = without_numbers(task, UNDECIDED) if tuning is None else tune_findings(comparison, tuning)
    return [Evidence(task, TUNED[tuning[0].field if tuning else "alpha"], strengths, tuple(decided))]


def tried_strengths(task: TaskResults) -> str:
    """`α = -2, 2; β = 0.2, 0.4; γ = 0.1`, of a grid."""
    known = [task.parameters(name) for name in task.methods if task.parameters(name).get("kind") in STEERING]
    names = dict.fromkeys(name for values in known for name in values if name != "kind")
    tried = {
        name: dict.fromkeys(made_with({name: values[name]}) for values in known if name in values) for name in names
    }
    told = []
    for values in tried.values():
        symbol = next(iter(values)).partition(" = ")[0]
        told.append(f"{symbol} = {', '.join(value.partition(' = ')[2] for value in values)}")
    return "; ".join(told)


def _data(evidence: Evidence, finding: Finding) -> dict[str, Value]:
    values: dict[str, Value] = {"verdict": finding.call.value, "because": _reason(evidence, finding)}
    values |= {"setting": finding.steered or evidence.strengths, "examples": finding.examples}
    values |= {"base": finding.base, "score": finding.score} | interval_data(finding.interval)
    values |= {"changed": finding.changed, "outputs": finding.outputs, "smallest visible": finding.visible}
    return {name: plain(value) for name, value in values.items()}


def _row(verdict: Verdict, evidence: Evidence, finding: Finding) -> dict[str, Value]:
    values: dict[str, Value] = {"model": verdict.model, "task": verdict.task, "language": finding.language}
    values |= {"run": evidence.task.run, "method": evidence.method, "score name": evidence.task.scale.unit}
    return values | _data(evidence, finding)


def _reason(evidence: Evidence, finding: Finding) -> str:
    if finding.reason == TOO_FEW and finding.visible is not None:
        scale = evidence.task.scale
        return f"{TOO_FEW.format(numbers([finding.visible], scale.digits - 1))} {scale.step}"
    return finding.reason


def verdict_table(found: Sequence[Verdict]) -> Table:
    """A row for every language and every method that was compared in it."""
    rows = [(verdict, each, finding) for verdict in found for each in verdict.evidence for finding in each.findings]
    words = ("task", "language", "method", "verdict", "because", "setting", "model")
    titles = ("difference", "95 % interval", "base", "score", CHANGED, "smallest visible", "examples")
    scales = dict.fromkeys(each.task.scale for _, each, _ in rows)
    worth = " or ".join(dict.fromkeys(f"{scale.worth:g} {scale.step}" for scale in scales))
    return Table(
        name="verdict",
        title="Verdict by language, and where it comes from",
        columns=columns(*words[:5], *titles, "setting", "run", "model", words=words),
        body=tuple(_cells(verdict, each, finding) for verdict, each, finding in rows),
        notes=(
            f"Steer: significantly better than the base (p < {LEVEL}, Holm over the languages); after a tune, on the "
            "examples that decide, alone or together with other languages. Leave alone: the interval lies on the "
            f"losing side of 0, or leaves no room for a gain of {worth}. Cannot tell yet: all else.",
            "One class only: all answers are the same, though the right ones are not. At chance: the 95 % interval of "
            "the accuracy (Wilson) holds that of guessing. Smallest visible: half the width of the difference's "
            "interval, at least what 3 of all examples could move (rule of three); the answer to too few examples is "
            "more --samples.",
        ),
        data=tuple(_row(verdict, each, finding) for verdict, each, finding in rows),
        long=len(rows) > _BY_LANGUAGE,
    )


def _cells(verdict: Verdict, evidence: Evidence, finding: Finding) -> tuple[Cell, ...]:
    places = evidence.task.scale.digits
    changes = MISSING if finding.changed is None else f"{finding.changed} of {finding.outputs}"
    texts = (verdict.task, finding.language, evidence.method, finding.call.value, _reason(evidence, finding))
    return (
        *map(Cell, texts),
        *interval_cells(finding.interval, places),
        *(score(finding.base, places), score(finding.score, places)),
        Cell(changes, finding.changed),
        score(finding.visible, places),
        count(finding.examples),
        *(Cell(finding.steered or evidence.strengths), count(evidence.task.run), Cell(verdict.model)),
    )
