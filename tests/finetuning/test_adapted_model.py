"""A checkpoint with an adapter: the model that was trained, merged; what does not fit is refused in one line."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from adapter_helpers import CPU, LABELS, TARGETS, save_adapter, saved, wrapped
from conftest import tiny_plain, tiny_steered
from safetensors.torch import load_file, save_file
from torch import Tensor

from clas_models import FAMILIES
from clas_models.conversion.loading import load_model
from clas_models.conversion.source import Source
from clas_models.errors import InputError
from clas_models.finetuning.adapted_model import load_adapted
from clas_models.finetuning.adapter import CONFIG_NAME, WEIGHTS_NAME, Adapter
from clas_models.finetuning.adapter_record import RECORD_NAME

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT, when a test makes an adapter
GENERATIVE: dict[str, Any] = {"labels": (), "task": "xquad"}


@pytest.fixture
def source(family: Any, tmp_path: Path) -> Source:
    return saved(tiny_steered(family), tmp_path / "base")


@pytest.fixture
def llama(tmp_path: Path) -> Source:
    return saved(tiny_steered(FAMILIES["llama"]), tmp_path / "base")


@pytest.fixture
def adapter(llama: Source, tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "adapter", llama)


def logits(model: Any, tokens: Tensor, **asked: Any) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=tokens, **asked).logits


@pytest.mark.parametrize("record", [{}, GENERATIVE], ids=["head", "generative"])
def test_it_is_the_model_that_was_trained(
    family: Any, source: Source, record: dict[str, Any], tokens: Tensor, tmp_path: Path
) -> None:
    trained = wrapped(source, record.get("labels", LABELS))
    model = load_adapted(source, save_adapter(tmp_path / "a", source, trained, **record), "float32", CPU)
    assert type(model) is (family.causal_lm if record else family.sequence_classification)
    assert not model.training
    for language in ("en", "de"):
        expected = logits(trained, tokens, language=language)
        torch.testing.assert_close(logits(model, tokens, language=language), expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(logits(model, tokens, language="en"), logits(model, tokens, language="de"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_the_adapter_does_not_touch_keeps_its_bits(source: Source, dtype: str, tmp_path: Path) -> None:
    adapted = load_adapted(source, save_adapter(tmp_path / "a", source), dtype, CPU)
    base = load_model(source, dtype, CPU).state_dict()
    found = adapted.state_dict()
    assert set(found) == set(base) - {"lm_head.weight"} | {"score.weight"}
    changed = {name for name, tensor in found.items() if name in base and not torch.equal(tensor, base[name])}
    assert changed == {name for name in base if name.split(".")[-2] in TARGETS and name.endswith("weight")}
    assert {tensor.dtype for tensor in found.values() if tensor.is_floating_point()} == {getattr(torch, dtype)}
    head = load_file(tmp_path / "a" / WEIGHTS_NAME)["base_model.model.score.weight"]
    assert torch.equal(found["score.weight"], head.to(getattr(torch, dtype)))


def test_an_adapter_of_the_plain_model_is_put_into_a_steered_one(family: Any, tokens: Tensor, tmp_path: Path) -> None:
    plain, steered = (saved(make(family), tmp_path / make.__name__) for make in (tiny_plain, tiny_steered))
    folder = save_adapter(tmp_path / "a", plain)
    base, model = (load_adapted(source, folder, "float32", CPU) for source in (plain, steered))
    assert torch.equal(logits(model, tokens, language="en"), logits(base, tokens))
    assert not torch.equal(logits(model, tokens, language="de"), logits(base, tokens))


def test_the_classifier_knows_its_labels_and_the_last_token(llama: Source, adapter: Path, tokens: Tensor) -> None:
    model = load_adapted(llama, adapter, "float32", CPU)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert model.config.label2id == {label: place for place, label in enumerate(LABELS)}
    padded = torch.full((2, 12), model.config.pad_token_id)
    padded[0, :9], padded[1, -9:] = tokens[0], tokens[1]
    mask = (padded != model.config.pad_token_id).long()
    alone = torch.cat([logits(model, row[None], language="de") for row in tokens[:2]])
    batched = logits(model, padded, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(0), language="de")
    torch.testing.assert_close(batched, alone, rtol=1e-4, atol=1e-4)


def test_a_pad_token_that_the_configuration_lacks_is_the_tokenizers(tmp_path: Path) -> None:
    source = saved(tiny_plain(FAMILIES["qwen2"], pad_token_id=None), tmp_path / "base")
    assert load_adapted(source, save_adapter(tmp_path / "a", source), "float32", CPU).config.pad_token_id == 256


def test_nothing_is_reported_as_missing(
    llama: Source, adapter: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    capfd.readouterr()
    recwarn.clear()
    load_adapted(llama, adapter, "float32", CPU)
    said = capfd.readouterr()
    assert "[transformers]" not in said.out + said.err
    assert [str(warning.message) for warning in recwarn] == []
    assert logging.getLogger("transformers.modeling_utils").filters == []


def test_an_adapter_of_somebodys_own_generates(llama: Source, tokens: Tensor, tmp_path: Path) -> None:
    trained = wrapped(llama, ())
    (save_adapter(tmp_path / "a", llama, trained, **GENERATIVE) / RECORD_NAME).unlink()
    model = load_adapted(llama, tmp_path / "a", "float32", CPU)
    torch.testing.assert_close(
        logits(model, tokens, language="de"), logits(trained, tokens, language="de"), rtol=1e-4, atol=1e-4
    )


def test_other_kinds_that_are_merged(llama: Source, tokens: Tensor, tmp_path: Path) -> None:
    plain = load_model(llama, "float32", CPU)
    kinds = {
        "ia3": peft.IA3Config(task_type="CAUSAL_LM", target_modules=["down_proj"], feedforward_modules=["down_proj"]),
        "dora": peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["up_proj"], use_dora=True),
    }
    for name, config in kinds.items():
        trained: Any = peft.get_peft_model(load_model(llama, "float32", CPU), config).eval()
        with torch.no_grad():
            for parameter in trained.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        folder = save_adapter(tmp_path / name, llama, trained, **GENERATIVE)
        model = load_adapted(llama, folder, "float32", CPU)
        found, expected = (logits(each, tokens, language="de") for each in (model, trained))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(found, logits(plain, tokens, language="de"), atol=1e-2)


def test_an_adapter_that_makes_another_model(llama: Source, tmp_path: Path) -> None:
    trained = wrapped(llama, (), layer_replication=[[0, 4], [2, 6]])
    folder = save_adapter(tmp_path / "deeper", llama, trained, **GENERATIVE)
    assert refused(llama, folder).endswith(
        "it makes another model of ClasLlamaForCausalLM; give one that can be merged"
    )


def test_the_digest_is_of_all_files(llama: Source, adapter: Path) -> None:
    digests = {Adapter.open(adapter, llama).digest}
    assert digests == {Adapter.open(adapter, llama).digest}
    for name in (CONFIG_NAME, RECORD_NAME):
        (adapter / name).write_text((adapter / name).read_text() + " ")
        digests.add(Adapter.open(adapter, llama).digest)
    change_tensors(adapter, lambda tensors: next(iter(tensors.values())).add_(1))
    digests.add(Adapter.open(adapter, llama).digest)
    assert len(digests) == 4


def change_tensors(adapter: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(adapter / WEIGHTS_NAME)
    change(tensors)
    save_file(tensors, adapter / WEIGHTS_NAME)


def change_config(adapter: Path, **fields: Any) -> None:
    path = adapter / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(source: Source, adapter: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_adapted(source, adapter, "float32", CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_that_hold_no_adapter(llama: Source, adapter: Path, tmp_path: Path) -> None:
    remedy = "give the folder of a PEFT adapter, with adapter_config.json and adapter_model.safetensors"
    assert refused(llama, tmp_path / "none") == f"{tmp_path / 'none'}: no such folder; {remedy}"
    assert refused(llama, llama.folder) == f"{llama.folder}: no adapter_config.json there; {remedy}"
    (adapter / WEIGHTS_NAME).unlink()
    assert refused(llama, adapter) == f"{adapter}: no adapter_model.safetensors there; {remedy}"
    (adapter / "adapter_model.bin").write_bytes(b"pickle")
    assert refused(llama, adapter) == (
        f"{adapter / 'adapter_model.bin'}: pickled weights, which run code when they are read; save the adapter as "
        "adapter_model.safetensors"
    )


def test_another_base(llama: Source, adapter: Path, tmp_path: Path) -> None:
    other = saved(tiny_plain(FAMILIES["llama"], seed=5), tmp_path / "other")
    said = refused(other, adapter)
    assert said.startswith(f"{adapter}: an adapter for another base: it was trained on {llama.name}")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (CONFIG_NAME, "{", "not JSON"),
        (CONFIG_NAME, "[]", "a JSON list, expected an object"),
        (CONFIG_NAME, "{}", "peft_type is None; only LORA and IA3 are merged into a model"),
        (CONFIG_NAME, '{"peft_type": "PROMPT_TUNING"}', "peft_type is 'PROMPT_TUNING'; only LORA and IA3"),
        (CONFIG_NAME, "\udc80", "not JSON"),
        (RECORD_NAME, "{", "not a usable record of an adapter"),
        (WEIGHTS_NAME, "{", "not a safetensors file that can be read"),
    ],
)
def test_damaged_files(name: str, content: str, told: str, llama: Source, adapter: Path) -> None:
    (adapter / name).write_bytes(content.encode(errors="surrogateescape"))
    assert refused(llama, adapter).startswith(f"{adapter / name}: {told}")


def test_a_head_without_its_labels(llama: Source, adapter: Path) -> None:
    (adapter / RECORD_NAME).unlink()
    assert "an adapter of task_type SEQ_CLS without clas_adapter.json" in refused(llama, adapter)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"r": 2}, r"lora_A.weight' is [4, 48], and its place in ClasLlamaForSequenceClassification [2, 48]"),
        ({"target_modules": ["q_proj"]}, "has no place for its tensor 'base_model.model.model.layers.0.mlp.down_proj"),
        ({"target_modules": [*TARGETS, "up_proj"]}, "no tensor 'base_model.model.model.layers.0.mlp.up_proj.lora_A"),
        (
            {"target_modules": ["c_attn"]},
            "PEFT cannot put it into ClasLlamaForSequenceClassification (No modules were targeted",
        ),
        ({"r": "four"}, "PEFT cannot put it into ClasLlamaForSequenceClassification"),
        (
            {"alora_invocation_tokens": [1]},
            "(aLoRA does not support safe merging.); give an adapter of this model that can",
        ),
        ({"lora_alpha": 1e300}, "NaNs detected in the merged weights"),
    ],
)
def test_a_configuration_of_other_tensors(change: dict[str, Any], told: str, llama: Source, adapter: Path) -> None:
    change_config(adapter, **change)
    assert told in refused(llama, adapter)


def test_tensors_that_do_not_fit(llama: Source, adapter: Path, tmp_path: Path) -> None:
    def changed(change: Callable[[dict[str, Tensor]], Any]) -> str:
        copy = shutil.copytree(adapter, tmp_path / "changed", dirs_exist_ok=True)
        change_tensors(copy, change)
        return refused(llama, copy)

    head = "base_model.model.score.weight"
    assert f"no tensor {head!r}, the head for {', '.join(LABELS)}" in changed(lambda tensors: tensors.pop(head))
    assert f"tensor {head!r} is [2, 32], and its place" in changed(
        lambda tensors: tensors.update({head: tensors[head][:2].contiguous()})
    )
    first = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    for value in (float("nan"), float("inf")):
        said = changed(lambda tensors, value=value: tensors[first].view(-1)[3:4].fill_(value))
        assert f"tensor {first!r} holds values that are not finite" in said


def test_without_peft(llama: Source, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])  # where nothing is installed
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    assert refused(llama, adapter) == "the package peft is not installed: pip install 'clas-models[finetune]'"
