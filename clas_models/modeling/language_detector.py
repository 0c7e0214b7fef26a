"""Which language a sequence is in, from its token ids alone.

The detector reads one row of a small table for every token: how much the token speaks for each language against the
anchor, the language that is never steered.  It adds the rows up by words and looks for the stretch that speaks most
for one language, so that an English instruction around foreign content dilutes nothing.  Evidence and its sums are
integers: the answer does not depend on padding, batch or device, and no cast of the model to another dtype touches
the tables.

How the tables are made is `profiling/detector`'s business, when the detector is asked is `auto_language.py`'s; this
module needs nothing of transformers.

Source: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954), for the sum that finds the stretch.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .offloading import keep_in_memory

# One nat of evidence is this many units of the int8 table: steps of 1/16 nat up to 7.9 nats for one token.
UNITS_PER_NAT = 16
# Classes beyond the named languages: an unknown language in the anchor's script, and one in another script.
UNNAMED_CLASSES = 2
# Bits of `kinds`.
STARTS_WORD, NAME_LIKE, INVISIBLE, SHOUTS = 1, 2, 4, 8


@dataclass(frozen=True)
class DetectorLimits:
    """How evidence is bounded and when it is enough, in nats.

    Attributes:
        word_gain: the most that one word can speak for any language, however many pieces it has.
        name_gain: the same for a word that begins with a capital in the anchor's script: it may be a name.  Of
            several such words in a row only the first counts.
        word_loss: the most that one word can speak against a language.
        threshold: evidence that a text without a word of the anchor needs.
        threshold_growth: what is added to it, times the square root of the number of the anchor's words: long texts
            have names and quotations, and more room for chance.
    """

    word_gain: float
    name_gain: float
    word_loss: float
    threshold: float
    threshold_growth: float


class DetectorDecision(NamedTuple):
    """What the detector says of every row.

    Attributes:
        language_ids: int64 `[batch]`, positions in the list of profiled languages; one more stands for all others.
        evidence: float32 `[batch, classes]`, nats for each class of the detector, less the handicap of languages that
            were not profiled; what exceeds `threshold` is enough.
        threshold: float32 `[batch]`, nats.
        confidences: float32 `[batch, names]`: of the anchor, of each of the detector's languages, and of all others
            together; they sum to 1.
        names: int64 `[batch]`: which of these it is.
    """

    language_ids: Tensor
    evidence: Tensor
    threshold: Tensor
    confidences: Tensor
    names: Tensor


@dataclass(frozen=True)
class DetectorCalibration:
    """How evidence becomes a decision and a confidence; fields of the configuration, `detector_…`.

    Attributes:
        floor: a row whose language has a lower confidence, 0 to 1, is taken for the anchor.
        temperature: what nats are divided by before they become confidences; the words of a text are no independent
            witnesses.
        handicap: nats by which a known language that was not profiled must be ahead of all other classes.  No row
            becomes one of the anchor by it.
    """

    floor: float = 0.0
    temperature: float = 1.0
    handicap: float = 0.0


UNCALIBRATED = DetectorCalibration()


class LanguageDetector(nn.Module):
    """Language ids from token ids; its tables are buffers and travel in the checkpoint.

    Args:
        vocab_size: rows of the tables.
        detector_languages: the languages that the tables tell from the anchor, profiled or not; its classes are these
            and two unnamed ones.
        languages: the profiled languages, in the order of their ids.
        anchor_language: the one of them that is never steered.
        calibration: see `DetectorCalibration`.

    Buffers:
        evidence: int8 `[vocab_size, classes]`, units for each class against the anchor.
        kinds: uint8 `[vocab_size]`, bits: the token starts a word; a word that it starts may be a name; it is no text;
            all its letters are capitals (a single one only within a word).
        limits: int32 `[5]`, `DetectorLimits` in units.
    """

    evidence: Tensor
    kinds: Tensor
    limits: Tensor

    def __init__(
        self,
        vocab_size: int,
        detector_languages: Sequence[str],
        languages: Sequence[str],
        anchor_language: str,
        calibration: DetectorCalibration = UNCALIBRATED,
    ) -> None:
        super().__init__()
        self.calibration = calibration
        self.detector_languages = tuple(detector_languages)
        self.anchor_id = list(languages).index(anchor_language)
        self.others = len(languages)
        ids = [languages.index(code) if code in languages else self.others for code in detector_languages]
        self.class_ids = (*ids, *[self.others] * UNNAMED_CLASSES)
        self.register_buffer("evidence", torch.zeros(vocab_size, len(self.class_ids), dtype=torch.int8))
        self.register_buffer("kinds", torch.zeros(vocab_size, dtype=torch.uint8))
        self.register_buffer("limits", torch.zeros(5, dtype=torch.int32))

    @classmethod
    def of(cls, config: Any, languages: Sequence[str] | None = None) -> Self | None:
        """The one that the configuration of a steered checkpoint describes, its tables empty; None if there is none.

        `languages` are the profiled ones if they are not the configuration's.
        """
        if config.detector_languages is None:
            return None
        calibration = DetectorCalibration(config.detector_floor, config.detector_temperature, config.detector_handicap)
        known, profiled = config.detector_languages, languages or config.languages
        return cls(config.vocab_size, known, profiled, config.anchor_language, calibration)

    def fill(
        self,
        evidence: Tensor,
        *,
        starts_word: Tensor,
        name_like: Tensor,
        shouts: Tensor,
        invisible: Tensor,
        limits: DetectorLimits,
    ) -> None:
        """Set the tables.

        Args:
            evidence: nats `[vocab_size, classes]`.
            starts_word: bool `[vocab_size]`: the token cannot belong to the word before it.
            name_like: bool `[vocab_size]`: a word that begins with the token may be a name.
            shouts: bool `[vocab_size]`: all letters of the token are capitals, more than one at the beginning of a
                word.  A word that begins so, or goes on so, behind another such word is no name.
            invisible: bool `[vocab_size]`: the token is no text, as padding and the marks of a chat template are not.
            limits: see `DetectorLimits`.
        """
        self.evidence.copy_((evidence * UNITS_PER_NAT).round().clamp(-127, 127))
        self.kinds.copy_(starts_word * STARTS_WORD + name_like * NAME_LIKE + shouts * SHOUTS + invisible * INVISIBLE)
        self.limits.copy_((torch.tensor(astuple(limits)) * UNITS_PER_NAT).round())

    def resize(self, vocab_size: int) -> None:
        """Follow a resized embedding: tokens that are new say nothing."""
        keep_in_memory(self)
        more = vocab_size - len(self.kinds)
        for name in ("evidence", "kinds"):
            table = getattr(self, name)
            padding = table.new_zeros(max(more, 0), *table.shape[1:])
            setattr(self, name, torch.cat([table[:vocab_size], padding]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> DetectorDecision:
        """Decide for every row of a batch.

        Args:
            input_ids: integers `[batch, tokens]`.
            attention_mask: `[batch, tokens]`, 0 where a token is padding; without it every token counts.

        Raises IndexError: an id outside the table (on an accelerator, the device's own assertion).
        """
        self._check(input_ids)
        if input_ids.shape[1] == 0:
            input_ids = input_ids.new_zeros(input_ids.shape[0], 1)
            attention_mask = torch.zeros_like(input_ids)
        words, anchor_words = self._words(input_ids, attention_mask)
        totals = words.cumsum(1, dtype=torch.int32)
        # The best stretch that ends at a word began where the sum before it was lowest; an empty one has 0.
        lowest = (totals - words).cummin(1).values
        best = (totals - lowest).amax(1).clamp(min=0).float()
        threshold = self.limits[3] + self.limits[4] * anchor_words.sum(1).float().sqrt()
        class_ids = torch.tensor(self.class_ids, device=input_ids.device)
        best = self._handicapped(best, class_ids)
        confidences = self._confidences(best, threshold)
        winner = best.argmax(1)
        name = winner.clamp(max=len(self.detector_languages)) + 1
        sure = confidences.gather(1, name[:, None]).squeeze(1) >= self.calibration.floor
        recognised = (best.amax(1) > threshold) & sure
        return DetectorDecision(
            language_ids=torch.where(recognised, class_ids[winner], self.anchor_id),
            evidence=best / UNITS_PER_NAT,
            threshold=threshold / UNITS_PER_NAT,
            confidences=confidences,
            names=torch.where(recognised, name, 0),
        )

    def _handicapped(self, best: Tensor, class_ids: Tensor) -> Tensor:
        """The evidence with the handicap of classes that were not profiled; the highest of it stays as high."""
        handicap = round(self.calibration.handicap * UNITS_PER_NAT)
        named = torch.arange(len(class_ids), device=best.device) < len(self.detector_languages)
        ranked = best - handicap * (named & (class_ids == self.others))
        return ranked + (best.amax(1, keepdim=True) - ranked.amax(1, keepdim=True))

    def _confidences(self, best: Tensor, threshold: Tensor) -> Tensor:
        """Of the anchor, which has the threshold for evidence, of the languages, and of all others together."""
        nats = torch.cat([threshold[:, None], best], dim=1) / UNITS_PER_NAT
        shares = (nats / self.calibration.temperature).softmax(dim=1)
        named, unnamed = shares.split([1 + len(self.detector_languages), UNNAMED_CLASSES], dim=1)
        return torch.cat([named, unnamed.sum(1, keepdim=True)], dim=1)

    def _check(self, input_ids: Tensor) -> None:
        if input_ids.device.type != "cpu" or torch.compiler.is_compiling() or not input_ids.numel():
            return  # the gather itself refuses such an id; only the message is the device's own
        low, high = int(input_ids.min()), int(input_ids.max())
        if low < 0 or high >= len(self.kinds):
            raise IndexError(
                f"input_ids: {low if low < 0 else high} is outside the detector's {len(self.kinds)} tokens"
            )

    def _words(self, input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The bounded evidence of whole words at the last token of each, and where those of the anchor are.

        Returns:
            int32 `[batch, tokens, classes]` in units, 0 within a word; bool `[batch, tokens]`.
        """
        kinds = self.kinds[input_ids]
        real = kinds & INVISIBLE == 0
        if attention_mask is not None:
            real = real & attention_mask.bool()
        evidence = F.embedding(input_ids, self.evidence).to(torch.int32) * real[..., None]
        # What is no text ends and begins words, as the edges of the row do.
        starts = (kinds & STARTS_WORD != 0) | ~real | ~F.pad(real, (1, -1), value=False)
        ends = F.pad(starts, (-1, 1), value=True)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        first = torch.where(starts, positions, 0).cummax(1).values
        totals = evidence.cumsum(1, dtype=torch.int32)
        before = (totals - evidence).gather(1, first[..., None].expand_as(totals))
        words = (totals - before) * ends[..., None]
        shouts = kinds & SHOUTS != 0
        shouted = (shouts | F.pad(shouts & ~starts, (-1, 1), value=False)).gather(1, first)
        after_shouted = F.pad(shouted, (1, -1), value=False).gather(1, first)
        name = ((kinds & NAME_LIKE != 0) & real).gather(1, first) & ~(shouted & after_shouted)
        after_name = F.pad(name, (1, -1), value=False).gather(1, first)
        gain = torch.where(name, self.limits[1] * ~after_name, self.limits[0])
        # What is too much is taken from all languages alike, so that it still tells them apart.
        words = words - (words.amax(-1, keepdim=True) - gain[..., None]).clamp(min=0)
        words = words.maximum(-self.limits[2])
        return words, (words.amax(-1) < 0) & ~name

    def extra_repr(self) -> str:
        languages = list(self.detector_languages)
        return f"vocab_size={len(self.kinds)}, detector_languages={languages}, anchor_id={self.anchor_id}"
