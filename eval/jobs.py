"""A task with its examples and a tokenizer: prompts, answers of a model, records.

What is computed together is decided by `engine`; what has been computed already by `predictions.py`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from clas_models.finetuning.adapter_record import AdapterRecord

from .adapters import label_places, trained_templates
from .engine.choices import choose
from .engine.conditions import Condition
from .engine.continuations import score_continuations
from .engine.generation import generate
from .engine.perplexity import negative_log_likelihood
from .loading import Checkpoint
from .prompts import Prompt, PromptBuilder, choice_ids
from .run_folder import Record
from .run_options import RunOptions
from .scoring import as_scored
from .tasks import Answer, Example, Kind, Task, task_of
from .tasks.perplexity import DEFAULT_CORPUS
from .templates import Templates, find_templates

_SHOWN = ("question", "hypothesis", "premise", "text")  # the first of these fields is what a reader wants to see
_SHOWN_LENGTH = 200
_DIGITS = 16  # of a digest in hexadecimal: there is one for each language and part


@dataclass(frozen=True)
class Reply:
    """What a model said to one prompt; `choice_scores` as in `Record`."""

    answer: Answer
    choice_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Job:
    """One task of a run.

    Attributes:
        task: as the run's scoring has it.
        examples: by language, in the order of the report.
        templates: None for a perplexity.
        choices: the token of every choice, or the place of its label in the head; none unless the task is one of
            choices that are ranked by their letters or by a head.
        corpus: of a perplexity, by the name that a profile knows it by; None of other tasks.
        trained: the record of the checkpoint's adapter, where it was trained for the task.
        said: what a user should know of how the examples were read.
        built: the prompts of a language, once they have been asked for.
    """

    task: Task
    examples: Mapping[str, Sequence[Example]]
    templates: Templates | None
    checkpoint: Checkpoint
    builder: PromptBuilder
    choices: tuple[int, ...]
    batch_size: int
    corpus: str | None = None
    trained: AdapterRecord | None = None
    said: tuple[str, ...] = ()
    built: dict[str, list[Prompt]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, options: RunOptions, checkpoint: Checkpoint) -> Self:
        """Raises InputError: data, template or tokenizer cannot be used for the task."""
        task = as_scored(task_of(name), options.scoring)
        said: list[str] = []
        examples = task.load(options.languages, replace(options.source, say=said.append))
        templates = find_templates(task.template, options.templates) if task.template else None
        tokenizer, chat = checkpoint.tokenizer, options.chat_template
        longest = int(checkpoint.config.max_position_embeddings) - task.max_new_tokens
        trained = checkpoint.trained_for(name)
        if trained is not None:  # as in `trained_prompts`, but for what a user chooses, which a head does not allow
            templates = trained_templates(trained) if options.templates is None else templates
            longest, chat = trained.max_length, chat and trained.chat_template
        builder = PromptBuilder(tokenizer, templates, task, options.max_length or longest, chat)
        choices: tuple[int, ...] = ()
        if task.by_head and trained is not None:
            choices = label_places(trained, task)
        elif task.kind is Kind.CHOICE and task.continuations is None:
            choices = choice_ids(tokenizer, task, chat)
        corpus = None
        if task.kind is Kind.PERPLEXITY:
            named = options.corpus or DEFAULT_CORPUS
            corpus = Path(named).name if Path(named).is_file() else named
        made = (task, examples, templates, checkpoint, builder, choices, options.batch_size, corpus, trained)
        return cls(*made, tuple(said))

    @property
    def languages(self) -> list[str]:
        return list(self.examples)

    def template_digests(self) -> dict[str, str] | None:
        """By language, as `examples_digests`; None where there are no templates."""
        templates = self.templates
        return None if templates is None else {code: templates.digest([code])[:_DIGITS] for code in self.languages}

    def examples_digests(self, parts: Sequence[int]) -> dict[str, list[str]]:
        """The first digits of SHA-256 of every language's examples, up to the end of each part."""
        found = {}
        for language, examples in self.examples.items():
            digest, digests = hashlib.sha256(), []
            for part in self.parts(parts):
                for example in examples[part.start : part.stop]:
                    content = (example.key, sorted(example.fields.items()), example.gold)
                    digest.update(repr(content).encode())
                digests.append(digest.hexdigest()[:_DIGITS])
            found[language] = digests
        return found

    def parts(self, ends: Sequence[int]) -> list[slice]:
        """The examples of a language as runs that are planned in batches of their own, each up to one of `ends`."""
        count = max(map(len, self.examples.values()))
        stops = sorted({end for end in ends if end < count} | {count})
        return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]

    def prompts(self, language: str) -> list[Prompt]:
        """Raises InputError: an example that is too long and may not be cut."""
        if language not in self.built:
            self.built[language] = [self.builder.build(example, language) for example in self.examples[language]]
        return self.built[language]

    def told(self, example: Example) -> list[str]:
        """The texts of an example that are its own; those of choices may be in many."""
        return [text for name, text in example.fields.items() if name not in self.task.choice_fields]

    def remarks(self) -> Iterator[str]:
        """What was said of the examples, and what the maximum length takes from prompts.

        Raises InputError: as `prompts`.
        """
        yield from self.said
        if self.task.cut is None:
            return
        cut = {language: sum(prompt.cut > 0 for prompt in self.prompts(language)) for language in self.languages}
        if count := sum(cut.values()):
            total = sum(map(len, self.examples.values()))
            where = ", ".join(f"{language} {number}" for language, number in cut.items() if number)
            yield (
                f"{self.task.name}: {count} of {total} prompts ({where}) have more than {self.builder.max_length} "
                f"tokens and lose the end of their {self.task.cut}"
            )

    def answers(
        self, model: Any, prompts: Sequence[Prompt], language: str, conditions: Sequence[Condition], skip_batches: int
    ) -> Iterator[tuple[list[int], list[list[Reply]]]]:
        """Batch by batch as planned: indices of examples, and under each condition the replies to them."""
        rows = [prompt.ids for prompt in prompts]
        plan: dict[str, Any] = {"conditions": conditions, "batch_size": self.batch_size, "skip_batches": skip_batches}
        if self.task.kind is Kind.CHOICE:
            for batch, ranked, scores in self._ranked(model, prompts, language, plan):
                given = zip(ranked.argmax(-1).tolist(), scores.tolist(), strict=True)
                yield batch, [[Reply(each, rounded(row)) for each, row in zip(*both, strict=True)] for both in given]
        elif self.task.kind is Kind.GENERATION:
            limits = (self.task.max_new_tokens, self.checkpoint.eos_token_ids)
            for batch, tokens in generate(model, rows, language, *limits, **plan):
                yield batch, [[Reply(self._text(row)) for row in answers] for answers in tokens]
        elif self.task.kind is Kind.LIKELIHOOD:
            for batch, scores in self._continued(model, prompts, language, plan):
                yield batch, [[Reply(-value) for value in values] for values in scores[..., 0].tolist()]
        else:
            for batch, nats, _ in negative_log_likelihood(model, rows, language, **plan):
                yield batch, [[Reply(value) for value in values] for values in nats]

    def _ranked(
        self, model: Any, prompts: Sequence[Prompt], language: str, plan: Mapping[str, Any]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batch by batch: indices, what choices are ranked by, and that as logarithms of probabilities."""
        if self.choices:
            rows = [prompt.ids for prompt in prompts]
            for batch, logits in choose(model, rows, self.choices, language, **plan):
                yield batch, logits, logits.double().log_softmax(-1)
        else:
            for batch, scores in self._continued(model, prompts, language, plan):
                yield batch, scores, scores

    def _continued(
        self, model: Any, prompts: Sequence[Prompt], language: str, plan: Mapping[str, Any]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Batch by batch: indices, and the mean log p a token of every continuation, as `score_continuations`."""
        rows, texts = [prompt.ids for prompt in prompts], [prompt.continuations for prompt in prompts]
        return score_continuations(model, rows, texts, language, **plan)

    def _text(self, tokens: Sequence[int]) -> str:
        tokenizer = self.checkpoint.tokenizer
        text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    def record(self, example: Example, language: str, prompt: Prompt, reply: Reply) -> Record:
        shown = next((example.fields[name] for name in _SHOWN if name in example.fields), "")
        unseen = 1 if self.task.kind is Kind.PERPLEXITY else 0  # a text's first token has no probability
        return Record(
            key=example.key,
            prediction=reply.answer,
            gold=example.gold,
            scores=self.task.score(reply.answer, example, language)
            | self.task.score_choices(reply.choice_scores, example),
            shown=shown[:_SHOWN_LENGTH],
            cut=prompt.cut,
            tokens=len(prompt.ids) - unseen,
            bytes=prompt.bytes,
            choice_scores=reply.choice_scores,
        )


def rounded(scores: Iterable[float]) -> tuple[float, ...]:
    """With the nine digits that a float32 has, so that equal ones stay equal and others different."""
    return tuple(float(f"{score:.9g}") for score in scores)
