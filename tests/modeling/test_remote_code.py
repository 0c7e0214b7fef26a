"""A checkpoint that carries its code: without the package it gives the same bits, with it no file of it runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from bare_environment import BareEnvironment, make_bare_environment
from conftest import byte_tokenizer
from detector_helpers import CHINESE, GERMAN, rows, with_detector
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.conversion.checkpoint import code_files
from clas_models.modeling.configuration_clas import MODEL_CLASSES

LANGUAGES = ["en", "de", "zh", "fr"]
TOKENS = rows([GERMAN] * 9, [CHINESE] * 9, list(range(100, 109)), [GERMAN] * 9)[0]
LOAD = """
import json, sys, torch, transformers
from safetensors.torch import load_file, save_file
name, out, kinds = sys.argv[1], sys.argv[2], sys.argv[3:]
tokens = load_file(out + "/tokens.safetensors")["tokens"]
results, modules = {}, {}
for kind in kinds:
    model = getattr(transformers, kind).from_pretrained(name, trust_remote_code=True).eval()
    modules[kind] = type(model).__module__
    # A new head has random weights: what is compared is the decoder below it.
    head = model if kind == "AutoModelForCausalLM" else model.base_model
    with torch.inference_mode():
        results[kind] = head(tokens, language=["en", "de", "zh", "fr"])[0]
        if kind == "AutoModelForCausalLM":
            results["auto"] = head(tokens, language="auto").logits
            results["generated"] = head.generate(tokens, language="de", max_new_tokens=5, do_sample=False)
            model.save_pretrained(out + "/again")
save_file(results, out + "/results.safetensors")
tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=True)
print(json.dumps({"modules": modules, "ids": tokenizer("Größe 猫")["input_ids"]}))
"""

TRUSTED = """
import sys
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=sys.argv[2] == "True")
"""

# One Auto class and its pipeline, alone in a process: another one's classes may hide what it lacks.
ALONE = """
import inspect, json, sys
checkout, name, kind, task = sys.argv[1:]
if checkout:
    sys.path.insert(0, checkout)
    import clas_models
import transformers
from transformers.models.auto import modeling_auto
model = getattr(transformers, kind).from_pretrained(name, trust_remote_code=True)
if task:
    call = transformers.pipeline(task, model=name, trust_remote_code=True, device="cpu")
    assert call("Ich war es."), task
print(json.dumps({
    "package": type(model).__module__.startswith("clas_models."),
    "parameters": list(inspect.signature(model.forward).parameters),
    "tables": [
        table for table, names in vars(modeling_auto).items()
        if table.endswith("MAPPING_NAMES") and type(model).__name__ in names.values()
    ],
}))
"""
PIPELINES = {
    "AutoModel": "",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "",  # transformers has none any more
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    return make_bare_environment(tmp_path_factory.mktemp("bare"))


def saved(family: Any, folder: Path) -> Any:
    """A steered model with a detector, on disk with a tokenizer."""
    model = with_detector(family)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


def check_against(model: Any, out: Path) -> None:
    """Every tensor that the other process computed has the bits that the package gives."""
    tokens, found = load_file(out / "tokens.safetensors")["tokens"], load_file(out / "results.safetensors")
    with torch.inference_mode():
        logits = model(tokens, language=LANGUAGES).logits
        states = model.model(tokens, language=LANGUAGES)[0]
        expected = {
            "AutoModelForCausalLM": logits,
            "auto": model(tokens, language=["de", "zh", "en", "de"]).logits,
            "generated": model.generate(tokens, language="de", max_new_tokens=5, do_sample=False),
        }
    for name, tensor in found.items():
        assert torch.equal(tensor, expected.get(name, states)), name


@pytest.mark.slow
def test_without_the_package_every_auto_class_gives_the_same_bits(
    family: Any, bare: BareEnvironment, tmp_path: Path
) -> None:
    model = saved(family, tmp_path / "checkpoint")
    save_file({"tokens": TOKENS}, tmp_path / "tokens.safetensors")

    missing = bare.run("import clas_models")
    assert "No module named 'clas_models'" in missing.stderr
    ended = bare.run(LOAD, tmp_path / "checkpoint", tmp_path, *MODEL_CLASSES)

    assert ended.returncode == 0, ended.stderr[-2000:]
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["modules"].keys() == MODEL_CLASSES.keys()
    assert all(module.startswith("transformers_modules.") for module in said["modules"].values())
    assert said["ids"] == byte_tokenizer()("Größe 猫")["input_ids"]
    check_against(model, tmp_path)
    # What was saved without the package is whole, too, and the package reads it.
    assert {path.name for path in code_files(family)} <= {path.name for path in (tmp_path / "again").iterdir()}
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert type(again) is family.causal_lm
    check_against(again.eval(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("package", [False, True], ids=["carried code", "package"])
@pytest.mark.parametrize("kind", MODEL_CLASSES)
def test_each_auto_class_is_whole_alone_in_a_process(
    bare: BareEnvironment, kind: str, package: bool, tmp_path: Path
) -> None:
    saved(FAMILIES["qwen2"], tmp_path / "checkpoint")
    checkout = str(Path(__file__).parents[2]) if package else ""
    ended = bare.run(ALONE, checkout, tmp_path / "checkpoint", kind, PIPELINES[kind])
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "is not supported" not in ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["package"] is package
    assert {"language", "positions"} <= set(said["parameters"])
    assert len(said["tables"]) == 1


@pytest.mark.slow
def test_from_the_hub_each_file_is_fetched_by_what_imports_it(bare: BareEnvironment, tmp_path: Path) -> None:
    """A repository takes another way through transformers than a folder; here it lies in the Hub's cache."""
    model = saved(FAMILIES["llama"], tmp_path / "checkpoint")
    save_file({"tokens": TOKENS}, tmp_path / "tokens.safetensors")
    repository = bare.home / "hub" / "models--owner--steered"
    shutil.copytree(tmp_path / "checkpoint", repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)

    ended = bare.run(LOAD, "owner/steered", tmp_path, "AutoModelForCausalLM")

    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "transformers_modules.owner.steered" in ended.stdout
    check_against(model, tmp_path)
    saved_again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert saved_again["auto_map"] == model.config.code_map()


@pytest.mark.parametrize("kind", MODEL_CLASSES)
def test_with_the_package_no_code_of_the_checkpoint_runs(family: Any, kind: str, tmp_path: Path) -> None:
    saved(family, tmp_path)
    for path in tmp_path.glob("*.py"):
        path.write_text("raise SystemExit('code of the checkpoint ran')\n")
    model = getattr(transformers, kind).from_pretrained(tmp_path, trust_remote_code=True)
    assert type(model).__module__ == f"clas_models.modeling.clas_{family.base}"


@pytest.mark.slow
def test_without_trust_and_without_the_package_it_is_refused(bare: BareEnvironment, tmp_path: Path) -> None:
    saved(FAMILIES["llama"], tmp_path)
    ended = bare.run(TRUSTED, tmp_path, False)
    assert ended.returncode == 1
    assert "trust_remote_code=True" in ended.stderr


@pytest.mark.slow
def test_files_that_do_not_match_the_checkpoint_say_so(bare: BareEnvironment, tmp_path: Path) -> None:
    saved(FAMILIES["llama"], tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "clas_version": "99.0.0"}))
    ended = bare.run(TRUSTED, tmp_path, True)
    assert ended.returncode == 1
    assert "written by clas-models 99.0.0, and this code (transformers_modules." in ended.stderr
