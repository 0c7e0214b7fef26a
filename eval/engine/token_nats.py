"""How unlikely a model finds the tokens of a pack, with bounded memory.

The head runs on a few positions at a time: with a large vocabulary the logits of a batch would be many times its other
memory.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoder import SplitDecoder
from .packing import Pack

LOGITS_BYTES = 64 * 2**20
COPIES = 3  # the logits as the head gives them, in float32, and their logarithms of probabilities


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
    nats = torch.zeros(len(pack.ids), dtype=torch.float64)
    bytes_a_token = COPIES * 4 * decoder.config.vocab_size
    for places in (before >= 0).nonzero()[:, 0].split(max(LOGITS_BYTES // bytes_a_token, 1)):
        logits = decoder.head(hidden[before[places].to(hidden.device)]).float()
        losses = F.cross_entropy(logits, pack.ids[places].to(logits.device), reduction="none")
        nats[places] = losses.double().cpu()
    return nats
