"""Each table that knows a plain family knows its steered one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from transformers.models.auto import modeling_auto


def test_transformers_knows_every_class_by_its_name(family: Any) -> None:
    tables = {name: table for name, table in vars(modeling_auto).items() if name.endswith("MAPPING_NAMES")}
    entered = {name: table[family.model_type] for name, table in tables.items() if family.model_type in table}
    assert set(entered.values()) == {cls.__name__ for cls in family.by_auto_class.values()}
    for name, steered in entered.items():
        assert steered.endswith(tables[name][family.base])
    assert modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family.model_type] == family.causal_lm.__name__


def test_what_the_base_cannot_do_is_not_promised(family: Any) -> None:
    assert family.model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    assert family.model_type not in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


LATE = """
import sys
import clas_models
from transformers import AutoModelForCausalLM
config = clas_models.FAMILIES["llama"].config(
    vocab_size=10, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
)
model = AutoModelForCausalLM.from_config(config)
assert "peft" not in sys.modules, "building a model loads PEFT"
import peft
from peft.utils import constants
model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM"))
tables = {name: table for name, table in vars(constants).items() if name.startswith("TRANSFORMERS_MODELS_TO")}
wrong = [name for name, table in tables.items() if table.get("llama") != table.get("clas_llama")]
assert not wrong, wrong
assert sorted(model.peft_config["default"].target_modules) == ["q_proj", "v_proj"]
"""


@pytest.mark.slow
def test_peft_may_be_imported_after_the_model() -> None:
    pytest.importorskip("peft")
    ended = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
