"""The percentiles of a conversion: made now because the user asks for them, or those that a steered source carries.

They are made in the pass that makes the profile, or, for a source that brings a finished profile, in a pass of their
own over the same rows.  What is made is kept for the next attempt.  Of several processes the one of rank 0 makes them
alone, in a pass of its own: the percentiles of a language need all of its text.
"""

import gc
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..profiling.corpora import ParallelCorpus
from ..profiling.neuron_profile import NeuronProfile
from ..profiling.neuron_quantiles import NeuronQuantiles
from ..profiling.quantile_recorder import QuantileRecorder
from ..profiling.recording import record
from ..profiling.seen_text import MOST, line_hashes
from .loading import load_tokenizer, load_unsteered, pick_device, pick_dtype
from .options import ConversionOptions
from .profile_step import QUANTILES, finished_profile, open_corpus, quantiles_request
from .progress import Progress
from .source import Source, check_quantiles_fit

_OTHER_TEXT = (
    "--quantiles: corpus {corpus} holds other text than the profile was made from; profile again, with --corpus"
)


def obtain_quantiles(
    options: ConversionOptions, source: Source, profile: NeuronProfile | None, folder: Path, progress: Progress
) -> NeuronQuantiles | None:
    """Those that are asked for, or that the source carries of the languages of its profile.

    Raises InputError: there is no profile beside which they could stand, or its corpus cannot be read again.
    """
    if not options.quantiles:
        return _carried(options, source, profile, folder)
    if profile is None:
        raise InputError("--quantiles are of neurons, and vectors alone need none; add --corpus or --profile")
    corpus, max_length = _text_of(options, source, profile)
    dtype = pick_dtype(options.dtype, pick_device(options.device), source.dtype)
    request = quantiles_request(source, corpus, max_length, dtype)
    if (done := QUANTILES.find(folder, request, NeuronQuantiles.load)) is not None:
        return done
    _check_same_lines(corpus, profile)
    made = _made(options, source, corpus, max_length, dtype, progress)
    if made.tokens.tolist() != profile.tokens.tolist():
        raise InputError(_OTHER_TEXT.format(corpus=corpus.name))
    QUANTILES.save(folder, made, request)
    return made


def _carried(
    options: ConversionOptions, source: Source, profile: NeuronProfile | None, folder: Path
) -> NeuronQuantiles | None:
    """Those of the source, if it is its profile that stays."""
    path = source.quantiles_path
    if profile is None or path is None or finished_profile(options, source) != source.profile_path:
        return None
    found = NeuronQuantiles.load(path)
    check_quantiles_fit(found, source, path)
    if not set(profile.languages) <= set(found.languages):
        return None
    found = found.select(profile.languages)
    QUANTILES.save(folder, found, request=None)
    return found


def _text_of(options: ConversionOptions, source: Source, profile: NeuronProfile) -> tuple[ParallelCorpus, int]:
    """The rows that the profile was made from, and how many tokens of each were read."""
    if finished_profile(options, source) is None:
        return open_corpus(options.corpus or profile.provenance.corpus[0], options, options.vectors), options.max_length
    made = profile.provenance
    if len(made.corpus) != 1:
        raise InputError(
            f"--quantiles: the profile is of several corpora ({', '.join(made.corpus)}), and quantiles of parts do not "
            "add up; profile one corpus again, with --corpus"
        )
    asked = replace(options, languages=profile.languages, samples=made.samples)
    try:
        return open_corpus(made.corpus[0], asked, options.vectors), made.max_length
    except InputError as error:
        raise InputError(
            f"--quantiles: the corpus of the profile cannot be read again: {error}; or profile again, with --corpus"
        ) from error


def _made(
    options: ConversionOptions,
    source: Source,
    corpus: ParallelCorpus,
    max_length: int,
    dtype: str,
    progress: Progress,
) -> NeuronQuantiles:
    tokenizer, model = load_tokenizer(source), load_unsteered(source, dtype, pick_device(options.device))
    recorder = QuantileRecorder(model, corpus.languages)
    rows = len(corpus.rows) * len(corpus.languages)  # type: ignore[arg-type]
    with progress.profiling(rows, "quantiles") as update:
        recording = record(
            model,
            tokenizer,
            corpus,
            [recorder],
            max_length=max_length,
            batch_size=options.batch_size,
            fingerprint=source.fingerprint,
            progress=update,
        )
    del model
    gc.collect()
    return recorder.quantiles(recording)


def _check_same_lines(corpus: ParallelCorpus, profile: NeuronProfile) -> None:
    """A pass over other text would be wasted. Raises InputError: a line is not among those that were profiled."""
    if profile.lines is None or len(profile.lines) >= MOST:
        return
    for row in corpus.rows:
        if any(not profile.lines.issuperset(line_hashes(row[language])) for language in corpus.languages):
            raise InputError(_OTHER_TEXT.format(corpus=corpus.name))
