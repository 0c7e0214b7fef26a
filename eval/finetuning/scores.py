"""What trained models answer, in the source language and in the targets, without and with interventions.

Each is a run like any other, with its adapter; the table has the form of tables 3, 7 and 8 of Mondal et al. (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clas_models.finetuning.setups import ATTENTION, SETUPS, Training
from clas_models.profiling.selections import read_selection
from clas_models.profiling.values import read_value

from ..analysis.intervention_tables import NONE, InterventionTable, Row, rows_of, scales_of
from ..analysis.interventions import intervention_methods
from ..method_tables import grouped
from ..methods import Method
from ..plan import Plan
from ..report.collect import TaskResults, collect
from ..run_folder import BASE
from ..runner import execute
from ..score_scale import ScoreScale
from ..tasks import task_of
from .work import FinetuneWork


def check_scores(work: FinetuneWork) -> None:
    """What a long training must not be wasted on: the evaluation's data and its interventions.

    Raises InputError: something of it cannot be used.
    """
    options = replace(work.options, languages=work.languages)
    task_of(work.chosen.task).load(options.languages, options.source)
    for training in work.trained:
        grouped(list(methods_of(work, training).values()), work.checkpoint)


def scored(work: FinetuneWork, training: Training) -> TaskResults:
    """The answers of a training, computed as far as they are not there yet.

    Raises InputError, OSError: as `run_methods`.
    """
    folder = work.folder(training)
    options = replace(work.options, out=folder.scores, languages=languages_of(work, training))
    if training.trains:  # how it is asked is as it was trained
        options = replace(options, adapter=folder.adapter, scoring="")
    if work.prompting.teaching.labels:  # a user's template is the head's, which has it in its record
        options = replace(options, templates=None)
    work.progress.say(f"{training.name}: answers")
    plan = Plan.of("run", options, options.open(), list(methods_of(work, training).values()))
    execute(plan, work.progress)
    return next(task for task in collect([folder.scores]) if task.task == work.chosen.task)


def languages_of(work: FinetuneWork, training: Training) -> tuple[str, ...]:
    return (work.source, *training.targets)


def methods_of(work: FinetuneWork, training: Training) -> dict[str, Method]:
    """By column: no intervention, and every value over a language's own neurons; without training the first alone."""
    chosen = work.chosen
    values = map(read_value, chosen.values if training.trains else ())
    return intervention_methods(read_selection(chosen.select), tuple(values), chosen.site, work.checkpoint)


def tables_of(work: FinetuneWork, answers: Mapping[str, TaskResults]) -> list[InterventionTable]:
    """Interventions on every training, and the trainings beside each other where there are several.

    Args:
        answers: of every training, by its name.
    """
    tables = [_by_intervention(work, answers)]
    if len({training.setup for training in work.trainings}) > 1:
        tables.append(_by_training(work, answers))
    return tables


def _by_intervention(work: FinetuneWork, answers: Mapping[str, TaskResults]) -> InterventionTable:
    """A row for every training and language: tables 3 and 7."""
    rows: list[Row] = []
    columns: tuple[str, ...] = (NONE,)
    for training in work.trainings:
        methods = {column: method.name for column, method in methods_of(work, training).items()}
        columns = max(columns, tuple(methods), key=len)
        labels = (training.name, SETUPS[training.setup])
        rows += rows_of(answers[training.name], methods, languages_of(work, training), labels)
    title = f"{work.chosen.task}, trained in {work.source}, neurons by {work.chosen.select}: interventions"
    heads = ("training", "what", "language")
    return InterventionTable(title, heads, columns, _scales(answers), tuple(rows), _notes(work)).adjusted()


def _by_training(work: FinetuneWork, answers: Mapping[str, TaskResults]) -> InterventionTable:
    """A row for every language, a column for every setup, without interventions: the first column of tables 7 and 8.

    The others are compared with attention alone, or with the first of them if that was not trained.
    """
    setups = list(dict.fromkeys(training.setup for training in work.trainings))
    setups.sort(key=lambda setup: setup != ATTENTION)
    rows: list[Row] = []
    for code in work.languages:
        records = {
            (setup, code): answers[training.name].records[BASE, code]
            for setup in setups
            if (training := _training_of(work, setup, code)) is not None
        }
        columns = {setup: setup for setup, _ in records}
        if setups[0] not in columns:  # the source, with a model for each target
            continue
        first = next(iter(answers.values()))
        side_by_side = replace(first, methods=tuple(columns), base=setups[0], records=records)
        rows += rows_of(side_by_side, columns, [code], untested=())
    title = f"{work.chosen.task}, trained in {work.source}, neurons by {work.chosen.select}: trainings, no intervention"
    notes = [f"{setup}: {SETUPS[setup]}." for setup in setups]
    return InterventionTable(
        title, ("language",), tuple(setups), _scales(answers), tuple(rows), (*notes, *_notes(work, anchor=False))
    ).adjusted()


def _training_of(work: FinetuneWork, setup: str, code: str) -> Training | None:
    """The training of a setup that is for a language; of the source, only where the setup has one training."""
    found = [each for each in work.trainings if each.setup == setup and code in (*each.targets, work.source)]
    return found[0] if len(found) == 1 else None


def _scales(answers: Mapping[str, TaskResults]) -> tuple[ScoreScale, ...]:
    return scales_of(next(iter(answers.values())).scale)


def _notes(work: FinetuneWork, *, anchor: bool = True) -> tuple[str, ...]:
    notes = []
    if anchor and work.source == work.checkpoint.anchor_language:
        notes.append(f"{work.source}, the source, is the anchor, where nothing is written: every column is {NONE}.")
    if work.prompting.teaching.labels and any(not training.trains for training in work.trainings):
        notes.append("Without training the answer is that to the task's prompt, not a head's.")
    return tuple(notes)
