"""The command `fit`: strengths found by gradient on a part of the examples, decided about on another, told on a third.

What is searched and how is the business of `fitting/`, the decision that of `decision_rule.py` and `guard.py`; here
they become a folder with a file of strengths, and with `--write` a checkpoint that has them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file
from clas_models.conversion.conversion import convert
from clas_models.conversion.options import ConversionOptions
from clas_models.conversion.source import Source
from clas_models.errors import InputError
from clas_models.keeping import refuse_runs_within
from clas_models.profiling.fitted_strengths import FittedStrengths

from .decision import Decisions, decide
from .decision_rule import LEVEL
from .fitting.options import FitOptions
from .fitting.search import Found
from .fitting.work import FIT_NAME, LIKELIHOODS, STRENGTHS_NAME, FitWork
from .guard import Guarded, guard
from .jobs import Job
from .loading import Checkpoint
from .progress import Progress
from .run_options import RunOptions
from .tune import SCORES, check_writable


@dataclass(frozen=True)
class Fit:
    """What a fit has found.

    Attributes:
        found: of the search.
        decisions: on the likelihood of right answers.
        guarded: on the score that users care about.
        strengths: with the alpha that was decided.
        asked_to_write, written: whether they shall be, and whether they have been put into the checkpoint.
    """

    folder: Path
    checkpoint: Checkpoint
    job: Job
    found: Found
    decisions: Decisions
    guarded: Guarded
    strengths: FittedStrengths
    asked_to_write: bool
    written: bool


def run_fit(options: RunOptions, chosen: FitOptions, progress: Progress, rank: int = 0) -> Fit | None:
    """The command `fit`; None on a rank other than the first, which has done its part when the search has ended.

    Raises:
        InputError: something cannot be used: a plain checkpoint, one without its profile, too few examples, an
            objective that the task has no answers for; or another fit's results would be lost.
        OSError: the disk is full or not writable; the fit can go on later.
    """
    chosen.check()
    checkpoint = options.open()
    if not checkpoint.is_steered:
        raise InputError(f"{checkpoint.name}: a plain checkpoint has no categories of neurons; convert it first")
    if chosen.write:
        _check_write(checkpoint.source, options.out)
    work = FitWork(options, chosen, checkpoint, progress)
    work.prepare()
    if rank:
        work.fitted()
        return None
    with work.begun():
        return _fitted(work)


def _fitted(work: FitWork) -> Fit:
    """Everything that the first rank does, in a folder that is its own."""
    options, checkpoint = work.options, work.checkpoint
    found, strengths = work.fitted()
    file = options.out / STRENGTHS_NAME
    strengths.save(file)
    by_likelihood = work.evaluated(work.job, LIKELIHOODS, file)
    decisions = decide(work.job.task.scale, by_likelihood, work.parts)
    scored, parts = work.scored_job()
    guarded = guard(scored.task.scale, decisions, work.evaluated(scored, SCORES, file), parts)
    kept = {language: 1.0 if language in guarded.kept else 0.0 for language in decisions.languages}
    strengths = replace(strengths, alpha={**kept, "default": 0.0})  # of other languages nothing was decided
    strengths.save(file)
    _tell(options.out / FIT_NAME, work, found, decisions, guarded, strengths)
    written = work.chosen.write and bool(guarded.kept)
    if written:
        _write(checkpoint, strengths, file, work.progress)
    return Fit(options.out, checkpoint, work.job, found, decisions, guarded, strengths, work.chosen.write, written)


def _check_write(source: Source, out: Path) -> None:
    """What a long search must not be wasted on: the checkpoint is made anew beside itself, and then takes its place.

    Raises InputError: it cannot be.
    """
    check_writable(source)
    folder = source.folder.resolve()
    if out.resolve().is_relative_to(folder):
        raise InputError(f"{out}: within {folder}, which --write makes anew; give an --out outside of it")
    if not os.access(folder.parent, os.W_OK):
        raise InputError(
            f"{folder.parent}: cannot be written, and --write makes {folder.name} anew there; copy the checkpoint, or "
            "leave --write out"
        )
    refuse_runs_within(folder)


def _write(checkpoint: Checkpoint, strengths: FittedStrengths, file: Path, progress: Progress) -> None:
    """Put strengths into a checkpoint; whatever else it has stays."""
    config = checkpoint.config
    if gone := _steered_before(config, strengths.languages) - set(strengths.alpha):
        progress.say(
            f"no longer steered: {', '.join(sorted(gone))}; the strengths of {checkpoint.name} go as a whole: "
            "fit all languages together"
        )
    options = ConversionOptions(
        str(checkpoint.source.folder.resolve()),
        anchor=checkpoint.anchor_language,
        language=config.language or "none",
        strengths=file,
        overwrite=True,
        in_place=True,
    )
    convert(options)


def _steered_before(config: Any, languages: Sequence[str]) -> set[str]:
    """The languages, or "default" for all others, that a checkpoint's alpha steers."""
    alpha = config.alpha
    if not isinstance(alpha, Mapping):
        alpha = dict.fromkeys([*languages, "default"], alpha)
    return {code for code, value in alpha.items() if value and code != config.anchor_language}


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
