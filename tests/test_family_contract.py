"""What every family of the table must keep: the contract behind "adding a family is one file".

A new family runs through all of it without a line here.  Each test is short; the folders beside this file go deeper.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_environment import make_bare_environment
from conftest import STEERING, TINY, byte_tokenizer, tiny_plain, tiny_steered
from transformers import AutoModelForCausalLM
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from clas_models import FAMILIES
from clas_models.conversion.checkpoint import code_files
from clas_models.conversion.formats import FORMS
from clas_models.conversion.formats.export import export
from clas_models.conversion.formats.options import ExportOptions
from clas_models.modeling.rule import ACTIVATED, NEURONS, RESIDUAL
from clas_models.profiling.corpora.parallel_corpus import ParallelCorpus
from clas_models.profiling.recorder import GATE, Recorder
from clas_models.profiling.recording import record
from eval.engine.generation import generate
from eval.engine.perplexity import negative_log_likelihood

MIXED = ["en", "de", "en-US", "fr"]
GREEDY = {"max_new_tokens": 6, "do_sample": False}
LOAD = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
with torch.inference_mode():
    print(model(torch.arange(9)[None], language="de").logits.double().sum().item())
"""
# What a family may have more than the tiny models' defaults.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mistral": [{"head_dim": 16}, {"sliding_window": 4}, {"sliding_window": None}],
    "qwen2": [{"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}],
}
SHAPES = [(name, shape) for name in sorted(FAMILIES) for shape in ({}, *VARIANTS.get(name, []))]
every_shape = pytest.mark.parametrize(("name", "shape"), SHAPES, ids=[f"{name}-{shape}" for name, shape in SHAPES])


def pair(name: str, shape: dict[str, Any]) -> tuple[Any, Any]:
    """A plain model and a steered one with its weights."""
    torch.manual_seed(0)
    family = FAMILIES[name]
    plain = AutoModelForCausalLM.from_config(family.base_config(**{**TINY, **shape})).eval()
    steered = family.causal_lm(family.config(**{**TINY, **STEERING, **shape})).eval()
    steered.load_state_dict(plain.state_dict(), strict=False)
    for index in STEERING["bridge_layers"]:
        scale = steered.model.layers[index].mlp.scale
        scale.shared_mask[::3], scale.specific_mask[1::3] = True, True
    return plain, steered


@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_anchor_rows_are_those_of_the_plain_model(name: str, shape: Any, dtype: torch.dtype, tokens: Any) -> None:
    plain, steered = (model.to(dtype) for model in pair(name, shape))
    with torch.inference_mode():
        expected, found = plain(tokens).logits, steered(tokens, language=MIXED).logits
        steps = plain.generate(tokens, **GREEDY), steered.generate(tokens, language=MIXED, **GREEDY)
    assert [torch.equal(a, b) for a, b in zip(found, expected, strict=True)] == [True, False, True, False]
    assert torch.equal(steps[0][0], steps[1][0])
    assert torch.equal(steps[0][2], steps[1][2])


@every_shape
def test_a_steered_model_has_what_the_plain_one_has(name: str, shape: Any) -> None:
    """Constructors are written once, so what a base constructor sets must not be forgotten."""
    plain, steered = pair(name, shape)
    assert vars(plain).keys() - vars(steered).keys() == set()
    assert vars(plain.model).keys() - vars(steered.model).keys() == set()
    assert [key for key, _ in steered.named_parameters()] == [key for key, _ in plain.named_parameters()]
    assert isinstance(steered, type(plain))
    assert isinstance(steered.model, type(plain.model))


@every_shape
@pytest.mark.parametrize("language", ["de", "en"])
def test_the_engine_is_forward(name: str, shape: Any, language: str) -> None:
    _, model = pair(name, shape)
    rows = [list(range(10, 40)), [*range(10, 30), 7, 8, 9], [5, 6, 7, 8]]
    nats = [0.0] * len(rows)
    for batch, sums, _ in negative_log_likelihood(model, rows, language, batch_size=1):
        nats[batch[0]] = sums[0][0]
    answers: list[list[int]] = [[]] * len(rows)
    for batch, found in generate(model, rows, language, max_new_tokens=5, eos_token_ids=(), batch_size=2):
        for index, tokens in zip(batch, found[0], strict=True):
            answers[index] = tokens
    for row, loss, answer in zip(rows, nats, answers, strict=True):
        ids = torch.tensor([row])
        with torch.inference_mode():
            logits = model(ids, language=language).logits[0, :-1].float()
            expected = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").double().sum().item()
            steps = model.generate(ids, language=language, max_new_tokens=5, eos_token_id=-1, do_sample=False)
        assert loss == pytest.approx(expected, rel=1e-6)
        assert answer == steps[0, len(row) :].tolist()


class Everything(Recorder):
    """Keeps every site of every layer."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int], torch.Tensor] = {}

    def sites(self, num_layers: int) -> dict[str, range]:
        return dict.fromkeys((GATE, ACTIVATED, NEURONS, RESIDUAL), range(num_layers))

    def observe(self, site: str, layer: int, values: torch.Tensor) -> None:
        self.seen[site, layer] = values.clone()


def test_the_sites_of_a_pass_are_what_hooks_see(family: Any) -> None:
    model, recorder, seen = tiny_steered(family), Everything(), {}
    row = {"en": "One sentence.", "de": "Ein Satz."}
    tokenizer = byte_tokenizer()
    record(model, tokenizer, ParallelCorpus("two", ("en", "de"), [row]), [recorder])
    for index, layer in enumerate(model.model.layers):
        places = ((GATE, layer.mlp.gate_proj), (ACTIVATED, layer.mlp.act_fn), (RESIDUAL, layer))
        for site, module in places:
            module.register_forward_hook(lambda m, args, out, key=(site, index): seen.update({key: out}))
        layer.mlp.down_proj.register_forward_pre_hook(lambda m, args, key=(NEURONS, index): seen.update({key: args[0]}))
    with torch.inference_mode():
        model(torch.tensor([tokenizer(row["de"])["input_ids"]]))  # the last language of the pass
    assert seen.keys() == recorder.seen.keys()
    assert all(torch.equal(values, recorder.seen[key]) for key, values in seen.items())


@pytest.mark.parametrize(("form", "fitted"), [*((form, False) for form in FORMS), ("folded", True), ("ia3", True)])
def test_every_form_of_export(family: Any, form: str, fitted: bool, tmp_path: Path) -> None:
    model = tiny_steered(family, bridge_layers=[2, 3] if form != "control-vector" else [])
    if fitted:
        strengths = torch.linspace(-0.9, 0.9, 20).view(5, 4)
        strengths[0] = 0
        model.set_fitted({1: strengths}, {1: torch.arange(48, dtype=torch.uint8) % 4})
    if form == "control-vector":
        table = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
        table[0] = 0
        model.set_vectors({2: table}, strength=2.0, positions="all")
    model.save_pretrained(tmp_path / "steered")
    byte_tokenizer().save_pretrained(tmp_path / "steered")
    made = export(ExportOptions(str(tmp_path / "steered"), form, tmp_path / "out", language="de"))
    assert made.difference.relative < 1e-4
    assert made.difference.effect > 100 * made.difference.absolute


@every_shape
def test_fitted_strengths(name: str, shape: Any, tokens: Any, tmp_path: Path) -> None:
    """By hand on the plain model, and after they were saved and loaded, also in half precision."""
    plain, steered = pair(name, shape)
    noise = torch.Generator().manual_seed(4)
    strengths, categories = torch.randn(5, 4, generator=noise), torch.arange(48, dtype=torch.uint8) % 4
    strengths[0] = 0
    steered.set_fitted({1: strengths}, {1: categories})
    steered.set_steering(alpha=0.5)
    factors = (1 + 0.5 * strengths.double()[[0, 1, 0, 4]][:, categories.long()]).float()
    unsteered = plain(tokens).logits
    plain.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda _, args: args[0] * factors[:, None])
    with torch.inference_mode():
        found = steered(tokens, language=MIXED).logits
        assert torch.equal(found, plain(tokens).logits)
        assert [torch.equal(a, b) for a, b in zip(found, unsteered, strict=True)] == [True, False, True, False]
    steered.save_pretrained(tmp_path)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] | report["unexpected_keys"]
    with torch.inference_mode():
        assert torch.equal(again(tokens, language=MIXED).logits, found)
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(half.fitted_strengths[1], strengths)


def test_save_and_reload(family: Any, tokens: Any, tmp_path: Path) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] | report["unexpected_keys"]
    with torch.inference_mode():
        assert torch.equal(again(tokens, language=MIXED).logits, model(tokens, language=MIXED).logits)


def test_a_checkpoint_carries_the_code_of_its_own_family_only(family: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    carried = {path.name for path in tmp_path.glob("*.py")}
    assert carried == {path.name for path in code_files(family)}
    assert {name for name in carried if name.removeprefix("clas_").removesuffix(".py") in FAMILIES} == {
        f"clas_{family.base}.py"
    }
    text = "".join(path.read_text() for path in tmp_path.glob("*.py"))
    for other in FAMILIES.values():
        assert (other.base_config.__name__ in text) is (other is family)


@pytest.mark.slow
def test_without_the_package(family: Any, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path)
    ended = make_bare_environment(tmp_path_factory.mktemp("bare")).run(LOAD, tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with torch.inference_mode():
        expected = model(torch.arange(9)[None], language="de").logits.double().sum().item()
    assert float(ended.stdout.split()[-1]) == expected


def test_the_names_that_others_have_for_it(family: Any, tmp_path: Path) -> None:
    """That vLLM has the class is checked where vLLM is installed, in tests/serving."""
    assert family.gguf is None or family.gguf in GGUF_CONFIG_MAPPING
    assert family.vllm is None or family.vllm.count(":") == 1
    family.config(**TINY, **STEERING).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_type"] == family.model_type
    assert written["auto_map"]["AutoModelForCausalLM"] == f"clas_{family.base}.{family.causal_lm.__name__}"
    assert type(tiny_plain(family)).__name__ == family.causal_lm.__name__.removeprefix("Clas")
