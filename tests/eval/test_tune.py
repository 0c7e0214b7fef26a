"""The command `tune`: what it decides goes into `tune.json` and the checkpoint, and nothing else is changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from eval.decision import decide
from eval.decision_rule import Parts
from eval.run_folder import RunFolder
from eval.score_scale import scale_of
from eval.tune import check_writable, decided, write_strength

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
    assert found["parts"] == {"units": 12, "choose": 3, "decide": 6, "report": 3}
    assert [found["languages"]["de"][part]["n"] for part in ("selection", "decided", "held_out")] == [3, 6, 3]
    assert "3 choose, 6 decide, 3 only report; scores are of the last" in ended.out
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
    names = {0.0: "base", -8.0: "clas:alpha=-8,beta=0.9,gamma=0.6", 4.0: "clas:alpha=4,beta=0.9,gamma=0.6"}

    def records(name: str, language: str) -> list[Any]:
        return sorted(run.records("xnli", name, language), key=lambda record: int(record.key))

    found = {code: {None: {alpha: records(name, code) for alpha, name in names.items()}} for code in ("de", "zh")}
    expected = decide(scale_of("accuracy"), found, Parts.of(range(12))).to_dict()
    assert json.loads((tmp_path / "run" / "tune.json").read_text()).items() >= expected.items()


def test_questions_on_one_passage_stay_together(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    """Two paragraphs with three questions each are two units, so that there are too few."""
    arguments[arguments.index("xnli")] = "xquad"
    said = evaluation.refused(*arguments, "--languages", "de")
    assert "tune: 6 examples a language on 2 texts (context) are too few for three parts; give at least 4" in said


def test_so_few_that_nothing_can_be_found_are_told(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made(*arguments, "--samples", 8)
    assert "no gain can be more than chance on fewer than 10" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--languages", "en,sw"), "none of the languages en, sw can have a strength"),
        (("--samples", 3), "3 examples a language on 3 texts (premise) are too few for three parts"),
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
