"""A fit on one checkpoint and one task: the parts of the examples, the neurons, the search, and what its result does.

What is decided from that is the business of `eval/fit.py`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clas_models import __version__
from clas_models.atomic import LOCK_NAME, check_place, folder_lock
from clas_models.conversion.companions import prompt_files
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.modeling.configuration_clas import UNSTEERED
from clas_models.profiling.bridge_layers import parse_layers
from clas_models.profiling.categories import categorize
from clas_models.profiling.fitted_strengths import FittedStrengths
from clas_models.profiling.neuron_profile import Provenance

from ..decision_rule import CHOOSE, Parts
from ..engine.decoder import SplitDecoder
from ..guard import Paired, paired_records
from ..jobs import Job
from ..loading import Checkpoint
from ..method_tables import Fitted, sha256
from ..methods import Method
from ..plan import Plan
from ..progress import Progress
from ..run_folder import BASE, FITTED
from ..run_options import RunOptions
from ..runner import execute
from ..scoring import LIKELIHOOD
from ..tasks import Kind, task_of
from ..tune import SCORES, parts_of, tunable
from ..vectors import seen_lines
from .objectives import OBJECTIVES, Gold, read_objectives
from .options import RANDOM, FitOptions
from .problem import Batch, Problem
from .search import STATE_NAME, Epoch, Found, kept_identity, search
from .tables import Tables, fitting_scales

STRENGTHS_NAME, FIT_NAME = "strengths.safetensors", "fit.json"
_FILES = {STRENGTHS_NAME, FIT_NAME, STATE_NAME}
LIKELIHOODS = "likelihood"  # the folder of a run, beside that of scores
_INNER = 4  # of the texts that are fitted on, every fourth validates


@dataclass
class FitWork:
    """A fit while it runs."""

    options: RunOptions
    chosen: FitOptions
    checkpoint: Checkpoint
    progress: Progress

    def prepare(self) -> None:
        """Raises InputError: as `run_fit`, before the model is loaded."""
        out = self.options.out
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: a file is in the way; give another --out")
        check_place(out)
        if foreign := self._foreign():
            raise InputError(f"{out}: not empty ({min(foreign)}) and not the folder of a fit; give another --out")
        assert self.categories
        weights = read_objectives(self.chosen.objective)
        for name in weights:
            OBJECTIVES[name].check(self.whole_job)
        if self.chosen.end and (Gold.name not in weights or self.whole_job.choices):
            raise InputError(
                f"end {self.chosen.end:g}: it is for objective {Gold.name} of a task with generated answers, not "
                f"{self.chosen.objective} of {self.job.task.name}; leave it out"
            )
        assert self.parts
        self.rows()
        Tables.zeros(self.job.languages, self.layers, self.chosen.sharing)
        for remark in self.job.remarks():
            self.progress.say(remark)
        out.mkdir(parents=True, exist_ok=True)

    def _foreign(self) -> set[str]:
        """What is in the folder and no fit's: of runs any, unless a fit has put its own files beside them."""
        out = self.options.out
        there = {path.name for path in out.iterdir()} if out.is_dir() else set()
        runs = {LIKELIHOODS, SCORES} if there & _FILES else set()
        return there - _FILES - runs - {LOCK_NAME} - {path.name for path in self._leftovers()}

    def _leftovers(self) -> list[Path]:
        """What a killed fit leaves of files that appear whole or not at all."""
        return [left for name in _FILES for left in self.options.out.glob(f".{name}.*.partial")]

    @contextmanager
    def begun(self) -> Iterator[None]:
        """The folder, which `prepare` has made, is this fit's alone for the length of a `with` block.

        Raises InputError: another process writes to it, or another fit's results would be lost.
        """
        out = self.options.out
        with folder_lock(out, f"{out}: another fit is writing to it; wait for it, or give another --out"):
            for leftover in self._leftovers():
                leftover.unlink()
            if self._found_there() not in (None, self.identity):
                lost = "a fit with other options, examples or another checkpoint is there"
                refuse_loss(out, lost, overwrite=self.options.overwrite)
                # The rest is replaced file by file: until then it tells whose folder this is.
                (out / FIT_NAME).unlink(missing_ok=True)
            yield

    def _found_there(self) -> str | None:
        """The identity of the fit that the folder is of; None of an empty one."""
        state, strengths = (self.options.out / name for name in (STATE_NAME, STRENGTHS_NAME))
        if state.is_file():
            return kept_identity(state)
        return FittedStrengths.load(strengths).provenance.digests[0] if strengths.is_file() else None

    @cached_property
    def whole_job(self) -> Job:
        """With the anchor, where the data has it."""
        return Job.of(self.options.tasks[0], self.likelihood_options, self.checkpoint)

    @property
    def likelihood_options(self) -> RunOptions:
        """Plain text is judged by its likelihood anyway."""
        is_text = task_of(self.options.tasks[0]).kind is Kind.PERPLEXITY
        return self.options if is_text else replace(self.options, scoring=LIKELIHOOD)

    @cached_property
    def job(self) -> Job:
        """In the languages that are fitted."""
        return tunable(self.whole_job, self.checkpoint, self.progress, "fit")

    @cached_property
    def parts(self) -> Parts:
        return parts_of(self.job, self.progress, "fit", self.chosen.turn)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        count = int(self.checkpoint.config.num_hidden_layers)
        if self.chosen.layers is None:
            return tuple(range(count // 2, count))
        return tuple(parse_layers(self.chosen.layers, count))

    @cached_property
    def categories(self) -> dict[int, Tensor]:
        """By layer uint8 `[neurons]`."""
        profile = self.checkpoint.profile()
        found = categorize(profile).categories
        generator = torch.Generator().manual_seed(self.chosen.search.seed)
        by_layer = {}
        if missing := sorted(set(self.layers) - set(profile.layers)):
            raise InputError(
                f"{self.checkpoint.name}: its profile has no layers {missing}; fit others (--layers), or convert anew"
            )
        for layer in self.layers:
            row = found[profile.layers.index(layer)].clone()
            by_layer[layer] = row[torch.randperm(len(row), generator=generator)] if self._random else row
        return by_layer

    @property
    def _random(self) -> bool:
        return self.chosen.groups == RANDOM

    def rows(self) -> tuple[list[int], list[int]]:
        """Examples for the gradient and for its validation, with what shares a text together."""
        places = self.parts.of_part(CHOOSE)
        units = list(dict.fromkeys(self.parts.unit[places].tolist()))
        inner = set(units[_INNER - 1 :: _INNER] or units[-1:])
        train = [int(place) for place in places if self.parts.unit[place] not in inner]
        if not train:
            raise InputError("fit: one text to fit on, and none to validate on; give more examples")
        return train, [int(place) for place in places if self.parts.unit[place] in inner]

    def fitted(self) -> tuple[Found, FittedStrengths]:
        """Search, or go on with a search."""
        checkpoint = self.checkpoint
        self.progress.say(f"loading {checkpoint.name} ({checkpoint.dtype}, {checkpoint.device})")
        return self.fitted_on(checkpoint.load().requires_grad_(False))

    def fitted_on(self, model: Any) -> tuple[Found, FittedStrengths]:
        """As `fitted`, on a model that is loaded and whose weights need no gradient; it stays as it is."""
        train, validation = self.rows()
        chosen = self.chosen
        with fitting_scales(model, self.categories) as (decoder, scales):
            problem = self.problem(decoder, scales)
            batches = [
                {code: problem.batches(code, rows, self.options.batch_size) for code in self.job.languages}
                for rows in (train, validation)
            ]
            tables = Tables.zeros(self.job.languages, self.layers, chosen.sharing, model.device)
            found = self._search(problem, tables, *batches)
        return found, self._strengths(tables, found, len(train) + len(validation))

    def problem(self, decoder: SplitDecoder, scales: Mapping[int, Any], memory: float | None = None) -> Problem:
        """What is lowered on a model; `memory`, in gigabytes, in place of what the user chose."""
        weights = read_objectives(self.chosen.objective)
        objectives = {name: OBJECTIVES[name](self.whole_job, decoder.model, self.chosen.end) for name in weights}
        kept = int((self.chosen.memory if memory is None else memory) * 1e9)
        return Problem(decoder, scales, objectives, weights, min(self.layers), kept, self.chosen.checkpointing)

    def _search(
        self,
        problem: Problem,
        tables: Tables,
        train: Mapping[str, Sequence[Batch]],
        validation: Mapping[str, Sequence[Batch]],
    ) -> Found:
        options = self.chosen.search
        steps = max(map(len, train.values()))

        def told(epoch: Epoch | None, base: float) -> None:
            if epoch is None:
                self.progress.say(f"validation, base: {base:.4f} nats")
            else:
                self.progress.say(
                    f"penalty {epoch.penalty:g}, pass {epoch.epoch + 1}: loss {epoch.loss:.4f}, validation "
                    f"{epoch.validation:.4f}"
                )

        with self.progress.predicting(steps * options.epochs * len(options.penalties)) as meter:
            meter.at("fitting")
            state = self.options.out / STATE_NAME
            return search(
                problem, tables, train, validation, options, state, self.identity, told, lambda loss: meter.add(1, {})
            )

    @cached_property
    def identity(self) -> str:
        """A digest of everything that the search, and what is told of it, depends on.

        Not of how the checkpoint is steered now, which is off while strengths are fitted: so the same fit is there
        already when its strengths have been put into the checkpoint.
        """
        chosen = replace(self.chosen, write=False, memory=0.0, checkpointing=False)
        source = self.checkpoint.source
        content = {
            "weights": source.fingerprint,
            "config": source.base_fields,
            "ends": sorted(self.checkpoint.eos_token_ids),
            "read": [hashlib.sha256(path.read_bytes()).hexdigest() for path in prompt_files(source.folder)],
            "categories": {layer: sha256([each]) for layer, each in self.categories.items()},
            "languages": [self.checkpoint.anchor_language, *self.job.languages],
            "known": list(self.checkpoint.config.languages),
            "examples": self.whole_job.examples_digests(()),
            "templates": self.whole_job.template_digests(),
            "chat_template": self.options.chat_template,
            "scoring": self.options.scoring,
            "chosen": asdict(chosen),
            "batch_size": self.options.batch_size,
            "length": self.whole_job.builder.max_length,
            "dtype": self.checkpoint.dtype,
            "version": __version__,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def _strengths(self, tables: Tables, found: Found, examples: int) -> FittedStrengths:
        config, source = self.checkpoint.config, self.checkpoint.source
        table = tables.strengths(config.languages)
        table[:, config.languages.index(config.anchor_language)] = 0
        return FittedStrengths(
            languages=tuple(config.languages),
            anchor=config.anchor_language,
            layers=self.layers,
            num_model_layers=int(config.num_hidden_layers),
            strengths=table.contiguous(),
            categories=torch.stack([self.categories[layer] for layer in self.layers]),
            alpha={"default": 0.0},  # nothing is decided yet
            provenance=Provenance(
                model=source.name,
                model_type=source.raw_config["model_type"],
                fingerprint=source.fingerprint,
                corpus=(self.job.task.name,),
                samples=examples,
                max_length=self.job.builder.max_length,
                dtype=self.checkpoint.dtype,
                digests=(self.identity,),
                versions={"clas-models": __version__, "torch": torch.__version__},
            ),
            fit={
                "objective": self.chosen.objective,
                "end": self.chosen.end,
                "sharing": self.chosen.sharing,
                "penalty": found.penalty,
                "groups": self.chosen.groups,
                "seed": self.chosen.search.seed,
                "languages": list(self.job.languages),
                "validation": [found.base, found.best],
            },
            lines=seen_lines(self._seen_job()),
        )

    def _seen_job(self) -> Job:
        rows = self.parts.of_part(CHOOSE)
        return replace(self.job, examples={code: [own[row] for row in rows] for code, own in self.job.examples.items()})

    def scored_job(self) -> tuple[Job, Parts]:
        """What users care about, on the examples that were not fitted on, and their parts."""
        rows = np.flatnonzero(self.parts.part != CHOOSE)
        chosen: list[int] = rows.tolist()
        job = Job.of(self.options.tasks[0], self.options, self.checkpoint)
        examples = {code: [job.examples[code][row] for row in chosen] for code in self.job.languages}
        return replace(job, examples=examples), Parts(self.parts.unit[rows], self.parts.part[rows])

    def evaluated(self, job: Job, name: str, file: Path) -> Paired:
        """By language, as `decide` takes it, the records of the base and of the strengths of a file."""
        change = Fitted(file)
        base = Method(BASE, {"kind": BASE}, dict(UNSTEERED), change)  # computed with the other, up to where they part
        described = {"kind": FITTED, "alpha": 1.0, "strengths": change.digest}
        methods = [base, Method(FITTED, described, {**UNSTEERED, "alpha": 1.0}, change)]
        scoring = (self.likelihood_options if name == LIKELIHOODS else self.options).scoring
        # A search that ended elsewhere has other strengths, and what was predicted with them is of no use any more.
        options = replace(self.options, out=self.options.out / name, scoring=scoring, overwrite=True)
        plan = replace(Plan.of("fit", options, self.checkpoint, methods), jobs=(job,))
        outcome = execute(plan, self.progress)
        return paired_records(outcome.folder, job, BASE, FITTED)
