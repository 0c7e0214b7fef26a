"""The model card: metadata that the Hub reads, and the facts of the conversion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from clas_models.conversion.source import PROFILE_NAME
from clas_models.profiling.neuron_profile import NeuronProfile

from .support import names, run_main, save_plain, write_corpus


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    plain, corpus = save_plain(folder / "plain"), write_corpus(folder / "rows.jsonl")
    (plain / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Base\nlicense: gpl\n")
    options = ["--bridge-layers", "1,3", "--alpha", "zh=3,default=0.5", "--beta", "0.7", "--gamma", "0.25"]
    options += ["--anchor", "de", "--statistic", "frequency", "--threshold", "0.45"]
    assert run_main([plain, "--corpus", corpus, "--out", folder / "out", *options]) == 0
    return folder / "out"


def test_metadata(out: Path) -> None:
    data = ModelCard.load(out / "README.md").data.to_dict()
    assert data["language"] == ["en", "de", "zh"]
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-generation"
    assert "activation-steering" in data["tags"]
    assert "base_model" not in data, "a folder's name is no base model on the Hub"


def test_facts(out: Path) -> None:
    text = ModelCard.load(out / "README.md").text
    tokens = int(NeuronProfile.load(out / PROFILE_NAME).tokens.sum())
    config = json.loads((out / "config.json").read_text())
    for fact in (
        "# plain with CLAS",
        "| alpha | zh 3, default 0.5 |",
        "| beta (shared neurons) | 0.7 |",
        "| gamma (language-specific neurons) | 0.25 |",
        "| profiled languages | en de zh |",
        f"| profiled on | rows.jsonl, 4 samples in each language, {tokens:,} tokens in all, at most 512 a sample |",
        "| active means | frequency of the activation above 0.45 |",
        "| bridge layers | of 6 layers, layers 1,3: partial-shared ",
        "rescaled for every language but `de`",
        'model.generate(**inputs, max_new_tokens=40, language="en")     # steered',
        'model.generate(**inputs, max_new_tokens=40, language="de")      # the base model',
        "arXiv 2601.16390",
    ):
        assert fact in text
    assert config["bridge_layers"] == [1, 3]
    assert str(out.parent) not in text, "where it was made is nobody's business"


def test_table_has_a_row_for_every_layer_and_marks_the_bridge(out: Path) -> None:
    text = (out / "README.md").read_text()
    header = "| layer | dead % | language-specific % | partial-shared % | all-shared % |  |"
    assert header in text
    rows = [line.split("|") for line in text.split(header)[1].splitlines()[2:8]]
    assert [int(row[1]) for row in rows] == list(range(6))
    assert [row[6].strip() for row in rows] == ["", "bridge", "", "bridge", "", ""]
    for row in rows:
        assert sum(float(cell) for cell in row[2:6]) == pytest.approx(100, abs=0.2)


def test_files_that_the_card_shows_are_there(out: Path) -> None:
    text = (out / "README.md").read_text()
    assert "](neuron_categories.png)" in text
    assert "`neuron_profile.safetensors`" in text
    assert {"neuron_categories.png", "neuron_profile.safetensors"} <= names(out)


def test_code_of_the_card_runs(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (out / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0].replace("PATH_OR_ID", str(out))
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["model"].steering.beta == 0.7


def test_card_without_a_licence_of_the_base_model(steered_folder: Path) -> None:
    assert "license" not in ModelCard.load(steered_folder / "README.md").data.to_dict()
