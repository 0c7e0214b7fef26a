"""One streaming pass of a model over parallel text: text -> LanguageVectors.

The texts of some rows go through the model in every language, the anchor first, before the next rows do, so that what
is kept of the anchor's states does not grow with the number of texts.

Source: Lim, Aji and Cohn, the paper on the latent process of multilingual models, section 2.3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..modeling.language_tags import matching
from ..modeling.rule import RESIDUAL
from .corpora import ParallelCorpus
from .language_vectors import LAST, STATES, LanguageVectors
from .recorder import Batch, Recorder
from .recording import record


def measure_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    anchor: str,
    *,
    state: str = LAST,
    max_length: int = 512,
    batch_size: int = 8,
    encode: Callable[[str], Sequence[int]] | None = None,
    fingerprint: str | None = None,
    progress: Callable[[str, int, int], Any] | None = None,
) -> LanguageVectors:
    """The vectors of every layer from each language of `corpus` towards `anchor`.

    Args:
        state: one of STATES.
        model, tokenizer, corpus, max_length, batch_size, encode, fingerprint, progress: as for `record`.

    Raises InputError: as `record`, an anchor that is not in the corpus, no other language, fewer than two rows, or a
    state that is not finite (it names the layer).
    """
    found = matching(anchor, corpus.languages)
    if found is None:
        raise InputError(f"anchor {anchor!r}: {corpus.name} has {', '.join(corpus.languages)}; the vectors lead to it")
    others = tuple(code for code in corpus.languages if code != found)
    if not others:
        raise InputError(f"{corpus.name}: {found} is its only language, and a vector leads there from another one")
    differences = Differences(model, others, found, state)
    recording = record(
        model,
        tokenizer,
        replace(corpus, languages=(found, *others)),
        [differences],
        max_length=max_length,
        batch_size=batch_size,
        encode=encode,
        fingerprint=fingerprint,
        by_window=True,
        progress=progress,
    )
    return LanguageVectors(
        languages=others,
        anchor=found,
        layers=tuple(range(recording.num_model_layers)),
        num_model_layers=recording.num_model_layers,
        state=state,
        pairs=differences.pairs,
        sum=differences.sum.cpu(),
        sum_sq=differences.sum_sq.cpu(),
        provenance=recording.provenance,
        lines=recording.lines,
    )


class Differences(Recorder):
    """Adds up `h(anchor) - h(language)` and its square over pairs of rows, in float64.

    A pass shows it the anchor's batches of some rows before those of the other languages.

    Raises InputError: an unknown `state`.
    """

    def __init__(self, model: PreTrainedModel, languages: Sequence[str], anchor: str, state: str) -> None:
        if state not in STATES:
            raise InputError(f"state {state!r}: choose one of {', '.join(STATES)}")
        decoder: Any = model.base_model
        self.languages, self.anchor, self.state = tuple(languages), anchor, state
        device = torch.device("cpu") if model.device.type == "mps" else model.device  # no float64 there
        self.pairs = torch.zeros(len(languages), dtype=torch.int64)
        self.sum = torch.zeros(
            len(languages), len(decoder.layers), decoder.config.hidden_size, dtype=torch.float64, device=device
        )
        self.sum_sq = torch.zeros_like(self.sum)
        self._anchors: dict[int, dict[int, Tensor]] = {}  # by sample, by layer: `[hidden]`
        self._reading_anchor = False

    def sites(self, num_layers: int) -> Mapping[str, Sequence[int]]:
        return {RESIDUAL: range(num_layers)}

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        if batch.language == self.anchor:
            if not self._reading_anchor:
                self._anchors = {}
            for sample in batch.samples:
                self._anchors[sample] = {}
        else:
            paired = sum(sample in self._anchors for sample in batch.samples)
            self.pairs[self.languages.index(batch.language)] += paired
        self._reading_anchor = batch.language == self.anchor

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        states = self._states(values)
        if not bool(states.isfinite().all()):
            raise InputError(
                f"layer {layer}: states that are not finite (NaN or infinite) in language {self.batch.language!r}; "
                "take a wider --dtype, such as float32, or check the weights"
            )
        if self._reading_anchor:
            for sample, row in zip(self.batch.samples, states, strict=True):
                self._anchors[sample][layer] = row
            return
        paired = [index for index, sample in enumerate(self.batch.samples) if sample in self._anchors]
        if not paired:
            return
        anchors = torch.stack([self._anchors[self.batch.samples[index]][layer] for index in paired])
        differences = anchors.to(self.sum) - states[paired].to(self.sum)
        row = self.languages.index(self.batch.language)
        self.sum[row, layer] += differences.sum(0)
        self.sum_sq[row, layer] += differences.square().sum(0)

    def _states(self, values: Tensor) -> Tensor:
        """`[rows, tokens, hidden]` to `[rows, hidden]`, at least float32.

        Many models attend to the first token wherever nothing else matters, and its state is hundreds of times as long
        as any other: it would drown the mean, by an amount that tells nothing but the number of tokens.
        """
        wide = torch.promote_types(values.dtype, torch.float32)
        if self.state == LAST:
            return self.batch.of_last_tokens(values).to(wide)
        lengths = torch.tensor(self.batch.lengths, device=values.device)
        kept = torch.where(lengths[:, None] > 1, torch.arange(values.shape[1], device=values.device) > 0, True)
        total = (values.to(wide) * kept[:, :, None]).sum(1)  # where there is padding, values are 0
        return total / (lengths - 1).clamp(min=1)[:, None]
