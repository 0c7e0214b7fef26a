"""A neuron profile: what every neuron did in every language, and where that was seen.

The data, its checks, its sum and its file.  `profiler.py` gathers it with one pass over a corpus; `categories.py`
reads categories from it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..json_data import from_json
from ..modeling.language_tags import did_you_mean, matching, own_code
from .seen_text import checked_hashes
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described, stored_languages

METADATA_KEY = "clas_profile"
SUMS = ("sum", "sum_abs", "sum_sq", "gate_sum", "act_sum")
COUNTS = ("positive", "gate_positive")
TOTALS = (*SUMS, *COUNTS)
HALF_SUMS, HALF_COUNTS = ("half_sum", "half_sum_abs"), ("half_positive",)
HALVES = ("half_tokens", *HALF_SUMS, *HALF_COUNTS)
FORMATS: dict[int, frozenset[str]] = {
    1: frozenset(TOTALS) - {"act_sum"},
    2: frozenset(TOTALS),
    3: frozenset(TOTALS) | frozenset(HALVES),
}
"""Version of the file format -> the tensors in its files beside `tokens`."""
_DTYPES = {
    **dict.fromkeys(SUMS, torch.float64),
    **dict.fromkeys(COUNTS, torch.int64),
    **dict.fromkeys(HALF_SUMS, torch.float32),
    **dict.fromkeys(HALF_COUNTS, torch.int32),
    "half_tokens": torch.int64,
}


@dataclass(frozen=True)
class Provenance:
    """Where a profile comes from.

    `fingerprint` identifies the weights (None for a model that exists in memory only), `digests` the tokens of each
    part that was added up, `dtype` the precision of the forward pass, `max_length` and the counts are in tokens.
    """

    model: str
    model_type: str
    fingerprint: str | None
    corpus: tuple[str, ...]
    samples: int
    max_length: int
    dtype: str
    digests: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True, eq=False)
class NeuronProfile:
    """Sums and counts, together totals, of `h = act(gate) * up`, the input of `down_proj`, over the tokens of a corpus.

    Attributes:
        languages: codes, the first axis of every tensor.
        layers: the model's indices of the profiled layers, the second axis.
        num_model_layers: how many layers the whole model has.
        tokens: int64 `[languages]`, how many tokens were counted.
        sum, sum_abs, sum_sq: float64 `[languages, layers, neurons]`, of h, its absolute value and its square.
        positive: int64, same shape, tokens with h > 0.
        gate_sum: float64, same shape, of the output of `gate_proj`, before the nonlinearity.
        gate_positive: int64, same shape, tokens with that output > 0.
        act_sum: float64, same shape, of act(gate), after the nonlinearity; None in a profile from a file of format
            version 1, or in a sum with one.  `total` gives it or says what to do.
        half_tokens: int64 `[languages]`, how many of the tokens are in the first half of the samples, which is the same
            half in every language.  This and the next three are None where nobody summed the halves apart.
        half_sum, half_sum_abs: float32, the shape of the sums, over that half alone; they are compared, not added up
            to means, so the file need not hold more digits.
        half_positive: int32, the same.
        lines: hashes of the lines of the text, see `seen_text.py`; None in a profile from a file of version 0.1, or in
            a sum with one.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    num_model_layers: int
    tokens: Tensor
    sum: Tensor
    sum_abs: Tensor
    sum_sq: Tensor
    positive: Tensor
    gate_sum: Tensor
    gate_positive: Tensor
    provenance: Provenance
    act_sum: Tensor | None = None
    half_tokens: Tensor | None = None
    half_sum: Tensor | None = None
    half_sum_abs: Tensor | None = None
    half_positive: Tensor | None = None
    lines: frozenset[str] | None = None

    def __post_init__(self) -> None:
        languages, layers = len(self.languages), len(self.layers)
        check_axes(self.languages, self.layers, self.num_model_layers)
        check_tensor("tokens", self.tokens, torch.int64, (languages,))
        neurons = self.sum.shape[-1] if self.sum.dim() else 0
        for name, tensor in self.tensors.items():
            shape = (languages,) if name == "half_tokens" else (languages, layers, neurons)
            check_tensor(name, tensor, _DTYPES[name], shape)
            if tensor.is_floating_point():
                if not bool(tensor.isfinite().all()):
                    raise InputError(f"tensor {name!r} holds values that are not finite")
                continue
            counted = self.half_tokens if name in HALF_COUNTS and self.half_tokens is not None else self.tokens
            if bool(((tensor < 0) | (tensor > counted.view(-1, *[1] * (len(shape) - 1)))).any()):
                raise InputError(f"tensor {name!r} holds counts below 0 or above the number of tokens")

    @property
    def num_neurons(self) -> int:
        """Neurons a layer (`intermediate_size`)."""
        return self.sum.shape[2]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The totals that this profile has, and what it has of the first half of the samples, by name."""
        held = {name: getattr(self, name) for name in (*TOTALS, *HALVES)}
        return {name: tensor for name, tensor in held.items() if tensor is not None}

    def total(self, name: str) -> Tensor:
        """The tensor of this name, one of TOTALS. Raises InputError: the profile is too old to have it."""
        tensors = self.tensors
        if name not in tensors:
            raise InputError(
                f"the neuron profile of {self.provenance.model} lacks {name!r}, which an earlier version of this "
                "package did not gather: profile the model again, by converting it with --corpus"
            )
        return tensors[name]

    @property
    def has_halves(self) -> bool:
        """Whether the first half of the samples was summed apart, and both halves have tokens in every language."""
        held = self.tensors
        if not set(HALVES) <= set(held):
            return False
        return bool(((held["half_tokens"] > 0) & (held["half_tokens"] < self.tokens)).all())

    def __add__(self, other: Self) -> Self:
        """The profile of both corpora together, so that a corpus can be split over machines.

        It has the totals that both of them have; its first half is the two first halves.

        Raises InputError: the two are not of the same model, languages, layers and settings, or share a part.
        """
        if not isinstance(other, NeuronProfile):
            return NotImplemented
        mine, theirs = self.provenance, other.provenance
        for what, left, right in (
            ("model type", mine.model_type, theirs.model_type),
            ("weights", mine.fingerprint, theirs.fingerprint),
            ("shape", (self.num_model_layers, *self.sum.shape[1:]), (other.num_model_layers, *other.sum.shape[1:])),
            ("languages", self.languages, other.languages),
            ("layers", self.layers, other.layers),
            ("maximum length", mine.max_length, theirs.max_length),
            ("dtype", mine.dtype, theirs.dtype),
        ):
            if left != right:
                raise InputError(f"profiles of different {what} do not add up: {left} and {right}")
        if shared := set(mine.digests) & set(theirs.digests):
            raise InputError(
                f"both profiles hold the same part of the corpus ({min(shared)[:12]}): it would count twice"
            )
        totals: dict[str, Any] = dict.fromkeys((*TOTALS, *HALVES))
        totals |= {name: total + other.tensors[name] for name, total in self.tensors.items() if name in other.tensors}
        provenance = replace(
            mine,
            corpus=tuple(dict.fromkeys(mine.corpus + theirs.corpus)),
            samples=mine.samples + theirs.samples,
            digests=mine.digests + theirs.digests,
        )
        lines = None if self.lines is None or other.lines is None else self.lines | other.lines
        return replace(self, tokens=self.tokens + other.tokens, provenance=provenance, lines=lines, **totals)

    def select(self, languages: Sequence[str]) -> Self:
        """The profile of these languages only, in this order. Raises InputError: one is not in it, or none is given."""
        found = [matching(own_code(code, shortest=2) or code, self.languages) for code in languages]
        if missing := [
            code + did_you_mean(code) for code, known in zip(languages, found, strict=True) if known is None
        ]:
            raise InputError(
                f"languages {', '.join(missing)} are not in the profile; it has {', '.join(self.languages)}"
            )
        codes = tuple(code for code in found if code is not None)
        rows = torch.tensor([self.languages.index(code) for code in codes], dtype=torch.int64)
        chosen: dict[str, Any] = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return replace(self, languages=codes, tokens=self.tokens[rows], **chosen)

    def of_layers(self, layers: Sequence[int]) -> Self:
        """The profile of these of its layers only, ascending. Raises InputError: one is not in it, or none is given."""
        if missing := [layer for layer in layers if layer not in self.layers]:
            raise InputError(f"layers {missing} are not in the profile; it has {list(self.layers)}")
        rows = [self.layers.index(layer) for layer in layers]
        chosen: dict[str, Any] = {name: held[:, rows] for name, held in self.tensors.items() if name != "half_tokens"}
        return replace(self, layers=tuple(layers), **chosen)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; in the newest format whose tensors it has."""
        held = self.tensors
        version = max(version for version, names in FORMATS.items() if names <= set(held))
        described = {
            "format_version": version,
            "languages": self.languages,
            "layers": self.layers,
            "num_model_layers": self.num_model_layers,
            "provenance": asdict(self.provenance),
        }
        if self.lines is not None:
            described["lines"] = sorted(self.lines)
        tensors = {name: tensor for name, tensor in held.items() if name in FORMATS[version]}
        save_described(path, METADATA_KEY, described, {"tokens": self.tokens, **tensors})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        remedy = "make one by converting without --profile"
        with described_tensors(path, METADATA_KEY, "neuron profile", remedy, *FORMATS) as (described, tensors):
            check_names(tensors, FORMATS[described["format_version"]] | {"tokens"})
            return cls(
                languages=stored_languages(described["languages"]),
                layers=tuple(described["layers"]),
                num_model_layers=described["num_model_layers"],
                provenance=from_json(Provenance, described["provenance"]),
                lines=None if (lines := described.get("lines")) is None else checked_hashes(lines),
                **tensors,
            )


def check_comparable(profile: NeuronProfile, what: str) -> None:
    """Raises InputError: fewer than two languages, or one without tokens; `what` compares languages."""
    if len(profile.languages) < 2:
        raise InputError(
            f"the neuron profile holds one language ({profile.languages[0]}), and {what} compare languages: "
            "profile at least two"
        )
    check_tokens(profile)


def check_tokens(profile: NeuronProfile) -> None:
    """Raises InputError: a language without tokens."""
    silent = [code for code, count in zip(profile.languages, profile.tokens.tolist(), strict=True) if count == 0]
    if silent:
        raise InputError(
            f"no tokens were profiled for {', '.join(silent)}: "
            "give text in that language, or leave it out of --languages"
        )
