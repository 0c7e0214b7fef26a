"""The numbers of the lens, from parts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from clas_models.errors import InputError
from eval.analysis.correlations import Correlation
from eval.analysis.lens_numbers import MEASURES, Numbers, across, correlations, numbers_of
from eval.analysis.lens_output import starred
from eval.analysis.lens_parts import Part
from eval.run_folder import Record

GENERATOR = torch.Generator().manual_seed(0)


def part(layers: int = 2, questions: int = 3, choices: int = 4) -> Part:
    native, anchor = torch.rand(2, layers, questions, choices, generator=GENERATOR, dtype=torch.float64) - 3
    letters = torch.rand(layers, questions, choices, generator=GENERATOR)
    gold = torch.randint(0, choices, (questions,), generator=GENERATOR)
    return Part(native, anchor, letters, gold, torch.zeros(layers, 2, 5))


def test_numbers_are_means_over_questions_and_choices() -> None:
    given = part()
    found = numbers_of(given)
    for layer in range(2):
        ratios, right = [], []
        for question in range(3):
            ratios += [float(given.native[layer, question, at] - given.anchor[layer, question, at]) for at in range(4)]
            scores = given.anchor[layer, question].tolist()
            right.append(scores.index(max(scores)) == int(given.gold[question]))
        assert found["log_ratio"][layer] == pytest.approx(sum(ratios) / 12)
        assert found["anchor"][layer] == pytest.approx(sum(right) / 3)


def test_the_likeliest_text_and_the_likeliest_letter_are_judged_apart() -> None:
    log_p = torch.tensor([[[-2.0, -1.0, -3.0], [-1.0, -2.0, -3.0]]], dtype=torch.float64)
    given = Part(
        log_p, log_p.flip(-1), torch.tensor([[[0.0, 0, 1], [0, 0, 1]]]), torch.tensor([1, 0]), torch.ones(1, 1, 1)
    )
    found = numbers_of(given)
    assert [float(found[name][0]) for name in ("native", "anchor", "letters")] == [1.0, 0.5, 0.0]


def numbers(ratio: float, accuracy: float = 0.0) -> Numbers:
    return {"log_ratio": np.array([ratio, -ratio]), "native": np.array([accuracy, accuracy])}


def test_bands_are_of_the_languages() -> None:
    by_language = {f"l{number}": numbers(number, 0.5) for number in range(9)}
    first, second = across(by_language, "log_ratio")
    assert (first.mean, second.mean) == (4.0, -4.0)
    assert 1.5 < first.low < 2.7, "the mean of nine is 4 with a standard error of 0.86"
    assert 5.3 < first.high < 6.5
    assert (across(by_language, "native")[0].low, across(by_language, "native")[0].high) == (0.5, 0.5)
    assert across({"l1": numbers(1.0)}, "log_ratio")[0].low == -np.inf, "one language has no band"


def records(scores: list[list[float]], gold: int = 0) -> list[Record]:
    found = []
    for number, given in enumerate(scores):
        answer = given.index(max(given))
        found.append(
            Record(f"q{number}", answer, (gold,), {"accuracy": float(answer == gold)}, choice_scores=tuple(given))
        )
    return found


def test_the_log_ratio_is_correlated_with_what_the_answers_say() -> None:
    drawn = np.random.default_rng(1).normal(loc=[1, 0, 0, 0], size=(5, 30, 4))
    answers = {code: records(given.tolist()) for code, given in zip("abcde", drawn, strict=True)}
    ratios = {"b": 0.1, "c": -0.5, "d": 0.9, "e": 0.3}
    found = correlations("base", (3, 7), {code: numbers(ratio) for code, ratio in ratios.items()}, answers, "a")
    assert [(each.measure, each.layer) for each in found] == [
        (measure, layer) for measure in MEASURES for layer in (3, 7, None)
    ]
    right = {code: np.array([record.prediction == 0 for record in given]) for code, given in answers.items()}
    accuracy = [right[code].mean() for code in ratios]
    expected = stats.pearsonr(list(ratios.values()), accuracy)
    assert (found[0].found.r, found[0].found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found[1].found.r == pytest.approx(-found[0].found.r), "the other layer has the opposite ratios"
    assert (found[2].found.r, found[2].found.languages) == (None, 4), "whose mean is 0 in every language"
    incoming = [
        np.mean([(right[other] & right[code]).sum() / right[other].sum() for other in "abcde" if other != code])
        for code in ratios
    ]
    assert found[6].found.r == pytest.approx(stats.pearsonr(list(ratios.values()), incoming).statistic)


def test_stars_are_those_of_the_paper() -> None:
    assert [starred(Correlation(4, -0.5, p)) for p in (0.2, 0.04, 0.009, 0.0001)] == [
        "-0.50",
        "-0.50*",
        "-0.50**",
        "-0.50***",
    ]
    assert starred(Correlation(2)) == "–"


def test_a_part_is_checked_when_it_is_read(tmp_path: Path) -> None:
    given, path = part(), tmp_path / "lens" / "de.safetensors"
    given.save(path)
    read = Part.load(path, 2, 3, 4)
    assert all(torch.equal(value, getattr(read, name)) for name, value in vars(given).items())
    for shape in ((3, 3, 4), (2, 4, 4), (2, 3, 3)):
        with pytest.raises(InputError, match="not a usable part of a lens: tensor 'native' is "):
            Part.load(path, *shape)
    with pytest.raises(InputError, match="no such part of a lens; delete"):
        Part.load(tmp_path / "missing", 2, 3, 4)
