"""Every block of docs/python.md runs, one after the other, on a tiny checkpoint and on a real one."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain
from real_models import smollm2
from transformers import AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.profiling.selection import Selection
from clas_models.profiling.write_tables import WriteTables
from eval.run_folder import SETTINGS_NAME, Record, RunFolder, Settings

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def write_run(folder: Path) -> None:
    """A run of one task, two methods and two languages, with two records each."""
    methods = {"base": {"kind": "base"}, "clas": {"kind": "clas", "alpha": 1.0, "beta": 0.4, "gamma": 0.2}}
    settings = Settings("run", "smollm2", "f00d", "en", {"xnli": ["en", "de"]}, methods, None)
    folder.mkdir()
    (folder / SETTINGS_NAME).write_text(json.dumps(asdict(settings)), encoding="utf-8")
    for method in methods:
        for language in ("en", "de"):
            file = RunFolder.open(folder).file("xnli", method, language)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(Record(key, 0, (0,), {"accuracy": 1.0}).to_json() + "\n" for key in "ab"))


@pytest.fixture(params=[pytest.param("tiny", marks=pytest.mark.slow), pytest.param("real", marks=pytest.mark.real)])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What the page calls `smollm2`."""
    folder = tmp_path / "smollm2"
    if request.param == "real":
        folder.symlink_to(smollm2())
    else:
        tiny_plain(FAMILIES["llama"]).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
    return folder


def test_every_block_runs(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    write_run(Path("RUN"))
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)

    profile, neurons, tables = names["profile"], names["neurons"], names["tables"]
    assert profile.languages == ("en", "de", "zh")
    assert torch.equal(Selection.load(Path("neurons.safetensors")).masks, neurons.masks)
    assert torch.equal(WriteTables.load(Path("write.safetensors")).masks, tables.masks)
    assert neurons.masks.any()
    assert not tables.masks[0].any()
    lab, inputs = names["lab"], names["inputs"]
    assert [rule.name for rule in lab.rules] == ["scale"]
    with torch.no_grad(), lab.temporary_steering(alpha=0):
        base = lab(**inputs, language="de").logits
    assert torch.equal(base, names["model"](**inputs).logits)
    assert torch.equal(base, names["logits"]) != bool(tables.masks[1].any())
    assert not torch.equal(base, names["towards_english"])
    assert names["vectors"].mean.shape[:2] == (2, profile.num_model_layers)
    states = names["states"].total.values()
    assert all(state.shape == (names["model"].config.hidden_size,) for state in states)
    assert -1 <= names["agreement"].kappa <= 1
    own = AutoModelForCausalLM.from_pretrained("smollm2-own")
    for model in (own, names["steered"]):
        assert list(model.masks) == [3, 4]
        assert torch.equal(model.masks[3][0], names["shared_mask"])
        assert torch.equal(model.masks[3][1], names["specific_mask"])
    assert own.steering.alpha["de"] == 1.0
    assert len(names["rows"]) == 8
    assert names["rows"][0] == {"task": "xnli", "method": "base", "language": "en", "key": "a", "accuracy": 1.0}
