"""Vectors from each language to the anchor: one pass over parallel text against a naive loop, their sum and file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus, load_corpus
from clas_models.profiling.language_vectors import LanguageVectors
from clas_models.profiling.vector_measuring import measure_vectors

LLAMA = FAMILIES["llama"]


def corpus(samples: int = 12, languages: Sequence[str] = ("de", "en", "hi"), skip: int = 0) -> ParallelCorpus:
    """Rows of the built-in text, the anchor not the first."""
    return load_corpus("builtin", languages=languages, samples=samples, skip=skip)


def measured(samples: int = 12, family: Any = LLAMA, skip: int = 0, **arguments: Any) -> LanguageVectors:
    """Vectors of a tiny model towards English."""
    rows = corpus(samples, skip=skip)
    return measure_vectors(tiny_plain(family).double(), byte_tokenizer(), rows, "en", max_length=60, **arguments)


def naive_states(model: Any, text: str, state: str) -> torch.Tensor:
    """`[layers, hidden]` of one text alone, from hooks behind the layers."""
    seen: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda _, args, out: seen.append(out[0])) for layer in model.model.layers]
    with torch.no_grad():
        model(torch.tensor([byte_tokenizer()(text, truncation=True, max_length=60)["input_ids"]]))
    for hook in hooks:
        hook.remove()
    return torch.stack([out[-1] if state == "last" else out[1:].mean(0) for out in seen])


@pytest.mark.parametrize("state", ["last", "mean"])
def test_they_are_the_mean_differences_of_a_loop(family: Any, state: str) -> None:
    found = measured(family=family, state=state)
    model = tiny_plain(family).double()
    rows = list(corpus().rows)
    for index, language in enumerate(("de", "hi")):
        differences = torch.stack(
            [naive_states(model, row["en"], state) - naive_states(model, row[language], state) for row in rows]
        )
        torch.testing.assert_close(found.mean[index], differences.mean(0), rtol=1e-12, atol=1e-12)
        error = differences.std(0) / len(rows) ** 0.5
        torch.testing.assert_close(found.standard_error[index], error, rtol=1e-9, atol=1e-12)
        chance = differences.var(0) / len(rows)
        explained = (differences.mean(0).square() - chance).sum(-1) / differences.square().mean(0).sum(-1)
        torch.testing.assert_close(found.explained[index], explained, rtol=1e-9, atol=1e-12)
    assert (found.languages, found.anchor, found.pairs.tolist()) == (("de", "hi"), "en", [12, 12])
    assert found.layers == tuple(range(6))


def test_batches_and_windows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured()
    monkeypatch.setattr("clas_models.profiling.recording.WINDOW_BATCHES", 2)
    for batch_size in (1, 5):
        found = measured(batch_size=batch_size)
        torch.testing.assert_close(found.sum, whole.sum, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.sum_sq, whole.sum_sq, rtol=1e-12, atol=1e-12)
        assert torch.equal(found.pairs, whole.pairs)


def test_a_text_of_one_token_is_that_token() -> None:
    rows = [{"en": "a", "de": "b"}, {"en": "c", "de": "d"}]
    model = tiny_plain(LLAMA).double()
    found = [
        measure_vectors(model, byte_tokenizer(), ParallelCorpus("rows", ("en", "de"), rows), "en", state=state).mean
        for state in ("last", "mean")
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_of_a_difference_that_is_always_the_same_all_is_explained() -> None:
    found = measured()
    same = replace(found, sum=torch.ones_like(found.sum) * 12, sum_sq=torch.ones_like(found.sum) * 12)
    assert torch.equal(same.explained, torch.ones(2, 6, dtype=torch.float64))
    assert bool((same.standard_error == 0).all())


def test_chance_explains_nothing_on_average() -> None:
    """Differences around 0: their mean is not 0, and what it has by chance is taken off."""
    draws = torch.randn(200, 20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = measured()
    chance = replace(
        found,
        languages=tuple(f"x-{number}" for number in range(200)),
        layers=(0,),
        pairs=torch.full((200,), 20),
        sum=draws.sum(1)[:, None],
        sum_sq=draws.square().sum(1)[:, None],
    )
    assert abs(float(chance.explained.mean())) < 0.01
    assert float((chance.mean.square().sum(-1) / (draws.square().sum(-1).mean(1)[:, None])).mean()) > 0.04


def test_two_parts_add_up(tmp_path: Path) -> None:
    whole, first, second = measured(12), measured(5), measured(7, skip=5)
    both = first + second
    torch.testing.assert_close(both.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(both.standard_error, whole.standard_error, rtol=1e-9, atol=1e-12)
    assert both.provenance.samples == 12
    assert both.lines == whole.lines
    with pytest.raises(InputError, match="the same part of the text"):
        first + first
    with pytest.raises(InputError, match="different states do not add up: last and mean"):
        first + measured(7, skip=5, state="mean")


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    found = measured()
    found.save(tmp_path / "vectors.safetensors")
    loaded = LanguageVectors.load(tmp_path / "vectors.safetensors")
    for name in ("pairs", "sum", "sum_sq"):
        assert torch.equal(getattr(loaded, name), getattr(found, name))
    for name in ("languages", "anchor", "layers", "state", "provenance", "lines"):
        assert getattr(loaded, name) == getattr(found, name)


def test_tables_have_a_row_for_each_language_of_a_model() -> None:
    found = measured()
    tables = found.tables([2, 4], ["en", "hi", "fr", "de-AT"])
    assert sorted(tables) == [2, 4]
    assert not tables[2][[0, 2]].any()
    assert torch.equal(tables[4][1], found.mean[1, 4].float())
    assert torch.equal(tables[4][3], found.mean[0, 4].float())
    assert found.without(["en-GB", "hi", "fr", "de-AT", "sw"]) == ["fr", "sw"]
    with pytest.raises(InputError, match=r"layers \[6\]: the vectors are of layers 0 to 5"):
        found.tables([6], ["en", "hi"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"anchor": "sw"}, "anchor 'sw': builtin has de, en, hi; the vectors lead to it"),
        ({"corpus": corpus(languages=("en",))}, "en is its only language"),
        ({"corpus": corpus(1)}, "1 pairs of texts in en and de: a vector needs at least 2"),
        ({"state": "first"}, "state 'first': choose one of last, mean"),
    ],
)
def test_what_cannot_be_measured(arguments: dict[str, Any], message: str) -> None:
    given = {"corpus": corpus(), "anchor": "en", **arguments}
    with pytest.raises(InputError, match=message):
        measure_vectors(tiny_plain(LLAMA), byte_tokenizer(), **given)


def test_states_that_are_not_finite_name_the_layer() -> None:
    model = tiny_plain(LLAMA)
    with torch.no_grad():
        model.model.layers[3].mlp.down_proj.weight.fill_(torch.nan)
    with pytest.raises(InputError, match=r"layer 3: states that are not finite .* in language 'en'"):
        measure_vectors(model, byte_tokenizer(), corpus(), "en")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sum": torch.full((2, 6, 32), torch.nan, dtype=torch.float64)}, "'sum' holds values that are not finite"),
        ({"pairs": torch.tensor([12, 1])}, "1 pairs of texts in en and hi"),
        ({"sum_sq": torch.zeros(2, 6, 31, dtype=torch.float64)}, "'sum_sq' is torch.float64"),
        ({"anchor": "de"}, "anchor 'de' among the languages"),
        ({"state": "middle"}, "state 'middle'"),
        ({"layers": (0, 1, 2, 3, 4, 7)}, "of a model with 6 layers"),
    ],
)
def test_numbers_that_can_be_no_vectors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(measured(), **changes)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file of steering vectors; make one with"):
        LanguageVectors.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text").write_text("vectors")
    with pytest.raises(InputError, match="text: not a usable file of steering vectors"):
        LanguageVectors.load(tmp_path / "text")
