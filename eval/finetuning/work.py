"""The trainings of a `finetune`, one after the other, each in a folder of its own.

All that can be wrong with models, neurons, data and settings is found before the first one begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from torch import Tensor

from clas_models import __version__
from clas_models.errors import InputError
from clas_models.finetuning.adapter import check_peft
from clas_models.finetuning.adapter_record import AdapterRecord
from clas_models.finetuning.neuron_lora import check_trains, layers_of
from clas_models.finetuning.setups import RANDOM, Neurons, Training, trainings
from clas_models.finetuning.training import Collator, TrainingExample, train, training_model
from clas_models.finetuning.training_rows import drawn
from clas_models.finetuning.training_settings import TrainingSettings
from clas_models.modeling.language import language_id

from ..loading import Checkpoint
from ..method_names import language as language_tag
from ..method_tables import sha256
from ..progress import Meter, Progress
from ..run_options import RunOptions
from ..tasks.task import language_codes
from .options import FinetuneOptions
from .teaching import Prompting, teaching_of
from .training_folder import TrainingFolder

_LIBRARIES = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class FinetuneWork:
    """A fine-tuning that can begin.

    Attributes:
        options: of the evaluation, and where everything goes.
        chosen: of the training.
    """

    options: RunOptions
    chosen: FinetuneOptions
    checkpoint: Checkpoint
    progress: Progress

    @cached_property
    def settings(self) -> TrainingSettings:
        return self.chosen.training_settings()

    @cached_property
    def source(self) -> str:
        """The language of the training rows."""
        given = self.chosen.source
        return self.checkpoint.anchor_language if given is None else language_tag(given)

    @cached_property
    def trainings(self) -> list[Training]:
        chosen = self.chosen
        targets = language_codes(chosen.targets) or ()
        return trainings(chosen.setups, self.source, targets, together=chosen.together)

    @property
    def trained(self) -> list[Training]:
        """Those of the trainings that train something."""
        return [training for training in self.trainings if training.trains]

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The source, and every target."""
        return tuple(dict.fromkeys((self.source, *(code for each in self.trainings for code in each.targets))))

    @cached_property
    def masks(self) -> dict[str, dict[int, Tensor]]:
        """By training, what it changes of each layer's MLP."""
        if not any(each.languages for each in self.trainings):
            return {each.name: {} for each in self.trainings}
        known = self.checkpoint.known()
        neurons = Neurons.of(known, self.chosen.select, self.chosen.random, self.settings.seed)
        return {each.name: neurons.masks(each) for each in self.trainings}

    @cached_property
    def prompting(self) -> Prompting:
        options, settings = self.options, self.settings
        teaching = teaching_of(self.chosen.task)
        return Prompting.of(teaching, options.templates, options.chat_template, settings.max_length)

    @cached_property
    def examples(self) -> list[TrainingExample]:
        """What is trained on, in the order of the file."""
        rows = self.prompting.teaching.read(self.chosen.train)
        rows = drawn(rows, self.settings.rows, self.settings.seed)
        return self.prompting.examples(rows, self.checkpoint, self.source)

    def prepare(self) -> None:
        """Raises InputError: something cannot be used."""
        if not self.checkpoint.is_steered:
            raise InputError(
                f"{self.checkpoint.name}: a plain checkpoint has no neurons of a language; convert it first"
            )
        check_peft()
        for training in self.trained:
            check_trains(self.masks[training.name], self.settings.attention)
        if self.trained:
            self._check_ends()

    def _check_ends(self) -> None:
        """A head reads the last token that does not fill up, which has to be the last one of the prompt."""
        pad = self._pad()
        if self.prompting.teaching.labels and any(example.ids[-1] == pad for example in self.examples):
            raise InputError(
                f"{self.checkpoint.name}: its tokenizer ends prompts with token {pad}, which fills batches up, too; "
                "give it a pad_token of its own"
            )

    def announce(self) -> None:
        """What is about to be trained."""
        told = ", ".join(f"{training.name} ({_told(self.masks[training.name])})" for training in self.trained)
        if told:
            rows = f"{len(self.examples):,} rows in {self.source}"
            self.progress.say(f"{rows}, {self._steps():,} steps for each of {len(self.trained)} trainings: {told}")

    def _steps(self) -> int:
        settings = self.settings
        return max(1, round(settings.epochs * -(-len(self.examples) // (settings.batch_size * settings.accumulate))))

    def folder(self, training: Training) -> TrainingFolder:
        return TrainingFolder(self.options.out / training.name)

    def wanted(self, training: Training) -> dict[str, Any]:
        """Everything that the adapter depends on, as JSON has it; a versions' change does not make it another."""
        return {
            "base_fingerprint": self.checkpoint.source.fingerprint,
            "task": self.chosen.task,
            "source": self.source,
            "setup": training.setup,
            "neurons": {
                "of": list(training.languages),
                "select": self.chosen.random if training.setup == RANDOM else self.chosen.select,
                "count": sum(int(mask.sum()) for mask in self.masks[training.name].values()),
                "digest": sha256(list(self.masks[training.name].values())),
            }
            if training.languages
            else None,
            "settings": asdict(self.settings),
            "rows": {"count": len(self.examples), "digest": _digest(self.examples)},
            "template": self.prompting.template,
            "chat_template": self.prompting.chat_template,
        }

    def begin(self) -> None:
        """Make the folders of all trainings, or go on in them. Raises InputError: another one is there."""
        for training in self.trained:
            self.folder(training).begin(self.wanted(training), overwrite=self.options.overwrite)

    def train(self, training: Training, *, leads: bool) -> None:
        """One training, unless it is finished; `leads` is whether this process writes the adapter."""
        folder = self.folder(training)
        if folder.is_finished:
            self.progress.say(f"{training.name}: trained already")
            return
        masks, labels = self.masks[training.name], self.prompting.teaching.labels
        source, config = self.checkpoint.source, self.checkpoint.config
        pad = self._pad()
        on_cpu = self.checkpoint.device.type == "cpu"
        model = training_model(source, labels, self.settings, masks, pad, on_cpu=on_cpu)
        collator = Collator(pad, language_id(self.source, config.languages))
        with self._bar(training.name) as bar:
            examples, states = self.examples, folder.states
            trained = train(model, examples, collator, self.settings, masks, states, bar, on_cpu=on_cpu)
        if leads:
            folder.finish(model, self._record(training), masks, trained)

    def _pad(self) -> int:
        tokenizer = self.checkpoint.tokenizer
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if pad is None:
            raise InputError(
                f"{self.checkpoint.name}: no token to fill batches up with; give its tokenizer a pad_token"
            )
        return int(pad)

    def _record(self, training: Training) -> AdapterRecord:
        versions = {"clas-models": __version__, **{name: version(name) for name in _LIBRARIES}}
        return self.prompting.record(self.checkpoint, {**self.wanted(training), "versions": versions})

    @contextmanager
    def _bar(self, name: str) -> Iterator[_Bar]:
        with self.progress.predicting(0, unit=" steps") as meter:
            meter.at(name)
            yield _Bar(meter)


@dataclass(frozen=True)
class _Bar:
    """The bar of a training, told of its steps."""

    meter: Meter

    def begin(self, steps: int, done: int) -> None:
        self.meter.bar.total = steps
        self.meter.already(done)

    def step(self, loss: float | None) -> None:
        if loss is not None:
            self.meter.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self.meter.bar.update(1)


def _told(masks: Mapping[int, Tensor]) -> str:
    if not masks:
        return "attention alone"
    return f"{sum(int(mask.sum()) for mask in masks.values()):,} neurons in layers {layers_of(masks)}"


def _digest(examples: Sequence[TrainingExample]) -> str:
    return hashlib.sha256(repr([(each.ids, each.labels) for each in examples]).encode()).hexdigest()
