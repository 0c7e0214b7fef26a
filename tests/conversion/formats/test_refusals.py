"""What cannot be expressed in another form, or makes no sense there, is refused in one line that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command

from clas_models import FAMILIES
from clas_models.conversion.export_record import EXPORT_NAME
from clas_models.conversion.formats import FORMS
from clas_models.conversion.source import open_source

from ..support import change_tensors, file_bytes, names, rewrite_json, save_plain
from .conftest import with_vectors

LANGUAGE = {"folded": ("--language", "de"), "ia3": ("--vector-strength", "0"), "control-vector": ("--alpha", "0")}


@pytest.fixture(params=sorted(FORMS))
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def steered(tmp_path: Path) -> Path:
    """With masks that act, and vectors for the form that needs them."""
    return with_vectors(tmp_path / "steered")


# --- languages and options --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["en", "EN", "en-us"])
def test_anchor_language(converter: Command, steered: Path, form: str, code: str) -> None:
    said = converter.refused(steered, "--format", form, *LANGUAGE[form], "--language", code)
    assert "en is the anchor language, which is never steered; use the plain base model for it" in said


@pytest.mark.parametrize("given", [("--language", "auto"), ("--languages", "de,auto")])
def test_auto(converter: Command, steered: Path, form: str, given: tuple[str, str]) -> None:
    said = converter.refused(steered, "--format", form, *given)
    assert said == (
        f"--format {form} has one language for good and cannot recognise it, so auto is none; name a code such as de, "
        "or use the steered checkpoint"
    )


@pytest.mark.parametrize("given", [("--language", "none"), ("--language", "Deutsch"), ("--languages", "de,d")])
def test_what_is_no_code(converter: Command, steered: Path, given: tuple[str, str]) -> None:
    assert "is not a language code" in converter.refused(steered, "--format", "ia3", *given)


def test_folded_without_a_language(converter: Command, steered: Path) -> None:
    said = converter.refused(steered, "--format", "folded")
    assert said == "--format folded holds one language for good: name it with --language; profiled are de, zh, hi"


@pytest.mark.parametrize("given", [("--language", "de,hi"), ("--languages", "de,hi")])
def test_folded_with_more_than_one(converter: Command, steered: Path, given: tuple[str, str]) -> None:
    said = converter.refused(steered, "--format", "folded", *given)
    assert said.startswith("de, hi: a folded checkpoint holds one language; make one for each")
    assert "--format ia3" in said


def test_language_in_two_ways(converter: Command, steered: Path, form: str) -> None:
    said = converter.refused(steered, "--format", form, "--language", "de", "--languages", "hi")
    assert said == "--language and --languages exclude each other; name the languages in one of them"


@pytest.mark.parametrize(
    "given",
    [
        ("--corpus", "builtin"),
        ("--profile", "neuron_profile.safetensors"),
        ("--bridge-layers", "auto"),  # the default
        ("--anchor", "en"),
        ("--threshold", "0"),
        ("--detector-corpus", "none"),
        ("--dtype", "bfloat16"),
    ],
)
def test_options_of_a_conversion(converter: Command, steered: Path, form: str, given: tuple[str, str]) -> None:
    said = converter.refused(steered, "--format", form, *LANGUAGE[form], *given)
    assert said == (
        f"--format {form} has no use for {given[0]}: masks and vectors are made already; leave it out, or make "
        "another steered checkpoint first"
    )


def test_format_that_there_is_not(converter: Command, steered: Path) -> None:
    assert (
        converter.refused(steered, "--format", "lora")
        == "format 'lora': choose one of steered, folded, ia3, control-vector"
    )
    said = converter.refused("--demo", "--format", "folded")
    assert said.startswith("--format is for a steered MODEL, --demo makes one of its own")


@pytest.mark.parametrize(
    ("given", "said"),
    [(("--alpha", "nan"), "alpha: nan is not finite"), (("--alpha", "fr=1,default=0"), "'fr' is not among")],
)
def test_strengths(converter: Command, steered: Path, form: str, given: tuple[str, str], said: str) -> None:
    assert said in converter.refused(steered, "--format", form, *LANGUAGE[form], *given)


# --- MODEL ------------------------------------------------------------------------------------------------------------


def test_plain_checkpoint(converter: Command, tmp_path: Path, form: str) -> None:
    plain = save_plain(tmp_path / "plain")
    said = converter.refused(plain, "--format", form, *LANGUAGE[form], "--out", tmp_path / "out")
    assert said == f"{plain}: a plain checkpoint, --format needs a steered one; convert it first, without --format"
    assert names(tmp_path) == {"plain"}


def test_file(converter: Command, tmp_path: Path, form: str) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    said = converter.refused(tmp_path / "x.gguf", "--format", form, *LANGUAGE[form])
    assert said.endswith("a file, --format needs the folder or Hub id of a steered checkpoint")


def test_vectors_are_no_scaling(converter: Command, tmp_path: Path) -> None:
    steered = with_vectors(tmp_path / "steered")
    assert converter.refused(steered, "--format", "ia3", "--out", tmp_path / "out") == (
        f"{steered}: adds vectors after layers 1-2, which no scaling of neurons expresses; give --vector-strength 0 "
        "for the neurons alone, or use --format control-vector, or the steered checkpoint itself"
    )
    converter.made(steered, "--format", "ia3", "--vector-strength", "0", "--out", tmp_path / "out")


@pytest.mark.parametrize("positions", ["last", "generated"])
@pytest.mark.parametrize("name", ["folded", "control-vector"])
def test_vectors_on_some_tokens(converter: Command, tmp_path: Path, name: str, positions: str) -> None:
    form = [name, *LANGUAGE[name]]
    steered = with_vectors(tmp_path / "steered", vector_positions=positions)
    said = converter.refused(steered, "--format", *form, "--out", tmp_path / "out")
    assert f"its vectors act on some tokens ({positions}), and this form adds them to all" in said
    converter.made(steered, "--format", *form, "--vector-positions", "all", "--out", tmp_path / "out")


def test_vectors_where_the_architecture_has_no_bias(converter: Command, tmp_path: Path) -> None:
    steered = with_vectors(tmp_path / "steered", FAMILIES["qwen2"])
    said = converter.refused(steered, "--format", "folded", "--language", "de", "--out", tmp_path / "out")
    assert "the MLP of qwen2 has no bias that could hold them; use --format control-vector" in said


@pytest.mark.parametrize(
    ("fields", "given", "said"),
    [
        ({"vector_layers": []}, [], "adds no vectors, or with strength 0"),
        ({}, ["--vector-strength", "0"], "adds no vectors, or with strength 0"),
        ({"vector_layers": [0, 2]}, ["--alpha", "0"], "adds vectors after layer 0, which a control vector cannot"),
        ({}, [], "also rescales neurons, which a control vector cannot; give --alpha 0"),
    ],
)
def test_what_no_control_vector_holds(
    converter: Command, tmp_path: Path, fields: dict[str, Any], given: list[str], said: str
) -> None:
    steered = with_vectors(tmp_path / "steered", **fields)
    assert said in converter.refused(steered, "--format", "control-vector", *given, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda tensors: tensors.pop("model.layers.2.mlp.scale.shared_mask"),
            "no tensor 'model.layers.2.mlp.scale.shared_mask'",
        ),
        (
            lambda tensors: tensors.update({"model.layers.2.mlp.scale.specific_mask": torch.ones(48)}),
            "is torch.float32 [48], expected torch.bool [48]; convert the model again",
        ),
    ],
)
def test_damaged_masks(
    converter: Command, steered: Path, form: str, damage: Callable[[dict[str, torch.Tensor]], Any], said: str
) -> None:
    change_tensors(steered / "model.safetensors", damage)
    assert said in converter.refused(steered, "--format", form, *LANGUAGE[form])


def test_no_bridge_layers(converter: Command, steered: Path, form: str) -> None:
    rewrite_json(steered / "config.json", lambda config: config.update(bridge_layers=[], vector_layers=[]))
    assert "has no bridge layers" in converter.refused(steered, "--format", form, *LANGUAGE[form])


# --- an exported folder as MODEL --------------------------------------------------------------------------------------


@pytest.fixture
def exported(converter: Command, steered: Path, tmp_path: Path) -> Path:
    """All forms, beside each other."""
    for form, language in LANGUAGE.items():
        converter.made(steered, "--format", form, *language, "--out", tmp_path / form)
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--format", "folded", "--language", "de"), ("--format", "ia3")])
def test_exported_folders_are_no_sources(converter: Command, exported: Path, options: tuple[str, ...]) -> None:
    said = converter.refused(exported / "folded", *options, "--out", exported / "out")
    assert said == (
        f"{exported / 'folded'}: a folded checkpoint, its weights are steered already, as de; give the steered "
        "checkpoint that it was made from, or the plain one"
    )
    for adapter in (exported / "ia3", exported / "ia3" / "de", exported / "control-vector"):
        said = converter.refused(adapter, *options, "--out", exported / "out")
        assert said.startswith(f"{adapter}: an adapter, not a checkpoint; give the steered checkpoint")
    assert names(exported) == {"steered", *FORMS}


def test_folded_checkpoint_is_a_plain_one_to_others(exported: Path) -> None:
    """`python -m eval` opens what it is given in this way."""
    assert not open_source(str(exported / "folded"), exported / "scratch").is_steered


# --- --out ------------------------------------------------------------------------------------------------------------


def test_names_of_its_own(converter: Command, steered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steered.rename(tmp_path / "small-clas")
    for form, language in LANGUAGE.items():
        converter.made("small-clas", "--format", form, *language)
    converter.made("small-clas", "--format", "ia3", *LANGUAGE["ia3"], "--languages", "hi")
    assert names(tmp_path) == {
        "small-clas", "small-folded-de", "small-ia3", "small-ia3-hi", "small-control-vector",
    }  # fmt: skip


def test_one_form_replaces_another_only_if_told_to(converter: Command, exported: Path) -> None:
    for form, other in (("folded", "ia3"), ("ia3", "folded")):
        given = (exported / "steered", "--format", form, *LANGUAGE[form], "--out", exported / other)
        before = file_bytes(exported / "folded")
        assert "exists already" in converter.refused(*given)
        assert file_bytes(exported / "folded") == before
        converter.made(*given, "--overwrite")
        assert json.loads((exported / other / EXPORT_NAME).read_text())["format"] == form
    assert names(exported) == {"steered", *FORMS}


def test_other_folders_and_the_source_stay(converter: Command, steered: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    given = (steered, "--format", form, *LANGUAGE[form], "--overwrite", "--out")
    assert "--overwrite leaves it alone" in converter.refused(*given, tmp_path / "mine")
    assert "MODEL and --out are the same folder" in converter.refused(*given, steered)
    assert names(tmp_path) == {"steered", "mine"}
