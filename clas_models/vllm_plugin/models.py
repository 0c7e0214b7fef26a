"""The steered families as models of vLLM: its own classes, with a steered MLP in the layers that have a rule.

The decoder, its compilation and its graphs are vLLM's; this file adds what a steered checkpoint has more: masks,
vectors, the language detector, and the languages of the tokens.  The classes have the names of `modeling/`'s and are
made when they are asked for, `models.ClasLlamaForCausalLM`, from what the table of families says of vLLM's.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from torch import Tensor
from vllm.config import VllmConfig

from ..errors import InputError
from ..modeling.families import FAMILIES
from ..modeling.tensor_names import (
    ALL_SHARED_MASK,
    DETECTOR_PREFIX,
    FITTED_STRENGTHS,
    MASKS,
    current_name,
    is_added,
    mask_name,
    vectors_name,
)
from .languages import TokenLanguages
from .layers import steer_layers


class SteeredForCausalLM:
    """Before a family's causal language model.

    Raises:
        InputError: the configuration asks for what vLLM cannot do here.
        TypeError, ValueError: a steering field, perhaps from `--hf-overrides`, cannot be used.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config = vllm_config.model_config.hf_config
        config.validate_steering()
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.languages = TokenLanguages(vllm_config)
        self.steered = steer_layers(self.model, config, self.languages, vllm_config.model_config.dtype)
        self.added: dict[str, Tensor] = {}

    def forward(self, input_ids: Tensor | None, positions: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.languages.prepare(positions)
        return super().forward(input_ids, positions, *args, **kwargs)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """As in the base class, and what steering added. Raises InputError: some of it is missing."""
        loaded = super().load_weights(self._base_weights(weights))
        for layer, mlp in self.steered.items():
            if mlp.factors is not None:
                tables = (*MASKS, ALL_SHARED_MASK, FITTED_STRENGTHS) if self.config.fitted else MASKS
                mlp.fill_factors(*(self._added(mask_name(layer, table), "bridge_layers") for table in tables))
            if mlp.added is not None:
                mlp.fill_added(self._added(vectors_name(layer), "vector_layers"))
        if self.languages.rows is not None and self.languages.rows.detector is not None:
            for name, buffer in self.languages.rows.detector.named_buffers():
                buffer.copy_(self._added(DETECTOR_PREFIX + name, "detector_languages"))
        return loaded

    def _base_weights(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """What the base class can load; what steering added is kept, because weights may come in several calls."""
        for name, weight in weights:
            if is_added(name):
                self.added[current_name(name)] = weight.clone()
            else:
                yield name, weight

    def _added(self, name: str, field: str) -> Tensor:
        if name not in self.added:
            raise InputError(
                f"{field}: {getattr(self.config, field)}, but the checkpoint has no {name!r}; leave out what it lacks, "
                "or add it with clas-convert"
            )
        return self.added[name]


def __getattr__(name: str) -> Any:
    """The steered class of a family, by its name."""
    for family in FAMILIES.values():
        if name == family.causal_lm.__name__ and family.vllm is not None:
            module, _, base = family.vllm.partition(":")
            members = {"__module__": __name__, "__doc__": f"The steered {family.base}."}
            globals()[name] = made = type(name, (SteeredForCausalLM, getattr(import_module(module), base)), members)
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
