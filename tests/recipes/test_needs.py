"""What the recipes need: counted parameters, and the tables of the README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import tiny_plain

from clas_models import FAMILIES
from recipes.needs import CONFIGS, PROG, REFERENCE, Rates, Work, main, memory, read_shape, seconds, told

# As the models' cards and files say.
PARAMETERS = {"llama-3.1-8b": 8_030_261_248, "mistral-nemo": 12_247_782_400, "qwen2.5-7b": 7_615_616_512}
README = Path(__file__).parents[2] / "recipes" / "README.md"


@pytest.mark.parametrize("name", PARAMETERS)
def test_configurations_are_those_of_the_models(name: str) -> None:
    assert read_shape(CONFIGS / f"{name}.json").parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_parameters_are_those_of_a_model(name: str, tmp_path: Path) -> None:
    model = tiny_plain(FAMILIES[name])
    model.config.save_pretrained(tmp_path)
    shape = read_shape(tmp_path / "config.json")
    linear = [module for path, module in model.named_modules() if path.endswith("_proj")]
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert shape.matrices == sum(module.weight.numel() for module in linear)
    assert shape.lora == 64 * sum(module.in_features + module.out_features for module in linear)
    assert shape.cache == 2 * 2 * 6 * 2 * 8, "keys and values, bfloat16, 6 layers, 2 heads of 8"


def test_memory_of_quantiles_is_what_the_documentation_says() -> None:
    found = memory(read_shape(REFERENCE), "neurons")
    assert found["counts of quantiles, while profiling"] == pytest.approx(1.64, abs=0.005)
    assert found["weights, bfloat16"] == pytest.approx(2 * 8.030261248)


def test_rates_of_the_reference_come_out_as_they_went_in() -> None:
    shape, rates = read_shape(REFERENCE), Rates(forward=200, profiling=100, step=0.5, counts=None)
    assert seconds(Work("a pass", 1000), shape, rates, shape) == pytest.approx(5)
    assert seconds(Work("profiling", 1000, profiled=True), shape, rates, shape) == pytest.approx(10)
    assert seconds(Work("training", 1000, passes=2), shape, rates, shape) == pytest.approx(10)
    assert seconds(Work("answers", 1000, steps=8), shape, rates, shape) == pytest.approx(9)
    counted = Rates(forward=200, profiling=100, step=0.5, counts=2 * shape.all_neurons)
    assert seconds(Work("quantiles", 1000, profiled=True), shape, counted, shape) == pytest.approx(1010)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("llama-3.1-8b", "neurons"), ("mistral-nemo", "neurons"), ("llama-3.1-8b", "clas"), ("qwen2.5-7b", "clas")],
)
def test_the_readme_has_the_tables(name: str, recipe: str) -> None:
    text = README.read_text(encoding="utf-8")
    assert f"-{recipe}`:\n\n{told(read_shape(CONFIGS / f'{name}.json'), recipe, Rates())}\n" in text


def test_a_card_of_ones_own(capfd: pytest.CaptureFixture[str]) -> None:
    rates = ("--forward-rate", "10000", "--profiling-rate", "5000", "--step", "0.05", "--count-rate", "1e10")
    assert main([str(REFERENCE), *rates]) == 0
    lines = capfd.readouterr().out.splitlines()
    # 1.6e9 tokens at 5000 a second are 88.9 h; 1.47e15 counts at 1e10 a second are 40.8 h.
    assert "| profile | 129.7 h |" in lines
    assert not any("not measured" in line for line in lines)


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"model_type": "nothing"}', '{"model_type": "bert"}'])
def test_no_configuration(content: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    assert main([str(path)]) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"{PROG}: error: {path}: no configuration of a model (")
    assert said.endswith("); give a config.json\n")


@pytest.mark.parametrize("rates", [("--forward-rate", "0"), ("--profiling-rate", "1e9"), ("--count-rate", "-1")])
def test_rates_that_cannot_be(rates: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(REFERENCE), *rates]) == 2
    assert "rates must be above 0, and profiling no faster than a forward pass" in capfd.readouterr().err


def test_configurations_name_their_architecture() -> None:
    found = {path.stem: json.loads(path.read_text())["model_type"] for path in CONFIGS.glob("*.json")}
    assert found == {"llama-3.1-8b": "llama", "mistral-nemo": "mistral", "qwen2.5-7b": "qwen2"}
