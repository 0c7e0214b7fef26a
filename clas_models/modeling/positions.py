"""On which tokens of a row vectors act, and where a prompt ends.

`generate` knows where a prompt ends, and says so at every step.  A plain forward pass over whole prompts takes the last
token that the attention mask has of each row; where nothing tells it, the caller must.  Nothing is guessed from the
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
        prompt_length: tokens of the prompt, padding on the left and what a cache holds of it included.
        embedded: how many of them `generate` has no ids for: they came as embeddings, or are in a cache.
    """

    acting: str
    prompt_length: int
    embedded: int = 0

    def mask(self, known: int, batch: int, tokens: int, device: torch.device, cached: int | None = None) -> Tensor:
        """bool `[batch, tokens]`: which tokens of a step the vectors act on.

        Args:
            known: how many ids `generate` has before the step, the step's own included.
            batch, tokens: shape of the step's input.
            cached: how many tokens precede it in the cache; None without one.  Of a prompt that is read in chunks
                nothing else tells.
        """
        end = max(known + self.embedded, tokens) if cached is None else cached + tokens
        places = torch.arange(end - tokens, end, device=device)
        last = self.prompt_length - 1
        acts = {LAST: places == last, GENERATED: places >= last, ALL: places >= 0}[self.acting]
        return acts.expand(batch, tokens)


def ends_of_prompts(batch: int, tokens: int, attention_mask: Tensor | None, cached: bool) -> Tensor | None:
    """bool `[batch, tokens]`: the last token of each row of a forward pass over whole prompts; None if nobody knows it.

    Args:
        attention_mask: `[batch, tokens]`, 0 where a token is padding, on the left or on the right.  Without one a
            single row has no padding, and of several nobody knows.
        cached: whether other tokens precede these, so that they may be a prompt's or not.
    """
    if cached or (attention_mask is None and batch > 1):
        return None
    if attention_mask is None:
        places = torch.arange(tokens).unsqueeze(0)
        return places == tokens - 1
    if attention_mask.shape != (batch, tokens):
        return None
    places = torch.arange(tokens, device=attention_mask.device)
    last = (places * (attention_mask != 0)).amax(1, keepdim=True)
    return places == last
