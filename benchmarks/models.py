"""What is measured: a plain model and its steered twin, real or with random weights in the shape of Llama 3.1 8B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from clas_models import FAMILIES

SHARED, SPECIFIC = 0.6, 0.1  # shares of the neurons in the two masks; they change no timing
LANGUAGES = ["en", "de", "zh"]


def real_plain(folder: Path, dtype: torch.dtype, device: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()


def llama_8b_shaped(layers: int, dtype: torch.dtype, device: str) -> Any:
    """Random weights, all layers of the same shape as in Llama 3.1 8B; a small vocabulary if there are few layers."""
    config = LlamaConfig(
        vocab_size=128256 if layers == 32 else 1024,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=2048,
    )
    with torch.device(device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            return LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(previous)


def steered_twin(plain: Any) -> Any:
    """A steered model that shares the plain one's weights; six bridge layers before the last two, as in the paper."""
    family = FAMILIES[plain.config.model_type]
    layers = plain.config.num_hidden_layers
    bridge = list(range(max(layers - 8, 0), max(layers - 2, 1)))
    config = family.config.from_dict(
        {**plain.config.to_dict(), "model_type": family.model_type, "languages": LANGUAGES, "bridge_layers": bridge}
    )
    config._attn_implementation = plain.config._attn_implementation
    with torch.device("meta"):
        twin = family.causal_lm(config)
    twin.load_state_dict(plain.state_dict(), strict=False, assign=True)
    generator = torch.Generator().manual_seed(0)
    for index in bridge:
        scale = twin.model.layers[index].mlp.scale
        draw = torch.rand(len(scale.shared_mask), generator=generator).to(plain.device)
        scale.shared_mask, scale.specific_mask = draw < SHARED, draw > 1 - SPECIFIC
        scale.row_scales = scale.strengths.scales().to(plain.device, torch.float32)
    twin.model.rotary_emb = plain.model.rotary_emb
    twin.generation_config = plain.generation_config
    return twin.eval()
