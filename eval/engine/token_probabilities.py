"""The probabilities of given tokens, without the logits of a whole batch at once.

The head runs on a few positions at a time: with a large vocabulary the logits of a batch would be many times its other
memory.  A position that predicts several tokens, as where texts part, goes through it once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LOGITS_BYTES = 64 * 2**20
COPIES = 3  # the logits as the head gives them, in float32, and their exponentials


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
