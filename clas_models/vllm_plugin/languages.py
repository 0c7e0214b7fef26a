"""The language of every token of a step, in buffers that stay where they are.

vLLM runs the tokens of all requests as one flat row, and replays graphs that were captured once; so what steers a
token must lie in a tensor whose place never changes.  Without `RequestLanguages` the buffer holds one language for
the life of the engine.  With it, the buffer is filled before each step, from the requests' languages and from where
their tokens begin.
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

_PLACE = "clas_models.request_languages"


@dataclass
class RequestRows:
    """What the requests of a worker's batch ask for; `RequestLanguages` writes it, the model reads it.

    Attributes:
        language_ids: int64 `[max_num_seqs]` on the model's device, by the request's row in the batch.
        detector: what decides "auto", on the CPU; None for a checkpoint without one.
    """

    language_ids: Tensor
    detector: LanguageDetector | None

    @classmethod
    def put(cls, vllm_config: VllmConfig, device: torch.device) -> Self:
        """Make it, and leave it where the model of the same worker finds it: among vLLM's layers by name."""
        config = vllm_config.model_config.hf_config
        with torch.device("cpu"):
            detector = LanguageDetector.of(config)
        ids = torch.zeros(vllm_config.scheduler_config.max_num_seqs, dtype=torch.long, device=device)
        rows = vllm_config.compilation_config.static_forward_context[_PLACE] = cls(ids, detector)
        return rows

    @staticmethod
    def find(vllm_config: VllmConfig) -> "RequestRows | None":
        """None where `RequestLanguages` is not in force."""
        return vllm_config.compilation_config.static_forward_context.get(_PLACE)


class TokenLanguages(nn.Module):
    """The languages of a step's tokens.

    Buffers:
        language_ids: int64 `[max_num_batched_tokens]`; the first entries are those of the step's tokens.
        positions: int32, the same shape: 0, 1, 2, …

    Raises InputError: `config.language` is "auto" and nothing looks at the requests.
    """

    language_ids: Tensor
    positions: Tensor

    def __init__(self, vllm_config: VllmConfig) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.rows = RequestRows.find(vllm_config)
        if self.rows is None and is_auto(config.language):
            raise InputError(
                'language: "auto" is decided from the prompt of each request; name one language for the engine with '
                '--hf-overrides \'{"language": "de"}\', or add --no-enable-prefix-caching --logits-processors '
                "clas_models.vllm_plugin.requests:RequestLanguages"
            )
        tokens = vllm_config.scheduler_config.max_num_batched_tokens
        default = 0 if self.rows is not None else default_id(config)
        self.register_buffer("language_ids", torch.full((tokens,), default), persistent=False)
        self.register_buffer("positions", torch.arange(tokens, dtype=torch.int32), persistent=False)

    def prepare(self, tokens: int) -> None:
        """Fill the buffer for a step of so many tokens; padding at the end takes the last row's language.

        Only tensors on the device are read and written, so a graph that captures this replays it.
        """
        metadata = get_forward_context().attn_metadata
        if self.rows is None or not metadata:
            return  # one language for the engine, or a trial run without requests
        # The same for all layers: where each request's tokens begin, and the end.
        starts: Tensor = next(iter(metadata.values())).query_start_loc
        rows = torch.searchsorted(starts[1:], self.positions[:tokens], right=True)
        rows = rows.clamp_(max=len(self.rows.language_ids) - 1)
        torch.index_select(self.rows.language_ids, 0, rows, out=self.language_ids[:tokens])


def default_id(config: Any) -> int:
    """The id of `config.language`, which is a code or None: an unnamed language that is not the anchor."""
    return len(config.languages) if config.language is None else told_language_id(config.language, config.languages)
