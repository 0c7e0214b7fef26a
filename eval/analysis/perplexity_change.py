"""The command `perplexity-change`: what writing over the neurons of each language does to the text of every language.

A model reads the text of one language after the other (`perplexity_texts.py`), without and with each language's write
at once (`engine/writes.py`); what was found is a part on disk (`perplexity_parts.py`), and a language that is finished
is not computed again.  The numbers are made of the parts (`perplexity_numbers.py`, `perplexity_output.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch

from clas_models import __version__
from clas_models.command_line import CONVERT
from clas_models.conversion.options import DTYPES, check_counts
from clas_models.errors import InputError
from clas_models.modeling.language_tags import did_you_mean
from clas_models.modeling.rule import ACTIVATED
from clas_models.modeling.write import Write
from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus
from clas_models.profiling.neuron_profile import METADATA_KEY
from clas_models.profiling.seen_text import read_seen_text
from clas_models.profiling.selections import select
from clas_models.profiling.values import SITES, read_value
from clas_models.profiling.write_tables import WriteTables, write_tables

from ..engine.packing import PACK_TOKENS
from ..engine.writes import nats_under_writes
from ..loading import Checkpoint, open_checkpoint
from ..method_tables import sha256
from ..progress import Meter, Progress
from ..tasks.perplexity import DEFAULT_CORPUS
from ..tasks.task import language_codes
from .perplexity_numbers import PerplexityChange
from .perplexity_output import PerplexityChangeResult
from .perplexity_parts import COMMAND, Part, begun, part_path
from .perplexity_texts import Text, Texts

TOKENS = 10_000
_LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class PerplexityChangeOptions:
    """What a user can choose; the defaults are the command line's.

    Attributes:
        model: a folder or a Hub id of a steered checkpoint.
        out: the folder of the results.
        corpus: as for the converter.
        tokens: the most of a language that are predicted; the rows are the same in every language.
        languages: rows and columns of the matrix; None is all that the checkpoint was profiled for.
        select: whose neurons, as `selections.select` reads it.
        value, site: what is written, as `read_value` takes it, and a key of SITES.
        skip: rows of the corpus that are left out, after those that are for profiling.
        data_dir: folder with the published files of a corpus; None is the Hub.
        max_length: tokens of a window; None is 1,024, or what the model has room for if that is less.
        batch_size: texts that are planned together; it decides the last bits of a result.
        dtype, device: as for the converter.
        overwrite: replace results with other settings.
    """

    model: str
    out: Path
    corpus: str = DEFAULT_CORPUS
    tokens: int = TOKENS
    languages: tuple[str, ...] | None = None
    select: str = "lape"
    value: str = "zero"
    site: str = ACTIVATED
    skip: int = 0
    data_dir: Path | None = None
    max_length: int | None = None
    batch_size: int = 16
    dtype: str = "auto"
    device: str = "auto"
    overwrite: bool = False

    def check(self) -> None:
        """Raises InputError for a value that no model or data could make right."""
        for name, given, known in (
            ("site", self.site, SITES),
            ("dtype", self.dtype, DTYPES),
        ):
            if given not in known:
                raise InputError(f"{name} {given!r}: choose one of {', '.join(known)}")
        read_value(self.value)
        check_counts(self.max_length, self.batch_size, None)
        if self.tokens < 1:
            raise InputError(f"tokens {self.tokens}: must be at least 1")
        if self.skip < 0:
            raise InputError(f"skip is {self.skip}: give 0 or more")
        if self.max_length == 1:
            raise InputError("max length 1: the first token of a window is not predicted; give at least 2")


def run_perplexity_change(options: PerplexityChangeOptions, progress: Progress) -> PerplexityChangeResult:
    """Compute what is not there yet, and write all results.

    Raises:
        InputError: something cannot be used.
        OSError: the disk is full or not writable; the run can go on later.
    """
    work = _Work.of(options, progress)
    with begun(options.out, work.settings(), progress.say, overwrite=options.overwrite):
        for remark in work.remarks():
            progress.say(remark)
        with progress.predicting(sum(work.texts.tokens.values()), unit=" tokens") as meter:
            work.compute(meter)
        result = work.result()
        result.write()
    return result


@dataclass(frozen=True)
class _Work:
    """A run whose model and data are checked; the weights are loaded when a part is missing."""

    options: PerplexityChangeOptions
    checkpoint: Checkpoint
    tables: WriteTables
    texts: Texts
    window: int
    progress: Progress

    @classmethod
    def of(cls, options: PerplexityChangeOptions, progress: Progress) -> Self:
        """Raises InputError: an option, the checkpoint or the corpus cannot be used."""
        options.check()
        checkpoint = open_checkpoint(options.model, options.dtype, options.device)
        if not checkpoint.is_steered:
            raise InputError(
                f"{checkpoint.name}: a plain checkpoint, which carries no profile to find language neurons in; "
                f"convert it first with {CONVERT}"
            )
        tables = _tables(options, checkpoint, _languages(options.languages, checkpoint))
        room = int(checkpoint.config.max_position_embeddings)
        window = options.max_length or min(PACK_TOKENS, room)
        if window > room:
            raise InputError(f"max length {window}: {checkpoint.name} has room for {room} tokens; give no more")
        corpus = load_corpus(
            options.corpus,
            languages=tables.languages,
            skip=PROFILED_ROWS.get(options.corpus, 0) + options.skip,
            data_dir=options.data_dir,
        )
        path, tokenizer = checkpoint.source.profile_path, checkpoint.tokenizer
        seen = None if path is None else read_seen_text(path, METADATA_KEY)
        texts = Texts.of(corpus, lambda text: tokenizer(text)["input_ids"], options.tokens, window, seen)
        return cls(options, checkpoint, tables, texts, window, progress)

    def settings(self) -> dict[str, Any]:
        options, checkpoint = self.options, self.checkpoint
        return {
            "command": COMMAND,
            "model": checkpoint.name,
            "fingerprint": checkpoint.fingerprint,
            "languages": list(self.tables.languages),
            "corpus": self.texts.corpus,
            "skip": options.skip,
            "tokens": options.tokens,
            "max_length": self.window,
            **self.texts.settings(),
            "select": options.select,
            "value": read_value(options.value),
            "site": options.site,
            "written": sha256([self.tables.masks, self.tables.values]),
            "batch_size": options.batch_size,
            "dtype": checkpoint.dtype,
            "device": checkpoint.device.type,
            "versions": {"clas-models": __version__, **{name: version(name) for name in _LIBRARIES}},
            "profiled": dict(self.texts.profiled),
        }

    def remarks(self) -> Sequence[str]:
        """What a user should know, a line each."""
        counts = self.texts.tokens
        ends = [f"{code} {counts[code]:,}" for code in (min(counts, key=counts.__getitem__), _most(counts))]
        said = [f"{self.texts.rows:,} rows of {self.texts.corpus} in every language, tokens: {' to '.join(ends)}"]
        if any(self.texts.profiled.values()):
            code = _most(self.texts.profiled)
            said.append(
                f"up to {self.texts.profiled[code]:,} of these rows were profiled ({code}), so the text is not unseen"
            )
        return said

    def compute(self, meter: Meter) -> None:
        """The parts that are missing."""
        model, write = None, Write(self.tables.masks, self.tables.values, self.tables.languages)
        for code, text in self.texts.by_language.items():
            path = part_path(self.options.out, code)
            if path.is_file():
                self._part(code)  # a damaged one is told before more work is done
                meter.already(text.tokens)
                continue
            if model is None:
                checkpoint = self.checkpoint
                self.progress.say(f"loading {checkpoint.name} ({checkpoint.dtype}, {checkpoint.device})")
                model = checkpoint.load()
            meter.at(code)
            self._measured(model, write, text, meter).save(path)

    def _measured(self, model: Any, write: Write, text: Text, meter: Meter) -> Part:
        """The text of one language; windows of a row are added up."""
        conditions = 1 + len(self.tables.languages)
        nats = torch.zeros(conditions, self.texts.rows, dtype=torch.float64)
        tokens = torch.zeros(self.texts.rows, dtype=torch.int64)
        for batch, sums in nats_under_writes(model, write, text.windows, batch_size=self.options.batch_size):
            rows = torch.tensor([text.rows[index] for index in batch])
            counts = torch.tensor([len(text.windows[index]) - 1 for index in batch])
            nats.index_add_(1, rows, torch.tensor(sums, dtype=torch.float64))
            tokens.index_add_(0, rows, counts)
            meter.add(int(counts.sum()), {})
        return Part(nats, tokens)

    def _part(self, language: str) -> Part:
        path = part_path(self.options.out, language)
        return Part.load(path, len(self.tables.languages), self.texts.rows)

    def result(self) -> PerplexityChangeResult:
        codes = self.tables.languages
        by_layer = self.tables.masks.sum(-1).tolist()
        neurons = {code: tuple(counts) for code, counts in zip(codes, by_layer, strict=True)}
        found = PerplexityChange.of({code: self._part(code) for code in codes})
        return PerplexityChangeResult(self.options.out, self.settings(), neurons, found)


def _languages(asked: Sequence[str] | None, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Those that are asked for, as the checkpoint names them; each once, and at least two."""
    profiled = tuple(checkpoint.config.languages)
    codes = language_codes(asked)
    if codes is None:
        codes = profiled
    for code in codes:
        if code not in profiled:
            raise InputError(
                f"language {code}{did_you_mean(code)} was not profiled, so it has no neurons of its own; choose among "
                f"{', '.join(profiled)}"
            )
    if len(codes) < 2:
        raise InputError(f"languages: there is only {codes[0]}, and the matrix compares languages; give at least two")
    return codes


def _tables(options: PerplexityChangeOptions, checkpoint: Checkpoint, languages: Sequence[str]) -> WriteTables:
    """What is written for each language, the anchor among them."""
    known = checkpoint.known()
    selection = select(options.select, known)
    if not bool(selection.masks.any()):
        raise InputError(
            f"selection {options.select}: it is empty, no language has a neuron in {checkpoint.name}; profile more "
            "text, or choose another --select"
        )
    tables = write_tables(known, selection, languages, value=options.value, site=options.site)
    missing = [code for code, mask in zip(languages, tables.masks, strict=True) if not bool(mask.any())]
    if missing:
        raise InputError(
            f"selection {options.select}: no neurons for {', '.join(missing)}; leave it out of --languages, or choose "
            "another --select"
        )
    return tables


def _most(counts: Mapping[str, int]) -> str:
    return max(counts, key=counts.__getitem__)
