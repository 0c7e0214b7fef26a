"""A real model folded and as adapters: the steered model's answers, from a plain checkpoint and from PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from real_models import smollm2
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models.conversion.conversion import convert
from clas_models.conversion.formats.export import export
from clas_models.conversion.formats.options import ExportOptions
from clas_models.conversion.options import ConversionOptions

pytestmark = pytest.mark.real


def answer(model: Any, tokenizer: Any, **kwargs: Any) -> str:
    chat = [{"role": "user", "content": "Warum ist der Himmel blau?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    return tokenizer.decode(model.eval().generate(**inputs, max_new_tokens=24, do_sample=False, **kwargs)[0])


def test_smollm2_in_every_form(tmp_path: Path) -> None:
    base = smollm2()
    options = ConversionOptions(
        str(base), tmp_path / "x", languages=("de", "es"), samples=2, max_length=32, bridge_layers="24-27"
    )
    steered = str(convert(options).out)
    folded = export(ExportOptions(steered, "folded", tmp_path / "folded", "de", alpha=-1.0))
    adapters = export(ExportOptions(steered, "ia3", tmp_path / "ia3", alpha=-1.0))
    for form, bound in ((folded, 1e-5), (adapters, 0.0)):
        assert form.difference.relative <= bound
        assert form.difference.effect > 1
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(steered, alpha=-1.0)
    expected, plain = (answer(model, tokenizer, language=code) for code in ("de", "en"))
    assert expected != plain
    assert answer(AutoModelForCausalLM.from_pretrained(folded.out), tokenizer) == expected
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapters.out / "de")
    assert answer(adapted, tokenizer) == expected
    with adapted.disable_adapter(), torch.inference_mode():
        assert answer(adapted, tokenizer) == plain
