"""Make a language detector from a tokenizer and a parallel corpus."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from ...errors import InputError
from ...modeling.language_detector import DetectorLimits, LanguageDetector
from .evidence import token_evidence
from .sample import Sample
from .token_text import read_tokens

# In nats.  English rows of the built-in corpus that the tables had not seen reach 6.5, alone or 32 of them in a row, of
# 13 and 47 that are needed; rows of other languages have 12 at the least, mostly more than 20, of 6 to 9.
LIMITS = DetectorLimits(word_gain=5.0, name_gain=1.5, word_loss=4.0, threshold=6.0, threshold_growth=2.0)


def build_detector(
    tokenizer: Any,
    rows: Iterable[Mapping[str, str]],
    languages: Sequence[str],
    anchor: str,
    vocab_size: int | None = None,
) -> LanguageDetector:
    """A detector for the profiled `languages`.

    Args:
        tokenizer: of the model; byte-level, or SentencePiece with bytes.
        rows: sentences that say the same in several languages, the profiled ones among them.  Languages that were
            not profiled are worth having: the detector knows them as such.
        languages: the profiled languages, in the order of their ids.
        anchor: the one of them that is never steered.
        vocab_size: rows of the model's embedding; the size of the tokenizer if not given.

    Raises:
        InputError: no rows, an anchor that is not among the languages, a language that the rows do not have, or none
            beside the anchor.
    """
    rows = list(rows)
    _check(rows, languages, anchor)
    sample = Sample.of(rows, anchor)
    tokens = read_tokens(tokenizer, vocab_size or len(tokenizer))
    own = sample.scripts[0]
    detector = LanguageDetector(len(tokens), sample.codes[1:], languages, anchor)
    detector.fill(
        token_evidence(tokenizer, sample, tokens),
        # Scripts without blanks have no words to count, so every token of a foreign script counts by itself.
        starts_word=torch.tensor([token.starts_word or not token.scripts & own for token in tokens]),
        # A piece of an address or of code is no more a word than a name is.
        name_like=torch.tensor([token.leads_code or (token.capital and bool(token.scripts & own)) for token in tokens]),
        invisible=torch.tensor([not token.raw for token in tokens]),
        limits=LIMITS,
    )
    return detector


def _check(rows: Sequence[Mapping[str, str]], languages: Sequence[str], anchor: str) -> None:
    if not rows:
        raise InputError("detector: the corpus has no rows")
    if anchor not in languages:
        raise InputError(f"detector: the anchor language {anchor!r} is not among the languages {', '.join(languages)}")
    if missing := [code for code in languages if code not in rows[0]]:
        raise InputError(f"detector: its corpus lacks {', '.join(missing)}; it has {', '.join(rows[0])}")
    if len(rows[0]) < 2:
        raise InputError(f"detector: its corpus has no language beside {anchor}")
