"""One streaming pass of a model over a parallel corpus: text -> NeuronProfile.

The recorder of the sums and counts that a profile holds, and the function that runs it.  Sums within a batch are
float32 (torch adds them in a tree), over batches float64; counts are exact: a mean near 0 decides a category.

The first half of the samples is summed beside the whole, in the same pass: what the two halves agree on is more than
chance (`agreement.py`).  It is the first half, not every second sample, because neighbours in a corpus often share a
paragraph.  A batch holds rows of both halves, so that the whole has the bits that it would have without them.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.2 and 2.3.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..modeling.rule import ACTIVATED, NEURONS
from .corpora import ParallelCorpus
from .neuron_profile import COUNTS, HALF_COUNTS, HALF_SUMS, SUMS, NeuronProfile
from .recorder import GATE, Batch, Recorder
from .recording import Recording, record

BLOCK = 1_500_000  # values summed at once on a CPU: they should stay in its cache for several passes


def profile_neurons(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    *,
    max_length: int = 512,
    batch_size: int = 8,
    layers: Sequence[int] | None = None,
    only: Collection[str] | None = None,
    fingerprint: str | None = None,
    progress: Callable[[str, int, int], Any] | None = None,
    beside: Sequence[Recorder] = (),
) -> NeuronProfile:
    """Profile every neuron of `layers` (the model's layer indices, by default all) in every language of `corpus`.

    The other arguments are those of `record`; recorders `beside` see the same pass.  The sums and counts of a
    language that is not among `only` stay 0: profiles of different languages add up, tensor by tensor, to the very
    bits of one pass over all.  The profile of a corpus whose rows have a length tells its halves apart.

    Raises InputError: as `record`, or an activation is not finite (it names the layer).
    """
    half = len(corpus.rows) // 2 if isinstance(corpus.rows, Sized) else None
    sums = NeuronSums(model, corpus.languages, layers, half)
    recording = record(
        model,
        tokenizer,
        corpus,
        [sums, *beside],
        max_length=max_length,
        batch_size=batch_size,
        only=only,
        fingerprint=fingerprint,
        progress=progress,
    )
    return sums.profile(recording)


class NeuronSums(Recorder):
    """Adds the activations of one batch after the other to float64 sums and int64 counts.

    `languages` are the codes of all languages of the corpus, `layers` the model's layer indices, by default all.
    Samples whose numbers are below `half` are the first half, and are summed apart as well; None tells no halves apart.

    Raises InputError: no layer, or one that the model does not have.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        languages: Sequence[str],
        layers: Sequence[int] | None = None,
        half: int | None = None,
    ) -> None:
        decoder: Any = model.base_model
        self.layers = _checked_layers(layers, len(decoder.layers))
        self.languages = tuple(languages)
        self.language = 0
        shape = (len(languages), len(self.layers), decoder.config.intermediate_size)
        device = torch.device("cpu") if model.device.type == "mps" else model.device  # no float64 there
        self.totals = {name: torch.zeros(shape, dtype=torch.float64, device=device) for name in SUMS}
        self.totals |= {name: torch.zeros(shape, dtype=torch.int64, device=device) for name in COUNTS}
        self.half = half
        self.in_half: list[bool] = []  # the rows of the batch
        self.half_tokens = torch.zeros(len(languages), dtype=torch.int64)
        if half is not None:
            self.totals |= {name: torch.zeros(shape, dtype=torch.float64, device=device) for name in HALF_SUMS}
            self.totals |= {name: torch.zeros(shape, dtype=torch.int32, device=device) for name in HALF_COUNTS}

    def sites(self, num_layers: int) -> Mapping[str, Sequence[int]]:
        return dict.fromkeys((GATE, ACTIVATED, NEURONS), self.layers)

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self.language = self.languages.index(batch.language)
        self.in_half = [self.half is not None and sample < self.half for sample in batch.samples]
        self.half_tokens[self.language] += sum(n for n, half in zip(batch.lengths, self.in_half, strict=True) if half)

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        row = self.layers.index(layer)
        in_half = _token_weights(self.in_half, values) if site == NEURONS and self.half is not None else None
        start = 0
        for block in _blocks(values):
            half = None if in_half is None else in_half[start : start + len(block)].to(block.dtype)
            start += len(block)
            if site == GATE:
                self._add("gate_sum", row, block.sum(0))
                self._add("gate_positive", row, _count_positive(block, torch.empty_like(block)))
            elif site == ACTIVATED:
                self._add("act_sum", row, block.sum(0))
            else:
                scratch = torch.empty_like(block)  # one allocation: a fresh one costs more than what is computed in it
                self._add("sum", row, block.sum(0))
                self._add_half("half_sum", row, half, block)
                self._add("sum_abs", row, torch.abs(block, out=scratch).sum(0))
                self._add_half("half_sum_abs", row, half, scratch)
                self._add("sum_sq", row, torch.mul(block, block, out=scratch).sum(0))
                self._add("positive", row, _count_positive(block, scratch))
                self._add_half("half_positive", row, half, scratch)

    def end(self) -> None:
        """Raises InputError: an activation is NaN or infinite."""
        total = self.totals["sum_sq"][self.language].sum(1) + self.totals["gate_sum"][self.language].sum(1)
        finite = total.isfinite().tolist()
        if not all(finite):
            raise InputError(
                f"layer {self.layers[finite.index(False)]}: activations that are not finite (NaN or infinite) in "
                f"language {self.batch.language!r}; profile in a wider --dtype, such as float32, or check the weights"
            )

    def profile(self, recording: Recording) -> NeuronProfile:
        """The profile of the pass that this recorder has seen."""
        totals = {name: values.cpu() for name, values in self.totals.items()}
        if self.half is not None:
            totals |= {name: totals[name].float() for name in HALF_SUMS} | {"half_tokens": self.half_tokens}
        return NeuronProfile(
            languages=self.languages,
            layers=tuple(self.layers),
            num_model_layers=recording.num_model_layers,
            tokens=recording.tokens,
            provenance=recording.provenance,
            lines=recording.lines,
            **totals,
        )

    def _add(self, name: str, row: int, values: Tensor) -> None:
        target = self.totals[name]
        target[self.language, row] += values.to(target)

    def _add_half(self, name: str, row: int, weights: Tensor | None, values: Tensor) -> None:
        """`values` `[tokens, neurons]`; those of the first half have the weight 1."""
        if weights is not None:
            self._add(name, row, weights @ values)


def _blocks(values: Tensor) -> Iterator[Tensor]:
    """`[rows, tokens, neurons]` as runs of `[tokens, neurons]` in at least float32, padding included: it holds 0."""
    values = values.flatten(0, 1)
    tokens = max(1, BLOCK // values.shape[1]) if values.device.type == "cpu" else len(values)
    for block in values.split(tokens):
        yield block if block.dtype in (torch.float32, torch.float64) else block.float()


def _token_weights(rows: Sequence[bool], values: Tensor) -> Tensor:
    """1 for each token, padding included, of the rows that count, 0 for those of others: float32 `[rows * tokens]`."""
    return torch.tensor(rows, dtype=torch.float32, device=values.device).repeat_interleave(values.shape[1])


def _count_positive(values: Tensor, scratch: Tensor) -> Tensor:
    # Ones in the values' own dtype sum up much faster than booleans, and exactly: a batch has fewer than 2^24 tokens.
    return torch.gt(values, 0, out=scratch).sum(0)


def _checked_layers(layers: Sequence[int] | None, num_layers: int) -> list[int]:
    if layers is None:
        return list(range(num_layers))
    chosen = sorted(set(layers))
    if not chosen or not 0 <= chosen[0] <= chosen[-1] < num_layers:
        raise InputError(f"layers {list(layers)}: layers are 0 to {num_layers - 1}, at least one")
    return chosen
