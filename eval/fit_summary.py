"""What the command line says when a fit has ended."""

from clas_models.command_line import CONVERT, EVAL

from .fit import Fit
from .fitting.work import STRENGTHS_NAME
from .guard import Scored
from .score_scale import ScoreScale
from .statistics import Interval
from .summary import aligned
from .tune import SCORES


def summarize_fit(fit: Fit) -> str:
    """A line for every language: the likelihood that was fitted, the score that counts, and what was decided."""
    nats, score = fit.job.task.scale, fit.guarded.scale
    decisions = fit.decisions
    rows = [["language", f"gain, {nats.unit}", "95 % interval", score.name, "fitted", "gain", "95 % interval", "why"]]
    for code, decision in decisions.languages.items():
        rows.append([code, *_gain(nats, decision.reported_gain), *_scored(score, fit.guarded.scores[code])])
        rows[-1].append(fit.guarded.reasons[code])
    rows.append(["together", "", "", *_scored(score, fit.guarded.together), ""])
    units, (fitted, decide, report) = decisions.units, decisions.examples
    kept = fit.guarded.kept
    lines = [
        f"{fit.job.task.name}: {fitted} examples a language fitted on, {decide} decide, {report} only report ({units} "
        "texts); the numbers below are of the last",
        f"validation: {fit.found.base:.4f} nats before, {fit.found.best:.4f} fitted (penalty {fit.found.penalty:g})",
        aligned(rows, left=(0, 7)),
        "",
        f"{len(kept)} of {len(decisions.languages)} languages are steered ({', '.join(kept) or 'none'}): their right "
        f"answers become likelier by more than chance on the examples that decide, and their {score.name} does not get "
        "significantly worse there. The others have alpha 0, which is the base model to the last bit.",
    ]
    file = fit.folder / STRENGTHS_NAME
    if fit.written:
        lines.append(f"In force from now on, in {fit.checkpoint.source.folder}")
    elif fit.asked_to_write:
        lines.append(f"Nothing was written: {fit.checkpoint.source.folder} is as it was")
    elif kept:
        lines.append(f"A checkpoint with them: {CONVERT} {fit.checkpoint.name} --strengths {file} --out …")
    return "\n".join([*lines, f"Outputs side by side: {EVAL} report {fit.folder / SCORES}"])


def _gain(scale: ScoreScale, gain: Interval) -> list[str]:
    shown = gain.times(scale.factor)
    low, high = (scale.formatted(end, sign="+") for end in (shown.low, shown.high))
    return [scale.formatted(shown.mean, sign="+"), f"[{low}, {high}]"]


def _scored(scale: ScoreScale, scored: Scored) -> list[str]:
    low, high = (scale.formatted(end, sign="+") for end in (scored.gain.low, scored.gain.high))
    return [
        scale.formatted(scored.base),
        scale.formatted(scored.steered),
        scale.formatted(scored.gain.mean, sign="+"),
        f"[{low}, {high}]",
    ]
