"""The logit lens: what the head reads in hidden states between layers.

After every prompt some texts are scored, token by token with those before it in the input, from the output of each
layer that was asked for; and the choices' tokens at the prompt's end.  A prompt and all that follows it are one tree of
a pack (see `packing.py`), so the prompt runs once.  A text's last token predicts nothing and does not run.  Of what
predicts something each position goes through the head once for a layer.

Source: section 2.2 and equation 7 of the paper on the latent process of multilingual models (Lim, Aji and Cohn).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from clas_models.errors import InputError

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, advanced, in_force
from .decoder import SplitDecoder
from .packing import PACK_TOKENS, Pack
from .token_nats import log_probabilities


@dataclass(frozen=True)
class Latent:
    """What the lens sees of a batch, on the CPU.

    Attributes:
        texts: float64 `[conditions, layers, prompts, texts]`, log p a token: the logarithm of p(w | q) of equation 7 to
            the power of one by its tokens.
        choices: float32 `[conditions, layers, prompts, choices]`, logits of the choices' tokens.
        states: float32 `[conditions, layers, prompts, hidden]`, of the prompts' last tokens, before any norm.
        answers: float32 `[conditions, prompts, choices]`, the model's own logits of the choices' tokens.
    """

    texts: Tensor
    choices: Tensor
    states: Tensor
    answers: Tensor

    @classmethod
    def empty(cls, conditions: int, layers: int, prompts: int, texts: int, choices: int, hidden: int) -> Self:
        shape = (conditions, layers, prompts)
        return cls(
            texts=torch.zeros(*shape, texts, dtype=torch.float64),
            choices=torch.zeros(*shape, choices),
            states=torch.zeros(*shape, hidden),
            answers=torch.zeros(conditions, prompts, choices),
        )

    def put(self, prompts: Sequence[int], found: Self) -> None:
        """What was found of some prompts, in their order."""
        for name in ("texts", "choices", "states"):
            getattr(self, name)[:, :, list(prompts)] = getattr(found, name)
        self.answers[:, list(prompts)] = found.answers

    def at(self, conditions: Sequence[int]) -> Self:
        """Of these conditions, in this order."""
        return replace(self, **{field.name: getattr(self, field.name)[list(conditions)] for field in fields(self)})


def latent(
    model: Any,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[Sequence[int]]],
    choice_ids: Sequence[int],
    language: str,
    layers: Sequence[int],
    conditions: Sequence[Condition] = AS_IT_IS,
    *,
    normed: bool = True,
    batch_size: int = 16,
) -> Iterator[tuple[list[int], Latent]]:
    """What the lens sees after every prompt, under every condition.

    Every layer runs, and is read, once for all conditions that nothing has parted yet.

    Args:
        prompts: token ids.
        texts: for every prompt the tokens of as many texts, each after the prompt alone.
        choice_ids: the tokens that are choices.
        layers: whose output is read, from 0.
        normed: whether the final norm comes before the head, as after the last layer.
        model, language, conditions, batch_size: as for `choose`.

    Yields:
        Batch by batch as planned: indices of prompts, and what was seen after them.

    Raises:
        InputError: a layer that the model does not have, a text without tokens, or as for `choose`.
        TypeError, ValueError: as for `choose`.
    """
    decoder = SplitDecoder(model)
    check_layers(layers, len(decoder.layers))
    if any(not len(text) for given in texts for text in given):
        raise InputError("texts: one has no tokens; leave it out or give it a first token")
    distinct = DistinctConditions.of(decoder, language, conditions)
    lens = _Lens(decoder, tuple(layers), torch.tensor(list(choice_ids), device=decoder.device), normed)
    for batch in plan_batches(prompts, batch_size):
        given = [tuple(prompts[index]) for index in batch]
        found = lens.read(given, [texts[index] for index in batch], distinct)
        yield batch, found.at(distinct.index)


def check_layers(layers: Sequence[int], count: int) -> None:
    """Raises InputError: no layers, one twice, or one that a model of so many does not have."""
    if not layers:
        raise InputError("layers: there are none; give at least one")
    for layer in layers:
        if not 0 <= layer < count:
            raise InputError(f"layer {layer}: the model's layers are 0 to {count - 1}")
        if layers.count(layer) > 1:
            raise InputError(f"layer {layer} is given more than once; name every layer once")


@dataclass(frozen=True)
class _Asked:
    """What is asked of a pack.

    Attributes:
        prompts: int64 `[rows]`, which prompt of the batch a row belongs to; `texts` which of its texts it is.
        ends: int64 `[rows]`, where the prompt of each row ends.
        rows, places, tokens: int64 `[tokens of all texts]`: whose token, the position that predicts it, and itself.
    """

    pack: Pack
    prompts: Tensor
    texts: Tensor
    ends: Tensor
    rows: Tensor
    places: Tensor
    tokens: Tensor

    def means(self, log_p: Tensor) -> Tensor:
        """Of values `[tokens of all texts]` the mean of each row."""
        sums = torch.zeros(len(self.ends), dtype=torch.float64).index_add_(0, self.rows, log_p)
        return sums / torch.bincount(self.rows, minlength=len(self.ends))


@dataclass(frozen=True)
class _Lens:
    decoder: SplitDecoder
    layers: tuple[int, ...]
    choice_ids: Tensor
    normed: bool

    @torch.inference_mode()
    def read(
        self,
        prompts: Sequence[tuple[int, ...]],
        texts: Sequence[Sequence[Sequence[int]]],
        distinct: DistinctConditions,
    ) -> Latent:
        decoder, order = self.decoder, distinct.by_start()
        sizes = (len(texts[0]), len(self.choice_ids), decoder.config.hidden_size)
        found = Latent.empty(len(order), len(self.layers), len(prompts), *sizes)
        for asked in self._packs(prompts, texts):
            state = decoder.lower_pack(asked.pack, seen=partial(self._look, found, asked, order))
            for number, place in enumerate(order):
                condition = distinct.conditions[place]
                look = partial(self._look, found, asked, order[number:])
                state = advanced(decoder, state, distinct, place, look)
                with in_force(decoder, condition):
                    look = partial(self._look, found, asked, [place])
                    hidden = decoder.upper(state, condition["language"], decoder.positions(asked.pack), look)
                ends = hidden[0, asked.ends.to(hidden.device)]
                found.answers[place, asked.prompts] = decoder.head(ends, self.choice_ids).float().cpu()
        return found

    def _look(self, found: Latent, asked: _Asked, places: Sequence[int], layer: int, hidden: Tensor) -> None:
        if layer not in self.layers:
            return
        at, prompts = self.layers.index(layer), asked.prompts
        log_p = log_probabilities(self._head, hidden[0], asked.places, asked.tokens, self.decoder.config.vocab_size)
        ends = hidden[0, asked.ends.to(hidden.device)]
        for place in places:
            found.texts[place, at, prompts, asked.texts] = asked.means(log_p)
            found.choices[place, at, prompts] = self._head(ends, self.choice_ids).float().cpu()
            found.states[place, at, prompts] = ends.float().cpu()

    def _head(self, hidden: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Logits of states between layers, as the model would have them of its last ones."""
        return self.decoder.head(self.decoder.decoder.norm(hidden) if self.normed else hidden, token_ids)

    def _packs(self, prompts: Sequence[tuple[int, ...]], texts: Sequence[Sequence[Sequence[int]]]) -> Iterator[_Asked]:
        """Every prompt with each of its texts, all in one pack."""
        owners = [(prompt, text) for prompt, given in enumerate(texts) for text in range(len(given))]
        rows = [[*prompts[prompt], *texts[prompt][text][:-1]] for prompt, text in owners]
        lengths = [len(prompts[prompt]) for prompt, _ in owners]
        largest = max(
            len(prompt) + sum(len(text) - 1 for text in given) for prompt, given in zip(prompts, texts, strict=True)
        )
        for pack in self.decoder.packs(rows, lengths, max(largest, PACK_TOKENS)):
            yield self._asked(pack, [owners[row] for row in pack.rows], prompts, texts)

    def _asked(
        self,
        pack: Pack,
        owners: Sequence[tuple[int, int]],
        prompts: Sequence[tuple[int, ...]],
        texts: Sequence[Sequence[Sequence[int]]],
    ) -> _Asked:
        given = [texts[prompt][text] for prompt, text in owners]
        lengths = [len(prompts[prompt]) for prompt, _ in owners]
        predicting = [path[length - 1 :] for path, length in zip(pack.paths, lengths, strict=True)]
        return _Asked(
            pack,
            prompts=torch.tensor([prompt for prompt, _ in owners]),
            texts=torch.tensor([text for _, text in owners]),
            ends=torch.stack([path[0] for path in predicting]),
            rows=torch.arange(len(owners)).repeat_interleave(torch.tensor([len(text) for text in given])),
            places=torch.cat(predicting),
            tokens=torch.tensor([token for text in given for token in text]),
        )
