"""A checkpoint with a damaged file: converted, or refused in a line, and then nothing stands under the new name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clas_models.conversion import rescaling
from clas_models.conversion.cli import main
from clas_models.conversion.loading import load_tokenizer
from clas_models.conversion.source import open_source

from . import sound
from .mutations import Content, damaged_bytes, damaged_json, damaged_safetensors, linked_copy, put
from .verdict import refused, status_of

_JSON = ("config.json", "model.safetensors.index.json")
_OTHER = ("generation_config.json", "tokenizer_config.json", "tokenizer.json")


@pytest.fixture(autouse=True, scope="module")
def _no_figure() -> Iterator[None]:
    """It takes longer than all else, and is drawn of what was checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rescaling, "save_layer_figure", lambda *given, **more: None)
        yield


def convert_with(base: Path, name: str, content: Content, *options: object) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = linked_copy(base, Path(scratch, "model")), Path(scratch, "out")
        put(folder / name, content)
        status = status_of(main, [folder, "--out", out, "--quiet", *options], "python convert.py")
        assert out.exists() == (status == 0)


@pytest.mark.parametrize("name", _JSON)
@given(data=st.data())
def test_json_of_a_steered_checkpoint(name: str, data: st.DataObject) -> None:
    value = json.loads((sound.steered() / name).read_text(encoding="utf-8"))
    convert_with(sound.steered(), name, data.draw(damaged_json(value)))


@pytest.mark.parametrize("name", _JSON)
@given(data=st.data())
def test_json_of_a_plain_checkpoint(name: str, data: st.DataObject) -> None:
    value = json.loads((sound.plain() / name).read_text(encoding="utf-8"))
    convert_with(sound.plain(), name, data.draw(damaged_json(value)), "--corpus", sound.corpus())


@given(data=st.data())
def test_safetensors_of_a_steered_checkpoint(data: st.DataObject) -> None:
    """Its last shard holds masks, the detector's tables and vectors."""
    names = sorted(path.name for path in sound.steered().glob("*.safetensors"))
    name = data.draw(st.sampled_from([*names, *names[-2:] * 2]))
    convert_with(sound.steered(), name, data.draw(damaged_safetensors((sound.steered() / name).read_bytes())))


@given(data=st.data())
def test_safetensors_of_a_plain_checkpoint(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in sound.plain().glob("*.safetensors"))))
    content = data.draw(damaged_safetensors((sound.plain() / name).read_bytes()))
    convert_with(sound.plain(), name, content, "--corpus", sound.corpus())


@given(data=st.data())
def test_what_stands_beside_the_weights(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(_OTHER))
    content = (sound.plain() / name).read_bytes()
    damaged = data.draw(damaged_json(json.loads(content)) | damaged_bytes(content))
    with tempfile.TemporaryDirectory() as scratch:
        folder = linked_copy(sound.plain(), Path(scratch, "model"))
        put(folder / name, damaged)
        refused(lambda: load_tokenizer(open_source(str(folder), Path(scratch))))
