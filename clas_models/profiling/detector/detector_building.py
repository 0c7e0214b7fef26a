"""Make a language detector from a tokenizer and a parallel corpus, and see how often it is right on held-out rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from ...errors import InputError
from ...modeling.language_detector import DetectorCalibration, DetectorDecision, DetectorLimits, LanguageDetector
from .calibration import fit_temperature
from .evidence import token_evidence
from .sample import Sample
from .token_text import read_tokens

# In nats.  English rows of the built-in corpus that the tables had not seen reach 6.5, alone or 32 of them in a row, of
# 13 and 47 that are needed; rows of other languages have 12 at the least, mostly more than 20, of 6 to 9.
LIMITS = DetectorLimits(word_gain=5.0, name_gain=1.5, word_loss=4.0, threshold=6.0, threshold_growth=2.0)

# In nats.  Profiled neighbours are the likelier ones, and short questions in Hindi have few nats against Marathi
# or Nepali.
HANDICAP = 8.0

HELD_OUT = 5  # every fifth row is kept from the detector that is judged


def build_detector(
    tokenizer: Any,
    rows: Iterable[Mapping[str, str]],
    languages: Sequence[str],
    anchor: str,
    vocab_size: int | None = None,
    temperature: float = 1.0,
) -> LanguageDetector:
    """A detector for the profiled `languages`.

    Args:
        tokenizer: of the model; byte-level, or SentencePiece with bytes.
        rows: sentences that say the same in several languages, not every language in every row, the profiled ones
            among them.  Languages that were not profiled are worth having: the detector knows them as such.
        languages: the profiled languages, in the order of their ids.
        anchor: the one of them that is never steered.
        vocab_size: rows of the model's embedding; the size of the tokenizer if not given.
        temperature: of its confidences, see `judge`.

    Raises InputError: no rows, an anchor that is not among the languages, a language that the rows do not have, or none
    beside the anchor.
    """
    rows = list(rows)
    if not rows:
        raise InputError("detector: the corpus has no rows")
    if anchor not in languages:
        raise InputError(f"detector: the anchor language {anchor!r} is not among the languages {', '.join(languages)}")
    known = dict.fromkeys(code for row in rows for code in row)
    if missing := [code for code in languages if code not in known]:
        raise InputError(f"detector: its corpus lacks {', '.join(missing)}; it has {', '.join(known)}")
    if len(known) < 2:
        raise InputError(f"detector: its corpus has no language beside {anchor}")
    sample = Sample.of(rows, anchor)
    tokens = read_tokens(tokenizer, vocab_size or len(tokenizer))
    own = sample.scripts[0]
    calibration = DetectorCalibration(temperature=temperature, handicap=HANDICAP)
    detector = LanguageDetector(len(tokens), sample.codes[1:], languages, anchor, calibration)
    detector.fill(
        token_evidence(tokenizer, sample, tokens),
        # Scripts without blanks have no words to count, so every token of a foreign script counts by itself.
        starts_word=torch.tensor([token.starts_word or not token.scripts & own for token in tokens]),
        # A piece of an address or of code is no more a word than a name is.
        name_like=torch.tensor([token.leads_code or (token.capital and bool(token.scripts & own)) for token in tokens]),
        shouts=torch.tensor([token.shouts for token in tokens]),
        invisible=torch.tensor([not token.raw for token in tokens]),
        limits=LIMITS,
    )
    return detector


@dataclass(frozen=True)
class DetectorAccuracy:
    """Shares, 0 to 1, of `rows` texts: told from the anchor or taken for it rightly, and the language itself right.

    A language that the detector knows but that was not profiled is right as "other".  `anchor` is the share of the
    anchor's own texts that were left to it.
    """

    rows: int
    anchor_or_not: float
    language: float
    anchor: float

    def __str__(self) -> str:
        return (
            f"anchor or not right in {self.anchor_or_not:.1%}, the language in {self.language:.1%}, the anchor kept in "
            f"{self.anchor:.1%} of {self.rows} held-out texts"
        )


def judge(
    tokenizer: Any,
    rows: Sequence[Mapping[str, str]],
    languages: Sequence[str],
    anchor: str,
    vocab_size: int | None = None,
) -> tuple[DetectorAccuracy, float]:
    """Make a detector without every fifth row and ask it about those; arguments and errors are `build_detector`'s.

    Returns: how often it is right, and the temperature that makes its confidences fit that.
    """
    kept = [row for number, row in enumerate(rows) if number % HELD_OUT]
    detector = build_detector(tokenizer, kept, languages, anchor, vocab_size)
    return accuracy(detector, tokenizer, rows[::HELD_OUT], anchor), fit_temperature(
        detector, tokenizer, rows[::HELD_OUT], anchor
    )


def accuracy(
    detector: LanguageDetector, tokenizer: Any, rows: Sequence[Mapping[str, str]], anchor: str
) -> DetectorAccuracy:
    """How often a detector is right about the texts of some rows."""
    texts = [(code, text) for row in rows for code, text in row.items()]
    found = [int(decision(detector, tokenizer, text).language_ids) for _, text in texts]
    answers = [(code, answer) for (code, _), answer in zip(texts, found, strict=True)]
    wanted = dict(zip(detector.detector_languages, detector.class_ids, strict=False)) | {anchor: detector.anchor_id}
    return DetectorAccuracy(
        rows=len(answers),
        anchor_or_not=fmean((found == detector.anchor_id) == (code == anchor) for code, found in answers),
        language=fmean(found == wanted[code] for code, found in answers),
        anchor=fmean(found == detector.anchor_id for code, found in answers if code == anchor),
    )


def decision(detector: LanguageDetector, tokenizer: Any, text: str) -> DetectorDecision:
    """What a detector says of one text."""
    return detector(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]], dtype=torch.long))
