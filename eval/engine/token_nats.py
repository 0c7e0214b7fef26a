"""How unlikely a model finds given tokens, with bounded memory.

The head runs on a few positions at a time: with a large vocabulary the logits of a batch would be many times its other
memory.  A position that predicts several tokens, as where texts part, goes through it once.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .decoder import SplitDecoder
from .packing import Pack

LOGITS_BYTES = 64 * 2**20
COPIES = 3  # the logits as the head gives them, in float32, and their exponentials


def token_nats(decoder: SplitDecoder, hidden: Tensor, pack: Pack, starts: Sequence[int]) -> Tensor:
    """-log p of the tokens of a pack after those before them in their text, float64 `[tokens]` on the CPU.

    Args:
        hidden: `[tokens, hidden]`, of the pack after the last norm.
        starts: for each text of the pack the first of its tokens that is asked for, 1 or more; of the others the value
            is 0.
    """
    before = torch.full_like(pack.ids, -1)
    for path, start in zip(pack.paths, starts, strict=True):
        before[path[start:]] = path[start - 1 : -1]
    places = (before >= 0).nonzero()[:, 0]
    nats = torch.zeros(len(pack.ids), dtype=torch.float64)
    nats[places] = -log_probabilities(decoder.head, hidden, before[places], pack.ids[places], decoder.config.vocab_size)
    return nats


def log_probabilities(
    head: Callable[[Tensor], Tensor], hidden: Tensor, places: Tensor, tokens: Tensor, vocabulary: int
) -> Tensor:
    """log p of every token at the position that predicts it, in nats.

    Args:
        head: hidden states `[positions, hidden]` -> logits `[positions, vocabulary]`.
        hidden: `[all positions, hidden]`.
        places: int64 `[tokens]`, on the CPU: the position that predicts each token.
        tokens: int64 `[tokens]`, on the CPU.

    Returns:
        float64 `[tokens]` on the CPU.
    """
    distinct, index = places.unique(return_inverse=True)
    found = torch.zeros(len(places), dtype=torch.float64)
    size = max(LOGITS_BYTES // (COPIES * 4 * vocabulary), 1)
    for number, part in enumerate(distinct.split(size)):
        logits = head(hidden[part.to(hidden.device)]).float()
        inside = (index // size == number).nonzero()[:, 0]
        rows = (index[inside] - number * size).to(logits.device)
        log_p = logits[rows, tokens[inside].to(logits.device)] - logits.logsumexp(-1)[rows]
        found[inside] = log_p.double().cpu()
    return found
