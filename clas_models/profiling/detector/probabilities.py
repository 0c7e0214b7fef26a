"""How likely each language is to write each token: counts, and a guess for the thousands that no sample holds.

The byte models behind the guess learn from the corpus first, and then from the whole words of the vocabulary, each
counted for the languages that the first models and the mixture of the vocabulary give it: a tokenizer's words come for
the most part from the language that it was made for, and there are far more of them than in any sample.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .byte_model import ByteModel
from .sample import Sample
from .spelling import AS_IT_STANDS, SPELLINGS, respelled
from .token_text import TokenText, plain

# Weight of the guess against the counts, in tokens: half as much as 100 sentences have.
_GUESS_TOKENS = 1500.0
# The same for the share of each shape of token.
_SHAPE_TOKENS = 20.0
# How much one whole word of the vocabulary counts for the byte models, against one in the corpus.
_VOCABULARY_WEIGHT = 0.5
# Posteriors of vocabulary words are flattened a little: the models that give them are made from small samples.
_VOCABULARY_TEMPER = 0.7
_MIXTURE_STEPS = 20
# A shorter piece is the beginning of a word in any language.
_WORD_LETTERS = 3
# Smaller than the probability of any token, so that logarithms exist.
_TINY = 1e-13


def token_counts(tokenizer: Any, sample: Sample, tokens: Sequence[TokenText]) -> Tensor:
    """How often each token stands in the sentences as they are, and in other spellings, by language."""
    speaks = torch.tensor([token.speaks for token in tokens])
    plain_counts = torch.stack([_counts(tokenizer, sentences, len(tokens)) for sentences in sample.texts]) * speaks
    total = plain_counts.clone()
    for spell, weight in SPELLINGS:
        spelled = [respelled(sentences, spell) for sentences in sample.texts]
        counts = torch.stack([_counts(tokenizer, sentences, len(tokens)) for sentences in spelled]) * speaks
        # A spelling weighs as much in all languages of a script, into however many pieces their capitals are cut.
        growth = counts.sum(1) / plain_counts.sum(1).clamp(min=1)
        common = torch.stack([_mean_of_kin(growth, column, sample) for column in range(len(growth))])
        total += counts * (weight * common / growth.clamp(min=1e-9))[:, None]
    return total.T


def _counts(tokenizer: Any, sentences: Sequence[str], vocab_size: int) -> Tensor:
    """Half of how often each token stands in the sentences, at the beginning of a line and within one."""
    both = [*sentences, *(" " + sentence for sentence in sentences)]
    ids = [token for row in tokenizer(both, add_special_tokens=False)["input_ids"] for token in row] if both else []
    return torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=vocab_size).double() / 2


def _mean_of_kin(growth: Tensor, column: int, sample: Sample) -> Tensor:
    """The mean over the languages of a language's scripts that have the spelling."""
    kin = [bool(scripts & sample.scripts[column]) for scripts in sample.scripts]
    return growth[torch.tensor(kin) & (growth > 0)].mean().nan_to_num()


def log_probabilities(sample: Sample, tokens: Sequence[TokenText], counts: Tensor) -> Tensor:
    """log P(token | language): counts, with the byte model's guess as their Dirichlet prior."""
    shared = sample.shared_scripts()
    strings = [token.raw if token.text is None else token.text.encode() for token in tokens]
    # Where the script alone names the language, nothing has to be guessed.
    speaking = (place for place, token in enumerate(tokens) if token.speaks)
    guessed = [place for place in speaking if not tokens[place].scripts or tokens[place].scripts & shared]
    words = [place for place in guessed if _is_whole_word(tokens[place])]
    samples, weights = _byte_samples(sample)
    logs = _smoothed(ByteModel(samples, weights), strings, guessed, tokens, counts)
    samples += [strings[place] + b" " for place in words]
    weights = torch.cat([weights, _VOCABULARY_WEIGHT * _word_languages(logs[words])])
    return _smoothed(ByteModel(samples, weights), strings, guessed, tokens, counts)


def _byte_samples(sample: Sample) -> tuple[list[bytes], Tensor]:
    """The texts for the byte models and their weights `[texts, languages]`; what `plain` makes equal is there once."""
    samples: list[bytes] = []
    owners: list[int] = []
    weights: list[float] = []
    for column, sentences in enumerate(sample.texts):
        found: dict[bytes, float] = {}
        for spell, weight in (AS_IT_STANDS, *SPELLINGS):
            found.setdefault(f" {' '.join(plain(spell(sentence)) for sentence in sentences)} ".encode(), weight)
        samples += found
        weights += found.values()
        owners += [column] * len(found)
    return samples, torch.eye(len(sample.texts), dtype=torch.float64)[owners] * torch.tensor(weights)[:, None]


def _smoothed(
    model: ByteModel, strings: Sequence[bytes], places: list[int], tokens: Sequence[TokenText], counts: Tensor
) -> Tensor:
    guess = torch.full_like(counts, _TINY)
    guess[places] = model.log_probabilities([strings[place] for place in places]).exp()
    # Byte models know nothing of how a tokenizer cuts: that whole words of eight letters are tokens in one language
    # and four pieces in another.  The shares of the shapes do, and the guess only divides them up.
    shapes, shares = _shapes(tokens, counts)
    mass = torch.zeros_like(shares).index_add_(0, shapes, guess)
    guess = guess / mass[shapes].clamp(min=1e-30) * shares[shapes]
    return ((counts + _GUESS_TOKENS * guess) / (counts.sum(0) + _GUESS_TOKENS)).clamp(min=_TINY).log()


def _word_languages(logs: Tensor) -> Tensor:
    """P(language | word) for words of the vocabulary, with the languages' shares of it found by EM."""
    shares = torch.full((logs.shape[1],), 1 / logs.shape[1], dtype=logs.dtype)
    posterior = torch.zeros_like(logs)
    for _ in range(_MIXTURE_STEPS):
        posterior = (_VOCABULARY_TEMPER * logs + shares.log()).softmax(1)
        shares = posterior.mean(0).clamp(min=1e-4) if len(logs) else shares
    return posterior


def _is_whole_word(token: TokenText) -> bool:
    text = token.text or ""
    one_word = text.startswith(" ") and " " not in text.strip()
    return one_word and token.letters >= _WORD_LETTERS and len(token.scripts) == 1


def _shapes(tokens: Sequence[TokenText], counts: Tensor) -> tuple[Tensor, Tensor]:
    """The shape of each token (whole, script, place in the word, letters), and the shares of the shapes by language."""
    kinds = [
        (t.text is None, tuple(sorted(t.scripts)), t.starts_word, t.capital, t.shouts, min(int(t.letters), 10))
        for t in tokens
    ]
    index = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    shapes = torch.tensor([index[kind] for kind in kinds])
    seen = torch.zeros(len(index), counts.shape[1], dtype=torch.float64).index_add_(0, shapes, counts)
    # A tokenizer without bytes may have no token for a language.
    pooled = (seen / seen.sum(0).clamp(min=1)).mean(1, keepdim=True) + 1e-5
    return shapes, (seen + _SHAPE_TOKENS * pooled) / (seen.sum(0) + _SHAPE_TOKENS)
