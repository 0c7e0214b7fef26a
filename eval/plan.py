"""What a run will do: its model and data, checked, and what a user should know before it begins.

Doing it is the business of `runner.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, Self

from clas_models import __version__
from clas_models.modeling.configuration_clas import STRENGTHS
from clas_models.modeling.steering import negative_factors

from .jobs import Job
from .loading import Checkpoint
from .method_tables import Group, grouped
from .methods import Method
from .profiled import ProfiledExamples, profiled_examples
from .run_folder import BASE, CLAS, STEERING, VECTORS, Settings
from .run_options import RunOptions
from .scoring import LETTER

_LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Plan:
    """A run that can begin: its model and data are checked, the weights are not loaded yet.

    Attributes:
        command: run, grid or tune.
        methods: in the order of the report, with the groups that are computed together.
    """

    command: str
    options: RunOptions
    checkpoint: Checkpoint
    jobs: tuple[Job, ...]
    methods: tuple[Method, ...]
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, command: str, options: RunOptions, checkpoint: Checkpoint, methods: Sequence[Method]) -> Self:
        """Raises InputError: data, templates, tokenizer or profile cannot be used."""
        jobs = tuple(Job.of(name, options, checkpoint) for name in options.tasks)
        return cls(command, options, checkpoint, jobs, tuple(methods), tuple(grouped(methods, checkpoint)))

    @property
    def total(self) -> int:
        """Predictions of all tasks, languages and methods."""
        return len(self.methods) * sum(len(examples) for job in self.jobs for examples in job.examples.values())

    @cached_property
    def profiled(self) -> list[ProfiledExamples]:
        """Of every task, which examples the checkpoint was profiled on."""
        return [profiled_examples(job, self.checkpoint) for job in self.jobs]

    def settings(self, parts: tuple[int, ...] = ()) -> Settings:
        """Everything that the predictions depend on; `parts` are the numbers of samples that a run had before."""
        options, checkpoint, adapter = self.options, self.checkpoint, self.checkpoint.adapter
        by_task = {job.task.name: job for job in self.jobs}
        return Settings(
            command=self.command,
            model=checkpoint.name,
            fingerprint=checkpoint.fingerprint,
            anchor_language=checkpoint.anchor_language,
            languages={name: job.languages for name, job in by_task.items()},
            methods={method.name: method.described for method in self.methods},
            samples=options.samples,
            other={
                "metrics": {name: list(job.task.metrics) for name, job in by_task.items()},
                "data": str(options.data_dir or "Hub"),
                "corpus": options.corpus,
                "examples": {name: job.examples_digests(parts) for name, job in by_task.items()},
                "templates": {name: job.template_digests() for name, job in by_task.items()},
                "written": {
                    method.name: digest
                    for group in self.groups
                    for method in group.methods
                    if (digest := group.digest(method))
                },
                "chat_template": options.chat_template
                and all(job.trained is None or job.trained.chat_template for job in self.jobs),
                "max_length": {name: job.builder.max_length for name, job in by_task.items()},
                "batch_size": options.batch_size,
                "dtype": checkpoint.dtype,
                "device": checkpoint.device.type,
                "versions": {"clas-models": __version__, **{name: version(name) for name in _LIBRARIES}},
                "profiled": {each.task: dict(each.counts) for each in self.profiled if any(each.counts.values())},
                **({"parts": list(parts)} if parts else {}),
                **({"skip": options.skip} if options.skip else {}),
                **({"adapter": {"folder": str(adapter.folder), "digest": adapter.digest}} if adapter else {}),
                **({"scoring": options.scoring} if options.scoring != LETTER else {}),
            },
        )

    def remarks(self) -> Iterator[str]:
        """What a user should know before reading the scores, a line each."""
        languages = dict.fromkeys(language for job in self.jobs for language in job.languages)
        others = [language for language in languages if self.checkpoint.profiled_as(language) is None]
        if self.checkpoint.is_steered and others:
            yield (
                f"not profiled: {', '.join(others)}; there clas takes the default alpha, and int equals base, unless "
                "as= names another language"
            )
        turning = [(method.name, turned) for method in self.methods if (turned := self._turned(method))]
        if turning:
            more = f"; and {len(turning) - 1} more" if len(turning) > 1 else ""
            yield f"warning: {turning[0][0]}: {turning[0][1]}{more}"
        if self.command == "run":
            yield from (
                f"{method.name}: its strengths are 0 in every language, so it is {BASE}; give others in its name, as "
                f"{CLAS}:alpha=1 or {VECTORS}:strength=2"
                for method in self.methods
                if method.described["kind"] in STEERING and not _acts(method.described)
            )
        for group in self.groups:
            if group.vectors:
                config = self.checkpoint.config
                moved_by_none = group.without_vectors(list(languages), config.languages)
                if silent := [code for code in moved_by_none if code != config.anchor_language]:
                    yield f"no vector: {', '.join(silent)}; there {VECTORS} equals {BASE}"
        yield from self._without_neurons(list(languages))
        for job in self.jobs:
            yield from job.remarks()
        for each in self.profiled:
            yield from each.remarks()

    def _without_neurons(self, languages: Sequence[str]) -> Iterator[str]:
        """Of each method that writes, where it would, but its selection has no neurons."""
        for group in self.groups:
            for method in group.methods:
                acting = [method.described["as"]] if "as" in method.described else languages
                profiled = [code for code in acting if self.checkpoint.profiled_as(code) is not None]
                others = [code for code in profiled if code != self.checkpoint.anchor_language]
                if silent := group.without_neurons(others):
                    yield f"{method.name}: no neurons of {', '.join(silent)}; there it equals {BASE}"

    def _turned(self, method: Method) -> str:
        strengths = {name: value for name, value in method.condition.items() if name in STRENGTHS}
        if not self.checkpoint.is_steered:
            return ""
        config = self.checkpoint.config.with_strengths(**strengths)
        return negative_factors(config.scale_rule.strengths, config.languages)


def _acts(described: Mapping[str, Any]) -> bool:
    """Whether a method that steers has a strength that is not 0."""
    strengths = [described.get(name, 0) for name in ("alpha", "vector_strength")]
    return any(any(each.values()) if isinstance(each, Mapping) else each for each in strengths)
