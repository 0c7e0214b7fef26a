"""The table of families, what importing the package registers, and what a checkpoint may carry of it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from conftest import STEERING, TINY
from transformers import AutoConfig, LlamaConfig, MistralConfig, Qwen2Config

import clas_models
from clas_models import FAMILIES, modeling, register, register_family

KINDS = {
    "model": ("AutoModel", "Model"),
    "causal_lm": ("AutoModelForCausalLM", "ForCausalLM"),
    "sequence_classification": ("AutoModelForSequenceClassification", "ForSequenceClassification"),
    "token_classification": ("AutoModelForTokenClassification", "ForTokenClassification"),
    "question_answering": ("AutoModelForQuestionAnswering", "ForQuestionAnswering"),
}


def test_the_families_and_their_model_types() -> None:
    assert {name: (family.model_type, family.base_config) for name, family in FAMILIES.items()} == {
        "llama": ("clas_llama", LlamaConfig),
        "mistral": ("clas_mistral", MistralConfig),
        "qwen2": ("clas_qwen2", Qwen2Config),
    }


def test_a_configuration_is_found_by_its_model_type(family: Any) -> None:
    config = AutoConfig.for_model(family.model_type, **TINY, **STEERING)
    assert type(config) is family.config
    assert isinstance(config, family.base_config)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_classes_build_steered_models_from_steered_configurations_only(family: Any, kind: str) -> None:
    auto_class, suffix = getattr(transformers, KINDS[kind][0]), KINDS[kind][1]
    steered = auto_class.from_config(family.config(**TINY, **STEERING))
    plain = auto_class.from_config(family.base_config(**TINY))

    assert type(steered) is getattr(family, kind)
    assert type(steered).__name__ == f"Clas{family.base.capitalize()}{suffix}"
    assert type(plain).__module__.startswith("transformers.")
    assert isinstance(steered, type(plain))


def test_registering_again_changes_nothing(family: Any) -> None:
    register()
    register_family(family)
    assert type(AutoConfig.for_model(family.model_type)) is family.config
    assert type(AutoConfig.for_model(family.base)) is family.base_config


def test_every_public_name_exists() -> None:
    assert [name for name in clas_models.__all__ if not hasattr(clas_models, name)] == []


def test_modeling_files_need_torch_transformers_and_each_other_only() -> None:
    files = list(Path(modeling.__file__).parent.glob("*.py"))
    siblings = {file.stem for file in files}
    foreign = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                foreign += [alias.name for alias in node.names if alias.name.split(".")[0] not in allowed()]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                foreign += [node.module] if node.module.split(".")[0] not in allowed() else []
            elif isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module else [alias.name for alias in node.names]
                foreign += [name for name in names if node.level > 1 or name not in siblings]
    assert len(files) > 5
    assert foreign == []


def allowed() -> set[str]:
    return {"torch", "transformers"} | set(sys.stdlib_module_names)
