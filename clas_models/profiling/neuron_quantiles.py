"""Percentiles of every neuron's activations in every language, and their spread: the data and its file.

It stands beside a neuron profile, which has sums alone, and no squares at these sites.  `quantile_recorder.py` makes
it in one pass over text, within the error bound of `quantile_bins.py`; selections and values read it.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), appendix A.2.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..command_line import CONVERT
from ..errors import InputError
from ..json_data import from_json
from ..modeling.language_tags import did_you_mean, matching, own_code
from ..modeling.rule import ACTIVATED
from .neuron_profile import Provenance
from .recorder import GATE
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described, stored_languages

PERCENTS = (5, 10, 25, 50, 75, 90, 95)
OVERALL = 90
"""The percentile of the values of all neurons together that `above` counts from."""
SITES = (GATE, ACTIVATED)
_METADATA_KEY = "clas_quantiles"
_TENSORS = ("values", "overall", "threshold", "above")
FORMATS: Mapping[int, tuple[str, ...]] = {1: _TENSORS, 2: (*_TENSORS, "std")}
"""Version of the file format -> the tensors of each site in its files."""
FORMAT = max(FORMATS)


@dataclass(frozen=True, eq=False)
class SiteQuantiles:
    """What was seen at one site.

    Attributes:
        values: float32 `[languages, percents, layers, neurons]`, the percentiles over a language's tokens.
        overall: float32 `[languages, percents]`, those of the values of all neurons together.
        threshold: float32 `[languages]`, the bound of a bin at or next above the overall percentile OVERALL.
        above: int32 `[languages, layers, neurons]`, tokens whose value is at least `threshold`; an exact count.
        std: float32, same shape, the standard deviation of the values over the tokens (divided by their number); from
            sums, so that no bin limits it.  None from a file of format version 1.
    """

    values: Tensor
    overall: Tensor
    threshold: Tensor
    above: Tensor
    std: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is there, by name."""
        held = {name: getattr(self, name) for name in (*_TENSORS, "std")}
        return {name: tensor for name, tensor in held.items() if tensor is not None}


@dataclass(frozen=True, eq=False)
class NeuronQuantiles:
    """Percentiles of every neuron in every language.

    Attributes:
        languages: codes, the first axis of every tensor.
        layers: the model's indices of the layers.
        num_model_layers: how many layers the whole model has.
        tokens: int64 `[languages]`, how many were counted.
        percents: the second axis of `values`, ascending.
        sites: `gate`, the output of `gate_proj`, where the released code of the paper takes its statistics; and
            `activated`, act(gate), where its interventions write.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    num_model_layers: int
    tokens: Tensor
    percents: tuple[int, ...]
    sites: Mapping[str, SiteQuantiles]
    provenance: Provenance

    def __post_init__(self) -> None:
        check_axes(self.languages, self.layers, self.num_model_layers)
        if any(type(each) is not int for each in self.percents) or list(self.percents) != sorted(set(self.percents)):
            raise InputError(f"percents {list(self.percents)}: whole numbers, ascending, each once")
        if not self.sites or not set(self.sites) <= set(SITES):
            raise InputError(f"sites {list(self.sites)}: expected some of {', '.join(SITES)}")
        languages, percents = len(self.languages), len(self.percents)
        check_tensor("tokens", self.tokens, torch.int64, (languages,))
        neurons = self.num_neurons
        for site, held in self.sites.items():
            inner = (len(self.layers), neurons)
            check_tensor(f"{site}.values", held.values, torch.float32, (languages, percents, *inner))
            check_tensor(f"{site}.overall", held.overall, torch.float32, (languages, percents))
            check_tensor(f"{site}.threshold", held.threshold, torch.float32, (languages,))
            check_tensor(f"{site}.above", held.above, torch.int32, (languages, *inner))
            if held.std is not None:
                check_tensor(f"{site}.std", held.std, torch.float32, (languages, *inner))
                if bool((held.std < 0).any()):
                    raise InputError(f"tensor '{site}.std' holds standard deviations below 0")
            for name, tensor in held.tensors.items():
                if not bool(tensor.isfinite().all()):
                    raise InputError(f"tensor '{site}.{name}' holds values that are not finite")
            if bool((held.values.diff(dim=1) < 0).any()):
                raise InputError(f"tensor '{site}.values' holds percentiles that do not ascend")
            if bool(((held.above < 0) | (held.above > self.tokens[:, None, None])).any()):
                raise InputError(f"tensor '{site}.above' holds counts below 0 or above the number of tokens")

    @property
    def num_neurons(self) -> int:
        """Neurons a layer (`intermediate_size`)."""
        shape = next(iter(self.sites.values())).values.shape
        return shape[-1] if len(shape) == 4 else 0

    def of(self, language: str, percent: int, site: str = ACTIVATED) -> Tensor:
        """A percentile of a language: float32 `[layers, neurons]`.

        Raises InputError: a percentile or site that was not recorded, or an unknown language.
        """
        if percent not in self.percents:
            told = ", ".join(f"P{each}" for each in self.percents)
            raise InputError(f"P{percent} was not recorded: choose one of {told}")
        return self.at(site).values[self._row(language), self.percents.index(percent)]

    def std(self, language: str, site: str = ACTIVATED) -> Tensor:
        """The standard deviation over the tokens of a language: float32 `[layers, neurons]`.

        Raises InputError: an earlier version recorded none, a site that was not recorded, or an unknown language.
        """
        held = self.at(site).std
        if held is None:
            raise InputError(
                "standard deviations were not recorded, by an earlier version; convert the checkpoint again, with "
                f"{CONVERT} CHECKPOINT --quantiles"
            )
        return held[self._row(language)]

    def at(self, site: str) -> SiteQuantiles:
        """What was seen at a site. Raises InputError: it was not recorded."""
        if site not in self.sites:
            raise InputError(f"site {site!r} was not recorded: choose one of {', '.join(self.sites)}")
        return self.sites[site]

    def select(self, languages: Sequence[str]) -> Self:
        """The same of these languages only, in this order. Raises InputError: one is not among them, or none."""
        rows = [self._row(code) for code in languages]
        sites = {
            site: SiteQuantiles(**{name: tensor[rows] for name, tensor in held.tensors.items()})
            for site, held in self.sites.items()
        }
        chosen = tuple(self.languages[row] for row in rows)
        return replace(self, languages=chosen, tokens=self.tokens[rows], sites=sites)

    def __add__(self, other: object) -> Self:
        """Raises InputError: percentiles of two parts of a text are not enough for those of the whole."""
        raise InputError(
            "quantiles of parts do not add up, as sums do: record the whole text of a language in one pass, with "
            f"{CONVERT} CHECKPOINT --quantiles"
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; in the newest format whose tensors it has."""
        held = {site: each.tensors for site, each in self.sites.items()}
        version = max(each for each, names in FORMATS.items() if all(set(names) <= set(at) for at in held.values()))
        described = {
            "format_version": version,
            "languages": self.languages,
            "layers": self.layers,
            "num_model_layers": self.num_model_layers,
            "percents": self.percents,
            "provenance": asdict(self.provenance),
        }
        tensors = {f"{site}.{name}": held[site][name] for site in held for name in FORMATS[version]}
        save_described(path, _METADATA_KEY, described, {"tokens": self.tokens, **tensors})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        remedy = f"make one with {CONVERT} CHECKPOINT --quantiles"
        with described_tensors(path, _METADATA_KEY, "file of neuron quantiles", remedy, *FORMATS) as (described, held):
            names = FORMATS[described["format_version"]]
            sites = [site for site in SITES if f"{site}.values" in held]
            check_names(held, {"tokens", *(f"{site}.{name}" for site in sites for name in names)})
            described_by: dict[str, Any] = {
                site: SiteQuantiles(**{name: held[f"{site}.{name}"] for name in names}) for site in sites
            }
            return cls(
                languages=stored_languages(described["languages"]),
                layers=tuple(described["layers"]),
                num_model_layers=described["num_model_layers"],
                tokens=held["tokens"],
                percents=tuple(described["percents"]),
                sites=described_by,
                provenance=from_json(Provenance, described["provenance"]),
            )

    def _row(self, language: str) -> int:
        found = matching(own_code(language, shortest=2) or language, self.languages)
        if found is None:
            raise InputError(
                f"language {language!r}{did_you_mean(language)} has no quantiles; choose one of "
                f"{', '.join(self.languages)}"
            )
        return self.languages.index(found)
