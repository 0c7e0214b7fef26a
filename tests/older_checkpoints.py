"""Steered checkpoints as version 0.1 wrote them, made from those of this version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load, save_file

from clas_models.modeling.tensor_names import is_mask

RENAMED = {
    ".mlp.scale.": ".mlp.",
    "model.language_detector.": "model.language_gate.",
}


def old_name(name: str) -> str:
    for new, old in RENAMED.items():
        name = name.replace(new, old)
    return name


def as_old(folder: Path, out: Path, *, overwritten: bool = False) -> Path:
    """A steered checkpoint under the names of version 0.1, perhaps with neurons that it overwrites."""
    shutil.copytree(folder, out)

    def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = {old_name(name): tensor for name, tensor in tensors.items()}
        if overwritten and any(map(is_mask, tensors)):
            result["model.layers.1.mlp.overwrite.mask"] = torch.ones(4, 48, dtype=torch.bool)
            result["model.layers.1.mlp.overwrite.values"] = torch.ones(4, 48)
        return result

    for path in out.glob("model*.safetensors"):
        save_file(renamed(load(path.read_bytes())), path, metadata={"format": "pt"})

    config = json.loads((out / "config.json").read_text())
    for field in ("vector_layers", "vector_strength", "vector_positions"):
        config.pop(field, None)
    config["gate_languages"] = config.pop("detector_languages", None)
    config.update(overwrite_layers=[1] if overwritten else [], overwrite=True)
    (out / "config.json").write_text(json.dumps(config))
    index = out / "model.safetensors.index.json"
    if index.is_file():
        where = {name: path.name for path in out.glob("model*.safetensors") for name in load(path.read_bytes())}
        index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return out
