"""Tuning does no harm: what is kept is more than chance, and what is reported had no part in the choice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    save_plain,
    steered_fixture,
    templates_fixture,
)
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models.conversion.in_force import format_strength
from clas_models.conversion.source import open_source
from clas_models.errors import InputError
from eval.decision import Decision, decide
from eval.run_folder import Record, RunFolder
from eval.score_scale import NATS, scale_of
from eval.statistics import percentile_interval, resampled_means
from eval.tune import check_writable, decided, write_strength

ACCURACY = scale_of("accuracy")


def right(scores: str) -> list[Record]:
    """An example for each digit, 1 where it is answered right."""
    return [Record(str(key), 0, (0,), {"accuracy": float(score)}) for key, score in enumerate(scores)]


def texts(*nats: float, tokens: int = 10) -> list[Record]:
    return [Record(str(key), value, (), {"nats": value}, tokens=tokens) for key, value in enumerate(nats)]


def interleaved(even: str, odd: str) -> str:
    return "".join(a + b for a, b in zip(even, odd, strict=True))


# ---- the decision


def test_a_clear_gain_is_kept_and_reported_on_the_other_half() -> None:
    base = right(interleaved("0000000000", "0101010101"))
    better = right(interleaved("1111111110", "0111010101"))
    worse = right(interleaved("0000000000", "1111111111"))
    decision = decide(ACCURACY, {0.0: base, -2.0: better, 4.0: worse})
    assert (decision.chosen, decision.kept, decision.alpha) == (-2.0, True, -2.0)
    assert (decision.examples, decision.base) == (10, 0.0)
    assert decision.candidates[-2.0].mean == pytest.approx(0.9)
    held_out = decision.held_out
    assert (held_out.n, held_out.base, held_out.tuned) == (10, 0.5, 0.6)
    assert held_out.gain.mean == pytest.approx(0.1)


def test_intervals_are_those_of_the_paired_bootstrap() -> None:
    base, other = right("0110100101"), right("1111100100")
    decision = decide(ACCURACY, {0.0: base, 2.0: other})
    gains = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])  # of the examples at even places
    draws = resampled_means(gains, np.ones_like(gains))[:, 0]
    assert decision.candidates[2.0] == percentile_interval(0.2, draws, examples=5)


def test_a_gain_that_may_be_chance_is_not_kept() -> None:
    base = right(interleaved("0000000000", "1111111111"))
    lucky = right(interleaved("1000000000", "0000000000"))
    decision = decide(ACCURACY, {0.0: base, 2.0: lucky})
    assert (decision.chosen, decision.kept, decision.alpha) == (2.0, False, 0.0)
    assert decision.reason == "2 gains most, but its interval holds 0: unsteered"
    # what is in force is base, so there is no gain and no loss
    assert (decision.held_out.tuned, decision.held_out.gain.mean, decision.held_out.gain.low) == (1.0, 0.0, 0.0)


def test_nothing_gains_then_nothing_is_chosen() -> None:
    base = right("11111111")
    decision = decide(ACCURACY, {0.0: base, -4.0: base, 4.0: right("00000000")})
    assert (decision.chosen, decision.kept, decision.reason) == (0.0, False, "no candidate gains: unsteered")


def test_of_equal_gains_the_weakest_steering_is_chosen() -> None:
    base, better = right("0" * 12), right("1" * 12)
    assert decide(ACCURACY, {0.0: base, -8.0: better, 2.0: better, 4.0: better}).chosen == 2.0


def test_a_perplexity_gains_when_it_falls() -> None:
    base = texts(*[30.0] * 12)
    decision = decide(NATS, {0.0: base, 2.0: texts(*[20.0] * 12), 4.0: texts(*[40.0] * 12)})
    assert (decision.chosen, decision.kept) == (2.0, True)
    assert decision.held_out.base == pytest.approx(3.0)
    assert decision.held_out.tuned == pytest.approx(2.0)
    assert decision.held_out.gain.mean == pytest.approx(1.0)
    assert decision.candidates[4.0].high < 0


def test_a_long_text_counts_by_its_length() -> None:
    base = [*texts(10.0, 10.0, tokens=10), *texts(90.0, 90.0, tokens=90)]
    other = [*texts(10.0, 10.0, tokens=10), *texts(0.0, 0.0, tokens=90)]
    decision = decide(NATS, {0.0: base, 2.0: other})
    assert decision.candidates[2.0].mean == pytest.approx(0.9)
    assert decision.base == pytest.approx(1.0)


def test_texts_of_a_single_token_are_refused() -> None:
    with pytest.raises(InputError, match="single token"):
        decide(NATS, {0.0: texts(0.0, 0.0, 0.0, 0.0, tokens=0)})


def test_a_decision_is_written_in_the_form_that_the_report_reads() -> None:
    decision = decide(ACCURACY, {0.0: right("0" * 12), -2.0: right("1" * 12)})
    gain = {"mean": 1.0, "low": 1.0, "high": 1.0}
    none = {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert decision.to_dict() == {
        "chosen": -2.0,
        "kept": True,
        "reason": "-2 gains, and its interval lies above 0",
        "candidates": {"0": none, "-2": gain},
        "selection": {"n": 6, "base": 0.0, "gain": gain},
        "held_out": {"n": 6, "base": 0.0, "tuned": 1.0, "gain": gain},
    }


def test_an_unbounded_interval_is_null_in_the_file() -> None:
    decision = decide(ACCURACY, {0.0: right("000"), -2.0: right("111")})
    assert decision.to_dict()["held_out"]["gain"] == {"mean": 1.0, "low": None, "high": None}
    assert json.loads(json.dumps(decision.to_dict(), allow_nan=False)) == decision.to_dict()


# ---- into the checkpoint


@pytest.fixture
def checkpoint(steered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steered, tmp_path / "checkpoint"))


@pytest.mark.parametrize(
    ("before", "default", "after"),
    [
        (4.0, 0.0, {"de": -2.0, "default": 0.0}),
        ({"zh": 1.0, "en": 0.0, "default": 3.0}, 0.0, {"zh": 1.0, "en": 0.0, "de": -2.0, "default": 0.0}),
        ({"de": 8.0, "default": 3.0}, 3.0, {"de": -2.0, "default": 3.0}),
    ],
)
def test_what_nothing_was_decided_about_is_unsteered_unless_the_user_says_otherwise(
    before: Any, default: float, after: dict[str, float]
) -> None:
    assert decided(before, {"de": -2.0}, default) == after


def test_nothing_but_alpha_is_written(checkpoint: Path, tmp_path: Path) -> None:
    old, card = json.loads((checkpoint / "config.json").read_text()), (checkpoint / "README.md").read_text()
    alpha = {"de": -2.0, "zh": 0.0, "default": 0.0}
    write_strength(open_source(str(checkpoint), tmp_path), "alpha", alpha)
    new = json.loads((checkpoint / "config.json").read_text())
    assert new.pop("alpha") == alpha
    del old["alpha"]
    assert new == old
    assert AutoConfig.from_pretrained(checkpoint).alpha == alpha
    lines = {*(checkpoint / "README.md").read_text().splitlines()} - {*card.splitlines()}
    assert lines == {
        "In force: alpha de -2, zh 0, 0 for every other language, the base model; beta 0.9, gamma 0.6.",
        'model.generate(**inputs, max_new_tokens=40, language="de")     # steered: alpha -2',
        "| alpha | de -2, zh 0, default 0 |",
    }


def test_an_alpha_that_the_family_refuses_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    before = (checkpoint / "config.json").read_bytes(), (checkpoint / "README.md").read_bytes()
    with pytest.raises(InputError, match="'fr' is not among the languages"):
        write_strength(open_source(str(checkpoint), tmp_path), "alpha", {"fr": -2.0, "default": 0.0})
    assert ((checkpoint / "config.json").read_bytes(), (checkpoint / "README.md").read_bytes()) == before


def test_a_checkpoint_without_a_card_is_written_too(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "README.md").unlink()
    write_strength(open_source(str(checkpoint), tmp_path), "alpha", {"default": 0.5})
    assert AutoConfig.from_pretrained(checkpoint).alpha == {"default": 0.5}
    assert not (checkpoint / "README.md").exists()


def test_a_model_of_the_hub_is_not_changed(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which --write must not change"):
        check_writable(replace(open_source(str(checkpoint), tmp_path), name="org/model", from_hub=True))


# ---- the command


@pytest.fixture
def arguments(checkpoint: Path, data: Path, templates: Path, tmp_path: Path) -> list[object]:
    return [
        *("tune", checkpoint, "--task", "xnli", "--alpha=-8,0,4", "--data-dir", data, "--templates", templates),
        *("--out", tmp_path / "run"),
    ]


def test_tune_decides_for_profiled_languages_and_writes(
    arguments: list[object], checkpoint: Path, evaluation: Any, tmp_path: Path
) -> None:
    ended = evaluation.made(*arguments)
    assert "left out: en, sw; only the checkpoint's languages but the anchor have a strength" in ended.err
    assert "In force is still alpha 4; with --write the checkpoint gets alpha de " in ended.out
    found = json.loads((tmp_path / "run" / "tune.json").read_text())
    assert (found["task"], list(found["languages"])) == ("xnli", ["de", "zh"])
    assert set(found["languages"]["de"]["candidates"]) == {"0", "-8", "4"}
    assert found["languages"]["de"]["selection"]["n"] == found["languages"]["de"]["held_out"]["n"] == 6
    before = contents(tmp_path / "run")
    ended = evaluation.made(*arguments, "--write")
    assert "goes on, 72 predictions are there already" in ended.err
    alphas = {code: each["chosen"] if each["kept"] else 0.0 for code, each in found["languages"].items()}
    alpha = {**alphas, "default": 0.0}
    assert found["alpha"] == AutoConfig.from_pretrained(checkpoint).alpha == alpha
    assert f"In force from now on, in {checkpoint}: alpha {format_strength(alpha)} (before: 4)" in ended.out
    assert f"| alpha | {format_strength(alpha)} |" in (checkpoint / "README.md").read_text()
    # the strengths in the checkpoint are not those of the run, so it goes on even now
    ended = evaluation.made(*arguments, "--write")
    assert "goes on, 72 predictions" in ended.err
    assert contents(tmp_path / "run") == before


def test_after_a_tune_all_other_text_gives_the_base_model(
    arguments: list[object], checkpoint: Path, evaluation: Any
) -> None:
    """Also a language that the checkpoint does not know, one that nobody names, and one that was not tuned."""
    evaluation.made(*arguments, "--write", "--languages", "de", "--quiet")
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokens = torch.arange(3, 13)[None]
    with torch.inference_mode():
        (base,) = model(tokens, language="en").logits
        for language in ("ru", "sw", "zh", None):
            assert torch.equal(model(tokens, language=language).logits[0], base)
    evaluation.made(*arguments, "--write", "--languages", "de", "--quiet", "--default-alpha", "-3")
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.inference_mode():
        assert not torch.equal(model(tokens, language="ru").logits[0], base)


def test_without_a_folder_it_is_named_after_the_model_and_the_task(
    arguments: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluation.made(*arguments[:-2], "--quiet").out == "checkpoint-tune-xnli\n"
    assert (tmp_path / "checkpoint-tune-xnli" / "tune.json").is_file()


def test_the_file_says_what_the_predictions_say(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments)
    run = RunFolder.open(tmp_path / "run")
    found = {
        alpha: sorted(run.records("xnli", name, "zh"), key=lambda record: int(record.key))
        for alpha, name in (
            (0.0, "base"),
            (-8.0, "clas:alpha=-8,beta=0.9,gamma=0.6"),
            (4.0, "clas:alpha=4,beta=0.9,gamma=0.6"),
        )
    }
    expected: Decision = decide(ACCURACY, found)
    assert json.loads((tmp_path / "run" / "tune.json").read_text())["languages"]["zh"] == expected.to_dict()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--languages", "en,sw"), "none of the languages en, sw can have a strength"),
        (("--samples", 3), "3 examples a language are too few to halve"),
        (("--alpha", "0"), "alpha: no value"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    options: tuple[object, ...], said: str, arguments: list[object], evaluation: Any
) -> None:
    assert said in evaluation.refused(*arguments, *options, "--quiet")


def test_a_plain_checkpoint_cannot_be_tuned(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    arguments[1] = save_plain(tmp_path / "plain")
    assert "a plain checkpoint" in evaluation.refused(*arguments)
