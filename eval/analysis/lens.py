"""The command `lens`: what the head reads between layers, in the language of a question and in the anchor's.

A lens is a run that looks at more: its folder holds the predictions of `run`, and beside them what was seen of every
method and language (`lens_parts.py`), and the results (`lens_output.py`).  A language that is finished is not computed
again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from clas_models.atomic import atomic_file
from clas_models.errors import InputError

from ..begin import begun
from ..engine.lens import Latent, check_layers, latent
from ..jobs import Job, Reply, rounded
from ..method_tables import Group
from ..methods import methods_of
from ..plan import Plan
from ..progress import Meter, Progress
from ..prompts import Prompt
from ..run_folder import Record, RunFolder, Settings
from ..run_options import RunOptions
from ..score_scale import Tally
from ..scoring import LETTER
from ..tasks import TASKS, task_of
from ..tasks.task import language_codes
from .lens_numbers import correlations, numbers_of
from .lens_output import LensResult
from .lens_parts import LENS_NAME, Part, part_path, remove_unfinished
from .projection import ScatterPanels, principal_components

STEP = 4  # layers from one that is read to the next
POINTS = 50


@dataclass(frozen=True)
class LensOptions:
    """What a user can choose beside what a run has.

    Attributes:
        layers: whose output is read, from 0; None is every fourth, ending at the last one.
        raw: whether the final norm is left out before the head.
        points: the first questions whose states are shown as points; 0 is none.
    """

    layers: tuple[int, ...] | None = None
    raw: bool = False
    points: int = POINTS

    def layers_of(self, count: int) -> tuple[int, ...]:
        """Of a model with so many; raises InputError: one that it does not have."""
        layers = tuple(range(count - 1, -1, -STEP)) if self.layers is None else self.layers
        check_layers(layers, count)
        return tuple(sorted(layers))


def run_lens(options: RunOptions, lens: LensOptions, names: Sequence[str] | None, progress: Progress) -> LensResult:
    """Compute what is not there yet, and write all results.

    Args:
        options: of one task.  The anchor language is added to the languages.
        names: of the methods, as users write them; None are the default ones.

    Raises:
        InputError: something cannot be used.
        OSError: the disk is full or not writable; the lens can go on later.
    """
    (name,) = options.tasks
    if not task_of(name).choice_fields:
        fitting = ", ".join(task.name for task in TASKS.values() if task.choice_fields)
        raise InputError(f"task {name}: its choices have no texts, which the lens reads; choose among {fitting}")
    if lens.points < 0:
        raise InputError(f"points {lens.points}: give 0 or more")
    checkpoint = options.open()
    if options.scoring != LETTER:
        raise InputError(
            f"scoring {options.scoring!r}: the answers of a lens are ranked by their letters; leave it out"
        )
    layers = lens.layers_of(int(checkpoint.config.num_hidden_layers))
    anchor, languages = checkpoint.anchor_language, language_codes(options.languages)
    if languages is not None and anchor not in languages:
        languages = (anchor, *languages)
    plan = Plan.of("lens", replace(options, languages=languages), checkpoint, methods_of(names, checkpoint, {}))
    (job,) = plan.jobs
    if anchor not in job.languages:
        raise InputError(
            f"task {name}: the data has no {anchor}, the anchor language, whose texts the others are compared with; "
            "give data with it"
        )
    if len(job.languages) < 2:
        raise InputError(f"languages: there is only {anchor}, the anchor language; give at least one other")

    def settings(parts: tuple[int, ...]) -> Settings:
        given = plan.settings(parts)
        read = {"layers": list(layers), "raw": lens.raw, "points": lens.points}
        return replace(given, other={**given.other, LENS_NAME: read})

    with begun(options.out, settings, progress.say, overwrite=options.overwrite) as folder:
        remove_unfinished(folder, name)
        for remark in plan.remarks():
            progress.say(remark)
        with progress.predicting(plan.total) as meter:
            work = _Work(plan, job, layers, lens, folder, progress, meter)
            work.compute()
        result = work.result()
        result.write()
    return result


@dataclass
class _Work:
    """A lens while it is computed."""

    plan: Plan
    job: Job
    layers: tuple[int, ...]
    lens: LensOptions
    folder: RunFolder
    progress: Progress
    meter: Meter

    @cached_property
    def model(self) -> Any:
        checkpoint = self.plan.checkpoint
        self.progress.say(f"loading {checkpoint.name} ({checkpoint.dtype}, {checkpoint.device})")
        return checkpoint.load()

    @property
    def anchor(self) -> str:
        return self.plan.checkpoint.anchor_language

    def compute(self) -> None:
        for language in self.job.languages:
            count = len(self.job.examples[language])
            for group in self.plan.groups:
                missing = tuple(method for method in group.methods if not self._is_done(method.name, language))
                self.meter.already(count * (len(group.methods) - len(missing)))
                if missing:
                    self._language(language, replace(group, methods=missing))

    def _is_done(self, method: str, language: str) -> bool:
        found = len(self._records(method, language))
        return found == len(self.job.examples[language]) and part_path(self.folder, method, language).is_file()

    def _records(self, method: str, language: str) -> list[Record]:
        return self.folder.records(self.job.task.name, method, language)

    def _language(self, language: str, group: Group) -> None:
        """Some methods in one language, from its prompts to what is on disk."""
        job, names = self.job, [method.name for method in group.methods]
        self.meter.at(f"{job.task.name} {language}, {'+'.join(names)}")
        prompts, texts = job.prompts(language), self._texts(language)
        self._check_room(language, prompts, texts)
        tallies = {name: Tally(job.task.scale) for name in names}
        records: list[list[Record]] = [[] for _ in names]
        sizes = (len(texts[0]), len(job.choices), job.checkpoint.config.hidden_size)
        whole = Latent.empty(len(names), len(self.layers), len(prompts), *sizes)
        rows, asked = [prompt.ids for prompt in prompts], (job.choices, language, self.layers, group.conditions)
        model = self.model
        with group.in_force(model):
            for batch, found in latent(model, rows, texts, *asked, normed=not self.lens.raw, batch_size=job.batch_size):
                whole.put(batch, found)
                for name, done, logits in zip(names, records, found.answers, strict=True):
                    added = self._answered(language, prompts, batch, logits)
                    done += added
                    tallies[name].add(added)
                self.meter.add(len(batch) * len(names), tallies)
        for place, name in enumerate(names):
            self._save(name, language, whole, place, records[place])

    def _texts(self, language: str) -> list[list[tuple[int, ...]]]:
        """For every question the tokens of its choices in its language, then in the anchor language."""
        job = self.job
        sources = [job.examples[language]] + ([job.examples[self.anchor]] if language != self.anchor else [])
        return [
            [job.builder.answer(example.fields[field]) for example in parallel for field in job.task.choice_fields]
            for parallel in zip(*sources, strict=True)
        ]

    def _check_room(self, language: str, prompts: Sequence[Prompt], texts: Sequence[Sequence[tuple[int, ...]]]) -> None:
        room = int(self.plan.checkpoint.config.max_position_embeddings)
        for prompt, given, example in zip(prompts, texts, self.job.examples[language], strict=True):
            longest = max(map(len, given))
            if len(prompt.ids) + longest > room:
                raise InputError(
                    f"{self.job.task.name}, {language}, example {example.key}: a prompt of {len(prompt.ids)} tokens "
                    f"and an answer of {longest} are more than the {room} that the model has room for; give "
                    f"--max-length {max(1, room - longest)} or less"
                )

    def _answered(
        self, language: str, prompts: Sequence[Prompt], batch: Sequence[int], logits: torch.Tensor
    ) -> list[Record]:
        scores, examples = logits.double().log_softmax(-1).tolist(), self.job.examples[language]
        return [
            self.job.record(examples[index], language, prompts[index], Reply(int(row.argmax()), rounded(given)))
            for index, row, given in zip(batch, logits, scores, strict=True)
        ]

    def _save(self, method: str, language: str, whole: Latent, place: int, records: Sequence[Record]) -> None:
        """The part first: with the predictions it counts."""
        examples, choices = self.job.examples[language], len(self.job.task.choice_fields)
        texts = whole.texts[place]
        part = Part(
            native=texts[..., :choices].clone(),
            anchor=texts[..., -choices:].clone(),
            letters=whole.choices[place].clone(),
            gold=torch.tensor([int(example.gold[0]) for example in examples]),
            states=whole.states[place, :, : self.lens.points].clone(),
        )
        part.save(part_path(self.folder, method, language))
        path = self.folder.file(self.job.task.name, method, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            partial.write_text("".join(record.to_json() + "\n" for record in records), encoding="utf-8")

    def result(self) -> LensResult:
        """From the parts of all methods and languages."""
        job, methods = self.job, [method.name for method in self.plan.methods]
        parts = {method: {code: self._part(method, code) for code in job.languages} for method in methods}
        numbers = {
            method: {code: numbers_of(part) for code, part in by_code.items()} for method, by_code in parts.items()
        }
        found = []
        for method in methods:
            records = {code: self._records(method, code) for code in job.languages}
            others = {code: given for code, given in numbers[method].items() if code != self.anchor}
            found += correlations(method, self.layers, others, records, self.anchor)
        points = self._points(parts) if self.lens.points else None
        chance = job.task.chance or 0.0
        return LensResult(self.folder, job.task.name, self.layers, numbers, found, chance, points)

    def _part(self, method: str, language: str) -> Part:
        questions, choices = len(self.job.examples[language]), len(self.job.task.choice_fields)
        return Part.load(part_path(self.folder, method, language), len(self.layers), questions, choices)

    def _points(self, parts: Mapping[str, Mapping[str, Part]]) -> ScatterPanels:
        first = next(iter(parts.values()))
        planes = {}
        for place, layer in enumerate(self.layers):
            planes[layer] = principal_components(
                {
                    method: np.concatenate([part.states[place].numpy() for part in by_code.values()])
                    for method, by_code in parts.items()
                }
            )
        count = next(iter(first.values())).states.shape[1]
        return ScatterPanels(
            name="lens-pca",
            title=f"{self.job.task.name}: last tokens of {count} parallel questions, principal components",
            languages=tuple(code for code in first for _ in range(count)),
            anchor=self.anchor,
            planes=planes,
        )
