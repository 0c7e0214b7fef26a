"""Languages as users name them: codes, lists of codes, ids, and what is said about anything else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clas_models.modeling.language import language_code, language_id, language_ids

LANGUAGES = ["en", "de", "zh", "hi"]
OTHER = len(LANGUAGES)


def ids(language: Any, batch_size: int = 3, check_values: bool = True) -> list[int]:
    result = language_ids(language, LANGUAGES, batch_size, "cpu", check_values)
    assert result.dtype == torch.int64
    return result.tolist()


def test_a_code_holds_for_every_row() -> None:
    assert ids("zh") == [2, 2, 2]


@pytest.mark.parametrize("sequence", [list, tuple])
def test_a_list_of_codes_holds_row_by_row(sequence: type) -> None:
    assert ids(sequence(["hi", "en", "fr"])) == [3, 0, OTHER]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_tensor_holds_ids(dtype: torch.dtype) -> None:
    assert ids(torch.tensor([0, 1, OTHER], dtype=dtype)) == [0, 1, OTHER]


def test_no_language_is_one_that_was_not_profiled() -> None:
    assert ids(None) == ids("fr") == [OTHER] * 3


@pytest.mark.parametrize("written", ["en", "EN", " en ", "en-US", "en_GB", "EN-us"])
def test_case_spaces_and_regions_do_not_matter(written: str) -> None:
    assert language_id(written, LANGUAGES) == 0


def test_a_region_that_was_profiled_itself_is_its_own_language() -> None:
    languages = ["en", "zh", "zh-hant"]
    assert language_id("zh-Hant", languages) == 2
    assert language_id("zh-Hans", languages) == 1
    assert language_id("zh-Hant-TW", languages) == 2


@pytest.mark.parametrize(("written", "code"), [("de", "de"), ("DE", "de"), ("zh_Hans", "zh-hans"), ("yue", "yue")])
def test_the_normal_form_of_a_code(written: str, code: str) -> None:
    assert language_code(written, "language") == code


@pytest.mark.parametrize("value", ["", "d", "german", "d3", "de ch", "-de", "de-", "中文"])
def test_what_is_no_code(value: str) -> None:
    with pytest.raises(ValueError) as caught:
        ids(value)
    assert f"language: {value!r}" in str(caught.value)
    assert "ISO 639-1" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [5, 1.5, True, b"de", {"de": 1}, {"de", "en", "zh"}, torch.device("cpu"), iter(["de"])],
    ids=lambda value: type(value).__name__,
)
def test_kinds_that_are_not_allowed(value: object) -> None:
    with pytest.raises(TypeError) as caught:
        ids(value)
    message = str(caught.value)
    assert message.startswith(f"language: {value!r} is of type {type(value).__name__}; allowed is a code")
    assert "a list of codes" in message
    assert "a LongTensor of ids" in message


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (["de", None, "en"], TypeError, ["language[1]", "None", "NoneType", 'a code such as "de"']),
        (["de", 2, "en"], TypeError, ["language[1]", "2", "int", 'a code such as "de"']),
        (["de", "en", "german"], ValueError, ["language[2]", "'german'", "ISO 639-1"]),
    ],
    ids=repr,
)
def test_an_entry_that_is_not_allowed_is_named(value: list[Any], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        ids(value)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("value", [[], ["de"], ["de"] * 4, torch.tensor([1]), torch.tensor([1] * 4)], ids=repr)
def test_one_entry_a_row(value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        ids(value, batch_size=3)
    assert f"language: {len(value)} entries for a batch of 3 rows" in str(caught.value)
    assert "one a row" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int8])
def test_ids_are_integers_of_the_usual_width(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError) as caught:
        ids(torch.tensor([0, 1, 1]).to(dtype))
    assert f"language: a tensor of {dtype}; ids are torch.int64" in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3, 1), (1, 3)])
def test_ids_have_one_dimension(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        ids(torch.zeros(shape, dtype=torch.long))
    assert f"language: a tensor of shape {list(shape)}; ids have the shape [batch]" in str(caught.value)


@pytest.mark.parametrize(("low", "high"), [(0, OTHER + 1), (-1, 2), (-3, 99)])
def test_ids_out_of_range(low: int, high: int) -> None:
    value = torch.tensor([high, 0, low])
    with pytest.raises(ValueError) as caught:
        ids(value)
    assert f"language: ids from {low} to {high}; allowed are 0 to {OTHER}" in str(caught.value)
    assert ids(value, check_values=False) == [high, 0, low]


def test_no_rows() -> None:
    assert ids("de", batch_size=0) == ids([], batch_size=0) == ids(torch.empty(0, dtype=torch.long), batch_size=0) == []
