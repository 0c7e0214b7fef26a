"""The main job from end to end: a plain checkpoint in, a steered one out.

Puts the parts together: source -> profile -> categories -> bridge layers -> detector -> checkpoint -> check.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..command_line import EVAL
from ..errors import InputError
from ..modeling.auto_language import AUTO
from ..modeling.language import language_id, not_profiled
from ..modeling.language_detector import LanguageDetector
from ..modeling.steering import negative_factors
from ..profiling.bridge_layers import BridgeLayers, choose_bridge_layers, format_layers, parse_layers
from ..profiling.categories import STATISTICS, categorize
from ..profiling.figures import save_layer_figure
from ..profiling.layer_table import LayerTable, layer_table
from ..profiling.neuron_profile import NeuronProfile
from .checkpoint import SteeredCheckpoint, steered_config
from .chosen_masks import ChosenMasks, active_means, masks_of_profile
from .copying import write_text
from .detector import NONE, MadeDetector, carried_detector, make_detector, open_detector_corpus
from .export_record import refuse_folded
from .in_force import in_force, steered_language
from .mask_file import MaskRecord, OwnMasks, load_masks
from .model_card import CARD_NAME, FIGURE_STEM, NOT_MEASURED, model_card, short_name
from .options import STRENGTHS, ConversionOptions
from .plain_text import PlainText, measure_checkpoint
from .profile_step import REQUEST_NAME, finished_profile, obtain_profile
from .progress import Progress
from .ranks import Ranks
from .source import PROFILE_NAME, Source, open_source
from .staging import check_target, staged
from .verification import verify

_SCRATCH_NAME = "dequantized"
_VECTOR_FIELDS = ("vector_layers", "vector_strength", "vector_positions")


@dataclass(frozen=True)
class Result:
    """What a conversion made; `no_detector` says why there is none."""

    out: Path
    checkpoint: SteeredCheckpoint
    table: LayerTable
    bridge: BridgeLayers
    masks: ChosenMasks
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
    with staged(out, overwrite=options.overwrite, keep=(_SCRATCH_NAME, REQUEST_NAME, PROFILE_NAME)) as folder:
        source = open_source(options.model, folder / _SCRATCH_NAME, options.dtype, quiet=progress.quiet)
        refuse_folded(source.folder, source.name)
        progress.tell_unused(source.name, source.unused)
        own = None if options.masks is None else load_masks(options.masks, source.num_layers, source.num_neurons)
        is_fresh = finished_profile(options, source) is None
        profile = obtain_profile(
            options, source, folder, lambda codes: _check_early(options, source, codes), progress, ranks
        )
        detector, no_detector = _detector(options, source, profile.languages, progress)
        checkpoint, table, bridge, masks = plan(options, source, profile, detector, own)
        if source.raw_config.get("overwrite_layers"):
            progress.say("note: the neurons that this checkpoint overwrites (set_overwrite) are not taken over")
        if source.has_vectors and not checkpoint.vectors:
            progress.say("note: its vectors are not taken over, they are for other languages or another anchor")
        if own is None and source.is_steered and MaskRecord.is_in(source.folder):
            progress.say("note: the masks that it was given are not taken over; give them again with --masks")
        for warning in (*_warnings(checkpoint, bridge), *masks.warnings()):
            progress.say(f"warning: {warning}")
        save_layer_figure(table, folder / FIGURE_STEM, bridge_layers=bridge.layers, title=short_name(source))
        with progress.copying(sum(shard.size for shard in source.shards)) as copied:
            checkpoint.write(folder, copied)
        if masks.own is not None:
            masks.own.write(folder)
        progress.say("checking what was written")
        verify(folder, checkpoint)
        plain_text = None
        if is_fresh and (plain_text := measure_checkpoint(checkpoint, folder, options, progress)) is not None:
            card = checkpoint.card.replace(NOT_MEASURED, plain_text.to_markdown(), 1)
            write_text(folder / CARD_NAME, card)
        (folder / REQUEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(folder / _SCRATCH_NAME, ignore_errors=True)
    return Result(out, checkpoint, table, bridge, masks, detector, no_detector, plain_text)


def _detector(
    options: ConversionOptions, source: Source, languages: Sequence[str], progress: Progress
) -> tuple[MadeDetector | None, str]:
    """The detector of a steered source as it is, unless a corpus is named; else one that is made now.

    Returns: the detector, or the reason why there is none.
    """
    anchor = options.anchor_among(languages)
    if _keeps_detector(options, source):
        return carried_detector(source, languages, anchor), f"{source.name} has none against {anchor}"
    found = open_detector_corpus(options.detector_corpus, options.corpus, options.data_dir, languages)
    if found.corpus is None:
        if options.detector_corpus != NONE:
            progress.say(f"no language detector: {found.reason}")
        return None, found.reason
    progress.say("making the language detector")
    try:
        made = make_detector(source, found.corpus, languages, anchor)
    except InputError as error:
        if options.detector_corpus is not None:
            raise
        progress.say(f"no language detector: {error}")
        return None, str(error)
    progress.say(f"language detector: {made.accuracy}")
    if not made.is_trusted:
        progress.say('warning: that is too often wrong for a default; ask for it with language="auto"')
    return made, ""


def _keeps_detector(options: ConversionOptions, source: Source) -> bool:
    return source.is_steered and options.detector_corpus is None and options.corpus is None


def _strengths(options: ConversionOptions, source: Source, languages: Sequence[str]) -> dict[str, Any]:
    """What the user says, else what holds in a steered source whose profile is used, else the defaults."""
    found: dict[str, Any] = dict(STRENGTHS)
    if source.is_steered and options.corpus is None and options.profile is None:
        found = {name: getattr(source.config, name) for name in STRENGTHS}
        if isinstance(found["alpha"], Mapping):
            known = {"default", *languages} - {options.anchor_among(languages)}
            found["alpha"] = {code: value for code, value in found["alpha"].items() if code in known}
    own = found["alpha"]["default"] if isinstance(found["alpha"], Mapping) else found["alpha"]
    found |= {name: value for name in STRENGTHS if (value := getattr(options, name)) is not None}
    if isinstance(found["alpha"], Mapping):  # of languages that nobody names, what would hold without any
        found["alpha"] = {**found["alpha"], "default": found["alpha"].get("default", own)}
    return found


def _fields(
    options: ConversionOptions,
    source: Source,
    languages: Sequence[str],
    bridge_layers: Sequence[int],
    detector: MadeDetector | None,
) -> dict[str, Any]:
    language = options.wanted_language() or (AUTO if detector is not None and detector.is_trusted else None)
    return {
        "languages": list(languages),
        "anchor_language": options.anchor_among(languages),
        "bridge_layers": list(bridge_layers),
        **_strengths(options, source, languages),
        "language": None if language == NONE else language,
        **(_detector_fields(detector.detector) if detector is not None else {"detector_languages": None}),
    }


def _detector_fields(detector: LanguageDetector) -> dict[str, Any]:
    calibration = {f"detector_{name}": value for name, value in asdict(detector.calibration).items()}
    return {"detector_languages": list(detector.detector_languages), **calibration}


def _check_early(options: ConversionOptions, source: Source, languages: tuple[str, ...]) -> None:
    """What a long profiling pass must not be wasted on: languages, strengths, the statistic, the bridge layers."""
    if len(languages) < 2:
        raise InputError(
            f"languages {', '.join(languages)}: one language alone has no shared neurons; give at least two"
        )
    anchor = options.anchor_among(languages)
    if options.statistic not in STATISTICS:
        raise InputError(f"statistic {options.statistic!r}: choose one of {', '.join(STATISTICS)}")
    explicit = () if options.bridge_layers == "auto" else parse_layers(options.bridge_layers, source.num_layers)
    _check_detector(options, source, languages, anchor)
    fields = _fields(options, source, languages, explicit, None)
    # There is no detector yet.
    steered_config(source, {**fields, "language": None if fields["language"] == AUTO else fields["language"]})


def _check_detector(options: ConversionOptions, source: Source, languages: tuple[str, ...], anchor: str) -> None:
    """That a detector is sound, or its corpus can be used, and that there is one where inputs shall be left to it."""
    reason = ""
    if _keeps_detector(options, source):
        if carried_detector(source, languages, anchor) is None:
            reason = f"{source.name} has none against {anchor}; make one with --detector-corpus"
    elif options.detector_corpus is not None or options.wanted_language() == AUTO:
        reason = open_detector_corpus(options.detector_corpus, options.corpus, options.data_dir, languages).reason
    if reason and options.wanted_language() == AUTO:
        raise InputError(f"--language auto needs a language detector: {reason}")


def plan(
    options: ConversionOptions,
    source: Source,
    profile: NeuronProfile,
    detector: MadeDetector | None = None,
    own: OwnMasks | None = None,
) -> tuple[SteeredCheckpoint, LayerTable, BridgeLayers, ChosenMasks]:
    """What a profile and options, or somebody's own masks, make of a source; nothing is written yet.

    Raises InputError: an option cannot be used, or next to nothing would be steered.
    """
    statistic, threshold = options.statistic, options.threshold
    categories = categorize(profile, statistic, threshold)
    table = layer_table(categories)
    spec = options.bridge_layers if own is None else format_layers(own[0])
    bridge = choose_bridge_layers(table, source.num_layers, spec)
    if own is None:
        masks = masks_of_profile(profile, categories, bridge.layers, statistic, threshold)
    else:
        masks = ChosenMasks(own[0], active_means(statistic, threshold), own=own[1])
    vectors = source.carried_vectors(profile.languages, options.anchor_among(profile.languages))
    fields = _fields(options, source, profile.languages, bridge.layers, detector)
    fields |= {name: getattr(source.config, name) for name in _VECTOR_FIELDS if vectors}
    config = steered_config(source, fields)
    fields = {name: config[name] for name in fields}
    card = model_card(source, fields, profile, table, bridge, masks, detector)
    tables = detector.detector if detector is not None else None
    return SteeredCheckpoint(source, masks.by_layer, fields, profile, card, tables, vectors), table, bridge, masks


def _warnings(checkpoint: SteeredCheckpoint, bridge: BridgeLayers) -> Iterator[str]:
    """What a user may not have meant."""
    if bridge.warning:
        yield bridge.warning
    config: Any = checkpoint.source.family.config.from_dict(steered_config(checkpoint.source, checkpoint.fields))
    if negative := negative_factors(config.scale_rule.strengths, config.languages):
        yield negative
    language = config.language
    if language not in (None, AUTO) and language_id(language, config.languages) == len(config.languages):
        yield not_profiled(language, config.languages)


def summarize(result: Result, seconds: float) -> str:
    """The layer table, the bridge layers and why, the share of neurons steered, and how to use the checkpoint."""
    fields, profile = result.checkpoint.fields, result.checkpoint.profile
    shared, specific = result.masks.shares
    others = (code for code in fields["languages"] if code != fields["anchor_language"])
    example = steered_language(fields) or next(others)
    language = "" if fields["language"] == AUTO else f'language="{example}", '
    provenance = profile.provenance
    lines = [
        "",
        f"Neurons by layer, per cent ({', '.join(provenance.corpus)}: {provenance.samples} samples in each of "
        f"{len(profile.languages)} languages, {int(profile.tokens.sum()):,} tokens)",
        result.table.to_text(result.bridge.layers),
        "",
        f"Bridge {result.bridge.reason}",
        f"Marked there: {shared:.1%} of the neurons as shared, {specific:.1%} as specific",
        *([] if result.masks.own is None else [f"Masks: {result.masks.own}"]),
        f"Agreement: {result.masks.stability}",
        f"In force: {in_force(fields)}",
        *_detector_line(result),
        f"Done in {seconds:.0f} s: {result.out}",
        "",
        "    import clas_models; from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'    model, tokenizer = (C.from_pretrained("{result.out}") for C in (AutoModelForCausalLM, AutoTokenizer))',
        '    print(tokenizer.decode(model.generate(**tokenizer("…", return_tensors="pt"), '
        f"{language}max_new_tokens=40)[0]))",
        *_plain_text_line(result),
    ]
    return "\n".join(lines)


def _plain_text_line(result: Result) -> list[str]:
    if result.plain_text is None:
        return [""]
    return ["", f"{result.plain_text.verdict}; decide with: {EVAL} tune {result.out} --task … --write", ""]


def _detector_line(result: Result) -> list[str]:
    if result.detector is None:
        return [
            f"No language detector ({result.no_detector}): name the language of each input, or make a detector with "
            "--detector-corpus"
        ]
    accuracy = f": {result.detector.accuracy}" if result.detector.accuracy else ""
    return [f"Language detector ({result.detector.corpus}){accuracy}"]
