"""The README's commands, in their order, from the conversion to the card; MODEL is tiny, the data few local rows."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import tiny_plain
from conversion.support import file_bytes
from conversion.support import run_main as run_converter
from run_helpers import (  # noqa: F401
    CHAT,
    evaluation_fixture,
    templates_fixture,
    write_belebele,
    write_choices,
    write_xnli,
    write_xquad,
)
from trained_tokenizers import byte_level_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.conversion.in_force import format_strength

README = Path(__file__).parents[2] / "README.md"
MODEL = "Qwen/Qwen2.5-7B-Instruct"
LANGUAGES = ("en", "de", "zh")
SMALLER = {"200": "8", "50": "8", "10,14,18": "1,3", "14": "3"}  # samples, and layers of six


def commands() -> Iterator[list[str]]:
    """Those of the sections on use, but for uploads; the first words are `convert` or `eval`."""
    text = README.read_text(encoding="utf-8").partition("## Use\n")[2].partition("## Options of the converter")[0]
    for line in re.findall(r"^    python (.+)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        if "--push-to-hub" not in words:
            yield ["convert", *words[1:]] if words[0] == "convert.py" else words[1:]


def test_the_readme_goes_from_a_model_to_its_card() -> None:
    found = [words[1] if words[0] == "eval" else "convert" for words in commands()]
    assert found[:6] == ["convert", "run", "grid", "tune", "report", "card"]


@pytest.mark.slow
def test_the_commands_of_the_readme_work_in_their_order(
    evaluation: Command, templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = copy.deepcopy(byte_level_tokenizer())
    tokenizer.chat_template = CHAT
    tiny_plain(FAMILIES["qwen2"], vocab_size=len(tokenizer), max_position_embeddings=1024).save_pretrained(
        tmp_path / "plain"
    )
    tokenizer.save_pretrained(tmp_path / "plain")
    write_xnli(tmp_path / "data" / "xnli", rows=8, languages=LANGUAGES)
    write_xquad(tmp_path / "data" / "xquad", paragraphs=8, questions=1, languages=LANGUAGES)
    write_belebele(tmp_path / "data" / "belebele", questions=8, languages=LANGUAGES)
    write_choices(tmp_path / "data", rows=20, languages=LANGUAGES)
    data = ["--data-dir", tmp_path / "data", "--templates", templates]
    converter = Command(evaluation.capture, run_converter, "convert.py")
    monkeypatch.chdir(tmp_path)
    said = {}
    for program, *words in commands():
        given = [{MODEL: str(tmp_path / "plain"), **SMALLER}.get(word, word) for word in words]
        if program == "convert":
            said[given[-1]] = converter.made(*given).out
        else:
            more = data if given[0] in ("run", "grid", "tune", "fit", "lens", "vectors", "interventions") else []
            said.setdefault(given[0], evaluation.made(*given, *more).out)
    check(Path("qwen-clas"), said)


def check(checkpoint: Path, said: dict[str, str]) -> None:
    """What is written, printed and in the card is one thing."""
    assert "In force: alpha 0 for every language" in said["qwen-clas"]
    assert re.search(
        r"\nalpha 1: text gets less likely in \d+ of 15 languages .*python -m eval tune qwen-clas", said["qwen-clas"]
    )
    decided = json.loads(Path("TUNE/tune.json").read_text())["alpha"]
    assert decided["default"] == 0.0
    assert AutoConfig.from_pretrained(checkpoint).alpha == decided
    now = format_strength(decided)
    assert f"In force from now on, in qwen-clas: alpha {now} (before: 0)" in said["tune"]
    card = file_bytes(checkpoint)["README.md"].decode()
    assert f"\n| alpha | {now} |\n" in card
    made_with = f"Made with alpha 1; beta 0.4; gamma 0.2. In force now: alpha {now}; beta 0.4; gamma 0.2; these scores"
    assert card.count(made_with) == 2, "for each of two tasks"
    assert re.search(r"On 8 rows a language of builtin that were not profiled, at alpha 1: text gets less likely", card)
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokens = torch.arange(10, 30)[None]
    with torch.inference_mode():
        base = model(tokens, language="en").logits
        assert torch.equal(model(tokens, language="ru").logits, base), "which nothing was decided about"
    assert Path("TUNE").is_dir()
    assert all(Path(name).is_dir() for name in ("qwen-de", "qwen-ia3", "RUN", "GRID", "LENS"))
