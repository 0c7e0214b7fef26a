"""The negative log-likelihood of texts.

Texts of a batch are packed (see `packing.py`), so that nothing is padded and a beginning that several share is
computed once.  The head runs on a few positions at a time: with a large vocabulary the logits of a batch would be
many times its other memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import plan_batches
from .decoder import SplitDecoder
from .packing import Pack, pack_prompts
from .settings import DistinctSettings, Setting, in_force

LOGITS_BYTES = 64 * 2**20
COPIES = 3  # the logits as the head gives them, in float32, and their logarithms of probabilities


def negative_log_likelihood(
    model: Any,
    rows: Sequence[Sequence[int]],
    language: str,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], list[float], list[int]]]:
    """How unlikely the model finds every text, with the strengths in force on it.

    Args:
        model: a causal language model, see `SplitDecoder`.
        rows: token ids; all texts, also where a run is continued.
        language: the code of the texts' language.
        batch_size: the most texts that are computed together.
        skip_batches: how many batches of `plan_batches(rows, batch_size)` are not computed again.

    Yields:
        Batch by batch as planned: indices of texts, the sum of -log p over every token but the first in nats, and how
        many tokens that are (0 for a text of one token, whose sum is 0).

    Raises:
        InputError: a text without tokens, a batch size that is not positive, or a model that is not supported.
        TypeError, ValueError: `language` is not a language code.
    """
    for batch, sums, counts in negative_log_likelihood_grid(model, rows, language, [{}], batch_size, skip_batches):
        yield batch, sums[0], counts


def negative_log_likelihood_grid(
    model: Any,
    rows: Sequence[Sequence[int]],
    language: str,
    settings: Sequence[Setting],
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], list[list[float]], list[int]]]:
    """`negative_log_likelihood` for every setting, with the layers below the first steered one run once.

    The sums are bit for bit those of `negative_log_likelihood` under each setting.

    Args:
        settings: strengths, see `Setting`; the other arguments are those of `negative_log_likelihood`.

    Yields:
        Indices of texts, for every setting their sums, and how many tokens each is the sum over.

    Raises:
        InputError: as `negative_log_likelihood`, or there are no settings, or the model is not steered.
        TypeError, ValueError: a strength is not allowed, or `language` is not a language code.
    """
    decoder = SplitDecoder(model)
    grid = DistinctSettings.of(decoder, language, settings)
    for batch in plan_batches(rows, batch_size)[skip_batches:]:
        texts = [rows[index] for index in batch]
        sums = _sums(decoder, texts, language, grid.settings)
        yield batch, [sums[place] for place in grid.index], [len(text) - 1 for text in texts]


@torch.inference_mode()
def _sums(
    decoder: SplitDecoder, texts: Sequence[Sequence[int]], language: str, settings: Sequence[Setting]
) -> list[list[float]]:
    sums = [[0.0] * len(texts) for _ in settings]
    for pack in pack_prompts(texts):
        state = decoder.lower_pack(pack)
        for place, setting in enumerate(settings):
            with in_force(decoder, setting):
                hidden = decoder.upper(state, language)[0]
            nats = _token_nats(decoder, hidden, pack)
            for row, path in zip(pack.rows, pack.paths, strict=True):
                sums[place][row] = float(nats[path[1:]].sum())
    return sums


def _token_nats(decoder: SplitDecoder, hidden: Tensor, pack: Pack) -> Tensor:
    """-log p of every token of a pack after those before it in its text, float64 `[tokens]` on the CPU.

    A text's first token has no such value, and its place holds 0.
    """
    before = torch.full_like(pack.ids, -1)
    for path in pack.paths:
        before[path[1:]] = path[:-1]
    nats = torch.zeros(len(pack.ids), dtype=torch.float64)
    bytes_a_token = COPIES * 4 * decoder.config.vocab_size
    for places in (before >= 0).nonzero()[:, 0].split(max(LOGITS_BYTES // bytes_a_token, 1)):
        logits = decoder.head(hidden[before[places].to(hidden.device)]).float()
        losses = F.cross_entropy(logits, pack.ids[places].to(logits.device), reduction="none")
        nats[places] = losses.double().cpu()
    return nats
