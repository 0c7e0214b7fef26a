"""An adapter with a damaged file: merged, or refused in a line."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from adapter_helpers import CPU, save_adapter
from hypothesis import given
from hypothesis import strategies as st

from clas_models.conversion.source import Source, open_source
from clas_models.finetuning.adapted_model import load_adapted
from clas_models.finetuning.adapter import CONFIG_NAME, WEIGHTS_NAME
from clas_models.finetuning.adapter_record import RECORD_NAME

from . import sound
from .mutations import Content, damaged_bytes, damaged_json, damaged_safetensors, linked_copy, put
from .verdict import refused

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT warns of what it does not know


@cache
def source() -> Source:
    return open_source(str(sound.steered()), sound.steered())


@cache
def adapter() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="clas-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return save_adapter(folder / "adapter", source())


def load_with(name: str, content: Content) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = linked_copy(adapter(), Path(scratch, "adapter"))
        put(folder / name, content)
        found = refused(lambda: load_adapted(source(), folder, "float32", CPU))
        assert not isinstance(found, str) or "\n" not in found


@pytest.mark.parametrize("name", [CONFIG_NAME, RECORD_NAME])
@given(data=st.data())
def test_json(name: str, data: st.DataObject) -> None:
    load_with(name, data.draw(damaged_json(json.loads((adapter() / name).read_text(encoding="utf-8")))))


@given(data=st.data())
def test_weights(data: st.DataObject) -> None:
    load_with(WEIGHTS_NAME, data.draw(damaged_safetensors((adapter() / WEIGHTS_NAME).read_bytes())))


@pytest.mark.parametrize("name", [CONFIG_NAME, RECORD_NAME, WEIGHTS_NAME])
@given(data=st.data())
def test_bytes(name: str, data: st.DataObject) -> None:
    load_with(name, data.draw(damaged_bytes((adapter() / name).read_bytes())))
