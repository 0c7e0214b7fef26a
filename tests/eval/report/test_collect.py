"""Run folders: what is taken from them, and what is refused in one line."""

import json
from dataclasses import asdict, replace

import pytest

from clas_models.errors import InputError
from eval.report import write_report
from eval.report.collect import collect
from eval.run_folder import Record

from .support import METHODS, answer, choice, choices, nats, settings, write_run

GOLD = [0, 1, 2, 0]


def xnli(examples: int = 4, methods: tuple[str, ...] = ("base", "clas"), languages: tuple[str, ...] = ("en", "de")):
    return {("xnli", name, code): choices([0] * examples, GOLD[:examples]) for name in methods for code in languages}


def test_what_was_predicted_is_found_by_method_and_language(tmp_path):
    records = xnli() | {("xquad", "base", "en"): [answer(0, "said", 0.5)], ("ppl", "base", "en"): [nats(0, 3.0, 2, 9)]}
    languages = {"xnli": ["en", "de", "th"], "xquad": ["en"], "ppl": ["en"], "belebele": ["en"]}
    xnli_task, xquad_task, perplexity = collect([write_run(tmp_path / "run", settings(languages), records)])
    assert [task.scale.name for task in (xnli_task, xquad_task, perplexity)] == ["accuracy", "f1", "nats"]
    assert (xnli_task.languages, xnli_task.others) == (("en", "de"), ("de",))
    assert (xnli_task.methods, xnli_task.base) == (("base", "clas"), "base")
    assert xnli_task.records["clas", "de"]["2"] == choice(2, 0, 2)


def test_the_base_comes_first_and_may_have_another_name(tmp_path):
    methods = {"clas": METHODS["clas"], "plain": {"kind": "base"}}
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}, methods), xnli(4, ("clas", "plain"), ("en",)))
    assert collect([run])[0].methods == ("plain", "clas")


def test_steering_with_strength_0_is_a_base(tmp_path):
    methods = {"a": METHODS["clas"], "zero": METHODS["clas"] | {"alpha": 0.0}}
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}, methods), xnli(4, ("a", "zero"), ("en",)))
    assert collect([run])[0].base == "zero"


def test_the_main_score_is_the_first_that_the_settings_name(tmp_path):
    said = {("xquad", "base", "en"): [answer(0, "said", 0.5)]}
    of = settings({"xquad": ["en"]}, other={"metrics": {"xquad": ["exact_match", "f1"]}})
    assert collect([write_run(tmp_path / "run", of, said)])[0].scale.name == "exact_match"
    for metrics, name in (({}, "None"), ({"xquad": ["bleu"]}, "'bleu'")):
        run = write_run(tmp_path / f"run{name}", settings({"xquad": ["en"]}, other={"metrics": metrics}), said)
        assert f"unknown score {name}: this version knows accuracy, f1" in refused([run], tmp_path)


def test_an_unfinished_last_line_is_left_out(tmp_path):
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}), xnli(4, ("base",), ("en",)))
    file = run / "predictions" / "xnli" / "base" / "en.jsonl"
    file.write_text(file.read_text()[:-5])
    assert len(collect([run])[0].records["base", "en"]) == 3


def test_a_folder_given_twice_is_read_once(tmp_path):
    run = write_run(tmp_path / "run", settings({"xnli": ["en", "de"]}), xnli())
    assert len(collect([run, run / ".." / "run"])) == 1


def refused(paths, tmp_path) -> str:
    out = tmp_path / "report"
    with pytest.raises(InputError) as caught:
        write_report(paths, out)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_run_at_all(tmp_path):
    assert refused([], tmp_path).startswith("no run given")


def test_a_missing_an_empty_and_a_foreign_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"format_version": 1, "lr": 0.1}')
    assert "no such folder" in refused([tmp_path / "missing"], tmp_path)
    assert "no run.json" in refused([tmp_path / "empty"], tmp_path)
    assert "not the settings of a run" in refused([tmp_path / "foreign"], tmp_path)


@pytest.mark.parametrize(
    ("what", "name"),
    [(what, name) for what in ("task", "language", "method") for name in ("..", "../../etc", "/etc", "")
     if (what, name) != ("method", "/etc")],  # slashes of a method become other characters
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name, what):
    languages = {name: ["en"]} if what == "task" else {"xnli": [name if what == "language" else "en"]}
    found = settings(languages)
    if what == "method":
        found = replace(found, methods={name: {"kind": "base"}})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(asdict(found)))
    run = tmp_path / "run"
    assert "is no name of a task, a language or a method" in refused([run], tmp_path)


def test_a_run_without_predictions(tmp_path):
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}), {("xnli", "base", "en"): []})
    assert refused([run], tmp_path) == f"{run}: no predictions yet; start the run again with the same --out, it goes on"


def test_a_broken_line_is_named(tmp_path):
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}), xnli(4, ("base",), ("en",)))
    file = run / "predictions" / "xnli" / "base" / "en.jsonl"
    file.write_text(file.read_text() + "{}\n")
    assert refused([run], tmp_path).startswith(f"{file}, line 5: not a prediction")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([choice(1, 0, 0), choice(2, 0, 0), choice(1, 0, 0)], "line 3: example 1 again"),
        ([choice(1, 0, 0), Record("2", 0, (0,), {"f1": 1.0})], "line 2: no score accuracy"),
        ([nats(1, 0.0, 0, 4)], "tokens and bytes"),
    ],
    ids=["the same example twice", "another score", "a perplexity of nothing"],
)
def test_predictions_that_make_no_sense_are_named(tmp_path, lines, message):
    task = "ppl" if "nats" in lines[0].scores else "xnli"
    run = write_run(tmp_path / "run", settings({task: ["en"]}), {(task, "base", "en"): lines})
    said = refused([run], tmp_path)
    assert message in said
    assert "en.jsonl" in said


def test_runs_over_other_examples_cannot_stand_side_by_side(tmp_path):
    first = write_run(tmp_path / "one", settings({"xnli": ["en", "de"]}), xnli(4))
    second = write_run(tmp_path / "two", settings({"xnli": ["en", "de"]}, model="org/other"), xnli(3))
    message = refused([first, second], tmp_path)
    assert message.startswith(f"{first} and {second} cannot be compared: xnli, base, en has 4 examples in one and 3")


def test_a_grid_over_a_part_stands_beside_a_run_over_all(tmp_path):
    first = write_run(tmp_path / "one", settings({"xnli": ["en", "de"]}), xnli(4))
    second = write_run(tmp_path / "two", settings({"xnli": ["en", "de"]}, command="grid"), xnli(3))
    assert [task.run for task in collect([first, second])] == [1, 2]
