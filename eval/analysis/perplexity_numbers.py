"""From nats to the perplexity change: the matrix, its diagonal against the rest, and which languages stand out.

    PPXC(i, j) = PPX(j | the neurons of i are written over) - PPX(j)

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), Figure 1.  The log
ratio beside it, log PPX(j | i) - log PPX(j), is the change in nats a token: it can be averaged over languages whose
perplexities differ by orders of magnitude, which in the mean of PPXC one language can decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..statistics import Array, Interval, percentile_interval, resampled_means
from .perplexity_parts import Part


@dataclass(frozen=True)
class Contrast:
    """A mean over some pairs of languages, against one over others.

    Attributes:
        own, others: the two means.
        difference: own minus others, with the 95 % interval of a bootstrap over texts.
    """

    own: float
    others: float
    difference: Interval


@dataclass(frozen=True)
class PerplexityChange:
    """The matrix of one checkpoint.

    Attributes:
        languages: both axes: whose neurons are written over, and whose text is read.
        nats: float64 `[languages, 1 + languages, rows]`: by the language of the text and what is written, nothing
            first.
        tokens: float64 `[languages, rows]`, those of each row that are predicted.
    """

    languages: tuple[str, ...]
    nats: Array
    tokens: Array

    @classmethod
    def of(cls, parts: Mapping[str, Part]) -> Self:
        """From the parts of all languages, in their order."""
        nats = np.stack([part.nats.numpy() for part in parts.values()])
        return cls(tuple(parts), nats, np.stack([part.tokens.double().numpy() for part in parts.values()]))

    @cached_property
    def per_token(self) -> Array:
        """Nats a token `[1 + languages, languages]`, what is written first, nothing in row 0."""
        return (self.nats.sum(-1) / self.tokens.sum(-1)[:, None]).T

    @property
    def before(self) -> Array:
        """Perplexities `[languages]` without a write."""
        return _exp(self.per_token[0])

    @property
    def after(self) -> Array:
        """Perplexities `[neurons of, text of]`."""
        return _exp(self.per_token[1:])

    @property
    def change(self) -> Array:
        """PPXC `[neurons of, text of]`."""
        return self.after - self.before

    @property
    def log_ratio(self) -> Array:
        """`[neurons of, text of]`, in nats a token."""
        return self.per_token[1:] - self.per_token[0]

    @cached_property
    def _draws(self) -> Array:
        """Nats a token of resampled rows, drawn once for all pairs: `[resamples, 1 + languages, languages]`."""
        count = len(self.languages)
        values = self.nats.swapaxes(0, 1).reshape((1 + count) * count, -1)
        weights = np.tile(self.tokens, (1 + count, 1))
        return resampled_means(values, weights).reshape(-1, 1 + count, count)

    def diagonal(self, *, log: bool) -> Contrast:
        """Languages' own text against all other pairs, in log ratios or in PPXC."""
        found = self.log_ratio if log else self.change
        drawn = self._draws[:, 1:] - self._draws[:, :1] if log else _exp(self._draws[:, 1:]) - _exp(self._draws[:, :1])
        count = len(self.languages)
        own = np.eye(count, dtype=bool)
        draws = drawn[:, own].mean(-1) - drawn[:, ~own].mean(-1)
        return self._contrast(float(found[own].mean()), float(found[~own].mean()), draws)

    def by_text(self) -> dict[str, Contrast]:
        """For the text of each language the log ratio of its own neurons against the mean of the others' neurons."""
        drawn, contrasts = self._draws[:, 1:], {}
        for place, code in enumerate(self.languages):
            others = [other for other in range(len(self.languages)) if other != place]
            draws = drawn[:, place, place] - drawn[:, others, place].mean(-1)  # the base is in both and drops out
            means = float(self.log_ratio[place, place]), float(self.log_ratio[others, place].mean())
            contrasts[code] = self._contrast(*means, draws)
        return contrasts

    def largest_own(self) -> list[str]:
        """Languages whose neurons change their own text more than any other language's neurons do."""
        return [code for place, code in enumerate(self.languages) if int(self.log_ratio[:, place].argmax()) == place]

    def strongest_others(self, count: int) -> Sequence[tuple[str, str, float]]:
        """The pairs of two languages with the largest log ratios: neurons of, text of, and that."""
        ratios = self.log_ratio.copy()
        np.fill_diagonal(ratios, -np.inf)
        order = np.argsort(-ratios, axis=None, kind="stable")[:count]
        pairs = [divmod(int(place), len(self.languages)) for place in order]
        return [(self.languages[row], self.languages[column], float(ratios[row, column])) for row, column in pairs]

    def _contrast(self, own: float, others: float, draws: Array) -> Contrast:
        return Contrast(own, others, percentile_interval(own - others, draws, examples=self.tokens.shape[1]))


def _exp(nats: Array) -> Array:
    """Infinite where no float holds it."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(nats), dtype=np.float64)
