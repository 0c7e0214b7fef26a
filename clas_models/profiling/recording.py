"""One pass of a model over a parallel corpus, for several recorders at once.

Runs the decoder alone, up to the last site that a recorder wants to see and no further.  Rows are padded on the right,
where causal attention keeps padding from what it follows.  Memory depends on the window and the batch, not on the
number of samples.  What is made of the activations is left to the recorders.
"""

import hashlib
import platform
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..modeling.rule import ACTIVATED, NEURONS
from .corpora import ParallelCorpus
from .neuron_profile import Provenance
from .recorder import GATE, SITES, Batch, Recorder
from .seen_text import MOST, line_hashes

WINDOW_BATCHES = 32  # batches that are sorted by length together


@dataclass(frozen=True, eq=False)
class Recording:
    """What a pass has read.

    `tokens`, int64 `[languages]`, counts those of each language; `lines` are hashes of the text (`seen_text.py`).
    """

    languages: tuple[str, ...]
    tokens: Tensor
    num_model_layers: int
    provenance: Provenance
    lines: frozenset[str]


def record(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    recorders: Sequence[Recorder],
    *,
    max_length: int = 512,
    batch_size: int = 8,
    only: Collection[str] | None = None,
    fingerprint: str | None = None,
    forward_arguments: Callable[[Batch], Mapping[str, Any]] | None = None,
    encode: Callable[[str], Sequence[int]] | None = None,
    by_window: bool = False,
    progress: Callable[[str, int, int], Any] | None = None,
) -> Recording:
    """Run a model over every language of `corpus`, one after the other, and show the recorders what they ask for.

    Args:
        model: of a supported family, plain or steered, with or without a head, in eval mode; one that steers or
            writes is recorded as it does.
        max_length: tokens a row; what is longer is cut.
        batch_size: rows a forward pass; for sums, it changes the speed and nothing else.
        only: languages to run the model on, by default all.  The text of the others is read and its tokens are
            counted.
        fingerprint: identifies the weights, for checks against profiles and checkpoints.
        forward_arguments: further keyword arguments of the model for a batch.  A model of this package that shall
            know the language of the rows is told it by `lambda batch: {"language": batch.language}`.
        encode: how a text becomes token ids, at most `max_length`; by default the tokenizer's way.
        by_window: every language of some rows before the next rows, so that a recorder can compare parallel texts.
        progress: called after every batch with the language, and how many rows and tokens it had.

    Raises InputError: a setting, site or layer that does not exist, or a language without a usable token; or what a
    recorder raises.
    """
    decoder: Any = model.base_model
    watch = _Watch(decoder, recorders)
    reader = _BatchReader(corpus, tokenizer, max_length, batch_size, encode)
    tokens = dict.fromkeys(corpus.languages, 0)
    with torch.inference_mode(), watch.hooked():
        for batch in reader.batches(by_window):
            tokens[batch.language] += batch.tokens
            if only is not None and batch.language not in only:
                continue
            watch.begin(batch)
            _forward(decoder, batch, {} if forward_arguments is None else forward_arguments(batch))
            for recorder in recorders:
                recorder.end()
            if progress is not None:
                progress(batch.language, len(batch.ids), batch.tokens)
    return Recording(
        languages=tuple(corpus.languages),
        tokens=torch.tensor(list(tokens.values()), dtype=torch.int64),
        num_model_layers=len(decoder.layers),
        lines=frozenset(reader.lines),
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
    )


class _BatchReader:
    """Batches of every language, and what a provenance says of them.

    Attributes:
        digest: SHA-256 of the token ids in the order in which they were read.
        samples: rows that were read in each language.
        lines: hashes of the lines of the text, up to a limit.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        batch_size: int,
        encode: Callable[[str], Sequence[int]] | None,
    ) -> None:
        if max_length < 1 or batch_size < 1:
            raise InputError(f"maximum length {max_length} and batch size {batch_size}: both must be at least 1")
        self.corpus, self.tokenizer = corpus, tokenizer
        self.max_length, self.batch_size = max_length, batch_size
        self.encode = encode or self._tokenized
        self.special = set(tokenizer.all_special_ids)
        self.digest = hashlib.sha256()
        self.samples = 0
        self.lines: set[str] = set()

    def batches(self, by_window: bool) -> Iterator[Batch]:
        """In each window the longest first: lack of memory shows at once. Raises InputError: no usable token."""
        languages = self.corpus.languages
        for turn in [languages] if by_window else [(language,) for language in languages]:
            unusable, self.samples = set(turn), 0
            rows = enumerate(self.corpus.rows)
            while window := list(islice(rows, self.batch_size * WINDOW_BATCHES)):
                self.samples += len(window)
                for language in turn:
                    encoded = [(sample, self._encoded(row[language])) for sample, row in window]
                    if any(not self.special.issuperset(ids) for _, ids in encoded):
                        unusable.discard(language)
                    yield from self._batches(language, encoded)
            for language in turn:
                if language in unusable:
                    raise InputError(
                        f"language {language!r}: no usable token in corpus {self.corpus.name!r} for this tokenizer"
                    )
                self.digest.update(f"/{language}".encode())

    def _batches(self, language: str, encoded: Sequence[tuple[int, list[int]]]) -> Iterator[Batch]:
        rows = sorted((row for row in encoded if row[1]), key=lambda row: len(row[1]), reverse=True)
        for start in range(0, len(rows), self.batch_size):
            samples, ids = zip(*rows[start : start + self.batch_size], strict=True)
            yield Batch(language, samples, ids)

    def _encoded(self, text: str) -> list[int]:
        ids = list(self.encode(text))
        self.digest.update(array("q", ids).tobytes() + b"|")
        if len(self.lines) < MOST:
            self.lines.update(line_hashes(text))
        return ids

    def _tokenized(self, text: str) -> list[int]:
        return list(self.tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"])


class _Stop(Exception):
    """Raised at the last site that a recorder wants to see: nothing after it needs to run."""


class _Watch:
    """The sites that recorders want to see, and what they are shown there."""

    def __init__(self, decoder: Any, recorders: Sequence[Recorder]) -> None:
        self.decoder, self.recorders = decoder, recorders
        self.lengths: list[int] = []
        self.wanted: dict[tuple[int, str], list[Recorder]] = {}
        num_layers = len(decoder.layers)
        for recorder in recorders:
            for site, layers in recorder.sites(num_layers).items():
                for layer in layers:
                    if site not in SITES or not 0 <= layer < num_layers:
                        raise InputError(
                            f"site {site!r} of layer {layer}: the sites are {', '.join(SITES)}, the layers "
                            f"0 to {num_layers - 1}"
                        )
                    self.wanted.setdefault((layer, site), []).append(recorder)
        if not self.wanted:
            raise InputError("no recorder asks for a site of a layer: nothing would be recorded")
        self.last = max(self.wanted, key=lambda place: (place[0], SITES.index(place[1])))

    def begin(self, batch: Batch) -> None:
        self.lengths = batch.lengths
        for recorder in self.recorders:
            recorder.begin(batch)

    def see(self, place: tuple[int, str], values: Tensor) -> None:
        """`values` `[rows, tokens, width]`.  What stands where there is padding is nothing that a row depends on."""
        longest = values.shape[1]
        for row, length in enumerate(self.lengths):
            if length < longest:
                values[row, length:] = 0
        layer, site = place
        for recorder in self.wanted[place]:
            recorder.observe(site, layer, values)
        if place == self.last:
            raise _Stop

    @contextmanager
    def hooked(self) -> Iterator[None]:
        handles: list[Any] = []
        try:
            handles += [self._hook(*place) for place in self.wanted]
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, layer: int, site: str) -> Any:
        module = self.decoder.layers[layer]
        see = partial(self.see, (layer, site))
        if site == NEURONS:
            return module.mlp.down_proj.register_forward_pre_hook(lambda _, args: see(args[0]))
        if site == GATE:
            module = module.mlp.gate_proj
        elif site == ACTIVATED:
            # What gives act(gate) as it goes into the product: the nonlinearity, or what writes over it.
            module = module.mlp.act_fn if getattr(module.mlp, "write", None) is None else module.mlp.write
        return module.register_forward_hook(lambda _, args, output: see(output))


def _forward(decoder: Any, batch: Batch, arguments: Mapping[str, Any]) -> None:
    longest, device = batch.lengths[0], decoder.device
    # Padded with a token of the row itself: another token's activations could be NaN, which passes an attention mask.
    input_ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in batch.ids], device=device)
    attention_mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch.ids], device=device)
    try:
        decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **arguments)
    except _Stop:
        return
    raise RuntimeError("the model finished without passing the last site that was asked for")
