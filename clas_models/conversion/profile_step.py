"""The profile of a conversion: the one that the user names, that the source carries, or that is made now.

A finished profile is kept for the next attempt, with a description of all that it depends on.  Where several processes
convert together, each profiles some of the languages: what is summed for one language is summed in one process, in the
order of a process that is alone, so that the profile is the same to the bit.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..profiling.corpora import PROFILED_ROWS, ParallelCorpus, load_corpus
from ..profiling.neuron_profile import FORMATS, NeuronProfile
from ..profiling.neuron_quantiles import FORMAT as QUANTILES_FORMAT
from ..profiling.neuron_quantiles import NeuronQuantiles
from ..profiling.profiler import profile_neurons
from ..profiling.quantile_recorder import QuantileRecorder
from .finished_work import FinishedWork, texts_digest
from .loading import load_tokenizer, load_unsteered, pick_device, pick_dtype
from .options import ConversionOptions
from .progress import Progress
from .ranks import Ranks
from .source import PROFILE_NAME, QUANTILES_NAME, Source, check_profile_fits

DEFAULT_CORPUS = "builtin"
DEFAULT_SAMPLES = 100  # as in the paper, section 2.3
_WITH_FILES = ("xquad", "xnli")  # what `data_dir` is for
PROFILES = FinishedWork(PROFILE_NAME, "profile_request.json")
QUANTILES = FinishedWork(QUANTILES_NAME, "quantiles_request.json")

# What a long pass must not be wasted on; it is told the languages and raises InputError.
Check = Callable[[tuple[str, ...]], None]


def obtain_profile(
    options: ConversionOptions,
    source: Source,
    folder: Path,
    check: Check,
    progress: Progress,
    ranks: Ranks | None = None,
) -> NeuronProfile:
    """The profile that the user names, that the source carries, or that is made now, by all `ranks` together."""
    given = finished_profile(options, source)
    if given is None:
        profile = _make_profile(options, source, folder, check, progress, ranks)
    else:
        profile = NeuronProfile.load(given)
        check_profile_fits(profile, source, given)
        if options.languages is not None:
            profile = profile.select(options.wanted_languages() or ())
        check(profile.languages)
        progress.say(f"profile: {given}, no forward pass needed")
        PROFILES.save(folder, profile, request=None)
    return profile


def finished_profile(options: ConversionOptions, source: Source) -> Path | None:
    """The file of the profile that the user names or that the source carries; None where one is to be made."""
    return source.profile_path if options.profile is None and options.corpus is None else options.profile


def _make_profile(
    options: ConversionOptions, source: Source, folder: Path, check: Check, progress: Progress, ranks: Ranks | None
) -> NeuronProfile:
    corpus = open_corpus(options.corpus or DEFAULT_CORPUS, options, options.vectors)
    check(corpus.languages)
    dtype = pick_dtype(options.dtype, pick_device(options.device), source.dtype)
    request = request_of(source, corpus, options.max_length, dtype)
    if (done := PROFILES.find(folder, request, NeuronProfile.load)) is not None:
        progress.say("profile: finished by an earlier attempt")
        return done
    work = Profiling(source, corpus, options.max_length, options.batch_size, dtype, options.device)
    if options.quantiles and ranks is None:
        profile, quantiles = work.run_with_quantiles(progress)
        QUANTILES.save(folder, quantiles, quantiles_request(source, corpus, options.max_length, dtype))
    else:
        profile = work.run(progress, None) if ranks is None else _profile_together(work, progress, ranks)
    PROFILES.save(folder, profile, request)
    return profile


def open_corpus(name: str, options: ConversionOptions, other: str | None = None) -> ParallelCorpus:
    """The rows and languages of a corpus that the options ask for; `other` is one beside it, if any.

    Raises InputError: there are no such rows, or no such corpus.
    """
    if (options.samples or 0) > (most := PROFILED_ROWS.get(name, options.samples or 0)):
        raise InputError(
            f"samples {options.samples}: of corpus {name} at most {most} are profiled, the rest is kept for tests"
        )
    return load_corpus(
        name,
        languages=options.wanted_languages(),
        samples=options.samples or DEFAULT_SAMPLES,
        fewer=options.samples is None,
        data_dir=None if other in _WITH_FILES and name not in _WITH_FILES else options.data_dir,
    )


def _profile_together(work: "Profiling", progress: Progress, ranks: Ranks) -> NeuronProfile:
    busy = min(ranks.size, len(work.corpus.languages))
    idle = "" if busy == ranks.size else f" of {ranks.size}: a language is profiled by one of them"
    progress.say(f"profiling in {busy} processes{idle}; the bar shows the share of the first")
    # Rows that are read from a file or the Hub are sent as text: another machine may not have them.
    return ranks.together(replace(work, corpus=replace(work.corpus, rows=list(work.corpus.rows))), progress)


@dataclass(frozen=True)
class Profiling:
    """The profiling pass of a conversion, with all that a process needs to run it or a share of it.

    `device` is what the user asked for; of several processes each takes an accelerator of its own where it can.
    """

    source: Source
    corpus: ParallelCorpus
    max_length: int
    batch_size: int
    dtype: str
    device: str

    def run(self, progress: Progress, ranks: Ranks | None) -> NeuronProfile:
        """The profile, with this rank's languages only. Raises InputError: the model cannot be loaded or profiled."""
        return self._pass(progress, ranks)[0]

    def run_with_quantiles(self, progress: Progress) -> tuple[NeuronProfile, NeuronQuantiles]:
        """The profile and, of the same pass, percentiles. Raises InputError: as `run`."""
        profile, recorder = self._pass(progress, None, with_quantiles=True)
        assert recorder is not None
        return profile, recorder.quantiles(profile)

    def _pass(
        self, progress: Progress, ranks: Ranks | None, *, with_quantiles: bool = False
    ) -> tuple[NeuronProfile, QuantileRecorder | None]:
        mine = self.corpus.languages if ranks is None else share_languages(self.corpus, ranks.size)[ranks.rank]
        device = pick_device(self.device)
        if ranks is not None and device.type == "cuda" and device.index is None:
            device = torch.device("cuda", ranks.local_rank % torch.cuda.device_count())
        tokenizer = load_tokenizer(self.source)
        model = load_unsteered(self.source, self.dtype, device)
        recorder = QuantileRecorder(model, self.corpus.languages) if with_quantiles else None
        rows = len(self.corpus.rows) * len(mine)  # type: ignore[arg-type]
        with progress.profiling(rows) as update:

            def after_batch(language: str, batch_rows: int, batch_tokens: int) -> None:
                update(language, batch_rows, batch_tokens)
                if ranks is not None:
                    ranks.check_others()

            profile = profile_neurons(
                model,
                tokenizer,
                self.corpus,
                max_length=self.max_length,
                batch_size=self.batch_size,
                only=mine,
                fingerprint=self.source.fingerprint,
                progress=after_batch,
                beside=[] if recorder is None else [recorder],
            )
        del model
        gc.collect()
        return profile, recorder


def share_languages(corpus: ParallelCorpus, size: int) -> list[tuple[str, ...]]:
    """The languages of every rank, so that all have about as much to read.

    Each language, the longest text first, goes to the rank that has the least so far.  Bytes stand for tokens, which
    no one has counted yet.
    """
    length = dict.fromkeys(corpus.languages, 0)
    for row in corpus.rows:
        for language in corpus.languages:
            length[language] += len(row[language].encode())
    shares: list[list[str]] = [[] for _ in range(size)]
    for language in sorted(corpus.languages, key=length.__getitem__, reverse=True):
        min(shares, key=lambda share: sum(length[code] for code in share)).append(language)
    return [tuple(share) for share in shares]


def quantiles_request(source: Source, corpus: ParallelCorpus, max_length: int, dtype: str) -> dict[str, Any]:
    """All that percentiles depend on."""
    return {**request_of(source, corpus, max_length, dtype), "format": QUANTILES_FORMAT}


def request_of(source: Source, corpus: ParallelCorpus, max_length: int, dtype: str) -> dict[str, Any]:
    """All that a profile depends on."""
    return {
        "fingerprint": source.fingerprint,
        "languages": list(corpus.languages),
        "texts": texts_digest(corpus),
        "max_length": max_length,
        "dtype": dtype,
        "format": max(FORMATS),
    }
