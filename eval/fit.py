"""The command `fit`: strengths found by gradient on a part of the examples, decided about on another, told on a third.

What is searched and how is the business of `fitting/`, the decision that of `decision_rule.py` and `guard.py`; here
they become a folder with a file of strengths, and with `--write` a checkpoint that has them.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from clas_models.atomic import atomic_file
from clas_models.conversion.conversion import convert
from clas_models.conversion.options import ConversionOptions
from clas_models.errors import InputError
from clas_models.profiling.fitted_strengths import FittedStrengths

from .decision import Decisions, decide
from .decision_rule import LEVEL
from .fitting.options import FitOptions
from .fitting.search import Found
from .fitting.work import FIT_NAME, LIKELIHOODS, SCORES, STRENGTHS_NAME, FitWork
from .guard import Guarded, guard
from .jobs import Job
from .loading import Checkpoint
from .progress import Progress
from .run_options import RunOptions
from .tune import check_writable


@dataclass(frozen=True)
class Fit:
    """What a fit has found.

    Attributes:
        found: of the search.
        decisions: on the likelihood of right answers.
        guarded: on the score that users care about.
        strengths: with the alpha that was decided.
        written: whether they are in the checkpoint.
    """

    folder: Path
    checkpoint: Checkpoint
    job: Job
    found: Found
    decisions: Decisions
    guarded: Guarded
    strengths: FittedStrengths
    written: bool


def run_fit(options: RunOptions, chosen: FitOptions, progress: Progress, rank: int = 0) -> Fit | None:
    """The command `fit`; None on a rank other than the first, which has done its part when the search has ended.

    Raises:
        InputError: something cannot be used: a plain checkpoint, one without its profile, too few examples, an
            objective that the task has no answers for.
        OSError: the disk is full or not writable; the fit can go on later.
    """
    chosen.check()
    checkpoint = options.open()
    if not checkpoint.is_steered:
        raise InputError(f"{checkpoint.name}: a plain checkpoint has no categories of neurons; convert it first")
    if chosen.write:
        check_writable(checkpoint.source)
    work = FitWork(options, chosen, checkpoint, progress)
    work.prepare()
    found, strengths = work.fitted()
    if rank:
        return None
    file = options.out / STRENGTHS_NAME
    strengths.save(file)
    by_likelihood = work.evaluated(work.job, LIKELIHOODS, file)
    decisions = decide(work.job.task.scale, by_likelihood, work.parts)
    scored, parts = work.scored_job()
    guarded = guard(scored.task.scale, decisions, work.evaluated(scored, SCORES, file), parts)
    kept = {language: 1.0 if language in guarded.kept else 0.0 for language in decisions.languages}
    others = 1.0 if len(guarded.kept) == len(decisions.languages) else 0.0
    strengths = replace(strengths, alpha={**kept, "default": others})
    strengths.save(file)
    _tell(options.out / FIT_NAME, work, found, decisions, guarded, strengths)
    if chosen.write and guarded.kept:
        name = str(checkpoint.source.folder)
        convert(ConversionOptions(name, in_place=True, strengths=file, overwrite=True))
    return Fit(options.out, checkpoint, work.job, found, decisions, guarded, strengths, chosen.write)


def _tell(
    path: Path, work: FitWork, found: Found, decisions: Decisions, guarded: Guarded, strengths: FittedStrengths
) -> None:
    chosen = asdict(work.chosen)
    told = {
        "task": work.job.task.name,
        "model": work.options.model,
        "options": {**chosen, "layers": list(work.layers)},
        "search": {**asdict(found), "unit": "nats"},
        "level": LEVEL,
        "likelihood": decisions.to_dict(),
        "score": guarded.to_dict(),
        "alpha": dict(strengths.alpha),
    }
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
