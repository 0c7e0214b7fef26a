"""The small real models, steered, in vLLM and in transformers: the same greedy tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from real_models import REAL_MODELS
from test_vllm import expected
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm_environment import PER_REQUEST, PYTHON, Vllm

from clas_models.conversion.conversion import Options, convert

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"no environment with vLLM: {PYTHON} does not exist"),
]
QUESTIONS = {
    "en": "Why is the sky blue?",
    "de": "Warum ist der Himmel blau?",
    "hi": "आकाश नीला क्यों है?",
    "zh": "天空为什么是蓝色的？",
}
LAYERS = {"smollm2": "24-27", "qwen_coder": "18-21"}
STEERING = {"alpha": -3.0}  # strong enough to change the first tokens in every language


@pytest.mark.parametrize("name", sorted(REAL_MODELS))
def test_a_real_model(name: str, tmp_path: Path) -> None:
    base = REAL_MODELS[name]()
    options = Options(
        str(base), out=tmp_path / "steered", languages=tuple(QUESTIONS), samples=3, max_length=96,
        bridge_layers=LAYERS[name],
    )  # fmt: skip
    steered = convert(options).out
    tokenizer = AutoTokenizer.from_pretrained(steered)
    batch = [request(tokenizer, question, language) for language, question in QUESTIONS.items()]
    auto = [request(tokenizer, question) for question in QUESTIONS.values()]
    with Vllm(tmp_path / "log") as vllm:
        found, found_auto = vllm.run(steered, batch, auto, **PER_REQUEST, hf_overrides=STEERING)["tokens"]
        (plain,) = vllm.run(base, batch)["tokens"]
    model = AutoModelForCausalLM.from_pretrained(steered, dtype="float32", **STEERING)
    assert found == expected(model, batch)
    assert found_auto == expected(model, auto)
    assert found[0] == plain[0]
    assert all(one != other for one, other in zip(found[1:], plain[1:], strict=True))


def request(tokenizer: Any, question: str, language: str | None = None) -> dict[str, Any]:
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    return {"prompt": prompt, "tokens": 24, **({} if language is None else {"language": language})}
