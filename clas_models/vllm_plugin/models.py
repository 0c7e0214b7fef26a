"""The steered families as models of vLLM: its own classes, with a steered MLP in the bridge layers.

The decoder, its compilation and its graphs are vLLM's; this file adds what a steered checkpoint has more: masks, the
language detector, and the languages of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from vllm.config import VllmConfig
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM

from ..errors import InputError
from .languages import TokenLanguages
from .layers import MASKS, mask_layer, steer_layers

_DETECTOR = "model.language_detector."


class SteeredForCausalLM:
    """Before a family's causal language model.

    Raises:
        InputError: the configuration asks for what vLLM cannot do here.
        TypeError, ValueError: a steering field, perhaps from `--hf-overrides`, cannot be used.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config = vllm_config.model_config.hf_config
        config.validate_steering()
        if config.overwrite and config.overwrite_layers:
            raise InputError(
                f"overwrite_layers: {config.overwrite_layers}: vLLM does not overwrite neurons; serve the checkpoint "
                "with --hf-overrides '{\"overwrite\": false}', or run it with transformers"
            )
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.languages = TokenLanguages(vllm_config)
        self.steered = steer_layers(self.model, config, self.languages, vllm_config.model_config.dtype)
        self.loaded_masks: set[str] = set()

    def forward(self, input_ids: Tensor | None, positions: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As in the base class."""
        self.languages.prepare(positions.shape[-1])
        return super().forward(input_ids, positions, *args, **kwargs)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """As in the base class, with the masks and the detector.

        Raises:
            InputError: a bridge layer has no masks, or the detector that is needed has no tables.
        """
        detector: dict[str, Tensor] = {}
        loaded = super().load_weights(self._base_weights(weights, detector))
        self._check_masks()
        for mlp in self.steered.values():
            mlp.fill_factors()
        if self.languages.rows is not None and self.languages.rows.detector is not None:
            _load_detector(self.languages.rows.detector, detector)
        return loaded

    def _base_weights(
        self, weights: Iterable[tuple[str, Tensor]], detector: dict[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """What the base class can load: without the detector, which is kept, and what other layers are steered with."""
        for name, weight in weights:
            layer = mask_layer(name)
            if name.startswith(_DETECTOR):
                detector[name.removeprefix(_DETECTOR)] = weight
            elif layer is not None:
                self.loaded_masks.add(name)
                if layer in self.steered:
                    yield name, weight
            elif ".mlp.overwrite." not in name:
                yield name, weight

    def _check_masks(self) -> None:
        names = [f"model.layers.{layer}.mlp.{mask}" for layer in self.steered for mask in MASKS]
        missing = [name for name in names if name not in self.loaded_masks]
        if missing:
            raise InputError(
                f"bridge_layers: {self.config.bridge_layers}, but the checkpoint has no {missing[0]!r}; allowed are "
                "layers with masks, and convert.py makes masks for other layers from the profile that it carries"
            )


class ClasLlamaForCausalLM(SteeredForCausalLM, LlamaForCausalLM):
    """The steered Llama."""


class ClasQwen2ForCausalLM(SteeredForCausalLM, Qwen2ForCausalLM):
    """The steered Qwen2."""


def _load_detector(detector: Any, tables: dict[str, Tensor]) -> None:
    for name, buffer in detector.named_buffers():
        if name in tables:
            buffer.copy_(tables[name])
        elif not bool(buffer.any()):
            raise InputError(
                f"detector_languages: {list(detector.detector_languages)}, but the checkpoint has no {_DETECTOR + name!r}; convert.py "
                "adds a detector to a steered checkpoint"
            )
