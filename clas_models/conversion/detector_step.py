"""The language detector of a conversion: the one of a steered source, or one that is made now."""

from collections.abc import Sequence

from ..errors import InputError
from ..modeling.auto_language import AUTO
from .detector import NONE, MadeDetector, carried_detector, make_detector, open_detector_corpus
from .options import ConversionOptions
from .progress import Progress
from .source import Source


def obtain_detector(
    options: ConversionOptions, source: Source, languages: Sequence[str], corpus: str | None, progress: Progress
) -> tuple[MadeDetector | None, str]:
    """The detector of a steered source as it is, unless a corpus is named; else one that is made now.

    Args:
        corpus: what the model has read in this conversion, if anything.

    Returns: the detector, or the reason why there is none.
    """
    anchor = options.anchor_among(languages)
    if _keeps_detector(options, source):
        return carried_detector(source, languages, anchor), f"{source.name} has none against {anchor}"
    found = open_detector_corpus(options.detector_corpus, corpus, options.data_dir, languages)
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


def check_detector(options: ConversionOptions, source: Source, languages: tuple[str, ...], corpus: str | None) -> None:
    """That a detector is sound, or its corpus can be used, and that there is one where inputs shall be left to it.

    `corpus` as for `obtain_detector`.  Raises InputError: not so.
    """
    reason, anchor = "", options.anchor_among(languages)
    if _keeps_detector(options, source):
        if carried_detector(source, languages, anchor) is None:
            reason = f"{source.name} has none against {anchor}; make one with --detector-corpus"
    elif options.detector_corpus is not None or options.wanted_language() == AUTO:
        reason = open_detector_corpus(options.detector_corpus, corpus, options.data_dir, languages).reason
    if reason and options.wanted_language() == AUTO:
        raise InputError(f"--language auto needs a language detector: {reason}")


def _keeps_detector(options: ConversionOptions, source: Source) -> bool:
    return source.is_steered and options.detector_corpus is None and options.corpus is None
