"""An alpha for each language that does no harm: a grid of alphas, a decision, and where it is written.

A language whose gain may be chance stays unsteered (`decision.py`).  The paper's regressions (section 4.1, Limitations)
are what this is for.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from clas_models.atomic import atomic_file
from clas_models.conversion.in_force import with_strengths
from clas_models.conversion.model_card import CARD_NAME
from clas_models.conversion.source import Source, read_config
from clas_models.errors import InputError

from .decision import FEWEST_EXAMPLES, Decision, decide
from .grid import Grid, grid_methods
from .jobs import Job
from .loading import Checkpoint
from .progress import Progress
from .run_folder import BASE, TUNE_NAME, Record, RunFolder
from .run_options import RunOptions
from .runner import Outcome, Plan, execute


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Attributes:
        decisions: by language.
        before, alpha: of the checkpoint's configuration, as it was, and as the decisions make it.
        written: whether it is in force.
    """

    plan: Plan
    outcome: Outcome
    decisions: Mapping[str, Decision]
    before: float | Mapping[str, float]
    alpha: Mapping[str, float]
    written: bool


def run_tune(
    options: RunOptions, alphas: Sequence[float], write: bool, progress: Progress, default: float = 0.0
) -> Tuned:
    """The command `tune`, with the checkpoint's own beta and gamma.

    Args:
        alphas: the candidates; 0 is one of them, named or not.
        write: put what was decided into the checkpoint's configuration and card.
        default: alpha of the languages that nothing was decided about, now or earlier.

    Raises InputError, OSError: as `run_methods`.
    """
    checkpoint = options.open()
    if write:
        check_writable(checkpoint.source)
    methods = grid_methods(Grid(tuple(alpha for alpha in alphas if alpha)), checkpoint)
    plan = Plan.of("tune", options, checkpoint, methods)
    plan = replace(plan, jobs=tuple(_tunable(job, checkpoint, progress) for job in plan.jobs))
    outcome = execute(plan, progress)
    decisions = {language: _decision(plan, outcome.folder, language) for language in plan.jobs[0].languages}
    before = checkpoint.config.alpha
    alpha = decided(before, {language: decision.alpha for language, decision in decisions.items()}, default)
    found = {
        "task": plan.jobs[0].task.name,
        "languages": {code: each.to_dict() for code, each in decisions.items()},
        "alpha": alpha,
    }
    with atomic_file(outcome.folder.path / TUNE_NAME) as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if write:
        write_alpha(checkpoint.source, alpha)
    return Tuned(plan, outcome, decisions, before, alpha, write)


def decided(before: float | Mapping[str, float], alphas: Mapping[str, float], default: float) -> dict[str, float]:
    """The alpha of a configuration with those of some languages anew.

    Other languages that it names keep theirs; all that it does not name get `default`.
    """
    named = dict(before) if isinstance(before, Mapping) else {}
    named.pop("default", None)
    return {**named, **alphas, "default": default}


def _tunable(job: Job, checkpoint: Checkpoint, progress: Progress) -> Job:
    """The job in the languages that can have an alpha of their own."""
    kept = {code: rows for code, rows in job.examples.items() if code in checkpoint.config.languages}
    kept.pop(checkpoint.anchor_language, None)
    left_out = [code for code in job.examples if code not in kept]
    if not kept:
        raise InputError(
            f"tune: none of the languages {', '.join(job.examples)} can have an alpha; {checkpoint.name} was profiled "
            f"for {', '.join(checkpoint.config.languages)}, and {checkpoint.anchor_language} is never steered"
        )
    if left_out:
        progress.say(f"left out: {', '.join(left_out)}; only profiled languages but the anchor have an alpha")
    count = min(map(len, kept.values()))
    if count < FEWEST_EXAMPLES:
        raise InputError(f"tune: {count} examples a language are too few to halve; give at least {FEWEST_EXAMPLES}")
    return replace(job, examples=kept)


def _decision(plan: Plan, folder: RunFolder, language: str) -> Decision:
    job = plan.jobs[0]
    order = [example.key for example in job.examples[language]]
    found: dict[float, list[Record]] = {}
    for method in plan.methods:
        records = {record.key: record for record in folder.records(job.task.name, method.name, language)}
        alpha = 0.0 if method.name == BASE else float(method.described["alpha"])
        found[alpha] = [records[key] for key in order]
    return decide(job.task.scale, found)


def check_writable(source: Source) -> None:
    """Raises InputError: the checkpoint's configuration is not the user's to change."""
    if source.from_hub:
        raise InputError(
            f"{source.name}: a model in the Hub's cache, which --write must not change; convert it into a folder, or "
            "leave --write out"
        )
    if not os.access(source.folder, os.W_OK):
        raise InputError(f"{source.folder}: cannot be written; copy the checkpoint, or leave --write out")


def write_alpha(source: Source, alpha: Mapping[str, float]) -> None:
    """Put alpha into a checkpoint's `config.json`, and what it means into the lines of its card that say so.

    Raises InputError: the configuration cannot be changed, or would not be one that the family accepts.
    """
    check_writable(source)
    raw = {**read_config(source.folder), "alpha": dict(alpha)}
    try:
        config = source.family.config.from_dict(dict(raw))
    except (TypeError, ValueError) as error:
        raise InputError(f"{source.folder / 'config.json'}: {error}") from error
    with atomic_file(source.folder / "config.json") as partial:
        partial.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    card = source.folder / CARD_NAME
    if card.is_file():
        text = with_strengths(card.read_bytes().decode("utf-8", "surrogateescape"), vars(config))
        with atomic_file(card) as partial:
            partial.write_bytes(text.encode("utf-8", "surrogateescape"))
