"""Profiles, selections, tables and adapters: read, or refused in a line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clas_models.conversion.cli import main
from clas_models.conversion.formats.ia3 import WEIGHTS_NAME, check_base
from clas_models.profiling.known import Known
from clas_models.profiling.language_vectors import LanguageVectors
from clas_models.profiling.lape import lape
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.selection import Selection
from clas_models.profiling.vector_layers import choose_vector_layers
from clas_models.profiling.write_tables import WriteTables, write_tables

from . import sound
from .mutations import damaged_safetensors, put
from .verdict import refused, status_of


def load_and_use_profile(path: Path) -> None:
    profile = NeuronProfile.load(path)
    profile.select(profile.languages[:1]).save(path.with_name("again"))
    lape(profile)


def load_and_use_selection(path: Path) -> None:
    selection = Selection.load(path)
    selection.counts()
    selection.indices(selection.languages[0])
    selection.save(path.with_name("again"))


def load_and_use_tables(path: Path) -> None:
    WriteTables.load(path).save(path.with_name("again"))


def load_and_use_vectors(path: Path) -> None:
    vectors = LanguageVectors.load(path)
    vectors.tables(vectors.layers, [vectors.anchor, *vectors.languages])
    choose_vector_layers(vectors)
    vectors.save(path.with_name("again"))


@cache
def contents() -> dict[Callable[[Path], Any], bytes]:
    """A sound file for each of the functions that read one."""
    profile = NeuronProfile.load(sound.steered() / "neuron_profile.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        (selected := lape(profile)).save(selection := Path(folder, "selection"))
        write_tables(Known(profile), selected, profile.languages).save(tables := Path(folder, "tables"))
        return {
            load_and_use_profile: (sound.steered() / "neuron_profile.safetensors").read_bytes(),
            load_and_use_selection: selection.read_bytes(),
            load_and_use_tables: tables.read_bytes(),
            load_and_use_vectors: sound.vectors().read_bytes(),
        }


@pytest.mark.parametrize(
    "use", [load_and_use_profile, load_and_use_selection, load_and_use_tables, load_and_use_vectors]
)
@given(data=st.data())
def test_described_tensors(use: Callable[[Path], Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "file.safetensors")
        put(path, data.draw(damaged_safetensors(contents()[use])))
        refused(lambda: use(path))


@given(data=st.data())
def test_a_profile_for_a_conversion(data: st.DataObject) -> None:
    content = data.draw(damaged_safetensors(contents()[load_and_use_profile]))
    with tempfile.TemporaryDirectory() as scratch:
        put(profile := Path(scratch, "profile"), content)
        out = Path(scratch, "out")
        given = [sound.steered(), "--profile", profile, "--detector-corpus", "none", "--out", out, "--quiet"]
        status = status_of(main, given, "python convert.py")
        assert out.exists() == (status == 0)


@given(data=st.data())
def test_vectors_for_a_conversion(data: st.DataObject) -> None:
    content = data.draw(damaged_safetensors(contents()[load_and_use_vectors]))
    with tempfile.TemporaryDirectory() as scratch:
        put(vectors := Path(scratch, "vectors"), content)
        out = Path(scratch, "out")
        given = [sound.plain(), "--vectors", vectors, "--detector-corpus", "none", "--out", out, "--quiet"]
        status = status_of(main, given, "python convert.py")
        assert out.exists() == (status == 0)


@given(data=st.data())
def test_adapters(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        put(Path(scratch, WEIGHTS_NAME), data.draw(damaged_safetensors(contents()[load_and_use_profile])))
        refused(lambda: check_base(Path(scratch), sound.plain()))
