"""The command line: what it takes, what it says, and what it refuses in one line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    save_plain,
    steered_fixture,
    templates_fixture,
    write_xnli,
)

from eval.run_folder import RunFolder


@pytest.fixture
def run(steered: Path, data: Path, templates: Path, tmp_path: Path) -> list[object]:
    """A small run into tmp_path/run; later options replace earlier ones."""
    return [
        *("run", steered, "--tasks", "xnli", "--languages", "en,de", "--samples", 4, "--data-dir", data),
        *("--templates", templates, "--out", tmp_path / "run"),
    ]


# ---- what it says


def test_a_run_ends_with_a_table_and_the_next_step(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made(*run, "--methods", "base,int-mean,clas")
    lines = ended.out.splitlines()
    assert lines[0] == "xnli: accuracy, %, 4 examples a language"
    assert lines[1].split() == ["base", "int-mean", "clas"]
    assert [line.split()[0] for line in lines[2:5]] == ["en", "de", "average"]
    assert lines[4].startswith("average without en")
    assert len(set(lines[2].split()[1:])) == 1, "English is the same under every method"
    assert lines[-1] == f"Tables, figures and outputs: python -m eval report {tmp_path / 'run'}"


def test_progress_has_a_rate_a_remaining_time_and_the_score(run: list[object], evaluation: Any) -> None:
    bar = evaluation.made(*run).err.split("\r")[-1]
    assert re.search(r"xnli de, base\+clas: 100%.* 16/16 \[\d+:\d+<\d+:\d+, .*predictions/s, base [\d.]+, clas", bar)


def test_quiet_says_the_folder_and_nothing_else(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made(*run, "--quiet")
    assert (ended.out, ended.err) == (f"{tmp_path / 'run'}\n", "")


def test_languages_that_were_not_profiled_are_told(run: list[object], evaluation: Any) -> None:
    ended = evaluation.made(*run, "--languages", "en,sw")
    assert "not profiled: sw; there clas takes the default alpha" in ended.err


def test_languages_without_neurons_are_told_for_each_method(run: list[object], evaluation: Any) -> None:
    german = "int:select=(lape:languages=en/de)"
    ended = evaluation.made(*run, "--languages", "en,de,zh", "--methods", f"base,{german},int-mean,{german},as=zh")
    told = [line for line in ended.err.splitlines() if "no neurons of" in line]
    assert told == [f"{name}: no neurons of zh; there it equals base" for name in (german, f"{german},as=zh")]


def test_strengths_that_turn_the_sign_of_neurons_are_told(run: list[object], evaluation: Any) -> None:
    ended = evaluation.made(*run, "--methods", "clas:alpha=ger=-2/default=0.5,clas:alpha=3,clas:alpha=0.5")
    told = (
        "warning: clas:alpha=de=-2/default=0.5: strengths turn the sign of neurons, with factors below 0: de (alpha -2)"
    )
    assert ended.err.count("warning: ") == 1
    assert f"{told}: -0.8 for shared neurons; and 1 more\n" in ended.err


@pytest.mark.parametrize("alpha", [("--alpha", "-2"), ("--alpha=-2",), ("--alpha", "de=-2,default=1e-3")])
def test_negative_strengths_need_no_equals_sign(
    alpha: tuple[str, ...], run: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*run, "--methods", "clas", *alpha, "--gamma", "-0.1")
    in_force = RunFolder.open(tmp_path / "run").settings.methods["clas"]
    assert in_force["alpha"] in (-2.0, {"de": -2.0, "default": 0.001})
    assert in_force["gamma"] == -0.1


def test_a_report_is_written_beside_the_predictions(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*run)
    before = contents(tmp_path / "run")
    ended = evaluation.made("report", tmp_path / "run")
    assert ended.out == f"{tmp_path / 'run' / 'report' / 'report.html'}\n"
    assert before.items() <= contents(tmp_path / "run").items()
    # and the run still goes on
    assert "goes on, 16 predictions" in evaluation.made(*run).err


def test_two_runs_are_compared_prediction_by_prediction(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*run)
    evaluation.made(*run, "--batch-size", 1, "--out", tmp_path / "other")
    file = tmp_path / "other" / "predictions" / "xnli" / "clas" / "de.jsonl"
    first, *others = file.read_text().splitlines()
    changed = json.loads(first) | {"prediction": 7, "scores": {"accuracy": 0.5}}
    file.write_text("\n".join([json.dumps(changed), *others, ""]))
    rows = [line.split() for line in evaluation.made("compare", tmp_path / "run", tmp_path / "other").out.splitlines()]
    assert rows[1:] == [["xnli", "base", "8", "0", "0"], ["xnli", "clas", "8", "1", "0.5"]]


def test_methods_with_other_strengths_are_not_compared(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*run, "--methods", "clas")
    evaluation.made(*run, "--methods", "clas", "--alpha", 1, "--out", tmp_path / "other")
    assert "no prediction of the same example" in evaluation.refused("compare", tmp_path / "run", tmp_path / "other")


# ---- what it refuses


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--tasks", "xnly"),
            "unknown task 'xnly': choose among xnli, xquad, belebele, mmmlu, hellaswag, xcopa, perplexity",
        ),
        (("--tasks", "xnli,xnli"), "task 'xnli' is given more than once"),
        (
            ("--methods", "base,magic"),
            "unknown method 'magic': choose among base, clas, fitted, vectors, clas+vectors, int, int-mean",
        ),
        (("--languages", "de,fr"), "has no fr: choose among de, en, sw, zh"),
        (("--languages", "Deutsch!"), "'Deutsch!' is not a language code"),
        (("--alpha", "strong"), "'strong': write a number, or de=-2,zh=1,default=0.5"),
        (("--alpha", "de=1,ger=2"), "names a language twice, de"),
        (("--alpha", "fr=1,default=0"), "'fr' is not among the languages en, de, zh"),
        (("--methods", "base", "--beta", "0.1"), "beta is for the method clas"),
        (("--methods", "int:site=up"), "method 'int:site=up': site=up: choose one of gate, activated"),
        (("--methods", "site=gate"), "'site=gate': an option of no method"),
        (("--samples", "0"), "samples 0: must be at least 1"),
        (("--samples", "13"), "has only 12 examples, asked for 13"),
        (("--skip", "-1"), "skip is -1: give 0 or more"),
        (("--skip", "9"), "has only 12 examples, asked for 4 after 9 to skip"),
        (("--max-length", "0"), "max length 0"),
        (("--batch-size", "0"), "batch size 0"),
        (("--dtype", "int4"), "dtype 'int4'"),
        (("--device", "abacus"), "device 'abacus'"),
        (("--corpus", "builtin"), "corpus 'builtin' is for the task perplexity"),
        (("--templates", "missing.txt"), "template missing.txt does not exist"),
        (("--data-dir", "missing"), "data_dir missing is not a folder"),
        (("--frobnicate",), "unrecognized arguments: --frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_make_no_sense_are_refused(
    options: tuple[str, ...], said: str, run: list[object], evaluation: Any, tmp_path: Path
) -> None:
    assert said in evaluation.refused(*run, *options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [("run", "m", "--tasks", "xnli"), ("grid", "m", "--task", "xnli"), ("tune", "m")])
def test_what_is_required_is_asked_for(command: tuple[str, ...], evaluation: Any) -> None:
    assert "the following arguments are required: " in evaluation.refused(*command)


@pytest.mark.parametrize("alphas", ["--alpha=-2,x", "--alpha=", "--alpha=1,,2"])
def test_a_list_of_numbers_must_be_one(alphas: str, evaluation: Any) -> None:
    said = evaluation.refused("grid", "m", "--task", "xnli", "--out", "r", alphas)
    assert "write numbers, such as -4,-2,0.5" in said


def test_a_malformed_row_is_named_by_file_and_line(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    data = write_xnli(tmp_path / "broken", rows=5)
    lines = (data / "dev-de.tsv").read_text(encoding="utf-8").splitlines()
    (data / "dev-de.tsv").write_text("\n".join([*lines[:3], "only one column", *lines[4:]]), encoding="utf-8")
    said = evaluation.refused(*run, "--data-dir", data)
    assert f"{data / 'dev-de.tsv'}, line 4: 1 columns" in said


def test_a_missing_file_is_named(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert f"data_dir {tmp_path / 'empty'} holds no dev-*.tsv" in evaluation.refused(
        *run, "--data-dir", tmp_path / "empty"
    )


def test_a_model_that_is_not_there_is_refused(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    run[1] = tmp_path / "missing"
    assert f"{tmp_path / 'missing'}: no such folder or file" in evaluation.refused(*run)


@pytest.mark.parametrize("method", ["clas", "int-mean"])
def test_a_plain_model_cannot_be_steered(method: str, run: list[object], evaluation: Any, tmp_path: Path) -> None:
    run[1] = save_plain(tmp_path / "plain")
    assert f"which only base can be run with, not {method}" in evaluation.refused(*run, "--methods", f"base,{method}")


def test_a_model_without_a_chat_template_asks_for_the_option(
    run: list[object], evaluation: Any, tmp_path: Path
) -> None:
    run[1] = save_plain(tmp_path / "plain", chat_template=None)
    assert "has no chat template: pass --no-chat-template" in evaluation.refused(*run, "--quiet")
    evaluation.made(*run, "--no-chat-template")
    assert RunFolder.open(tmp_path / "run").settings.other["chat_template"] is False


def test_an_example_that_is_too_long_and_may_not_be_cut_is_named(run: list[object], evaluation: Any) -> None:
    ended = evaluation(*run, "--max-length", 20, "--quiet")
    assert ended.status == 2
    assert re.fullmatch(
        r"python -m eval: error: xnli, en, example 1: the prompt has \d+ tokens .*raise --max-length.*\n", ended.err
    )


def test_a_foreign_folder_is_refused_and_left_alone(run: list[object], evaluation: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    assert "not the folder of a run" in evaluation.refused(*run)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_folder_that_is_no_run_is_refused(command: str, evaluation: Any, tmp_path: Path) -> None:
    folders = [tmp_path, tmp_path] if command == "compare" else [tmp_path]
    assert "no run.json, so not the folder of a run" in evaluation.refused(command, *folders)


def test_a_missing_package_is_named_with_the_remedy(
    evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("eval.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as if it were not installed
    said = evaluation.refused("report", tmp_path)
    assert said == "the package jinja2 is not installed: pip install 'clas-models[eval]'"
