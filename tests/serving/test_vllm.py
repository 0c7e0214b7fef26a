"""Stock vLLM serves steered checkpoints: the same greedy tokens as transformers, in mixed batches, on two ranks and
over HTTP.

Needs an environment with vLLM and this package, which `tests/serving/run` makes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain, tiny_steered
from conversion.support import change_tensors
from older_checkpoints import as_old
from vllm_environment import PER_REQUEST, Vllm, VllmError, _environment  # noqa: F401

from clas_models import FAMILIES
from clas_models.modeling.language_detector import DetectorLimits

pytestmark = pytest.mark.slow

HEADS = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}  # 32 wide: vLLM has kernels for that
LANGUAGES = ["de", "en", "hi", "zh", "fr", None]  # fr was not profiled; None: the request says nothing
GERMAN_BYTE = 200  # the detector of the tiny models knows one word


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    with Vllm(tmp_path_factory.mktemp("vllm") / "log") as process:
        yield process


@pytest.fixture
def model(family: Any, tmp_path: Path) -> Any:
    """A tiny steered model with a detector, loaded in transformers; `model.folder` is its checkpoint."""
    return saved(tiny_steered(family, **HEADS, detector_languages=["de"], language="auto"), tmp_path / "steered")


@pytest.fixture
def llama(tmp_path: Path) -> Any:
    """One family, where the other could not differ."""
    return saved(tiny_steered(FAMILIES["llama"], **HEADS), tmp_path / "steered")


def saved(model: Any, folder: Path) -> Any:
    detector = getattr(model.base_model, "language_detector", None)
    if detector is not None:
        evidence = torch.zeros_like(detector.evidence, dtype=torch.float32)
        evidence[GERMAN_BYTE, 0] = 4.0
        token = torch.arange(len(evidence))
        limits = DetectorLimits(word_gain=5, name_gain=1, word_loss=4, threshold=6, threshold_growth=1)
        nowhere = token < 0
        detector.fill(
            evidence, starts_word=~nowhere, name_like=nowhere, shouts=nowhere, invisible=token > 255, limits=limits
        )
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    model.folder = folder
    return model


def requests(languages: list[str | None], seed: int = 0, longest: int = 90) -> list[dict[str, Any]]:
    """Random prompts; lengths and numbers of tokens differ, so that rows of a batch come, move and go."""
    draw = random.Random(seed)
    return [
        {
            "prompt": [draw.randrange(100) for _ in range(draw.randint(3, longest))],
            "tokens": draw.randint(4, 24),
            **({} if language is None else {"language": language}),
        }
        for language in languages
    ]


def expected(model: Any, batch: list[dict[str, Any]], **kwargs: Any) -> list[list[int]]:
    """The greedy tokens of transformers, one request at a time."""
    answers = []
    for request in batch:
        prompt = torch.tensor([request["prompt"]])
        language = {"language": request["language"]} if "language" in request else {}
        tokens = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=request["tokens"],
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            **{**language, **kwargs},
        )
        answers.append(tokens[0, prompt.shape[1] :].tolist())
    return answers


def test_a_batch_of_mixed_languages(vllm: Vllm, model: Any) -> None:
    # 32 tokens a step: prompts are cut, and steps hold parts of prompts beside single tokens of other requests.
    batch = requests(LANGUAGES * 4)
    answer = vllm.run(model.folder, batch, **PER_REQUEST, max_num_batched_tokens=32, max_num_seqs=5)
    assert answer["tokens"] == [expected(model, batch)]
    unsteered = expected(model, batch, language="en")
    changed = {
        request.get("language")
        for request, one, other in zip(batch, answer["tokens"][0], unsteered, strict=True)
        if one != other
    }
    assert changed == {"de", "hi", "zh", "fr"}


def test_interrupted_requests_keep_their_language(vllm: Vllm, llama: Any) -> None:
    batch = requests(["de", "en", "hi", "zh"] * 3, seed=1, longest=60)
    # Room for 6 blocks of 32 tokens: requests that run together outgrow it.
    answer = vllm.run(
        llama.folder, batch, **PER_REQUEST, block_size=32, num_gpu_blocks_override=7, max_model_len=96, max_num_seqs=4
    )
    assert answer["preemptions"] > 0
    assert answer["tokens"] == [expected(llama, batch)]


def test_auto_is_decided_from_the_whole_prompt(vllm: Vllm, model: Any) -> None:
    plain, german = requests([None, None], seed=2)
    german["prompt"] = [*german["prompt"], *[GERMAN_BYTE] * 4]  # the detector hears it at the end only
    named = {**plain, "language": "auto"}
    answer = vllm.run(model.folder, [plain, german, named], **PER_REQUEST, max_num_batched_tokens=32, max_num_seqs=3)
    assert answer["tokens"][0] == expected(model, [plain, german, named])
    assert answer["tokens"][0] == [
        *expected(model, [plain], language="en"),
        *expected(model, [german], language="de"),
        *expected(model, [plain], language="en"),
    ]
    assert expected(model, [german], language="de") != expected(model, [german], language="en")


def fitted(family: Any, folder: Path, **overrides: Any) -> Any:
    """A tiny model whose strengths are fitted: those of four categories in layers 1 and 4."""
    model, noise = tiny_steered(family, **{**HEADS, "alpha": 1.0, **overrides}), torch.Generator().manual_seed(6)
    strengths = {layer: torch.randn(5, 4, generator=noise) for layer in (1, 4)}
    for table in strengths.values():
        table[0] = 0
    model.set_fitted(strengths, {layer: torch.arange(48, dtype=torch.uint8) % 4 for layer in strengths})
    return saved(model, folder)


def test_fitted_strengths(vllm: Vllm, family: Any, tmp_path: Path) -> None:
    model, batch = fitted(family, tmp_path), requests(LANGUAGES * 2)
    answer = vllm.run(model.folder, batch, **PER_REQUEST, max_num_batched_tokens=32, max_num_seqs=5)
    assert answer["tokens"] == [expected(model, batch)]
    unsteered = expected(model, batch, language="en")
    changed = {
        request.get("language")
        for request, one, other in zip(batch, answer["tokens"][0], unsteered, strict=True)
        if one != other
    }
    assert changed >= {"de", "hi", "zh", "fr"}
    assert "en" not in changed


def test_alpha_is_the_dial_of_fitted_strengths(vllm: Vllm, tmp_path: Path) -> None:
    model, batch = fitted(FAMILIES["llama"], tmp_path), requests(["de"] * 4)
    alpha = {"de": -0.5, "default": 0.0}
    answer = vllm.run(model.folder, batch, **PER_REQUEST, hf_overrides={"alpha": alpha})
    assert answer["tokens"] != [expected(model, batch)]
    model.set_steering(alpha=alpha)
    assert answer["tokens"] == [expected(model, batch)]


def test_an_engine_whose_fitted_strengths_cannot_be_does_not_start(vllm: Vllm, tmp_path: Path) -> None:
    model = fitted(FAMILIES["llama"], tmp_path)
    table = "model.layers.4.mlp.scale.fitted_strengths"
    change_tensors(tmp_path / "model.safetensors", lambda tensors: tensors[table].fill_(0.5))
    with pytest.raises(VllmError, match="layer 4: the strengths of the anchor en are not 0") as refusal:
        vllm.run(model.folder, requests([None]))
    assert "\n" not in str(refusal.value)
    change_tensors(tmp_path / "model.safetensors", lambda tensors: tensors.pop(table))
    with pytest.raises(VllmError, match=f"the checkpoint has no '{table}'"):
        vllm.run(model.folder, requests([None]))


def test_one_language_for_the_engine(vllm: Vllm, model: Any) -> None:
    batch = requests([None] * 4)
    alpha = {"de": 3.0, "default": 0.5}
    overrides = {"language": "de", "alpha": alpha, "beta": 0.7, "gamma": -0.1}
    # The same prompts again: their keys and values come from the prefix cache.
    answer = vllm.run(model.folder, batch, batch, hf_overrides=overrides)
    model.set_steering(alpha=alpha, beta=0.7, gamma=-0.1)
    steered = expected(model, batch, language="de")
    assert answer["tokens"] == [steered, steered]
    assert steered != expected(model, batch, language="en")


def test_no_language_is_an_unnamed_one(vllm: Vllm, llama: Any) -> None:
    batch = requests([None] * 2)
    answer = vllm.run(llama.folder, batch)
    assert answer["tokens"] == [expected(llama, batch)]
    assert answer["tokens"] != [expected(llama, batch, language="en")]


def test_english_is_the_plain_model(vllm: Vllm, family: Any, tmp_path: Path) -> None:
    steered = saved(tiny_steered(family, **HEADS), tmp_path / "steered")
    plain = saved(tiny_plain(family, **HEADS), tmp_path / "plain")
    batch = requests([None] * 8)
    english = vllm.run(steered.folder, batch, hf_overrides={"language": "en"})
    assert english["tokens"] == vllm.run(plain.folder, batch)["tokens"]


def test_a_checkpoint_of_version_0_1(vllm: Vllm, model: Any, tmp_path: Path) -> None:
    batch = requests(LANGUAGES)
    answer = vllm.run(as_old(model.folder, tmp_path / "old"), batch, **PER_REQUEST)
    assert answer["tokens"] == [expected(model, batch)]


def test_fewer_bridge_layers_than_masks(vllm: Vllm, llama: Any) -> None:
    batch = requests(["de"])
    answer = vllm.run(llama.folder, batch, **PER_REQUEST, hf_overrides={"bridge_layers": [3]})
    fewer = type(llama).from_pretrained(llama.folder, bridge_layers=[3])
    assert answer["tokens"] == [expected(fewer, batch)]
    assert answer["tokens"] != [expected(llama, batch)]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"hf_overrides": {"language": "klingon!"}}, "language: 'klingon!' is not a language code"),
        ({"hf_overrides": {"alpha": "much"}}, "alpha: 'much' is of type str"),
        ({"hf_overrides": {"beta": None}}, "beta: None is of type NoneType"),
        ({"hf_overrides": {"bridge_layers": [1]}}, "the checkpoint has no 'model.layers.1.mlp.scale.shared_mask'"),
        ({"hf_overrides": {"language": "auto", "detector_languages": ["de"]}}, '"auto" is decided from the prompt'),
        ({**PER_REQUEST, "enable_prefix_caching": True}, "add --no-enable-prefix-caching"),
        (
            {**PER_REQUEST, "hf_overrides": {"language": "auto", "detector_languages": ["de"]}},
            "the checkpoint has no 'model.language_detector.evidence'",
        ),
    ],
)
def test_an_engine_that_cannot_steer_does_not_start(
    vllm: Vllm, llama: Any, engine: dict[str, Any], message: str
) -> None:
    with pytest.raises(VllmError, match=re.escape(message)) as refusal:
        vllm.run(llama.folder, requests([None]), **engine)
    assert "\n" not in str(refusal.value)


def test_an_engine_whose_masks_overlap_does_not_start(vllm: Vllm, llama: Any) -> None:
    change_tensors(
        llama.folder / "model.safetensors",
        lambda tensors: tensors["model.layers.3.mlp.scale.shared_mask"].fill_(True),
    )
    with pytest.raises(VllmError, match="layer 3: shared_mask and specific_mask overlap in ") as refusal:
        vllm.run(llama.folder, requests([None]))
    assert "\n" not in str(refusal.value)


def test_requests_by_language_need_a_steered_model(vllm: Vllm, tmp_path: Path) -> None:
    plain = saved(tiny_plain(FAMILIES["llama"], **HEADS), tmp_path / "plain")
    with pytest.raises(VllmError, match="the model type is 'llama', which is not steered"):
        vllm.run(plain.folder, requests(["de"]), **PER_REQUEST)


def test_a_request_with_a_language_that_is_none_is_refused(vllm: Vllm, llama: Any) -> None:
    names: list[Any] = ["klingon!", 5, ["de"]]
    good = requests(["de"])
    answers = vllm.run(llama.folder, *(requests([name]) for name in names), good, **PER_REQUEST)["tokens"]
    for name, refusal in zip(names, answers[:3], strict=True):
        assert refusal.startswith(f"language: {name!r} ")
        assert "\n" not in refusal
    assert answers[3] == expected(llama, good)  # the engine goes on


def test_two_ranks_hold_half_of_the_neurons_each(llama: Any, tmp_path: Path) -> None:
    batch = requests(LANGUAGES)
    with Vllm(tmp_path / "log", workers=2) as vllm:
        for model in (llama, fitted(FAMILIES["llama"], tmp_path / "fitted")):
            assert vllm.run(model.folder, batch, **PER_REQUEST)["tokens"] == [expected(model, batch)]
