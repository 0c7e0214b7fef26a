"""From a plan to finished predictions: what `run`, `grid` and `tune` have in common.

The weights are loaded only if something is left to compute.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from .begin import begun
from .engine.batches import plan_batches
from .jobs import Job
from .method_tables import Group
from .methods import Method, methods_of
from .plan import Plan
from .predictions import Predictions, alike
from .progress import Meter, Progress
from .prompts import Prompt
from .run_folder import Record, RunFolder
from .run_options import RunOptions
from .score_scale import Tally
from .tasks import Example

_Asked: TypeAlias = Sequence[tuple[Example, Prompt]]


Tallies: TypeAlias = dict[tuple[str, str, str], Tally]  # by task, method and language


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        folder: where it is.
        tallies: the main scores.
        cut: by task, how many prompts lost some of their context, of all.
    """

    folder: RunFolder
    tallies: Tallies
    cut: dict[str, tuple[int, int]]


def run_methods(
    options: RunOptions, names: Sequence[str] | None, strengths: Mapping[str, Any], progress: Progress
) -> tuple[Plan, Outcome]:
    """The command `run`.

    Args:
        names: of the methods, as users write them; None are the default ones.
        strengths: of `clas`, where a method's options do not say them.

    Raises:
        InputError: something cannot be used.
        OSError: the disk is full or not writable; the run can go on later.
    """
    checkpoint = options.open()
    methods = methods_of(names, checkpoint, strengths)
    if not checkpoint.is_steered and names is None:
        progress.say(f"{checkpoint.name}: a plain checkpoint, so {methods[0].name} is the only method")
    plan = Plan.of("run", options, checkpoint, methods)
    return plan, execute(plan, progress)


def execute(plan: Plan, progress: Progress) -> Outcome:
    """Compute what is not there yet.

    Raises:
        InputError: the folder cannot be used, the model cannot be loaded, or an example is too long.
        OSError: the disk is full or not writable; the run can go on later.
    """
    options, said = plan.options, progress.say
    with begun(options.out, plan.settings, said, overwrite=options.overwrite) as folder:
        for remark in plan.remarks():
            said(remark)
        with progress.predicting(plan.total) as meter:
            work = _Work(plan, folder, progress, meter)
            for job in plan.jobs:
                for language in job.languages:
                    work.language(job, language)
            return Outcome(folder, work.tallies, work.cut)


@dataclass
class _Work:
    """A run while it is computed."""

    plan: Plan
    folder: RunFolder
    progress: Progress
    meter: Meter
    tallies: Tallies = field(default_factory=dict)
    cut: dict[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        checkpoint = self.plan.checkpoint
        self.progress.say(f"loading {checkpoint.name} ({checkpoint.dtype}, {checkpoint.device})")
        return checkpoint.load()

    def language(self, job: Job, language: str) -> None:
        """One task in one language: all methods, with its prompts made once."""
        prompts: list[Prompt] = []
        for group in self.plan.groups:
            if unfinished := self._unfinished(job, language, group):
                if not prompts:
                    self.meter.at(f"{job.task.name} {language}, prompts")
                    prompts = job.prompts(language)
                self._compute(job, language, prompts, replace(group, methods=unfinished))
        # Of the first method: the prompts are the same for all.
        records = self.folder.records(job.task.name, self.plan.methods[0].name, language)
        cut, count = self.cut.get(job.task.name, (0, 0))
        self.cut[job.task.name] = (cut + sum(record.cut > 0 for record in records), count + len(records))

    def _unfinished(self, job: Job, language: str, group: Group) -> tuple[Method, ...]:
        """The methods of a group that lack predictions; the scores of the others are counted."""
        task, keys = job.task, {example.key for example in job.examples[language]}
        unfinished = []
        for method in group.methods:
            tally = self.tallies[task.name, method.name, language] = Tally(task.scale)
            records = self.folder.records(task.name, method.name, language)
            if len(records) == len(keys) and {record.key for record in records} == keys:
                tally.add(records)
                self.meter.already(len(records))
            else:
                unfinished.append(method)
        return tuple(unfinished)

    def _compute(self, job: Job, language: str, prompts: Sequence[Prompt], group: Group) -> None:
        """The methods of a group, in as many turns as they have got differently far."""
        parts = job.parts(self.folder.settings.other.get("parts", ()))
        plans = [plan_batches([prompt.ids for prompt in prompts[part]], job.batch_size) for part in parts]
        order = [
            [part.start + index for index in batch] for part, plan in zip(parts, plans, strict=True) for batch in plan
        ]
        files = [self.folder.file(job.task.name, method.name, language) for method in group.methods]
        for indices in alike(files, order):
            turn = replace(group, methods=tuple(group.methods[index] for index in indices))
            keys = [example.key for example in job.examples[language]]
            predictions = Predictions.resume([files[index] for index in indices], keys, order)
            asked = list(zip(job.examples[language], prompts, strict=True))
            shares = [(asked[part], len(plan)) for part, plan in zip(parts, plans, strict=True)]
            self._append(job, language, shares, turn, predictions)

    def _append(
        self, job: Job, language: str, shares: Sequence[tuple[_Asked, int]], group: Group, predictions: Predictions
    ) -> None:
        """What is missing of predictions; `shares` are the examples of each part, and how many batches they make."""
        tallies = {method.name: self.tallies[job.task.name, method.name, language] for method in group.methods}
        for tally, records in zip(tallies.values(), predictions.records, strict=True):
            tally.add(records)
            self.meter.already(len(records))
        model = self.model
        named = "+".join(tallies) if len(tallies) <= 2 else f"{len(tallies)} methods"
        self.meter.at(f"{job.task.name} {language}, {named}")
        done = predictions.batches
        with group.in_force(model):
            for asked, batches in shares:
                skipped = min(done, batches)
                done -= skipped
                for lines in self._answered(job, language, asked, group, skipped):
                    predictions.append(lines)
                    for tally, added in zip(tallies.values(), lines, strict=True):
                        tally.add(added)
                    self.meter.add(sum(map(len, lines)), tallies)

    def _answered(
        self, job: Job, language: str, asked: _Asked, group: Group, skipped: int
    ) -> Iterator[list[list[Record]]]:
        """Batch by batch of one part, without the first `skipped`, the records of every method."""
        prompts = [prompt for _, prompt in asked]
        for batch, replies in job.answers(self.model, prompts, language, group.conditions, skipped):
            yield [
                [
                    job.record(asked[index][0], language, asked[index][1], reply)
                    for index, reply in zip(batch, given, strict=True)
                ]
                for given in replies
            ]
