"""A strength for each language that does no harm: a grid, a decision, and where it is written.

The strength is alpha, or that of vectors; then the layer is one for all languages, that of the setting with the largest
mean gain on the examples that choose.  A language whose gain may be chance stays unsteered (`decision_rule.py`).  The
paper's regressions (section 4.1, Limitations) are what this is for.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clas_models.atomic import atomic_file
from clas_models.conversion.in_force import with_strengths
from clas_models.conversion.model_card import CARD_NAME
from clas_models.conversion.source import Source, read_config
from clas_models.errors import InputError

from .decision import Decisions, decide
from .decision_rule import CHOOSE, TURN, Parts
from .grid import Grid, grid_methods
from .guard import Guarded, guard, paired_records
from .jobs import Job
from .loading import Checkpoint
from .methods import Method, method_of
from .plan import Plan
from .progress import Progress
from .run_folder import BASE, CLAS, CLAS_VECTORS, SETTINGS_NAME, TUNE_NAME, VECTORS, Record, RunFolder
from .run_options import RunOptions
from .runner import Outcome, execute
from .scoring import LETTER, LIKELIHOOD

SCORES = "score"  # the folder, in that of a run judged by likelihood, with what users care about
_FEWEST_TO_FIND = 10  # one language alone needs 5 examples that decide, all of them better, for p < 0.05


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Attributes:
        found: the decisions, by language and about all together.
        dial: what is tuned, a field of the configuration: "alpha" or "vector_strength".
        before, after: its value, as it was, and as the decisions make it.
        written: whether it is in force.
        guarded: what the score says, where the likelihood of right answers has decided.
    """

    plan: Plan
    outcome: Outcome
    found: Decisions
    dial: str
    before: float | Mapping[str, float]
    after: Mapping[str, float]
    written: bool
    guarded: Guarded | None = None


def run_tune(options: RunOptions, grid: Grid, write: bool, progress: Progress, default: float = 0.0) -> Tuned:
    """The command `tune`, with the checkpoint's own beta and gamma.

    Args:
        grid: the candidates; a strength of 0 is one of them, named or not.  Layers that nobody names are the
            checkpoint's own, which are those that can be written.
        write: put what was decided into the checkpoint's configuration and card.
        default: the strength in the languages that nothing was decided about, now or earlier.

    Raises InputError, OSError: as `run_methods`; or alpha and vectors are to be tuned at once, or vectors of other
    layers than the checkpoint's are to be written.
    """
    checkpoint = options.open()
    grid = grid.completed(checkpoint, getattr(checkpoint.config, "vector_layers", ()))
    if grid.kind == CLAS_VECTORS:
        raise InputError("tune: alpha or vectors, one after the other; leave out --alpha, or what is said of vectors")
    dial = "alpha" if grid.kind == CLAS else "vector_strength"
    candidates: dict[str, Any] = {dial: tuple(value for value in getattr(grid, dial) if value)}
    methods = grid_methods(replace(grid, **candidates), checkpoint)
    if write:
        if checkpoint.adapter is not None:
            raise InputError(
                f"{checkpoint.name}: what is decided with an adapter does not hold for the checkpoint alone; leave out "
                "--write or --adapter"
            )
        check_writable(checkpoint.source)
        _check_layers(methods, checkpoint)
    plan = Plan.of("tune", options, checkpoint, methods)
    plan = replace(plan, jobs=tuple(tunable(job, checkpoint, progress) for job in plan.jobs))
    parts = parts_of(plan.jobs[0], progress)
    outcome = execute(plan, progress)
    job = plan.jobs[0]
    records = {language: _records(plan, outcome.folder, language, dial) for language in job.languages}
    found = decide(job.task.scale, records, parts)
    guarded = _guarded(plan, found, parts, dial, progress) if options.scoring == LIKELIHOOD else None
    before = getattr(checkpoint.config, dial)
    kept = [code for code, each in found.languages.items() if each.kept] if guarded is None else guarded.kept
    strengths = {code: each.alpha if code in kept else 0.0 for code, each in found.languages.items()}
    after = decided(before, strengths, default)
    told = {"task": job.task.name, "dial": dial, **found.to_dict(), dial: after}
    told |= {} if guarded is None else {"score": guarded.to_dict()}
    with atomic_file(outcome.folder.path / TUNE_NAME) as partial:
        partial.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if write:
        write_strength(checkpoint.source, dial, after)
    return Tuned(plan, outcome, found, dial, before, after, write, guarded)


def _guarded(plan: Plan, found: Decisions, parts: Parts, dial: str, progress: Progress) -> Guarded:
    """Look at the score on the examples that decided and report, under the strengths that the likelihood has chosen."""
    strengths = {code: each.alpha for code, each in found.languages.items()} | {"default": 0.0}
    if dial == "alpha":
        steered = method_of(CLAS, {"alpha": strengths}, plan.checkpoint)
    else:
        positions = plan.methods[1].described["vector_positions"]
        how = {"layer": (found.layer,), "strength": strengths, "positions": positions}
        steered = method_of(VECTORS, how, plan.checkpoint)
    rows = np.flatnonzero(parts.part != CHOOSE)
    chosen: list[int] = rows.tolist()
    # Other examples, or other strengths to look at, need other predictions, and what is there is this command's own.
    folder = plan.options.out / SCORES
    overwrite = plan.options.overwrite or _is_of_tune(folder)
    options = replace(plan.options, scoring=LETTER, out=folder, overwrite=overwrite)
    scored = Plan.of("tune", options, plan.checkpoint, [plan.methods[0], steered])
    whole, codes = scored.jobs[0], plan.jobs[0].languages
    job = replace(whole, examples={code: [whole.examples[code][row] for row in chosen] for code in codes})
    ran = execute(replace(scored, jobs=(job,)), progress).folder
    records = paired_records(ran, job, BASE, steered.name)
    return guard(job.task.scale, found, records, Parts(parts.unit[rows], parts.part[rows]))


def _is_of_tune(folder: Path) -> bool:
    return (folder / SETTINGS_NAME).is_file() and RunFolder.open(folder).settings.command == "tune"


def parts_of(job: Job, progress: Progress, command: str = "tune", turn: Sequence[int] = TURN) -> Parts:
    """Of the examples, which are the same in every language; what shares its passage stays together.

    Raises InputError: so few passages, or examples that share none, that a part would be empty.
    """
    examples, shared = next(iter(job.examples.values())), job.task.shared
    parts = Parts.of((example.fields[shared] if shared else example.key for example in examples), turn)
    counted = f"{len(examples)} examples a language" + (f" on {parts.units} texts ({shared})" if shared else "")
    if parts.units < len(turn):
        raise InputError(
            f"{command}: {counted} are too few for three parts; give at least {len(turn)} that share no text"
        )
    if parts.units < _FEWEST_TO_FIND:
        progress.say(
            f"{counted}: no gain can be more than chance on fewer than {_FEWEST_TO_FIND}, so nothing is steered"
        )
    return parts


def _check_layers(methods: Sequence[Method], checkpoint: Checkpoint) -> None:
    own = list(checkpoint.config.vector_layers)
    tried = {tuple(method.described.get("vector_layers", own)) for method in methods}
    positions = {method.described.get("vector_positions", checkpoint.config.vector_positions) for method in methods}
    if tried != {tuple(own)} or positions != {checkpoint.config.vector_positions}:
        raise InputError(
            f"--write changes strengths, and {checkpoint.name} has vectors after layers {own} on "
            f"{checkpoint.config.vector_positions} tokens; "
            f"{'try these, or ' if len(own) == 1 else ''}leave --write out and convert it with tune's layer"
        )


def decided(before: float | Mapping[str, float], found: Mapping[str, float], default: float) -> dict[str, float]:
    """The strength of a configuration with those of some languages anew.

    Other languages that it names keep theirs; all that it does not name get `default`.
    """
    named = dict(before) if isinstance(before, Mapping) else {}
    named.pop("default", None)
    return {**named, **found, "default": default}


def tunable(job: Job, checkpoint: Checkpoint, progress: Progress, command: str = "tune") -> Job:
    """The job in the languages that can have a strength of their own."""
    kept = {code: rows for code, rows in job.examples.items() if code in checkpoint.config.languages}
    kept.pop(checkpoint.anchor_language, None)
    left_out = [code for code in job.examples if code not in kept]
    if not kept:
        raise InputError(
            f"{command}: none of the languages {', '.join(job.examples)} can have a strength; {checkpoint.name} was "
            f"made for {', '.join(checkpoint.config.languages)}, and {checkpoint.anchor_language} is never steered"
        )
    if left_out:
        progress.say(f"left out: {', '.join(left_out)}; only the checkpoint's languages but the anchor have a strength")
    return replace(job, examples=kept)


def _records(
    plan: Plan, folder: RunFolder, language: str, dial: str
) -> dict[int | None, dict[float, Sequence[Record]]]:
    """By layer, None for alpha, and strength the predictions in the order of the examples; the base's under 0."""
    job = plan.jobs[0]
    order = [example.key for example in job.examples[language]]
    found: dict[int | None, dict[float, Sequence[Record]]] = {}
    base: Sequence[Record] = []
    for method in plan.methods:
        known = {record.key: record for record in folder.records(job.task.name, method.name, language)}
        records = [known[key] for key in order]
        if method.name == BASE:
            base = records
            continue
        layer = next(iter(method.described.get("vector_layers", ())), None)
        found.setdefault(layer, {0.0: base})[float(method.described[dial])] = records
    return found


def check_writable(source: Source) -> None:
    """Raises InputError: the checkpoint's configuration is not the user's to change."""
    if source.from_hub:
        raise InputError(
            f"{source.name}: a model in the Hub's cache, which --write must not change; convert it into a folder, or "
            "leave --write out"
        )
    if not os.access(source.folder, os.W_OK):
        raise InputError(f"{source.folder}: cannot be written; copy the checkpoint, or leave --write out")


def write_strength(source: Source, dial: str, strength: Mapping[str, float]) -> None:
    """Put a strength, "alpha" or "vector_strength", into a checkpoint's `config.json`, and what it means into the lines
    of its card that say so.

    Raises InputError: the configuration cannot be changed, or would not be one that the family accepts.
    """
    check_writable(source)
    raw = {**read_config(source.folder), dial: dict(strength)}
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
