"""Whether a source's tensors are those of the causal language model that its configuration describes; by the headers of
its files, before a weight is read.
"""

from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ..errors import InputError
from ..modeling.tensor_names import is_added, is_mask, layer_weight
from .kinds import refuse_quantized
from .weights import Shard, TensorInfo

_COMPUTED = ("F64", "F32", "F16", "BF16")  # what layers compute in
_QUANTIZED = (".qweight", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".SCB", ".absmax")
_OTHER_HEADS = ("score.weight", "classifier.weight", "qa_outputs.weight")
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_BUFFER = ".rotary_emb.inv_freq"  # old checkpoints have it, and no model has read it since


def unused_tensors(name: str, config: PreTrainedConfig, shards: Sequence[Shard]) -> tuple[str, ...]:
    """The tensors that the model has no use for, sorted; neither what steering added nor old buffers are among them.

    Args:
        name: of the source, for messages.
        config: of the plain model.
        shards: the source's.

    Raises InputError: tensors are quantised, missing, of another shape, or those of a model with another head.
    """
    tensors = {name: info for shard in shards for name, info in shard.tensors.items()}
    expected = _expected(name, config)
    _check_quantized(name, tensors, expected)
    _check_neurons(name, config, tensors)
    _check_head(name, config, tensors)
    if missing := sorted(expected.keys() - tensors.keys() - _either(config, tensors)):
        raise InputError(f"{name}: no tensor {missing[0]!r} in its weights; download the model again")
    for each in sorted(expected.keys() & tensors.keys()):
        _check_shape(name, each, tensors[each], expected[each])
    return tuple(
        sorted(each for each in tensors.keys() - expected.keys() if not is_added(each) and not each.endswith(_BUFFER))
    )


def _check_head(name: str, config: PreTrainedConfig, tensors: dict[str, TensorInfo]) -> None:
    """Where the configuration names no architecture, the tensors of another head tell."""
    other = sorted(set(_OTHER_HEADS) & tensors.keys())
    if other and _HEAD not in tensors and not (config.tie_word_embeddings and config.architectures):
        raise InputError(
            f"{name}: no language model head but another one ({other[0]!r}); give the causal language model that it "
            "was made from"
        )


def _expected(name: str, config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # whatever the model's classes find wrong with a user's file
        raise InputError(f"{name}: no model can be made with its config.json: {error}") from error
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _either(config: PreTrainedConfig, tensors: dict[str, TensorInfo]) -> set[str]:
    """Tensors that may be missing: of two that are one, the second."""
    tied = {_HEAD, _EMBEDDING} if config.tie_word_embeddings else set()
    return tied if tied & tensors.keys() else set()


def _check_quantized(name: str, tensors: dict[str, TensorInfo], expected: dict[str, tuple[int, ...]]) -> None:
    for each, info in sorted(tensors.items()):
        if each.endswith(_QUANTIZED):
            refuse_quantized(name, f"tensor {each!r}")
        if each in expected and info.dtype not in _COMPUTED:
            refuse_quantized(name, f"tensor {each!r} is {info.dtype}")


def _check_neurons(name: str, config: PreTrainedConfig, tensors: dict[str, TensorInfo]) -> None:
    """Every layer's MLP is there under the names and in the shapes of a causal language model."""
    hidden, neurons = int(config.hidden_size), int(config.intermediate_size)
    shapes = {"gate_proj": (neurons, hidden), "up_proj": (neurons, hidden), "down_proj": (hidden, neurons)}
    for layer in range(int(config.num_hidden_layers)):
        for part, shape in shapes.items():
            weight = layer_weight(layer, f"mlp.{part}")
            if weight not in tensors:
                raise InputError(f"{name}: no tensor {weight!r}; only causal language models can be converted")
            _check_shape(name, weight, tensors[weight], shape)
    for each, info in tensors.items():
        if is_mask(each) and info.shape != (neurons,):
            raise InputError(f"{name}: mask {each!r} has the shape {list(info.shape)}, expected {[neurons]}")


def _check_shape(name: str, tensor: str, info: TensorInfo, shape: tuple[int, ...]) -> None:
    if info.shape != shape:
        raise InputError(
            f"{name}: tensor {tensor!r} has the shape {list(info.shape)}, but the configuration says {list(shape)}"
        )
