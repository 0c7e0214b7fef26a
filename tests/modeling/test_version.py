"""Which checkpoints this code reads: those of its own version and of every older one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import STEERING, TINY
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models.modeling.version import VERSION, check_version

MAJOR, MINOR, _ = map(int, VERSION.split("."))


@pytest.mark.parametrize("version", [VERSION, "0.0.7", f"{MAJOR}.{MINOR}.99"])
def test_its_own_version_older_ones_and_patches_are_read(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", [f"{MAJOR}.{MINOR + 1}.0", f"{MAJOR + 1}.0.0", f"{MAJOR}.{MINOR + 10}.2"])
def test_newer_versions_are_refused_with_two_ways_out(version: str) -> None:
    with pytest.raises(ValueError, match=r"pip install -U clas-models\), or .* trust_remote_code=True") as error:
        check_version(version)
    assert f"written by clas-models {version}" in str(error.value)
    assert f"is of version {VERSION};" in str(error.value)


@pytest.mark.parametrize("version", ["1", "1.2", "new", "1.2.x", ""])
def test_other_words_are_no_version(version: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        check_version(version)


def test_a_number_is_no_version() -> None:
    with pytest.raises(TypeError, match=r"clas_version: 0.1 is of type float"):
        check_version(0.1)


def test_a_checkpoint_of_newer_code_is_not_loaded_by_the_package(steered: Any, tmp_path: Path) -> None:
    steered.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "clas_version": "99.0.0"}))
    with pytest.raises(ValueError, match=r"clas-models 99\.0\.0"):
        AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True)


def test_what_is_saved_is_of_the_version_that_saves_it(family: Any, tmp_path: Path) -> None:
    config = family.config(**TINY, **STEERING, clas_version="0.0.1")
    assert config.clas_version == "0.0.1"
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).clas_version == VERSION
