"""Tensor parallelism: the masks follow the neurons, so that several processes compute what one does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import STEERING, tiny_plain, tiny_steered
from packaging.version import Version
from real_models import smollm2
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.modeling.clas_llama import ClasLlamaForCausalLM
from clas_models.modeling.language_detector import DetectorLimits

from .support import torchrun
from .tensor_parallel_run import CHINESE, ENGLISH, GERMAN, OBSERVATIONS, observe

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("tensor_parallel_run.py")
# transformers 5.15 knows one spelling only, and saves only what is split evenly.
EARLY = Version(transformers.__version__) < Version("5.23")
UNEVEN = 48 if EARLY else 49
CASES = {
    "llama": (48, "distributed_config" if EARLY else "tp_plan"),
    "qwen2": (UNEVEN, "distributed_config"),
    "mistral-fitted": (UNEVEN, "distributed_config"),
}


def with_detector(family: Any, **overrides: Any) -> Any:
    """A tiny steered model with a detector that knows three tokens."""
    model = tiny_steered(family, detector_languages=["de", "zh"], language="auto", **overrides)
    detector = model.base_model.language_detector
    evidence = torch.zeros(detector.evidence.shape)
    evidence[GERMAN, 0], evidence[CHINESE, 1], evidence[ENGLISH] = 5.0, 5.0, -5.0
    all_tokens = torch.ones(len(evidence), dtype=torch.bool)
    limits = DetectorLimits(word_gain=9, name_gain=9, word_loss=9, threshold=6, threshold_growth=0)
    none = ~all_tokens
    detector.fill(evidence, starts_word=all_tokens, name_like=none, shouts=none, invisible=none, limits=limits)
    return model


def steered(case: str, neurons: int) -> Any:
    """The model of a case; strengths are fitted where its name says so."""
    family, _, rule = case.partition("-")
    model = with_detector(FAMILIES[family], intermediate_size=neurons)
    if rule == "fitted":
        noise = torch.Generator().manual_seed(11)
        strengths = {layer: torch.randn(5, 4, generator=noise) for layer in (1, 4)}
        for table in strengths.values():
            table[0] = 0
        model.set_fitted(strengths, {layer: torch.arange(neurons, dtype=torch.uint8) % 4 for layer in strengths})
    return model


@dataclass(frozen=True)
class Parallel:
    """A model on two ranks and alone: what both were seen to do and to tell."""

    neurons: list[int]
    seen: dict[str, Tensor]
    steering: str
    saved: Path
    alone: Any
    expected: dict[str, Tensor]


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case, with what two ranks were seen to do: most of a launch is importing."""
    folder = tmp_path_factory.mktemp("parallel")
    for name, (neurons, _) in CASES.items():
        steered(name, neurons).save_pretrained(folder / name / "steered")
        tiny_plain(FAMILIES[name.partition("-")[0]], intermediate_size=neurons).save_pretrained(folder / name / "plain")
    cases = [f"{folder / name}:{spelling}" for name, (_, spelling) in CASES.items()]
    ended = torchrun(2, PROGRAM, *cases, "--", *OBSERVATIONS)
    assert ended.status == 0, ended.err
    return folder


@pytest.fixture(scope="module", params=CASES)
def parallel(request: pytest.FixtureRequest, run_once: Path) -> Parallel:
    folder = run_once / request.param
    told = json.loads((folder / "told.json").read_text())
    alone = AutoModelForCausalLM.from_pretrained(folder / "steered")
    expected = observe(alone, list(OBSERVATIONS))
    seen = load_file(folder / "seen.safetensors")
    return Parallel(told["neurons"], seen, told["steering"], folder / "saved", alone, expected)


def test_neurons_are_split(parallel: Parallel) -> None:
    total = parallel.alone.config.intermediate_size
    assert parallel.neurons == [(total + 1) // 2, total // 2]


@pytest.mark.parametrize("what", ["codes", "ids", "auto", "english", "loss", "intervening", "set_steering"])
def test_several_processes_compute_what_one_does(parallel: Parallel, what: str) -> None:
    # Logits are up to 10; sums over neurons that are split are rounded in another order.
    torch.testing.assert_close(parallel.seen[what], parallel.expected[what], rtol=0, atol=2e-4)


def test_each_of_these_is_a_different_thing(parallel: Parallel) -> None:
    """Else the test above would not see what is mixed up."""
    logits = [parallel.seen[what] for what in ("codes", "ids", "english", "intervening", "set_steering")]
    for place, first in enumerate(logits):
        for second in logits[place + 1 :]:
            assert (first - second).abs().max() > 0.1
    german = [parallel.seen[what][1] for what in ("codes", "auto", "english")]
    torch.testing.assert_close(german[0], german[1])
    assert (german[0] - german[2]).abs().max() > 0.1


@pytest.mark.parametrize("what", ["greedy", "beams"])
def test_generates_the_same_tokens(parallel: Parallel, what: str) -> None:
    assert torch.equal(parallel.seen[what], parallel.expected[what])


def test_english_is_the_plain_model_bit_for_bit(parallel: Parallel) -> None:
    assert torch.equal(parallel.seen["english"], parallel.seen["plain"])


def test_steering_counts_the_neurons_of_all_ranks(parallel: Parallel) -> None:
    assert parallel.steering == str(parallel.alone.steering)


def test_saves_the_whole_checkpoint(parallel: Parallel) -> None:
    again = AutoModelForCausalLM.from_pretrained(parallel.saved)
    assert again.steering == parallel.alone.steering
    found, expected = again.state_dict(), parallel.alone.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_split_of_unknown_kind_is_refused(family: Any) -> None:
    mlp = tiny_steered(family).model.layers[2].mlp
    mlp.gate_proj, mlp.up_proj, mlp.down_proj = (torch.nn.Linear(*shape) for shape in ((32, 24), (32, 24), (24, 32)))
    with pytest.raises(RuntimeError, match="24 of 48 neurons"):
        mlp(torch.zeros(1, 1, 32), torch.tensor([1]))


@pytest.mark.real
def test_a_real_model(tmp_path: Path) -> None:
    """SmolLM2 has nine attention heads, so three ranks."""
    plain = AutoModelForCausalLM.from_pretrained(smollm2())
    fields = {**plain.config.to_dict(), **STEERING, "bridge_layers": [20, 21, 22], "model_type": "clas_llama"}
    model = ClasLlamaForCausalLM(ClasLlamaForCausalLM.config_class.from_dict(fields)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    for layer in model.config.bridge_layers:
        scale = model.model.layers[layer].mlp.scale
        draw = torch.rand(scale.shared_mask.shape, generator=torch.Generator().manual_seed(layer))
        scale.shared_mask.copy_(draw < 0.35)
        scale.specific_mask.copy_(draw > 0.65)
    model.save_pretrained(tmp_path / "steered")
    names = ["codes", "english"]
    (tmp_path / "plain").symlink_to(smollm2())
    ended = torchrun(3, PROGRAM, f"{tmp_path}:distributed_config", "--", *names)
    assert ended.status == 0, ended.err
    seen = load_file(tmp_path / "seen.safetensors")
    assert json.loads((tmp_path / "told.json").read_text())["neurons"] == [512, 512, 512]
    for name, expected in observe(model, names).items():
        torch.testing.assert_close(seen[name], expected, rtol=0, atol=1e-3)  # logits are up to 40
    assert torch.equal(seen["english"], seen["plain"])
    assert (seen["codes"][1:] - seen["english"][1:]).abs().amax((1, 2)).min() > 0.1
