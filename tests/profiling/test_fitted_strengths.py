"""Fitted strengths as data: a file gives back every bit, and what cannot be in force is no such data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conversion.support import rewrite_header
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from clas_models.errors import InputError
from clas_models.profiling.fitted_strengths import METADATA_KEY, FittedStrengths
from clas_models.profiling.neuron_profile import Provenance
from clas_models.profiling.seen_text import line_hashes, read_seen_text

LINES = frozenset(line_hashes("Which animal sleeps on the mat?\nEine Katze schläft auf der Matte."))
PROVENANCE = Provenance(
    model="tiny",
    model_type="clas_llama",
    fingerprint="0123",
    corpus=("xnli", "belebele"),
    samples=8,
    max_length=512,
    dtype="float32",
    digests=("ab", "cd"),
    versions={"torch": "2"},
)


def strengths() -> Tensor:
    """Of layers 2 and 4, three languages and all others, and four categories; those of English are 0."""
    drawn = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    drawn[:, 0] = 0
    return drawn


def fitted() -> FittedStrengths:
    return FittedStrengths(
        languages=("en", "de", "zh"),
        anchor="en",
        layers=(2, 4),
        num_model_layers=6,
        strengths=strengths(),
        categories=torch.arange(20, dtype=torch.uint8).view(2, 10) % 4,
        alpha={"de": 1, "zh": 0.0, "default": 0},
        provenance=PROVENANCE,
        fit={"objective": "likelihood", "l2": 0.1, "trace": [1.5, 1.25], "spread": {"de": 0.5}},
        lines=LINES,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    fitted().save(tmp_path / "strengths.safetensors")
    return tmp_path / "strengths.safetensors"


def test_a_file_gives_back_what_was_saved(file: Path) -> None:
    loaded, expected = FittedStrengths.load(file), fitted()
    assert torch.equal(loaded.strengths, expected.strengths)
    assert torch.equal(loaded.categories, expected.categories)
    for name in ("languages", "anchor", "layers", "num_model_layers", "alpha", "provenance", "fit", "lines"):
        assert getattr(loaded, name) == getattr(expected, name), name
    assert list(file.parent.iterdir()) == [file]
    loaded.save(file.with_name("again"))
    assert file.with_name("again").read_bytes() == file.read_bytes()


def test_what_a_model_is_given_is_by_layer() -> None:
    found = fitted()
    assert sorted(found.tables()) == sorted(found.categories_by_layer()) == [2, 4]
    assert torch.equal(found.tables()[4], found.strengths[1])
    assert torch.equal(found.categories_by_layer()[2], found.categories[0])
    assert (found.numbers, found.num_neurons) == (32, 10)


def test_an_evaluation_can_ask_what_it_was_fitted_on(file: Path) -> None:
    seen = read_seen_text(file, METADATA_KEY)
    assert seen.corpus == ("xnli", "belebele")
    assert seen.has("A question:\n  Which animal sleeps on the mat?")
    assert not seen.has("Which animal sleeps on the sofa?")


def test_little_need_be_said_of_the_fit() -> None:
    bare = FittedStrengths(("en", "de"), "en", (0,), 1, torch.zeros(1, 3, 4), torch.zeros(1, 9).byte(), {}, PROVENANCE)
    assert (bare.fit, bare.lines) == ({}, frozenset())


def changed(tensor: Tensor, place: tuple[int, ...], value: float) -> Tensor:
    tensor[place] = value
    return tensor


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": ("en", "de")}, r"'strengths' is torch.float32 \[2, 4, 4\], expected torch.float32 \[2, 3, 4\]"),
        ({"languages": ("en", "de", "de")}, "languages .*: each once"),
        ({"anchor": "fr"}, "anchor 'fr' not among the languages en, de, zh"),
        ({"anchor": "de"}, "the strengths of the anchor de are not 0; it is never steered"),
        ({"layers": (4, 2)}, r"layers \[4, 2\]: ascending"),
        ({"layers": (2, 6)}, r"layers \[2, 6\] of a model with 6 layers"),
        ({"layers": ()}, r"layers \[\]: ascending, each once, and at least one"),
        ({"strengths": strengths().double()}, "'strengths' is torch.float64"),
        ({"strengths": strengths()[..., :3]}, r"'strengths' is torch.float32 \[2, 4, 3\], expected .* \[2, 4, 4\]"),
        ({"strengths": changed(strengths(), (1, 2, 3), math.inf)}, "'strengths' holds values that are not finite"),
        ({"strengths": changed(strengths(), (1, 2, 3), math.nan)}, "'strengths' holds values that are not finite"),
        ({"strengths": changed(strengths(), (1, 0, 2), 0.01)}, "the strengths of the anchor en are not 0"),
        ({"categories": torch.zeros(2, 10)}, "'categories' is torch.float32"),
        ({"categories": torch.zeros(1, 10).byte()}, r"'categories' is torch.uint8 \[1, 10\], expected .* \[2, 10\]"),
        ({"categories": torch.full((2, 10), 4).byte()}, "category 4: 0 to 3 are known"),
        ({"alpha": {"de": 1.0, "fr": 1.0}}, "alpha of fr, not among the languages"),
        ({"alpha": {"de": "1"}}, "alpha {'de': '1'}: expected numbers"),
        ({"alpha": {"default": math.nan}}, "alpha {'default': nan}: expected numbers"),
        ({"alpha": {"default": True}}, "alpha {'default': True}: expected numbers"),
    ],
)  # fmt: skip
def test_numbers_that_can_be_no_strengths(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        replace(fitted(), **changes)
    assert "\n" not in str(caught.value)


# ---- files


def described(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Changes what a file says beside its tensors."""

    def damage(path: Path) -> None:
        def rewrite(header: dict[str, Any]) -> None:
            fields = json.loads(header["__metadata__"][METADATA_KEY])
            change(fields)
            header["__metadata__"][METADATA_KEY] = json.dumps(fields)

        rewrite_header(path, rewrite)

    return damage


def tensors(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    """Changes the tensors of a file."""

    def damage(path: Path) -> None:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata()
        found = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(found)
        save_file(found, path, metadata)

    return damage


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "not a usable file of fitted strengths: "),
        (lambda path: path.write_bytes(path.read_bytes()[:-4]), "not a usable file of fitted strengths: "),
        (lambda path: path.write_text("strengths"), "not a usable file of fitted strengths: "),
        (lambda path: save_file({"strengths": strengths()}, path), "a safetensors file, but not a file of fitted"),
        (described(lambda fields: fields.update(format_version=2)), "format version 2, this package reads 1"),
        (described(lambda fields: fields.pop("alpha")), "alpha"),
        (described(lambda fields: fields.update(alpha=1.0)), "alpha 1.0: expected an object"),
        (described(lambda fields: fields.update(fit=[1])), "fit [1]: expected an object"),
        (described(lambda fields: fields.update(languages="en")), "anchor 'en' not among the languages e, n"),
        (described(lambda fields: fields.update(languages=["en", 3, "zh"])), "expected codes"),
        (described(lambda fields: fields.update(layers=[2, "4"])), "whole numbers"),
        (described(lambda fields: fields.update(num_model_layers="6")), "of a model with '6' layers"),
        (described(lambda fields: fields.update(lines="hash")), "not a list of hashes"),
        (described(lambda fields: fields["provenance"].pop("corpus")), "Provenance lacks the field 'corpus'"),
        (described(lambda fields: fields["provenance"].update(samples="8")), "samples: '8' in place of a whole number"),
        (tensors(lambda found: found.pop("categories")), "it holds the tensors ['strengths'], expected ["),
        (tensors(lambda found: found.update(more=torch.ones(1))), "it holds the tensors ['categories', 'more', "),
        (tensors(lambda found: found["strengths"].fill_(math.nan)), "holds values that are not finite"),
        (tensors(lambda found: found["strengths"].fill_(1.0)), "the strengths of the anchor en are not 0"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(file: Path, damage: Callable[[Path], Any], fault: str) -> None:
    damage(file)
    with pytest.raises(InputError) as caught:
        FittedStrengths.load(file)
    assert str(caught.value).startswith(f"{file}: not a usable file of fitted strengths: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="no such file of fitted strengths; make one with `clas-eval fit`"):
            FittedStrengths.load(path)
