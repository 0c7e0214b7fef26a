"""Vectors from each language towards the anchor, and where they were seen.

The data, its checks, its sum and its file.  `vector_measuring.py` gathers it with one pass over parallel text;
`vector_layers.py` chooses layers by it.

Source: Lim, Aji and Cohn, the paper on the latent process of multilingual models, section 2.3.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..json_data import from_json
from ..modeling.language_tags import matching
from .neuron_profile import Provenance
from .seen_text import checked_hashes
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described

METADATA_KEY = "clas_vectors"
FORMAT = 1
TENSORS = ("pairs", "sum", "sum_sq")
LAST, MEAN = "last", "mean"
STATES = (LAST, MEAN)
"""What stands for a text: the state of its last token, or the mean over its tokens but the first."""


@dataclass(frozen=True, eq=False)
class LanguageVectors:
    """Sums over pairs of parallel texts of `h(anchor) - h(language)`, h being the output of a layer.

    Attributes:
        languages: codes without the anchor's, the first axis of every tensor.
        anchor: the language that the vectors lead to.
        layers: the model's indices of the layers, the second axis.
        num_model_layers: how many layers the whole model has.
        state: what h is taken from, one of STATES.
        pairs: int64 `[languages]`, how many pairs were summed.
        sum: float64 `[languages, layers, hidden]`, of the differences.
        sum_sq: the same shape, of their squares.
        lines: hashes of the lines of the text, see `seen_text.py`.

    Raises InputError: a tensor of another dtype or shape, one that is not finite, or fewer than two pairs.
    """

    languages: tuple[str, ...]
    anchor: str
    layers: tuple[int, ...]
    num_model_layers: int
    state: str
    pairs: Tensor
    sum: Tensor
    sum_sq: Tensor
    provenance: Provenance
    lines: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_axes(self.languages, self.layers, self.num_model_layers)
        if self.anchor in self.languages or not isinstance(self.anchor, str):
            raise InputError(f"anchor {self.anchor!r} among the languages {', '.join(self.languages)}")
        if self.state not in STATES:
            raise InputError(f"state {self.state!r}: one of {', '.join(STATES)}")
        hidden = self.sum.shape[-1] if self.sum.dim() else 0
        check_tensor("pairs", self.pairs, torch.int64, (len(self.languages),))
        for name in ("sum", "sum_sq"):
            tensor = getattr(self, name)
            check_tensor(name, tensor, torch.float64, (len(self.languages), len(self.layers), hidden))
            if not bool(tensor.isfinite().all()):
                raise InputError(f"tensor {name!r} holds values that are not finite")
        for language, pairs in zip(self.languages, self.pairs.tolist(), strict=True):
            if pairs < 2:
                raise InputError(f"{pairs} pairs of texts in {self.anchor} and {language}: a vector needs at least 2")

    @property
    def hidden_size(self) -> int:
        """Entries of a vector."""
        return self.sum.shape[2]

    @property
    def mean(self) -> Tensor:
        """The vectors, float64 `[languages, layers, hidden]`: equation 8."""
        return self.sum / self.pairs[:, None, None]

    @property
    def variance(self) -> Tensor:
        """Of the differences over pairs, float64 `[languages, layers, hidden]`, unbiased."""
        pairs = self.pairs[:, None, None]
        return ((self.sum_sq - self.sum.square() / pairs) / (pairs - 1)).clamp(min=0)

    @property
    def standard_error(self) -> Tensor:
        """Of the vectors, float64 `[languages, layers, hidden]`."""
        return (self.variance / self.pairs[:, None, None]).sqrt()

    @property
    def explained(self) -> Tensor:
        """Which share of the squared differences between parallel texts is their mean, float64 `[languages, layers]`.

        1 where all pairs differ by the very vector; about 0, also below it, where the vector is the chance of few
        pairs: what the mean of so many differences has by chance is taken off.
        """
        squares = (self.sum_sq.sum(-1) / self.pairs[:, None]).clamp(min=torch.finfo(torch.float64).tiny)
        return (self.mean.square() - self.variance / self.pairs[:, None, None]).sum(-1) / squares

    def tables(self, layers: Sequence[int], languages: Sequence[str]) -> dict[int, Tensor]:
        """What a model of these `languages` adds after these layers: by layer float32 `[languages, hidden]`.

        The anchor and languages without a vector get 0; see `without`.

        Raises InputError: a layer is not in this file.
        """
        if missing := [layer for layer in layers if layer not in self.layers]:
            raise InputError(f"layers {missing}: the vectors are of layers {self.layers[0]} to {self.layers[-1]}")
        found = [None if matching(code, [self.anchor]) else matching(code, self.languages) for code in languages]
        rows = torch.zeros(len(languages), len(self.layers), self.hidden_size)
        for row, code in enumerate(found):
            if code is not None:
                rows[row] = self.mean[self.languages.index(code)].float()
        return {layer: rows[:, self.layers.index(layer)].contiguous() for layer in layers}

    def without(self, languages: Sequence[str]) -> list[str]:
        """Which of these languages, the anchor aside, have no vector."""
        return [code for code in languages if matching(code, [self.anchor, *self.languages]) is None]

    def __add__(self, other: Self) -> Self:
        """The vectors of both texts together.

        Raises InputError: the two are not of the same model, languages, layers and settings, or share a part.
        """
        if not isinstance(other, LanguageVectors):
            return NotImplemented
        mine, theirs = self.provenance, other.provenance
        for what, left, right in (
            ("model type", mine.model_type, theirs.model_type),
            ("weights", mine.fingerprint, theirs.fingerprint),
            ("shape", (self.num_model_layers, self.hidden_size), (other.num_model_layers, other.hidden_size)),
            ("languages", (self.anchor, *self.languages), (other.anchor, *other.languages)),
            ("layers", self.layers, other.layers),
            ("states", self.state, other.state),
            ("maximum length", mine.max_length, theirs.max_length),
            ("dtype", mine.dtype, theirs.dtype),
        ):
            if left != right:
                raise InputError(f"vectors of different {what} do not add up: {left} and {right}")
        if shared := set(mine.digests) & set(theirs.digests):
            raise InputError(f"both hold the same part of the text ({min(shared)[:12]}): it would count twice")
        provenance = replace(
            mine,
            corpus=tuple(dict.fromkeys(mine.corpus + theirs.corpus)),
            samples=mine.samples + theirs.samples,
            digests=mine.digests + theirs.digests,
        )
        totals: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in TENSORS}
        return replace(self, provenance=provenance, lines=self.lines | other.lines, **totals)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        described = {
            "format_version": FORMAT,
            "languages": self.languages,
            "anchor": self.anchor,
            "layers": self.layers,
            "num_model_layers": self.num_model_layers,
            "state": self.state,
            "provenance": asdict(self.provenance),
            "lines": sorted(self.lines),
        }
        save_described(path, METADATA_KEY, described, {name: getattr(self, name) for name in TENSORS})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        remedy = "make one with `clas-eval vectors`"
        with described_tensors(path, METADATA_KEY, "file of steering vectors", remedy, FORMAT) as (described, tensors):
            check_names(tensors, set(TENSORS))
            return cls(
                languages=tuple(described["languages"]),
                anchor=described["anchor"],
                layers=tuple(described["layers"]),
                num_model_layers=described["num_model_layers"],
                state=described["state"],
                provenance=from_json(Provenance, described["provenance"]),
                lines=checked_hashes(described["lines"]),
                **tensors,
            )
