"""The small real models, steered, in vLLM and in transformers: the same greedy tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import REAL_MODELS
from test_vllm import expected
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.initialization import no_init_weights
from vllm_environment import PER_REQUEST, Vllm, _environment  # noqa: F401

from clas_models import FAMILIES

pytestmark = pytest.mark.real
QUESTIONS = {
    "en": "Why is the sky blue?",
    "de": "Warum ist der Himmel blau?",
    "hi": "आकाश नीला क्यों है?",
    "zh": "天空为什么是蓝色的？",
}
STEERING = {
    "languages": list(QUESTIONS),
    "anchor_language": "en",
    "bridge_layers": [18, 19, 20, 21],
    "alpha": {"hi": -1.0, "default": 2.0},
    "beta": 1.0,
    "gamma": 0.5,
}


@pytest.mark.parametrize("name", sorted(REAL_MODELS))
def test_a_real_model(name: str, tmp_path: Path) -> None:
    base = REAL_MODELS[name]()
    model = steered(base)
    model.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(tmp_path)
    batch = [request(tokenizer, question, language) for language, question in QUESTIONS.items()]
    with Vllm(tmp_path / "log") as vllm:
        (found,) = vllm.run(tmp_path, batch, **PER_REQUEST)["tokens"]
        (plain,) = vllm.run(base, batch)["tokens"]
    assert found == expected(model, batch)
    assert found[0] == plain[0]
    assert all(one != other for one, other in zip(found[1:], plain[1:], strict=True))


def steered(base: Path) -> Any:
    """The model with random masks, which change more than a profile's."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    family = FAMILIES[plain.config.model_type]
    config = family.config.from_pretrained(base, **STEERING)
    with no_init_weights():
        model = family.causal_lm(config).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    model.generation_config = plain.generation_config
    torch.manual_seed(0)
    for layer in config.bridge_layers:
        scale = model.model.layers[layer].mlp.scale
        draw = torch.rand(config.intermediate_size)
        scale.shared_mask.copy_(draw < 0.3)
        scale.specific_mask.copy_(draw > 0.7)
        scale.row_scales.copy_(scale.strengths.scales())
    return model


def request(tokenizer: Any, question: str, language: str) -> dict[str, Any]:
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    return {"prompt": prompt, "tokens": 24, "language": language}
