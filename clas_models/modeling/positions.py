"""On which tokens of a row vectors act, and where a prompt ends.

Only `generate` knows where a prompt ends, so it says so; `forward` is told by its caller.  Nothing is guessed from the
shape of a tensor.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LAST = "last"  # the last token of the prompt
GENERATED = "generated"  # the last token of the prompt and all that follow it
ALL = "all"  # every token
POSITIONS = (LAST, GENERATED, ALL)


def checked_positions(value: object, field: str) -> str:
    """`value` as one of POSITIONS.

    Raises ValueError: it is none of them.
    """
    if not isinstance(value, str) or value not in POSITIONS:
        raise ValueError(f"{field}: {value!r}; allowed are {', '.join(POSITIONS)}")
    return value


@dataclass(frozen=True)
class PromptEnd:
    """Where the prompt of a generation ends.

    Attributes:
        acting: one of POSITIONS.
        prompt_length: tokens of the prompt, padding on the left included.
        embedded: how many of them came as embeddings, so that `generate` has no ids for them.
    """

    acting: str
    prompt_length: int
    embedded: int = 0

    def mask(self, known: int, batch: int, tokens: int, device: torch.device) -> Tensor:
        """bool `[batch, tokens]`: which tokens of a step the vectors act on.

        Args:
            known: how many ids `generate` has before the step, the step's own included.
            batch, tokens: shape of the step's input.
        """
        end = max(known + self.embedded, tokens)
        places = torch.arange(end - tokens, end, device=device)
        last = self.prompt_length - 1
        acts = {LAST: places == last, GENERATED: places >= last, ALL: places >= 0}[self.acting]
        return acts.expand(batch, tokens)
