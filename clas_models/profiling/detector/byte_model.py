"""A byte n-gram model of several languages at once, interpolated by Witten and Bell's rule.

It tells how likely a language is to write the bytes of a token that its sample does not contain.  Bytes, not letters:
byte-level tokenizers have pieces that are half a character.

Source: I. H. Witten and T. C. Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37 (1991).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_BYTE_VALUES = 256


class ByteModel:
    """P(bytes at a random place of a text | language) for all languages, from one text of each.

    Args:
        strings: samples; n-grams do not cross from one to the next.
        weights: float64 `[strings, languages]`: how much each sample counts for each language.
        order: length of the longest n-gram; what fits into an int64 key is 7.
    """

    def __init__(self, strings: Sequence[bytes], weights: Tensor, order: int = 5) -> None:
        self.order = order
        self._keys: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._contexts: list[tuple[Tensor, Tensor, Tensor]] = []
        flat, owner, offset = _flatten(strings)
        key = torch.zeros_like(flat)
        for length in range(1, order + 1):
            key = key + flat[(torch.arange(len(flat)) - (length - 1)).clamp(min=0)] * _BYTE_VALUES ** (length - 1)
            inside = offset >= length - 1
            self._count(key[inside], owner[inside], weights)

    def log_probabilities(self, strings: Sequence[bytes]) -> Tensor:
        """float64 `[strings, languages]`: the natural logarithm of the probability of every string."""
        flat, owner, offset = _flatten(strings)
        languages = self._counts[0].shape[1]
        result = torch.zeros(len(strings), languages, dtype=torch.float64)
        step = 1 << 17
        for start in range(0, len(flat), step):
            part = slice(start, min(start + step, len(flat)))
            result.index_add_(0, owner[part], self._conditional(flat, offset, part).log().double())
        return result

    def _conditional(self, flat: Tensor, offset: Tensor, part: slice) -> Tensor:
        """P(byte | the bytes before it in its string) for the bytes of one part."""
        places = torch.arange(part.start, part.stop)
        key = torch.zeros_like(places)
        probability = torch.full((len(places), self._counts[0].shape[1]), 1 / _BYTE_VALUES, dtype=torch.float32)
        for length in range(1, self.order + 1):
            inside = offset[places] >= length - 1
            byte = flat[(places - (length - 1)).clamp(min=0)]
            key = key + byte * _BYTE_VALUES ** (length - 1)
            counts = _look_up(self._keys[length - 1], self._counts[length - 1], key)
            contexts, totals, kinds = self._contexts[length - 1]
            context = key // _BYTE_VALUES
            total, kind = _look_up(contexts, totals, context), _look_up(contexts, kinds, context)
            mixed = (counts + kind * probability) / (total + kind).clamp(min=1e-9)
            probability = torch.where(inside[:, None] & (total > 0), mixed, probability)
        return probability

    def _count(self, grams: Tensor, owner: Tensor, weights: Tensor) -> None:
        keys, place = torch.unique(grams, return_inverse=True)
        counts = torch.zeros(len(keys), weights.shape[1], dtype=torch.float64)
        step = 1 << 18
        for start in range(0, len(grams), step):
            part = slice(start, start + step)
            counts.index_add_(0, place[part], weights[owner[part]])
        contexts, owner = torch.unique(keys // _BYTE_VALUES, return_inverse=True)
        totals = torch.zeros(len(contexts), counts.shape[1], dtype=torch.float64).index_add_(0, owner, counts)
        # A kind that was seen for a share of one sample counts for that share.
        kinds = torch.zeros_like(totals).index_add_(0, owner, counts.clamp(max=1))
        self._keys.append(keys)
        self._counts.append(counts.float())
        self._contexts.append((contexts, totals.float(), kinds.float()))


def _flatten(strings: Sequence[bytes]) -> tuple[Tensor, Tensor, Tensor]:
    """All bytes in a row; for each the string that it is in, and its place there."""
    flat = torch.tensor(list(b"".join(strings)), dtype=torch.long)
    lengths = torch.tensor([len(string) for string in strings], dtype=torch.long)
    owner = torch.repeat_interleave(torch.arange(len(strings)), lengths)
    return flat, owner, torch.arange(len(flat)) - (lengths.cumsum(0) - lengths)[owner]


def _look_up(keys: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """The rows of `values` for the wanted keys, zeros where there is none."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return values[place] * (keys[place] == wanted)[:, None]
