"""Tokens of answers and their overlap, against values worked out from what the official scripts do."""

from __future__ import annotations

from functools import partial

import pytest

from eval.metrics.answers import best_scores, mean_percent, mlqa_tokens, overlap_f1, squad_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("The a AN", []),
        (" ?!... ", []),
        ("The Panthers' defense!", ["panthers", "defense"]),
        ("forty-two, a.k.a. 42", ["fortytwo", "aka", "42"]),
        ("$5 + 3_000", ["5", "3000"]),
        ("anthem theatre a1", ["anthem", "theatre", "a1"]),  # articles are whole words
        ("das Haus", ["das", "haus"]),  # of English alone
        ("a la carte", ["la", "carte"]),  # also in other languages
        ("３０８，", ["３０８，"]),  # full-width characters stay, and their punctuation
        ("«Мир»", ["«мир»"]),
        ("two\u3000words\u00a0here", ["two", "words", "here"]),
    ],
)
def test_squad_tokens(text: str, tokens: list[str]) -> None:
    assert squad_tokens(text) == tokens


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("en", "The ‘308’ — points", ["308", "points"]),
        ("en", "das Haus", ["das", "haus"]),
        ("de", "Dem „Haus“ des Mannes", ["haus", "mannes"]),
        ("de", "the Haus", ["the", "haus"]),
        ("es", "¿La casa y los perros?", ["casa", "y", "perros"]),
        ("vi", "những chiếc xe của tôi", ["xe", "tôi"]),
        ("ar", "البيت الكبير", ["بيت", "كبير"]),
        ("ar", "السؤال؟", ["سؤ"]),  # wherever it stands in a word
        ("hi", "एक घर।", ["एक", "घर"]),
        ("zh", "在1990年，中国 NASA的 the", ["在", "1990", "年", "中", "国", "nasa", "的", "the"]),
        ("zh", "３０８（米）", ["３０８", "米"]),
        ("zh", "\u9fa5\u9fa6x", ["\u9fa5", "\u9fa6x"]),  # where the script's range ends
        ("zh-hant", "中國", ["中", "國"]),
        ("th", "น้ำ 308 ฯลฯ NASA", ["น", "้", "ำ", "308", "ฯ", "ล", "ฯ", "nasa"]),
        ("ru", "«Мир» the", ["мир", "the"]),
        ("el", "ο «κόσμος»·", ["ο", "κόσμος"]),
        ("ro", "un om", ["un", "om"]),
        ("tr", "Bir ev.", ["bir", "ev"]),
        ("en", "$5 €5", ["5", "€5"]),  # symbols of ASCII count as punctuation, others do not
    ],
)
def test_mlqa_tokens(language: str, text: str, tokens: list[str]) -> None:
    assert mlqa_tokens(text, language) == tokens


@pytest.mark.parametrize(
    ("prediction", "golds", "f1", "exact"),
    [
        ("308 points", ["308"], 2 / 3, 0.0),
        ("the 308.", ["308"], 1.0, 1.0),
        ("cat", ["dog"], 0.0, 0.0),
        ("cat cat", ["cat"], 2 / 3, 0.0),  # the second one is not in the gold answer: precision 1/2, recall 1
        ("cat cat dog", ["cat cat cat"], 2 / 3, 0.0),
        ("dog cat", ["cat dog"], 1.0, 0.0),  # order counts for the exact match alone
        ("", ["308"], 0.0, 0.0),
        ("", ["the"], 0.0, 1.0),  # both are empty: the script's F1 is 0, its exact match 1
        ("blue whale", ["whale", "the big blue whale", "Blue whale!"], 1.0, 1.0),
        ("blue whale", ["whale", "the big blue whale"], 4 / 5, 0.0),
    ],
)
def test_squad_scores(prediction: str, golds: list[str], f1: float, exact: float) -> None:
    assert best_scores(squad_tokens, prediction, golds) == {"f1": pytest.approx(f1, abs=0), "exact_match": exact}


@pytest.mark.parametrize(
    ("language", "prediction", "gold", "f1", "exact"),
    [
        ("zh", "北京市", "北京", 4 / 5, 0.0),
        ("zh", "北京。", "北 京", 1.0, 1.0),
        ("th", "กรุงเทพ", "กรุง", 8 / 11, 0.0),  # 7 and 4 code points, 4 shared
        ("de", "Das Haus", "ein Haus", 1.0, 1.0),
        ("ar", "كتاب", "الكتاب", 1.0, 1.0),
        ("hi", "घर", "एक घर", 2 / 3, 0.0),
    ],
)
def test_mlqa_scores(language: str, prediction: str, gold: str, f1: float, exact: float) -> None:
    scores = best_scores(partial(mlqa_tokens, language=language), prediction, [gold])
    assert scores == {"f1": pytest.approx(f1), "exact_match": exact}


def test_overlap_is_symmetric_and_zero_without_tokens() -> None:
    one, other = ["a", "b", "b"], ["b", "b", "c", "d"]
    assert overlap_f1(one, other) == overlap_f1(other, one) == pytest.approx(4 / 7)
    assert overlap_f1([], []) == overlap_f1([], ["a"]) == 0.0


def test_mean_in_per_cent() -> None:
    assert mean_percent([{"f1": 1.0, "exact_match": 0.0}, {"f1": 0.5, "exact_match": 0.0}]) == {
        "f1": 75.0,
        "exact_match": 0.0,
    }
