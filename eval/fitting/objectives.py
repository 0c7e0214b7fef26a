"""What a fit lowers: the nats of right answers, the distance to the anchor's answers, or the nats of plain text.

An objective says which tokens of an example are read, and what the loss of each example is, from hidden states after
the final norm.  A new one is a class and a line in `OBJECTIVES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from clas_models.errors import InputError

from ..engine.choices import choose
from ..engine.decoder import SplitDecoder
from ..engine.packing import Pack
from ..engine.token_nats import COPIES, LOGITS_BYTES
from ..jobs import Job
from ..tasks import Kind


@dataclass(frozen=True)
class Text:
    """What is read of an example: tokens, and how many of them are the prompt."""

    ids: tuple[int, ...]
    prompt: int


class Objective(Protocol):
    """One kind of loss.

    Attributes:
        name: as users write it.
        needs_anchor: whether the examples of the anchor language are read.
    """

    name: ClassVar[str]
    needs_anchor: ClassVar[bool]

    def __init__(self, job: Job, model: Any, end: float = 0.0) -> None:
        """`model` is loaded, `end` the weight of the token that ends a generated answer."""

    @staticmethod
    def check(job: Job) -> None:
        """Raises InputError: the task has no such answers."""

    def texts(self, language: str) -> list[Text]:
        """Of every example of a language, in order."""

    def losses(self, decoder: SplitDecoder, hidden: Tensor, pack: Pack, language: str, rows: Sequence[int]) -> Tensor:
        """The loss of each text of a pack, float32 `[texts]`.

        Args:
            hidden: `[tokens, hidden]`, after the final norm.
            rows: which examples the texts of the pack are, in the order of `pack.paths`.
        """


class Gold:
    """-log p of the right answer: among the choices, or a token of a generated one.

    Args:
        end: what -log p of the token that ends a generated answer is worth beside the mean over the answer's own.
    """

    name: ClassVar[str] = "gold"
    needs_anchor: ClassVar[bool] = False

    def __init__(self, job: Job, model: Any, end: float = 0.0) -> None:
        self._job = job
        self._weight = end
        self._end = _ending(job) if end else ()

    @staticmethod
    def check(job: Job) -> None:
        if job.task.kind is Kind.PERPLEXITY:
            raise InputError(f"objective gold: the task {job.task.name} has no right answers; take text")

    def texts(self, language: str) -> list[Text]:
        prompts = self._job.prompts(language)
        if self._job.choices:
            return [Text(prompt.ids, len(prompt.ids)) for prompt in prompts]
        return [Text((*prompt.ids, *self._answer(prompt.continuations)), len(prompt.ids)) for prompt in prompts]

    def _answer(self, continuations: Sequence[Sequence[int]]) -> tuple[int, ...]:
        return (*continuations[0], *self._end)

    def losses(self, decoder: SplitDecoder, hidden: Tensor, pack: Pack, language: str, rows: Sequence[int]) -> Tensor:
        if self._job.choices:
            log_p = _choice_log_p(self._job, decoder, hidden, pack)
            gold = [int(self._job.examples[language][row].gold[0]) for row in rows]
            return -log_p.gather(1, torch.tensor(gold, device=log_p.device)[:, None])[:, 0]
        prompts = [self._job.prompts(language)[row] for row in rows]
        weights = []
        for prompt in prompts:
            answer = len(prompt.continuations[0])
            weights.append(torch.tensor([1 / answer] * answer + [self._weight] * len(self._end), dtype=torch.float64))
        return _weighted_nats(decoder, hidden, pack, [len(prompt.ids) for prompt in prompts], weights)


class Anchor:
    """KL from the anchor's answers to the language's, over the choices: no labels, only parallel examples."""

    name: ClassVar[str] = "anchor"
    needs_anchor: ClassVar[bool] = True

    def __init__(self, job: Job, model: Any, end: float = 0.0) -> None:
        self._job = job
        anchor = job.checkpoint.anchor_language
        prompts = [prompt.ids for prompt in job.prompts(anchor)]
        self._log_p = torch.empty(len(prompts), len(job.choices))
        with model.temporary_steering(alpha=0.0, vector_strength=0.0):
            for batch, logits in choose(model, prompts, job.choices, anchor, batch_size=job.batch_size):
                self._log_p[batch] = logits[0].float().log_softmax(-1)

    @staticmethod
    def check(job: Job) -> None:
        if not job.choices:
            raise InputError(
                f"objective anchor: answers are compared over choices that have a letter; {job.task.name} has none; "
                "take gold"
            )
        anchor = job.checkpoint.anchor_language
        if anchor not in job.examples:
            raise InputError(f"objective anchor: {job.task.name} has no examples in {anchor}; name it in --languages")

    def texts(self, language: str) -> list[Text]:
        return [Text(prompt.ids, len(prompt.ids)) for prompt in self._job.prompts(language)]

    def losses(self, decoder: SplitDecoder, hidden: Tensor, pack: Pack, language: str, rows: Sequence[int]) -> Tensor:
        log_p = _choice_log_p(self._job, decoder, hidden, pack)
        wanted = self._log_p[list(rows)].to(log_p.device)
        return (wanted.exp() * (wanted - log_p)).sum(-1)


class PlainText:
    """-log p a token of the text itself, that of a prompt where the task has prompts."""

    name: ClassVar[str] = "text"
    needs_anchor: ClassVar[bool] = False

    def __init__(self, job: Job, model: Any, end: float = 0.0) -> None:
        self._job = job

    @staticmethod
    def check(job: Job) -> None:
        """Every task has texts."""

    def texts(self, language: str) -> list[Text]:
        return [Text(prompt.ids, 1) for prompt in self._job.prompts(language)]

    def losses(self, decoder: SplitDecoder, hidden: Tensor, pack: Pack, language: str, rows: Sequence[int]) -> Tensor:
        weights = [torch.full((len(path) - 1,), 1 / max(len(path) - 1, 1), dtype=torch.float64) for path in pack.paths]
        return _weighted_nats(decoder, hidden, pack, [1] * len(rows), weights)


OBJECTIVES: Mapping[str, type[Objective]] = {kind.name: kind for kind in (Gold, Anchor, PlainText)}


def read_objectives(text: str) -> dict[str, float]:
    """`gold`, or a sum such as `gold+text=0.1`: names and weights.

    Raises InputError: no such objective, one twice, or a weight that is not positive.
    """
    weights: dict[str, float] = {}
    for part in text.split("+"):
        name, equals, weight = map(str.strip, part.partition("="))
        if name not in OBJECTIVES:
            raise InputError(f"objective {name!r}: choose among {', '.join(OBJECTIVES)}, or a sum as gold+text=0.1")
        try:
            value = float(weight) if equals else 1.0
        except ValueError:
            value = 0.0
        if name in weights or not 0 < value < float("inf"):
            raise InputError(f"objective {text!r}: each name once, with a weight above 0, as gold+text=0.1")
        weights[name] = value
    return weights


def _wide(logits: Tensor) -> Tensor:
    """In float32, or in float64 where the model is."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _ending(job: Job) -> tuple[int, ...]:
    """The token that ends a generated answer, where there is one."""
    return () if job.choices or not job.checkpoint.eos_token_ids else (job.checkpoint.answer_end,)


def _choice_log_p(job: Job, decoder: SplitDecoder, hidden: Tensor, pack: Pack) -> Tensor:
    """log p of the choices at the last positions, float32 `[texts, choices]`."""
    last = hidden[pack.last.to(hidden.device)]
    return _wide(decoder.head(last, torch.tensor(job.choices, device=hidden.device))).log_softmax(-1)


def _weighted_nats(
    decoder: SplitDecoder, hidden: Tensor, pack: Pack, starts: Sequence[int], weights: Sequence[Tensor]
) -> Tensor:
    """The sum of -log p of each text's tokens from `start` on, times their weights; float32 `[texts]`.

    The head runs on a few positions at a time, see `token_nats.py`.
    """
    places, tokens, owners = [], [], []
    for number, (path, start) in enumerate(zip(pack.paths, starts, strict=True)):
        places.append(path[start - 1 : -1])
        tokens.append(pack.ids[path[start:]])
        owners.append(torch.full((len(path) - start,), number))
    device = hidden.device
    place, token, owner = (torch.cat(each).to(device) for each in (places, tokens, owners))
    size = max(LOGITS_BYTES // (COPIES * 4 * decoder.config.vocab_size), 1)
    found = []
    for at in range(0, len(place), size):
        part = slice(at, at + size)
        states = hidden[place[part]]
        several = len(place) > size and torch.is_grad_enabled()
        nats = checkpoint(_nats, decoder, states, token[part], use_reentrant=False) if several else None
        found.append(_nats(decoder, states, token[part]) if nats is None else nats)
    weighted = torch.cat(found)
    weighted = weighted * torch.cat(list(weights)).to(weighted)
    return weighted.new_zeros(len(pack.paths)).index_add(0, owner, weighted)


def _nats(decoder: SplitDecoder, states: Tensor, tokens: Tensor) -> Tensor:
    logits = _wide(decoder.head(states))
    return torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
