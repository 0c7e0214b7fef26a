"""Languages as users name them: codes, lists of codes, ids, and what is said about anything else."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from clas_models.modeling.language import language_id, language_ids
from clas_models.modeling.language_tags import language_code

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
    languages = ["en", "zh", "zh-Hant"]
    assert language_id("zh-Hant", languages) == 2
    assert language_id("zh-Hans", languages) == 1
    assert language_id("zh_hant_tw", languages) == 2
    assert language_id("zh-TW", languages) == 1


@pytest.mark.parametrize(
    ("code", "spellings"),
    [
        ("de", "de DE deu ger GER deu_Latn de-Latn German german"),
        ("de-AT", "de-AT de_at deu-AT deu_Latn_AT"),
        ("zh", "zh zho chi cmn zh-Hans zho_Hans zh_hans Chinese Mandarin"),
        ("zh-CN", "zh-CN zh_cn zho-CN zh-Hans-CN"),
        ("zh-Hant", "zh-Hant zh-hant zho_Hant"),
        ("yue", "yue yue_Hant Cantonese"),
        ("pt-BR", "pt-BR pt_br por-BR"),
        ("es-419", "es-419 spa_419"),
        ("sr", "sr srp srp_Cyrl scc"),
        ("sr-Latn", "sr-Latn srp_Latn"),
        ("ko", "ko kor kor_Hang ko-Kore"),
        ("hi", "hi hin hin_Deva Hindi"),
        ("hi-Latn", "hi-Latn hin_Latn"),
        ("sw", "sw swa swh swh_Latn Swahili"),
        ("ar", "ar ara arb arb_Arab"),
        ("el", "el ell gre Greek"),
        ("he", "he heb iw Hebrew"),
        ("or", "or ori ory ory_Orya Odia Oriya"),
        ("ceb", "ceb ceb_Latn Cebuano"),
        ("kmr", "kmr kmr_Latn Kurmanji"),
        ("ckb", "ckb ckb_Arab Sorani"),
        ("ca-valencia", "ca-valencia cat_VALENCIA"),
    ],
)
def test_every_spelling_is_one_language(code: str, spellings: str) -> None:
    assert {spelling: language_code(spelling, "language") for spelling in spellings.split()} == dict.fromkeys(
        spellings.split(), code
    )


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("Scottish Gaelic", "gd"),
        ("  norwegian (Bokmål) ", "nb"),
        ("Chinese (Simplified)", "zh"),
        ("Traditional Chinese", "zh-Hant"),
        ("brazilian portuguese", "pt-BR"),
        ("haitian-creole", "ht"),
    ],
)
def test_english_names_of_several_words(written: str, code: str) -> None:
    assert language_code(written, "language") == code


def test_a_language_that_the_table_lacks_counts_where_it_was_profiled() -> None:
    assert language_code("QAA", "language", ["en", "qaa"]) == "qaa"
    assert language_id("qaa-DE", ["en", "qaa"]) == 1
    with pytest.raises(ValueError, match="'qaa' is not a language code"):
        language_id("qaa", ["en", "de"])


@pytest.mark.parametrize("value", ["", "d", "Klingonese", "d3", "de ch", "-de", "de-", "中文", "xx", "auto", "none"])
def test_what_is_no_language(value: str) -> None:
    with pytest.raises(ValueError) as caught:
        ids(value)
    assert f"language: {value!r}" in str(caught.value)
    assert "ISO 639" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "near"),
    [
        ("cz", "'cs' (Czech)"),
        ("Germann", "'de' (German)"),
        ("Sawhili", "'sw' (Swahili)"),
        ("tradtional chinese", "'zh-Hant' (Chinese)"),
    ],
)
def test_the_nearest_languages_are_named(value: str, near: str) -> None:
    with pytest.raises(ValueError, match="did you mean .*" + re.escape(near)):
        ids(value)


def test_a_language_that_was_not_profiled_is_accepted_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="clas_models.modeling.language")  # a program may have silenced it
    for _ in range(3):
        assert ids(["dsb", "en", None]) == [OTHER, 0, OTHER]
        assert ids("Lower Sorbian") == [OTHER] * 3
    said = caplog.text
    assert said.count("'dsb' was not profiled") == 1
    assert "rows in it are steered with the default alpha" in said


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
        (["de", 2, "en"], TypeError, ["language[1]", "2", "int", 'a code such as "de"']),
        (["de", "en", "germ"], ValueError, ["language[2]", "'germ'", "ISO 639"]),
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
