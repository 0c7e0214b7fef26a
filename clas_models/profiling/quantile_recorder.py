"""The recorder of percentiles: one pass over text -> NeuronQuantiles, in memory that no number of tokens changes.

While a language is read, it holds NUM_BINS counts (448, int32) and two sums (float64) for every neuron and site, on the
model's device; when the next one begins, they become percentiles and standard deviations.  For Llama 3.1 8B, 32 layers
of 14336 neurons, that is 0.83 GB a site, and of each finished language 17 MB a site.  What counts mean, and how exact
percentiles are, is said in `quantile_bins.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from .neuron_profile import NeuronProfile
from .neuron_quantiles import OVERALL, PERCENTS, SITES, NeuronQuantiles, SiteQuantiles
from .quantile_bins import NUM_BINS, bins_of, edges, quantiles, rank
from .recorder import Batch, Recorder
from .recording import Recording

_BLOCK = 400_000  # values counted at once on a CPU, so that what is computed of them stays in its cache
_LARGE_BLOCK = 1 << 24  # elsewhere: the places in memory that are counted up are int64


class QuantileRecorder(Recorder):
    """Counts the activations of one language after the other.

    `languages` are the codes of all languages of the corpus; `layers` the model's indices, by default all.
    """

    def __init__(self, model: PreTrainedModel, languages: Sequence[str], layers: Sequence[int] | None = None) -> None:
        decoder: Any = model.base_model
        self.languages = tuple(languages)
        self.layers = list(range(len(decoder.layers)) if layers is None else layers)
        self.device = model.device
        shape = (len(self.layers), decoder.config.intermediate_size)
        self.counts = {site: torch.zeros((*shape, NUM_BINS), dtype=torch.int32, device=model.device) for site in SITES}
        summing = torch.device("cpu") if model.device.type == "mps" else model.device  # no float64 there
        self.sums = {site: torch.zeros((2, *shape), dtype=torch.float64, device=summing) for site in SITES}
        self.places = torch.arange(shape[1], device=model.device) * NUM_BINS
        self.tokens = dict.fromkeys(self.languages, 0)
        self.language: str | None = None
        self.finished: dict[str, dict[str, SiteQuantiles]] = {}

    def sites(self, num_layers: int) -> Mapping[str, Sequence[int]]:
        return dict.fromkeys(SITES, self.layers)

    def begin(self, batch: Batch) -> None:
        """Raises InputError: a language begins anew, as in a pass window by window."""
        super().begin(batch)
        if batch.language != self.language:
            self._finish()
            if batch.language in self.finished:
                raise InputError(
                    f"quantiles: more text in {batch.language} after that of other languages; record one language "
                    "after the other (without by_window)"
                )
            self.language = batch.language
        self.tokens[batch.language] += batch.tokens

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        """Raises InputError: an activation is NaN or infinite."""
        row = self.layers.index(layer)
        counts, sums = self.counts[site][row].view(-1), self.sums[site][:, row]
        seen = self.batch.of_tokens(values)
        block = _BLOCK if seen.device.type == "cpu" else _LARGE_BLOCK
        for part in seen.split(max(1, block // seen.shape[1])):
            part = part.float()
            if not bool(part.isfinite().all()):
                raise InputError(
                    f"layer {layer}: activations that are not finite (NaN or infinite) in language "
                    f"{self.batch.language!r}; profile in a wider --dtype, such as float32, or check the weights"
                )
            places = (bins_of(part) + self.places).view(-1)
            counts.scatter_add_(0, places, torch.ones_like(places, dtype=torch.int32))
            sums += torch.stack([part.sum(0), part.square().sum(0)]).to(sums)

    def quantiles(self, recording: Recording | NeuronProfile) -> NeuronQuantiles:
        """Those of the pass that this recorder has seen, told by what the pass gave or the profile made of it.

        Raises InputError: it has not seen every language."""
        self._finish()
        if missing := [code for code in self.languages if code not in self.finished]:
            raise InputError(f"quantiles: no text was read in {', '.join(missing)}; leave these out of the languages")
        rows = [self.finished[code] for code in self.languages]
        sites = {
            site: SiteQuantiles(
                **{name: torch.stack([row[site].tensors[name] for row in rows]) for name in rows[0][site].tensors}
            )
            for site in SITES
        }
        return NeuronQuantiles(
            languages=self.languages,
            layers=tuple(self.layers),
            num_model_layers=recording.num_model_layers,
            tokens=torch.tensor([self.tokens[code] for code in self.languages]),
            percents=PERCENTS,
            sites=sites,
            provenance=recording.provenance,
        )

    def _finish(self) -> None:
        if self.language is None:
            return
        tokens = self.tokens[self.language]
        self.finished[self.language] = {
            site: replace(_of_counts(counts, tokens), std=_deviation(self.sums[site], tokens))
            for site, counts in self.counts.items()
        }
        for held in (*self.counts.values(), *self.sums.values()):
            held.zero_()
        self.language = None


def _of_counts(counts: Tensor, tokens: int) -> SiteQuantiles:
    """Of one language: without the axis of languages. `counts` `[layers, neurons, NUM_BINS]`."""
    # A layer at a time: sums along the bins take twice the memory of the counts.
    values = torch.stack([quantiles(layer, PERCENTS, tokens).cpu() for layer in counts], dim=1)
    together = counts.sum(dim=(0, 1))
    number = int(together.sum())
    place = int((together.cumsum(0) < rank(OVERALL, number)).sum()) + 1
    above = torch.stack([layer[:, place:].sum(-1, dtype=torch.int32).cpu() for layer in counts])
    return SiteQuantiles(values, quantiles(together, PERCENTS, number).cpu(), edges()[place].clone(), above)


def _deviation(sums: Tensor, tokens: int) -> Tensor:
    """From sums of values and of their squares `[2, layers, neurons]`: float32 `[layers, neurons]`, on the CPU."""
    mean, square = sums / tokens
    return (square - mean.square()).clamp(min=0).sqrt().float().cpu()
