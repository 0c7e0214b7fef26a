"""What the command line says when an evaluation has ended; everything else is the report's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clas_models.command_line import CONVERT, EVAL
from clas_models.conversion.in_force import format_strength

from .jobs import Job
from .plan import Plan
from .runner import Outcome
from .score_scale import ScoreScale

if TYPE_CHECKING:  # they import SciPy, which takes seconds
    from .decision import Decision, Decisions
    from .tune import Tuned

_MISSING = "–"


def summarize_run(plan: Plan, outcome: Outcome) -> str:
    """For every task a table of languages and methods, and where it goes on from here."""
    tables = [_scores(plan, outcome, job) for job in plan.jobs]
    return "\n".join([*tables, *_closing(plan, outcome)])


def summarize_grid(plan: Plan, outcome: Outcome) -> str:
    """A line for every combination of strengths: its average over the languages but the anchor, and the difference to
    the base.
    """
    parts = []
    for job in plan.jobs:
        others = _others(plan, job) or job.languages
        means = {method.name: _mean(outcome, job, method.name, others) for method in plan.methods}
        base = means[plan.methods[0].name]
        rows = [["setting", "average", "difference"]]
        rows += [
            [name, job.task.scale.formatted(mean), job.task.scale.formatted(mean - base, sign="+")]
            for name, mean in means.items()
        ]
        parts.append(f"{_heading(job)}, average of {', '.join(others)}\n{aligned(rows)}")
    return "\n".join([*parts, *_closing(plan, outcome)])


def summarize_tune(tuned: Tuned) -> str:
    """A line for every language: what was decided, why, and what it does on the examples that had no part in it; then
    what is in force.
    """
    plan, decisions, layer = tuned.plan, tuned.found.languages, tuned.found.layer
    scale = plan.jobs[0].task.scale
    dial = tuned.dial.replace("_", " ")
    rows = [["language", dial, "base", "tuned", "gain", "95 % interval", "why"]]
    rows += [[language, *_decided(scale, decision)] for language, decision in decisions.items()]
    kept = sum(decision.kept for decision in decisions.values())
    lines = [
        f"{_heading(plan.jobs[0])}: {tuned.found.examples[0]} choose, {tuned.found.examples[1]} decide, "
        f"{tuned.found.examples[2]} only report; scores are of the last",
        *([] if layer is None else [f"vectors after layer {layer}, the best of all languages on those that choose"]),
        aligned(rows, left=(0, 6)),
        "",
        *_together(scale, tuned.found, dial),
        f"{kept} of {len(decisions)} of these languages are steered: those whose gain is more than chance on the "
        f"examples that decide (sign-flip test, 5 % for all tests together). The others have {dial} 0, which is the "
        "base model to the last bit.",
        f"Any language that is not named has the default: {dial} {tuned.after['default']:g}.",
        *_guard_lines(tuned),
    ]
    before, after = format_strength(tuned.before), format_strength(tuned.after)
    if tuned.written:
        lines.append(f"In force from now on, in {plan.checkpoint.source.folder}: {dial} {after} (before: {before})")
    elif layer is None or [layer] == plan.checkpoint.config.vector_layers:
        lines.append(f"In force is still {dial} {before}; with --write the checkpoint gets {dial} {after}")
    elif kept:
        strength = ",".join(f"{code}={value:g}" for code, value in tuned.after.items())
        lines.append(
            f"A checkpoint with it: {CONVERT} {plan.checkpoint.name} --vector-layers {layer} "
            f"--vector-strength {strength} --out …"
        )
    return "\n".join([*lines, *_closing(plan, tuned.outcome)])


def _guard_lines(tuned: Tuned) -> list[str]:
    """What the score says where the likelihood has decided."""
    if tuned.guarded is None:
        return []
    scale, together = tuned.guarded.scale, tuned.guarded.together
    low, high = (scale.formatted(end, sign="+") for end in (together.gain.low, together.gain.high))
    gain = scale.formatted(together.gain.mean, sign="+")
    lines = [f"The {scale.name} of all languages together, on the examples that only report: {gain} [{low}, {high}]."]
    harmed = [code for code, each in tuned.found.languages.items() if each.kept and code not in tuned.guarded.kept]
    if harmed:
        lines.append(f"It gets significantly worse where it was decided for {', '.join(harmed)}: unsteered after all.")
    return lines


def _scores(plan: Plan, outcome: Outcome, job: Job) -> str:
    names = [method.name for method in plan.methods]
    rows = [["", *names]]
    for language in job.languages:
        rows.append([language, *(str(outcome.tallies[job.task.name, name, language]) for name in names)])
    others = _others(plan, job)
    if others and len(job.languages) > 1:
        means = [job.task.scale.formatted(_mean(outcome, job, name, others)) for name in names]
        without = f" without {plan.checkpoint.anchor_language}" if len(others) < len(job.languages) else ""
        rows.append([f"average{without}", *means])
    return f"{_heading(job)}\n{aligned(rows)}\n"


def _together(scale: ScoreScale, found: Decisions, dial: str) -> list[str]:
    """What was found about languages together."""
    if not found.together:
        return []
    gain = scale.formatted(scale.factor * found.common_gain, sign="+")
    kept = any(decision.together for decision in found.languages.values())
    return [
        f"Together, {', '.join(found.together)} gain {gain} with {dial} {found.common:g}, p = {found.common_p:.2g}: "
        + ("so these are steered with it." if kept else "not more than chance.")
    ]


def _decided(scale: ScoreScale, decision: Decision) -> list[str]:
    held_out = decision.held_out
    gain = held_out.gain.times(scale.factor)
    low, high = (scale.formatted(end, sign="+") for end in (gain.low, gain.high))
    return [
        f"{decision.alpha:g}",
        scale.formatted(held_out.base * scale.factor),
        scale.formatted(held_out.tuned * scale.factor),
        scale.formatted(gain.mean, sign="+"),
        f"[{low}, {high}]" if decision.kept else _MISSING,
        decision.reason,
    ]


def _heading(job: Job) -> str:
    counts = sorted({len(examples) for examples in job.examples.values()})
    return f"{job.task.name}: {job.task.scale.heading}, {'-'.join(map(str, counts))} examples a language"


def _others(plan: Plan, job: Job) -> list[str]:
    return [language for language in job.languages if language != plan.checkpoint.anchor_language]


def _mean(outcome: Outcome, job: Job, method: str, languages: Sequence[str]) -> float:
    return sum(outcome.tallies[job.task.name, method, language].value for language in languages) / len(languages)


def _closing(plan: Plan, outcome: Outcome) -> list[str]:
    lines = [
        f"{name}: {cut} of {count} prompts cut to {job.builder.max_length} tokens"
        for job in plan.jobs
        for name, (cut, count) in [(job.task.name, outcome.cut[job.task.name])]
        if cut
    ]
    lines += [remark for each in plan.profiled for remark in each.remarks()]
    return [*lines, f"Tables, figures and outputs: {EVAL} report {outcome.folder.path}"]


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Rows as lines, with the columns one below the other; to the right but for those in `left`."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
