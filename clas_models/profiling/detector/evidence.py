"""What each token says for each language against the anchor, from three sources.

How likely the languages are to write it (`probabilities.py`), its script, and its letters.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .probabilities import log_probabilities, token_counts
from .sample import Sample
from .token_text import TokenText

# In nats.  The most that a token of the anchor's script can say for other languages: seen in the corpus, or guessed.
_SEEN_GAIN, _GUESS_GAIN = 4.0, 2.5
_TOKEN_LOSS = 4.0
# A cut character whose script is open stands in signs and emoji, too.  Which bytes unknown languages have is not known.
_CUT_GAIN, _CUT_LOSS = 0.5, 0.25
# A token does not speak against one language more than this, compared with the one that it fits best.
_APART = 5.0
# What a letter outside its alphabet says against a language; names and loans have them.
_ALIEN_LETTER = 3.0
# An unknown language is less likely than a profiled one; twice as much in a script of its own, which says more.
_UNKNOWN_LANGUAGE = 0.3

# What a letter of a script that the anchor does not use says, so that a word is worth about as much in all scripts:
# one or two signs of Chinese, five letters of an alphabet.  A token has at most the worth of one long word.
_LETTER_NATS = {"HAN": 2.5, "HANGUL": 2.5, "HIRAGANA": 1.5, "KATAKANA": 1.5}
_ALPHABET_NATS = 1.0
_SCRIPT_GAIN = 6.0


def token_evidence(tokenizer: Any, sample: Sample, tokens: Sequence[TokenText]) -> Tensor:
    """Nats for each language against the anchor, float64 `[tokens, languages but the anchor + 2]`.

    The last two columns stand for the languages that the sample does not have: those that share a script with the
    anchor, and those that do not.
    """
    counts = token_counts(tokenizer, sample, tokens)
    logs = log_probabilities(sample, tokens, counts) + _alien_letters(tokens, sample)
    ratios = logs[:, 1:] - logs[:, :1]
    strange = _strange_letters(tokens, sample)
    foreign = torch.tensor([bool(token.scripts) and not token.scripts & sample.scripts[0] for token in tokens])
    speaks = torch.tensor([token.speaks for token in tokens])
    home = _home_evidence(ratios, tokens, sample, strange, counts)
    table = torch.where(foreign[:, None], _foreign_evidence(ratios, tokens, sample, strange), home)
    return table * speaks[:, None]


def _home_evidence(
    ratios: Tensor, tokens: Sequence[TokenText], sample: Sample, strange: Tensor, counts: Tensor
) -> Tensor:
    """Evidence of tokens in the anchor's script, or of no known script: what is common to all languages is bounded."""
    own = sample.scripts[0]
    peers = torch.tensor([bool(scripts & own) for scripts in sample.scripts[1:]])
    everyone = torch.ones_like(peers)
    near = _mixture(ratios, peers if peers.any() else everyone) - _UNKNOWN_LANGUAGE + strange
    far = _mixture(ratios, everyone if peers.all() else ~peers) - 2 * _UNKNOWN_LANGUAGE
    ratios = torch.cat([ratios, near[:, None], far[:, None]], 1)
    # Words in the anchor's script tell languages of other scripts neither from each other nor from unknown ones.
    cut = torch.tensor([token.text is None and len(token.scripts) != 1 for token in tokens])
    at_home = (torch.tensor([bool(token.scripts & own) for token in tokens]) & ~cut)[:, None]
    outside = at_home & torch.cat([~peers, torch.tensor([False, True])])
    ratios = torch.where(outside, near[:, None], ratios)
    best = ratios.amax(1, keepdim=True)
    seen = (counts[:, 1:] > 0).any(1)
    gain = torch.where(cut, _CUT_GAIN, torch.where(seen, _SEEN_GAIN, _GUESS_GAIN)).double()
    common = best.squeeze(1).clamp(min=-_TOKEN_LOSS).minimum(gain)
    table = common[:, None] + (ratios - best).clamp(min=-_APART)
    unnamed = cut[:, None] & (torch.arange(table.shape[1]) >= len(peers))
    table = torch.where(unnamed, table.clamp(min=-_CUT_LOSS), table)
    return torch.where(outside, table.clamp(max=0.0), table)


def _foreign_evidence(ratios: Tensor, tokens: Sequence[TokenText], sample: Sample, strange: Tensor) -> Tensor:
    """Evidence of tokens in scripts that the anchor does not use: the script speaks, the counts tell who shares it."""
    nats = torch.tensor([_script_nats(token) for token in tokens], dtype=torch.float64)[:, None]
    fits = torch.tensor([[bool(token.scripts & scripts) for scripts in sample.scripts[1:]] for token in tokens])
    known = fits.any(1)
    far = torch.where(known, _mixture(ratios, fits) - 2 * _UNKNOWN_LANGUAGE + strange, 0.0)
    # Where a cut character may be of several scripts, more of them are of unknown languages than of known ones.
    several = torch.tensor([token.text is None and len(token.scripts) > 1 for token in tokens])
    far = torch.where(several, ratios.masked_fill(~fits, -torch.inf).amax(1).clamp(min=0.0), far)
    no, yes = torch.zeros_like(fits[:, :1]), torch.ones_like(fits[:, :1])
    fits = torch.cat([fits, no, yes], 1)
    ratios = torch.cat([ratios, far[:, None], far[:, None]], 1).masked_fill(~fits, -torch.inf)
    table = nats + (ratios - ratios.amax(1, keepdim=True)).clamp(min=-_APART)
    # A script that a language does not have never speaks for it.
    return torch.where(fits, table, table.clamp(max=0.0))


def _mixture(ratios: Tensor, members: Tensor) -> Tensor:
    """The evidence for a language that mixes its neighbours evenly, `[tokens]`.

    The best of them at every token would be too much: it wins wherever they take turns.
    """
    logs = ratios.masked_fill(~members, -torch.inf).logsumexp(1)
    return logs - members.sum(-1).clamp(min=1).double().log()


def _script_nats(token: TokenText) -> float:
    letter = max((_LETTER_NATS.get(name, _ALPHABET_NATS) for name in token.scripts), default=0.0)
    return min(letter * token.letters, _SCRIPT_GAIN)


def _alien_letters(tokens: Sequence[TokenText], sample: Sample) -> Tensor:
    """What letters outside its alphabet say against each language, `[tokens, languages]`."""
    result = torch.zeros(len(tokens), len(sample.codes), dtype=torch.float64)
    for place, token in enumerate(tokens):
        if token.text and token.scripts:
            letters = _composed(token.text)
            aliens = [
                column for column, alphabet in enumerate(sample.alphabets) if alphabet and not letters <= alphabet
            ]
            result[place, aliens] = -_ALIEN_LETTER
    return result


def _composed(text: str) -> set[str]:
    """The letters of a text with their accents; accents whose letter is in another token say nothing here."""
    composed = unicodedata.normalize("NFC", text)
    return {char for char in composed if char != " " and not unicodedata.name(char, "").startswith("COMBINING")}


def _strange_letters(tokens: Sequence[TokenText], sample: Sample) -> Tensor:
    """What letters outside every alphabet of their script say for an unknown language, `[tokens]`."""
    every = frozenset(" ").union(*(alphabet for alphabet in sample.alphabets if alphabet))
    pairs = list(zip(sample.scripts, sample.alphabets, strict=True))
    complete = frozenset().union(*(scripts for scripts, alphabet in pairs if alphabet))
    complete -= frozenset().union(*(scripts for scripts, alphabet in pairs if not alphabet))
    strange = [
        bool(token.text) and bool(token.scripts & complete) and not _composed(token.text or "") <= every
        for token in tokens
    ]
    return torch.tensor(strange).double() * _ALIEN_LETTER
