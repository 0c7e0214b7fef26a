"""The model card: metadata that the Hub reads, and the facts of the conversion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData, metadata_load

from clas_models.conversion.model_card import RESULTS_BEGIN, RESULTS_END, with_address
from clas_models.conversion.source import PROFILE_NAME
from clas_models.profiling.neuron_profile import NeuronProfile

from .support import masks_only, names, read_weights, run_main, save_plain, write_corpus


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


def test_metadata_is_all_that_the_hub_s_library_knows(out: Path) -> None:
    """It reads what it would write itself, and nothing is a field of our own invention."""
    raw = metadata_load(out / "README.md")
    assert raw is not None
    assert ModelCardData(**raw).to_dict() == raw
    assert set(raw) <= set(vars(ModelCardData()))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("---\nlicense: mit\n---\n", {"license": "mit"}),
        ("---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\n---\n",
         {"license": "other", "license_name": "own", "license_link": "LICENSE"}),
        ("---\nlicense: [mit]\n---\n", {}),
        ("---\nlicense: [mit\n---\n", {}),
        ("# A card without metadata\n", {}),
    ],
)  # fmt: skip
def test_licence_is_the_base_model_s(steered_folder: Path, tmp_path: Path, head: str, expected: dict[str, str]) -> None:
    (steered_folder / "README.md").write_text(head)
    assert run_main([steered_folder, "--out", tmp_path / "again", "--quiet"]) == 0
    data = ModelCard.load(tmp_path / "again" / "README.md").data.to_dict()
    assert {name: value for name, value in data.items() if name.startswith("license")} == expected


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
        "In force: alpha zh 3, 0.5 for every other language; beta 0.7, gamma 0.25.",
        'model.generate(**inputs, max_new_tokens=40, language="zh")     # steered: alpha 3',
        'model.generate(**inputs, max_new_tokens=40, language="de")      # the base model',
        "## Limits",
        "## Ethical note",
        "arXiv 2601.16390",
    ):
        assert fact in text
    assert config["bridge_layers"] == [1, 3]
    assert str(out.parent) not in text, "where it was made is nobody's business"


def test_share_of_the_neurons_that_are_steered(out: Path) -> None:
    """As many as the masks have."""
    masks = masks_only(read_weights(out))
    shares = {}
    for kind in ("shared_mask", "specific_mask"):
        found = [mask for name, mask in masks.items() if name.endswith(kind)]
        shares[kind] = sum(int(mask.sum()) for mask in found) / sum(mask.numel() for mask in found)
    fact = f"| steered there | {shares['shared_mask']:.1%} of the neurons as shared, {shares['specific_mask']:.1%} as "
    assert fact in (out / "README.md").read_text()


def test_it_says_that_nothing_was_evaluated(out: Path) -> None:
    section = (out / "README.md").read_text().split("## Evaluation\n\n")[1].split("\n\n## Limits")[0]
    assert section.startswith(f"{RESULTS_BEGIN}\nNothing was evaluated when this checkpoint was made.")
    assert section.endswith(f"\n{RESULTS_END}")


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
    blocks = [block.split("```")[0].replace("PATH_OR_ID", str(out)) for block in text.split("```python\n")[1:]]
    assert len(blocks) == 2
    for code in blocks:
        scope: dict[str, Any] = {}
        exec(code, scope)
        assert scope["model"].steering.beta == 0.7


def test_card_without_a_licence_of_the_base_model(steered_folder: Path) -> None:
    assert "license" not in ModelCard.load(steered_folder / "README.md").data.to_dict()


def test_address_of_a_repository(out: Path) -> None:
    before = (out / "README.md").read_text()
    here = with_address(before, "someone/model")
    assert here.count("someone/model") == before.count("PATH_OR_ID") + 1 == 5, "and once for a later call"
    assert "PATH_OR_ID" not in here
    assert with_address(here, "someone/model") == here
    there = with_address(here, "others/model-2")
    assert there == here.replace("someone/model", "others/model-2")
    assert ModelCard(there).data.to_dict() == ModelCard(before).data.to_dict()


def test_address_in_a_card_of_somebody_s_own() -> None:
    assert with_address("# Mine\n\nsee PATH_OR_ID\n", "a/b") == "# Mine\n\nsee PATH_OR_ID\n"
