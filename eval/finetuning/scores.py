"""What trained models answer, in the source language and in the targets, without and with interventions.

Each is a run like any other, with its adapter; the table has the form of tables 3, 7 and 8 of Mondal et al. (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clas_models.finetuning.setups import SETUPS, Training
from clas_models.profiling.selections import read_selection
from clas_models.profiling.values import read_value

from ..analysis.intervention_tables import NONE, InterventionTable, Row, rows_of, scales_of
from ..analysis.interventions import intervention_methods
from ..method_tables import grouped
from ..methods import Method
from ..plan import Plan
from ..report.collect import TaskResults, collect
from ..runner import execute
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
    options = replace(work.options, out=folder.scores, languages=languages_of(work, training), scoring="")
    if training.trains:  # prompts are those that it was trained on
        options = replace(options, adapter=folder.adapter)
        if work.prompting.teaching.labels:
            options = replace(options, templates=None, max_length=None)
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


def table_of(work: FinetuneWork, answers: Mapping[str, TaskResults]) -> InterventionTable:
    """A row for every training and language: tables 3 and 7, and 8 in its first column."""
    rows: list[Row] = []
    columns: tuple[str, ...] = (NONE,)
    for training in work.trainings:
        methods = {column: method.name for column, method in methods_of(work, training).items()}
        columns = max(columns, tuple(methods), key=len)
        labels = (training.name, SETUPS[training.setup])
        rows += rows_of(answers[training.name], methods, languages_of(work, training), labels)
    task = next(iter(answers.values()))
    notes = [f"In {work.source}, the source, nothing is written over: it is the anchor."]
    if any(not training.trains for training in work.trainings):
        notes.append("Without training the answer is that to the task's prompt, not a head's.")
    title = f"{work.chosen.task}, trained in {work.source}, neurons by {work.chosen.select}"
    heads = ("training", "what", "language")
    return InterventionTable(title, heads, columns, scales_of(task.scale), tuple(rows), tuple(notes)).adjusted()
