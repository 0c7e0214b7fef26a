"""A language for each request: `--logits-processors clas_models.vllm_plugin.requests:RequestLanguages`.

A logits processor is the place where vLLM tells a plug-in which request is in which row of the batch, with its
sampling parameters and its prompt, before each step.  This one leaves the logits alone and keeps the rows' languages,
and where their prompts end.  A request that was interrupted comes back with the prompt that it had.
A request names its language in `SamplingParams(extra_args={"language": "de"})`, over HTTP in
`"vllm_xargs": {"language": "de"}`; without one `config.language` holds, and "auto" asks the detector, once, with the
whole prompt.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from ..errors import InputError
from ..modeling.auto_language import is_auto
from ..modeling.configuration_clas import ClasConfigMixin
from ..modeling.language import told_language_id
from ..modeling.language_tags import language_code
from ..modeling.positions import ALL
from .languages import RequestRows, default_id

logger = init_logger(f"vllm.{__name__}")


@dataclass(frozen=True)
class _Row:
    """What the model needs to know of a request."""

    language_id: int = 0
    prompt_length: int = 0


class RequestLanguages(LogitsProcessor):
    """Keeps the language and the prompt's length of every row of the batch where the model reads them.

    Raises InputError: the model is not steered, or the engine shares keys and values between requests.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self.config = vllm_config.model_config.hf_config
        _check(vllm_config)
        self.rows = RequestRows.put(vllm_config, device)
        self.requests = [_Row()] * len(self.rows.language_ids)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises ValueError, over HTTP status 400: the request's language is no code."""
        language = _requested(sampling_params)
        if language is None or is_auto(language):
            return
        try:
            language_code(language, "language")
        except TypeError as error:
            raise InputError(str(error)) from None  # vLLM turns a ValueError alone into an answer to the client

    def is_argmax_invariant(self) -> bool:
        return True

    def apply(self, logits: Tensor) -> Tensor:
        """The logits `[requests, vocabulary]`, untouched."""
        return logits

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows: what left, what came, what moved, in vLLM's order."""
        if batch_update is None:
            return
        kept = self.requests
        for row, params, prompt, _ in batch_update.added:
            kept[row] = _Row(self._language_id(_requested(params), prompt), len(prompt or ()))
        for source, target, direction in batch_update.moved:
            swapped = kept[target] if direction == MoveDirectionality.SWAP else kept[source]
            kept[source], kept[target] = swapped, kept[source]
        self.rows.language_ids.copy_(torch.tensor([request.language_id for request in kept]))
        self.rows.prompt_lengths.copy_(torch.tensor([request.prompt_length for request in kept]))

    def _language_id(self, language: str | None, prompt: list[int] | None) -> int:
        language = self.config.language if language is None else language
        if language is None:
            return default_id(self.config)
        if not is_auto(language):
            return told_language_id(language, self.config.languages)
        if self.rows.detector is None or prompt is None:
            # An engine cannot refuse a request any more once it is in a batch; in doubt it is not steered.
            logger.warning(
                'language "auto" needs a language detector and a prompt of tokens; the request is not steered'
            )
            return self.config.languages.index(self.config.anchor_language)
        return int(self.rows.detector(torch.tensor([prompt])).language_ids)


def _requested(params: SamplingParams) -> Any:
    return (params.extra_args or {}).get("language")


def _check(vllm_config: VllmConfig) -> None:
    config = vllm_config.model_config.hf_config
    if not isinstance(config, ClasConfigMixin):
        raise InputError(
            f"RequestLanguages: the model type is {config.model_type!r}, which is not steered; convert the model with "
            "clas-convert, or leave --logits-processors away"
        )
    if vllm_config.cache_config.enable_prefix_caching or vllm_config.kv_transfer_config is not None:
        raise InputError(
            "RequestLanguages: keys and values of one language must not serve a prompt in another; add "
            "--no-enable-prefix-caching, and no --kv-transfer-config"
        )
    if vllm_config.parallel_config.use_ubatching:
        raise InputError("RequestLanguages: a step that is split into micro-batches is not supported; no --enable-dbo")
    if config.add_rule.acts and config.vector_positions != ALL and vllm_config.model_config.enable_prompt_embeds:
        raise InputError(
            f"RequestLanguages: vector_positions is {config.vector_positions!r}, and vLLM does not tell where a prompt "
            "of embeddings ends; no --enable-prompt-embeds"
        )
