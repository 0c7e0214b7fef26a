"""Control vectors: what a language adds behind each layer, as GGUF files that llama.cpp and repeng load.

`direction.N` is added by both to the output of layer N, counted from 0; neither has one for layer 0.  Strengths are
multiplied in, so the scale 1 is the strength in force.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...atomic import atomic_file
from ...errors import InputError
from ..loading import on_disk
from ..model_card import PLACEHOLDER, short_name
from ..progress import Progress
from ..source import Source
from .cards import export_card
from .comparison import Difference, difference, sample_tokens, steered_logits
from .folded import plain_config
from .form import Export, Form
from .ia3 import named_or_all
from .scaling import refuse_some_tokens

ARCHITECTURE = "controlvector"
_PREFIX = "direction."
_TOLERANCE = 1e-4  # of the largest logit; the vectors are the steered model's own


def file_name(language: str) -> str:
    """The file of a language."""
    return f"{language}.gguf"


def read_directions(path: Path) -> dict[int, Tensor]:
    """What a control vector adds: by layer float32 `[hidden]`. Raises InputError: not one that can be read."""
    from gguf import GGUFReader

    try:
        tensors = {tensor.name: torch.from_numpy(np.array(tensor.data)) for tensor in GGUFReader(path).tensors}
        return {int(name.removeprefix(_PREFIX)): tensor for name, tensor in tensors.items()}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"{path}: not a control vector that can be read ({error}); make it again") from error


def _check(source: Source, config: Any) -> None:
    add = config.add_rule
    if not add.acts:
        raise InputError(
            f"{source.name}: adds no vectors, or with strength 0, and a control vector holds nothing else; convert it "
            "with --vectors, and give --vector-strength"
        )
    refuse_some_tokens(source, config)
    if 0 in add.layers:
        raise InputError(
            f"{source.name}: adds vectors after layer 0, which a control vector cannot; choose others with "
            "--vector-layers, or use the steered checkpoint"
        )
    strengths = config.scale_rule.strengths
    if config.bridge_layers and any(strengths.alpha) and (strengths.beta or strengths.gamma or config.fitted):
        raise InputError(
            f"{source.name}: also rescales neurons, which a control vector cannot; give --alpha 0 for the vectors "
            "alone, or use the steered checkpoint"
        )


def _write(export: Export, folder: Path, progress: Progress) -> None:
    from gguf import GGUFWriter

    hint = export.source.family.gguf or "llama"  # as which llama.cpp reads a Mistral, too
    for steering in export.scalings:
        with atomic_file(folder / file_name(steering.language)) as partial:
            writer = GGUFWriter(partial, ARCHITECTURE)
            writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
            writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(steering.added))
            for layer, vector in steering.added.items():
                writer.add_tensor(f"{_PREFIX}{layer}", vector.numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
    progress.say(f"control vectors: {' '.join(steering.language for steering in export.scalings)}")


class _AddedOutput(nn.Module):
    """`down_proj` with a vector for each row added to its output, which is where a layer ends."""

    def __init__(self, down_proj: nn.Module, vectors: Tensor) -> None:
        super().__init__()
        self.down_proj = down_proj
        self.vectors = vectors[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(x) + self.vectors


def _compare(export: Export, folder: Path) -> Difference:
    """A row of the batch is a language, and the base model is the steered checkpoint read as a plain one."""
    source = export.source
    steered = steered_logits(source, export.config, export.scalings)
    found = [read_directions(folder / file_name(steering.language)) for steering in export.scalings]
    tokens = sample_tokens(export.config.vocab_size).expand(len(found), -1)
    config = source.family.base_config.from_dict(plain_config(source))
    nothing = torch.zeros(int(export.config.hidden_size))
    loaded = on_disk(source.folder, may_be_left=source.may_be_left, config=config, dtype=torch.float32)
    with loaded as model, torch.inference_mode():
        for layer in sorted({layer for directions in found for layer in directions}):
            mlp = model.model.layers[layer].mlp
            mlp.down_proj = _AddedOutput(mlp.down_proj, _stacked(layer, found, nothing))
        result = difference(steered, model(tokens, use_cache=False).logits)
    result.check(_TOLERANCE, folder)
    return result


def _stacked(layer: int, found: Iterable[dict[int, Tensor]], nothing: Tensor) -> Tensor:
    return torch.stack([directions.get(layer, nothing) for directions in found])


def _card(export: Export, measured: Difference) -> str:
    name = short_name(export.source)
    introduction = (
        f"Control vectors for GGUF files of the base model of `{name}`, a model that is steered by language: a file "
        f"for each language ({' '.join(export.record.languages)}). With one of them loaded all input is steered as "
        "that language, whatever it is in; without, the base model is untouched. Scale 1 is the strength given below."
    )
    usage = _usage(export, PLACEHOLDER)
    return export_card(export, measured, title=f"{name} as control vectors", introduction=introduction, usage=usage,
                       code="sh")  # fmt: skip


def _usage(export: Export, folder: str) -> list[str]:
    file = file_name(export.record.languages[0])
    return [f'llama-cli -m BASE.gguf --control-vector "{folder}/{file}" -p "…"    # llama.cpp']


CONTROL_VECTOR = Form(languages=named_or_all, check=_check, write=_write, compare=_compare, card=_card, usage=_usage)
