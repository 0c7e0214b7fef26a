"""The language of every token of a step, and where vectors act, in buffers that stay where they are.

vLLM runs the tokens of all requests as one flat row, and replays graphs that were captured once; so what steers a
token must lie in a tensor whose place never changes.  Without `RequestLanguages` the buffer holds one language for
the life of the engine.  With it, the buffer is filled before each step, from the requests' languages and from where
their tokens begin.  It alone is told where a prompt ends, which vectors need that act on some tokens; it also keeps out
the prefix cache, in which one request's answer, steered, is found as the beginning of another's prompt.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context

from ..errors import InputError
from ..modeling.auto_language import is_auto
from ..modeling.language import told_language_id
from ..modeling.language_detector import LanguageDetector
from ..modeling.positions import ALL, LAST

PROCESSOR = "clas_models.vllm_plugin.requests:RequestLanguages"
_PLACE = "clas_models.request_languages"


@dataclass
class RequestRows:
    """What the requests of a worker's batch ask for; `RequestLanguages` writes it, the model reads it.

    Attributes:
        language_ids: int64 `[max_num_seqs]` on the model's device, by the request's row in the batch.
        prompt_lengths: the same; tokens of the prompt.
        detector: what decides "auto", on the CPU; None for a checkpoint without one.
    """

    language_ids: Tensor
    prompt_lengths: Tensor
    detector: LanguageDetector | None

    @classmethod
    def put(cls, vllm_config: VllmConfig, device: torch.device) -> Self:
        """Make it, and leave it where the model of the same worker finds it: among vLLM's layers by name."""
        config = vllm_config.model_config.hf_config
        with torch.device("cpu"):
            detector = LanguageDetector.of(config)
        seqs = vllm_config.scheduler_config.max_num_seqs
        ids, lengths = torch.zeros(2, seqs, dtype=torch.long, device=device)
        rows = vllm_config.compilation_config.static_forward_context[_PLACE] = cls(ids, lengths, detector)
        return rows

    @staticmethod
    def find(vllm_config: VllmConfig) -> "RequestRows | None":
        """None where `RequestLanguages` is not in force."""
        return vllm_config.compilation_config.static_forward_context.get(_PLACE)


class TokenLanguages(nn.Module):
    """The languages of a step's tokens.

    Buffers:
        language_ids: int64 `[max_num_batched_tokens]`; the first entries are those of the step's tokens.
        acting_ids: the same, with the anchor's id where no vector acts; None where vectors act on all tokens.
        places: int32, the same shape: 0, 1, 2, …

    Raises InputError: `config.language` is "auto", or vectors act on some tokens, and nothing looks at the requests.
    """

    language_ids: Tensor
    acting_ids: Tensor | None
    places: Tensor

    def __init__(self, vllm_config: VllmConfig) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.rows = RequestRows.find(vllm_config)
        self.acting = config.vector_positions if config.add_rule.acts else ALL
        self.anchor_id = config.languages.index(config.anchor_language)
        if self.rows is None:
            _check_without_requests(config)
        tokens = vllm_config.scheduler_config.max_num_batched_tokens
        default = 0 if self.rows is not None else default_id(config)
        acting_ids = None if self.acting == ALL else torch.full((tokens,), self.anchor_id)
        self.register_buffer("language_ids", torch.full((tokens,), default), persistent=False)
        self.register_buffer("acting_ids", acting_ids, persistent=False)
        self.register_buffer("places", torch.arange(tokens, dtype=torch.int32), persistent=False)

    @property
    def vector_ids(self) -> Tensor:
        """int64 `[max_num_batched_tokens]`: whose vector each token gets."""
        return self.language_ids if self.acting_ids is None else self.acting_ids

    def prepare(self, positions: Tensor) -> None:
        """Fill the buffers for a step; padding at the end takes the last row's language.

        Only tensors on the device are read and written, so a graph that captures this replays it.

        Args:
            positions: integers `[tokens]`, the place of each token in its request, from 0.
        """
        metadata = get_forward_context().attn_metadata
        if self.rows is None or not metadata:
            return  # one language for the engine, or a trial run without requests
        tokens = len(positions)
        # The same for all layers: where each request's tokens begin, and the end.
        starts: Tensor = next(iter(metadata.values())).query_start_loc
        rows = torch.searchsorted(starts[1:], self.places[:tokens], right=True)
        rows = rows.clamp_(max=len(self.rows.language_ids) - 1)
        ids = torch.index_select(self.rows.language_ids, 0, rows, out=self.language_ids[:tokens])
        if self.acting_ids is not None:
            last = self.rows.prompt_lengths.index_select(0, rows) - 1
            acts = positions == last if self.acting == LAST else positions >= last
            self.acting_ids[:tokens].copy_(torch.where(acts, ids, self.anchor_id))


def _check_without_requests(config: Any) -> None:
    """Raises InputError: what is asked for depends on the requests."""
    by_request = f"add --no-enable-prefix-caching --logits-processors {PROCESSOR}"
    if is_auto(config.language):
        raise InputError(
            'language: "auto" is decided from the prompt of each request; name one language for the engine with '
            f'--hf-overrides \'{{"language": "de"}}\', or {by_request}'
        )
    if config.add_rule.acts and config.vector_positions != ALL:
        raise InputError(
            f"vector_positions: {config.vector_positions!r} depends on where the prompt of each request ends; "
            f'{by_request}, or --hf-overrides with \'{{"vector_positions": "all"}}\' or \'{{"vector_strength": 0}}\''
        )


def default_id(config: Any) -> int:
    """The id of `config.language`, which is a code or None: an unnamed language that is not the anchor."""
    return len(config.languages) if config.language is None else told_language_id(config.language, config.languages)
