"""One streaming pass of a model over a parallel corpus: text -> NeuronProfile.

Runs the decoder alone, up to the neurons of the last profiled layer and no further.  Rows of one language are sorted
by length within a window and padded on the right, where causal attention keeps padding from what it follows; padding
is never counted.  Memory depends on the window and the batch, not on the number of samples.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.2 and 2.3.
"""

from __future__ import annotations

import hashlib
import platform
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from .corpora import ParallelCorpus
from .neuron_profile import COUNTS, SUMS, NeuronProfile, Provenance

WINDOW_BATCHES = 32  # batches that are sorted by length together
BLOCK = 1_500_000  # values summed at once on a CPU: they should stay in its cache for several passes


class _Stop(Exception):
    """Raised by the recorder when it has seen the last profiled layer: nothing after it needs to run."""


class _Recorder:
    """Adds the activations of one batch after the other to float64 sums and int64 counts."""

    def __init__(self, languages: int, layers: Sequence[int], neurons: int, device: torch.device) -> None:
        self.device = torch.device("cpu") if device.type == "mps" else device  # no float64 there
        shape = (languages, len(layers), neurons)
        self.sums = {name: torch.zeros(shape, dtype=torch.float64, device=self.device) for name in SUMS}
        self.counts = {name: torch.zeros(shape, dtype=torch.int64, device=self.device) for name in COUNTS}
        self.language = 0
        self.lengths: list[int] = []

    def begin(self, language: int, batch: list[list[int]]) -> None:
        """What follows are the activations of `batch`, in the language of this index."""
        self.language, self.lengths = language, [len(row) for row in batch]

    def gate(self, layer: int, gate: Tensor) -> None:
        """`gate` `[rows, tokens, neurons]`: the output of `gate_proj`."""
        for values in self._blocks(gate):
            self._add("gate_sum", layer, values.sum(0))
            self._add("gate_positive", layer, _count_positive(values, torch.empty_like(values)))

    def activated(self, layer: int, activated: Tensor) -> None:
        """`activated` `[rows, tokens, neurons]`: the output of `act_fn`."""
        for values in self._blocks(activated):
            self._add("act_sum", layer, values.sum(0))

    def neurons(self, layer: int, h: Tensor) -> None:
        """`h` `[rows, tokens, neurons]`: the input of `down_proj`."""
        for values in self._blocks(h):
            scratch = torch.empty_like(values)  # one allocation: a fresh one costs more than what is computed in it
            self._add("sum", layer, values.sum(0))
            self._add("sum_abs", layer, torch.abs(values, out=scratch).sum(0))
            self._add("sum_sq", layer, torch.mul(values, values, out=scratch).sum(0))
            self._add("positive", layer, _count_positive(values, scratch))

    def check_finite(self, layers: Sequence[int], language: str) -> None:
        total = self.sums["sum_sq"][self.language].sum(1) + self.sums["gate_sum"][self.language].sum(1)
        finite = total.isfinite().tolist()
        if not all(finite):
            raise InputError(
                f"layer {layers[finite.index(False)]}: activations that are not finite (NaN or infinite) in language "
                f"{language!r}; profile in a wider --dtype, such as float32, or check the weights"
            )

    def _add(self, name: str, layer: int, values: Tensor) -> None:
        target = self.sums[name] if name in self.sums else self.counts[name]
        target[self.language, layer] += values.to(target)

    def _blocks(self, values: Tensor) -> Iterator[Tensor]:
        """`[tokens, neurons]` in at least float32, with zeros where there is padding: they change no sum."""
        longest = values.shape[1]
        for row, length in enumerate(self.lengths):
            if length < longest:
                values[row, length:] = 0
        values = values.flatten(0, 1)
        tokens = max(1, BLOCK // values.shape[1]) if values.device.type == "cpu" else len(values)
        for block in values.split(tokens):
            yield block if block.dtype in (torch.float32, torch.float64) else block.float()


def _count_positive(values: Tensor, scratch: Tensor) -> Tensor:
    # Ones in the values' own dtype sum up much faster than booleans, and exactly: a batch has fewer than 2^24 tokens.
    return torch.gt(values, 0, out=scratch).sum(0)


@contextmanager
def _recording(mlps: Sequence[Any], recorder: _Recorder) -> Iterator[None]:
    last = len(mlps) - 1

    def on_gate(layer: int) -> Callable[..., None]:
        return lambda module, args, output: recorder.gate(layer, output)

    def on_activated(layer: int) -> Callable[..., None]:
        return lambda module, args, output: recorder.activated(layer, output)

    def on_neurons(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            recorder.neurons(layer, args[0])
            if layer == last:
                raise _Stop

        return hook

    handles = []
    try:
        for layer, mlp in enumerate(mlps):
            handles.append(mlp.gate_proj.register_forward_hook(on_gate(layer)))
            handles.append(mlp.act_fn.register_forward_hook(on_activated(layer)))
            handles.append(mlp.down_proj.register_forward_pre_hook(on_neurons(layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


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
) -> NeuronProfile:
    """Profile every neuron of `layers` in every language of `corpus`.

    Args:
        model: a Llama or Qwen2 model with or without a head, in eval mode; a steered one is profiled as it steers.
        max_length: tokens a row; what is longer is cut.
        batch_size: rows a forward pass; it changes the speed and nothing else.
        layers: the model's layer indices, by default all.
        only: languages to run the model on, by default all.  The text of the others is read and its tokens are
            counted, but their sums and counts stay 0: profiles of different languages add up, tensor by tensor, to
            the very bits of one pass over all.
        fingerprint: identifies the weights, for checks against other profiles and checkpoints.
        progress: called after every batch with the language, and how many rows and tokens it had.

    Raises:
        InputError: a setting or layer is out of range, a language has no usable token, or an activation is not
            finite (it names the layer).
    """
    decoder: Any = model.base_model
    layers = _checked_layers(layers, len(decoder.layers))
    if max_length < 1 or batch_size < 1:
        raise InputError(f"maximum length {max_length} and batch size {batch_size}: both must be at least 1")
    recorder = _Recorder(len(corpus.languages), layers, decoder.config.intermediate_size, model.device)
    reader = _Reader(corpus, tokenizer, max_length, batch_size)
    tokens = []
    with torch.inference_mode(), _recording([decoder.layers[layer].mlp for layer in layers], recorder):
        for index, language in enumerate(corpus.languages):
            counted = 0
            for batch in reader.batches(language):
                counted += sum(map(len, batch))
                if only is not None and language not in only:
                    continue
                recorder.begin(index, batch)
                _forward(decoder, batch, model.device)
                recorder.check_finite(layers, language)
                if progress is not None:
                    progress(language, len(batch), sum(map(len, batch)))
            tokens.append(counted)
    return NeuronProfile(
        languages=tuple(corpus.languages),
        layers=tuple(layers),
        num_model_layers=len(decoder.layers),
        tokens=torch.tensor(tokens, dtype=torch.int64),
        provenance=Provenance(
            model=str(model.config.name_or_path),
            model_type=str(model.config.model_type),
            fingerprint=fingerprint,
            corpus=(corpus.name,),
            samples=reader.samples,
            max_length=max_length,
            dtype=str(model.dtype).removeprefix("torch."),
            digests=(reader.digest.hexdigest(),),
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        ),
        **{name: values.cpu() for name, values in {**recorder.sums, **recorder.counts}.items()},
    )


def _checked_layers(layers: Sequence[int] | None, num_layers: int) -> list[int]:
    if layers is None:
        return list(range(num_layers))
    chosen = sorted(set(layers))
    if not chosen or not 0 <= chosen[0] <= chosen[-1] < num_layers:
        raise InputError(f"layers {list(layers)}: layers are 0 to {num_layers - 1}, at least one")
    return chosen


class _Reader:
    """Batches of token ids for one language after the other, and what the provenance says of them."""

    def __init__(
        self, corpus: ParallelCorpus, tokenizer: PreTrainedTokenizerBase, max_length: int, batch_size: int
    ) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer
        self.max_length, self.batch_size = max_length, batch_size
        self.special = set(tokenizer.all_special_ids)
        self.digest = hashlib.sha256()
        self.samples = 0

    def batches(self, language: str) -> Iterator[list[list[int]]]:
        """Rows sorted by length within a window, the longest first: lack of memory shows at once."""
        usable, self.samples = False, 0
        rows = self._encoded(language)
        while window := list(islice(rows, self.batch_size * WINDOW_BATCHES)):
            self.samples += len(window)
            usable = usable or any(not self.special.issuperset(row) for row in window)
            window = sorted((row for row in window if row), key=len, reverse=True)
            for start in range(0, len(window), self.batch_size):
                yield window[start : start + self.batch_size]
        if not usable:
            raise InputError(
                f"language {language!r}: no usable token in corpus {self.corpus.name!r} for this tokenizer"
            )
        self.digest.update(f"/{language}".encode())

    def _encoded(self, language: str) -> Iterator[list[int]]:
        for row in self.corpus.rows:
            ids = self.tokenizer(row[language], truncation=True, max_length=self.max_length)["input_ids"]
            self.digest.update(array("q", ids).tobytes() + b"|")
            yield ids


def _forward(decoder: Any, batch: list[list[int]], device: torch.device) -> None:
    longest = len(batch[0])
    # Padded with a token of the row itself: another token's activations could be NaN, which passes an attention mask.
    input_ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in batch], device=device)
    attention_mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch], device=device)
    try:
        decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    except _Stop:
        return
    raise RuntimeError("the model finished without passing its last profiled layer")
