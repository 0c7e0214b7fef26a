"""The main job from end to end: a plain checkpoint in, a steered one out.

Puts the parts together: source -> profile -> vectors -> detector -> plan -> checkpoint -> check.  A checkpoint rescales
neurons (`rescaling.py`), adds vectors (`chosen_vectors.py`), or both.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..modeling.auto_language import AUTO
from ..modeling.language import language_id, not_profiled
from ..modeling.steering import negative_factors
from ..profiling.bridge_layers import parse_layers
from ..profiling.categories import STATISTICS
from ..profiling.corpora import ParallelCorpus
from ..profiling.language_vectors import LanguageVectors
from ..profiling.neuron_profile import NeuronProfile
from .checkpoint import SteeredCheckpoint, steered_config
from .chosen_vectors import ChosenVectors, early_fields, plan_vectors
from .copying import write_text
from .detector import MadeDetector
from .detector_step import check_detector, obtain_detector
from .export_record import refuse_folded
from .fields import steering_fields
from .foreign_files import keep_foreign
from .mask_file import MaskRecord, OwnMasks, load_masks
from .model_card import CARD_NAME, NOT_MEASURED, model_card, short_name
from .options import ConversionOptions
from .plain_text import PlainText, measure_checkpoint
from .profile_step import DEFAULT_CORPUS, PROFILES, QUANTILES, finished_profile, obtain_profile
from .progress import Progress
from .quantile_step import obtain_quantiles
from .ranks import Ranks
from .rescaling import Rescaling, fitted_of, keeps_masks, plan_rescaling, rescales
from .source import Source, open_source
from .staging import check_target, staged
from .vector_step import MEASURED, obtain_vectors, open_vectors
from .verification import verify

_SCRATCH_NAME = "dequantized"
_KEPT = (_SCRATCH_NAME, *PROFILES.files, *QUANTILES.files, *MEASURED.files)


@dataclass(frozen=True)
class Plan:
    """What a checkpoint shall be; `rescaling` or `vectors` may be None."""

    checkpoint: SteeredCheckpoint
    rescaling: Rescaling | None
    vectors: ChosenVectors | None

    @property
    def parts(self) -> list[Rescaling | ChosenVectors]:
        return [part for part in (self.rescaling, self.vectors) if part is not None]


@dataclass(frozen=True)
class Result(Plan):
    """What a conversion made; `no_detector` says why there is none."""

    out: Path
    detector: MadeDetector | None
    no_detector: str = ""
    plain_text: PlainText | None = None


def convert(options: ConversionOptions, progress: Progress | None = None, ranks: Ranks | None = None) -> Result:
    """Make a steered checkpoint and check it; `ranks` profile together, and this is rank 0, see `ranks.on_all_ranks`.

    Raises:
        InputError: something that the user gave cannot be used.
        OSError: the disk is full or not writable; what was finished is kept for the next attempt.
    """
    progress = progress or Progress(quiet=True)
    options.check()
    out = options.target()
    check_target(out, overwrite=options.overwrite)
    with staged(out, overwrite=options.overwrite, keep=_KEPT) as folder:
        source = open_source(options.model, folder / _SCRATCH_NAME, options.dtype, quiet=progress.quiet)
        refuse_folded(source.folder, source.name)
        progress.tell_unused(source.name, source.unused)
        own = None if options.masks is None else load_masks(options.masks, source.num_layers, source.num_neurons)
        opened = open_vectors(options, source)
        profile, languages = _profile(options, source, opened, folder, progress, ranks)
        quantiles = obtain_quantiles(options, source, profile, folder, progress)
        data = obtain_vectors(options, source, opened, folder, progress)
        detector, no_detector = obtain_detector(
            options, source, languages, _read_corpus(options, source, opened), progress
        )
        made = plan(options, source, profile, detector, own, data, languages)
        made = replace(made, checkpoint=replace(made.checkpoint, quantiles=quantiles))
        for note in _notes(options, source, made):
            progress.say(f"note: {note}")
        for warning in _warnings(made):
            progress.say(f"warning: {warning}")
        with progress.copying(sum(shard.size for shard in source.shards)) as copied:
            made.checkpoint.write(folder, copied)
        if made.rescaling is not None:
            made.rescaling.write(folder, short_name(source))
        progress.say("checking what was written")
        verify(folder, made.checkpoint)
        plain_text = _plain_text(options, made, folder, _read_corpus(options, source, opened), progress)
        for work in (PROFILES, QUANTILES, MEASURED):
            work.forget(folder)
        shutil.rmtree(folder / _SCRATCH_NAME, ignore_errors=True)
        if options.in_place:
            keep_foreign(source, folder)
    return Result(made.checkpoint, made.rescaling, made.vectors, out, detector, no_detector, plain_text)


def _profile(
    options: ConversionOptions,
    source: Source,
    opened: LanguageVectors | ParallelCorpus | None,
    folder: Path,
    progress: Progress,
    ranks: Ranks | None,
) -> tuple[NeuronProfile | None, tuple[str, ...]]:
    """The profile of a checkpoint that rescales neurons, and the languages of the checkpoint in any case."""
    if rescales(options, source):
        keeps_masks(options, source)
        profile = obtain_profile(
            options, source, folder, lambda codes: _check_early(options, source, codes, opened), progress, ranks
        )
        return profile, profile.languages
    languages = options.wanted_languages() or _languages_of(source, opened)
    _check_early(options, source, languages, opened)
    return None, languages


def _languages_of(source: Source, opened: LanguageVectors | ParallelCorpus | None) -> tuple[str, ...]:
    """Of a checkpoint with vectors alone: its own, or the anchor and those that have vectors."""
    if source.is_steered:
        return tuple(source.config.languages)
    if isinstance(opened, LanguageVectors):
        return (opened.anchor, *opened.languages)
    return () if opened is None else opened.languages


def _read_corpus(
    options: ConversionOptions, source: Source, opened: LanguageVectors | ParallelCorpus | None
) -> str | None:
    """The corpus that the model reads in this conversion, if any."""
    if options.corpus is not None:
        return options.corpus
    if rescales(options, source) and finished_profile(options, source) is None:
        return DEFAULT_CORPUS
    return options.vectors if isinstance(opened, ParallelCorpus) else None


def _check_early(
    options: ConversionOptions,
    source: Source,
    languages: tuple[str, ...],
    opened: LanguageVectors | ParallelCorpus | None = None,
) -> None:
    """What a long pass must not be wasted on: languages, strengths, the statistic, the layers."""
    if len(languages) < 2:
        raise InputError(
            f"languages {', '.join(languages)}: one language alone has no shared neurons; give at least two"
        )
    anchor = options.anchor_among(languages)
    if options.statistic not in STATISTICS:
        raise InputError(f"statistic {options.statistic!r}: choose one of {', '.join(STATISTICS)}")
    explicit = () if options.bridge_layers == "auto" else parse_layers(options.bridge_layers, source.num_layers)
    fitted_of(options, source)
    check_detector(options, source, languages, _read_corpus(options, source, opened))
    fields = steering_fields(options, source, languages, explicit, None)
    fields |= early_fields(options, source, opened, [code for code in languages if code != anchor])
    # There is no detector yet.
    steered_config(source, {**fields, "language": None if fields["language"] == AUTO else fields["language"]})


def plan(
    options: ConversionOptions,
    source: Source,
    profile: NeuronProfile | None,
    detector: MadeDetector | None = None,
    own: OwnMasks | None = None,
    data: LanguageVectors | None = None,
    languages: Sequence[str] = (),
) -> Plan:
    """What a profile, vectors and options, or somebody's own masks, make of a source; nothing is written yet.

    `languages` are those of the profile where there is one.

    Raises InputError: an option cannot be used, or next to nothing would be steered.
    """
    rescaling = None if profile is None else plan_rescaling(options, source, profile, own)
    languages = languages if profile is None else profile.languages
    vectors = plan_vectors(options, source, data, languages)
    if rescaling is None and vectors is None:
        raise InputError(f"{source.name}: nothing to steer; give --corpus, --profile, --masks or --vectors")
    masks, bridge_layers = ({}, ()) if rescaling is None else (rescaling.masks.by_layer, rescaling.bridge.layers)
    tables, vector_fields, kept = ({}, {}, None) if vectors is None else (vectors.tables, vectors.fields, vectors.data)
    fitted = None if rescaling is None else rescaling.fitted
    fields = {**steering_fields(options, source, languages, bridge_layers, detector, fitted), **vector_fields}
    config = steered_config(source, fields)
    fields = {name: config[name] for name in fields}
    card = model_card(source, fields, rescaling, vectors, detector)
    language_tables = detector.detector if detector is not None else None
    checkpoint = SteeredCheckpoint(source, masks, fields, profile, card, language_tables, tables, kept, fitted)
    return Plan(checkpoint, rescaling, vectors)


def _notes(options: ConversionOptions, source: Source, made: Plan) -> Iterator[str]:
    """What of a source is not taken over."""
    if source.raw_config.get("overwrite_layers"):
        yield "the neurons that this checkpoint overwrites (set_overwrite) are not taken over"
    if source.has_vectors and made.vectors is None:
        yield "its vectors are not taken over, they are for other languages or another anchor"
    if source.is_steered and source.config.fitted and made.checkpoint.fitted is None:
        yield "its fitted strengths are not taken over, others are asked for; give them again with --strengths"
    kept = made.checkpoint.fitted is not None or (made.rescaling is not None and made.rescaling.masks.own is not None)
    if source.is_steered and MaskRecord.is_in(source.folder) and not kept:
        yield "the masks that it was given are not taken over; give them again with --masks"


def _warnings(made: Plan) -> Iterator[str]:
    """What a user may not have meant."""
    checkpoint = made.checkpoint
    config: Any = checkpoint.source.family.config.from_dict(steered_config(checkpoint.source, checkpoint.fields))
    tables = [None] if checkpoint.fitted is None else checkpoint.fitted.tables().values()
    negative = [negative_factors(config.scale_rule.strengths, config.languages, table) for table in tables]
    if config.bridge_layers and any(negative):
        yield next(filter(None, negative))
    language = config.language
    if language not in (None, AUTO) and language_id(language, config.languages) == len(config.languages):
        yield not_profiled(language, config.languages)
    for part in made.parts:
        yield from part.warnings()


def _plain_text(
    options: ConversionOptions, made: Plan, folder: Path, corpus: str | None, progress: Progress
) -> PlainText | None:
    """What the strengths do to plain text, into the card, where the model has read a corpus anyway."""
    if corpus is None:
        return None
    plain_text = measure_checkpoint(made.checkpoint, folder, corpus, options, progress)
    if plain_text is not None:
        write_text(folder / CARD_NAME, made.checkpoint.card.replace(NOT_MEASURED, plain_text.to_markdown(), 1))
    return plain_text
