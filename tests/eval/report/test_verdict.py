"""The answer in words, over all languages and all runs of a task, and the same in Markdown, CSV and JSON."""

import csv
import json

import pytest

from eval.report import write_report
from eval.report.collect import collect
from eval.report.document import assemble
from eval.report.findings import Call
from eval.report.words import listed, made_with, numbers

from .support import METHODS, choices, grid_methods, settings, write_run, xquad_records
from .test_findings import MANY, gold, said
from .test_report import plain_run

SCORES = {"de": (200, 240), "hi": (200, 150), "sw": (130, 135), "zh": (200, 205)}  # right answers of base and clas


@pytest.fixture
def run(tmp_path):
    records = {}
    for code, pair in SCORES.items():
        for name, right in zip(("base", "clas"), pair, strict=True):
            records["xnli", name, code] = choices(said(right), gold(MANY))
    return write_run(tmp_path / "run", settings({"xnli": ["en", *SCORES]}), records)


def grid(path, counts, command="grid", languages=("de",)):
    methods = grid_methods([alpha for alpha in counts if alpha])
    records = {
        ("xnli", name, code): choices(said(counts[values.get("alpha", 0)]), gold(MANY))
        for name, values in methods.items()
        for code in languages
    }
    return write_run(path, settings({"xnli": list(languages)}, methods, command=command), records)


def only(*runs):
    (verdict,) = assemble(collect(runs)).verdicts
    return verdict


def test_languages_that_differ_are_told_apart_with_the_reasons(run):
    verdict = only(run)
    assert verdict.sentence == "xnli: steer de; cannot tell yet in sw, zh; leave alone hi."
    origin = "clas with α = 1, β = 0.4, γ = 0.2 (run 1)"
    assert verdict.lines() == [
        f"{origin}: steer de (it gains: de +10.0 points)",
        f"{origin}: cannot tell yet in sw (at chance (33.3 %); 5 of 400 outputs changed)",
        f"{origin}: cannot tell yet in zh (a gain, which may be chance among 4 languages; 5 of 400 outputs changed)",
        f"{origin}: leave alone hi (it loses: hi -12.5 points)",
    ]


def test_one_run_that_says_steer_outweighs_what_is_not_known_and_that_what_is_left_alone(run, tmp_path):
    assert only(run, grid(tmp_path / "grid", {0: 200, -2: 150})).calls[Call.STEER] == ("de",)
    both = only(grid(tmp_path / "worse", {0: 200, -2: 150}), grid(tmp_path / "better", {0: 200, 2: 230}))
    assert both.calls == {Call.UNKNOWN: ("de",)}


def test_two_models_have_a_verdict_each(run, tmp_path):
    records = {("xnli", name, "de"): choices(said(200), gold(MANY)) for name in ("base", "clas")}
    of = settings({"xnli": ["de"]}, model="org/second", fingerprint="cafe")
    found = assemble(collect([run, write_run(tmp_path / "second", of, records)])).verdicts
    assert [(verdict.model, verdict.task) for verdict in found] == [("tiny-model", "xnli"), ("second", "xnli")]


def test_too_few_examples_are_told_with_what_could_have_been_seen(tmp_path):
    records = xquad_records(["de", "th"], {"base": 0.0, "clas": 0.05}, 20)
    run = write_run(tmp_path / "run", settings({"xquad": ["de", "th"]}), records)
    (line,) = only(run).lines()
    assert "cannot tell yet in de, th (too few examples to see less than 15 points; " in line  # 3 of 20


def test_without_a_base_or_without_steering_there_is_a_reason(tmp_path):
    lines = choices(said(3, 5), gold(5))
    steered = write_run(
        tmp_path / "clas", settings({"xnli": ["de"]}, {"clas": METHODS["clas"]}), {("xnli", "clas", "de"): lines}
    )
    plain = write_run(
        tmp_path / "base", settings({"xnli": ["de"]}, {"base": METHODS["base"]}), {("xnli", "base", "de"): lines}
    )
    assert "the unsteered base was not run" in only(steered).lines()[0]
    assert "no steering was run" in only(plain).lines()[0]
    assert "tune has not decided yet" in only(grid(tmp_path / "tune", {0: 200, 2: 230}, "tune")).lines()[0]


def test_a_run_of_the_anchor_alone_has_nothing_to_steer(tmp_path):
    records = {("xnli", name, "en"): choices(said(3, 5), gold(5)) for name in ("base", "clas")}
    run = write_run(tmp_path / "run", settings({"xnli": ["en"]}), records)
    assert only(run).sentence == "xnli: nothing but en, which is never steered."
    assert "Only en, which is never steered." in write_report([run], tmp_path / "out")[0].read_text()


def test_the_verdict_comes_first_in_every_form(run, tmp_path):
    write_report([run], tmp_path / "out")
    sentence = "xnli: steer de; cannot tell yet in sw, zh; leave alone hi."
    lines = (tmp_path / "out" / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines[2:5] == ["## Does steering help?", "", f"**{sentence}**"]
    values = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert next(iter(values)) == "verdict"
    assert values["verdict"][0]["verdict"] == sentence
    calls = {"steer": "de", "cannot tell yet": "sw zh", "leave alone": "hi"}
    assert values["verdict"][0]["languages"] == {code: call for call, codes in calls.items() for code in codes.split()}
    with (tmp_path / "out" / "tables" / "verdict.csv").open(encoding="utf-8") as file:
        rows = {row["language"]: row for row in csv.DictReader(file)}
    assert rows["de"]["verdict"] == "steer"
    assert rows["de"]["setting"] == "α = 1, β = 0.4, γ = 0.2"
    assert (rows["sw"]["because"], rows["sw"]["changed"], rows["sw"]["outputs"]) == ("at chance (33.3 %)", "5", "400")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("<strong>steer</strong> de") < page.index("<table")


def test_the_overview_has_every_method_of_every_run(tmp_path):
    runs = [plain_run(tmp_path / "run"), grid(tmp_path / "grid", {0: 200, -2: 240, 2: 190})]
    overview = assemble(collect(runs)).overview
    assert [(row["command"], row["task"], row["method"]) for row in overview.data] == [
        *(("run", "xnli", "int-mean"), ("run", "xnli", "clas"), ("run", "xquad", "int-mean"), ("run", "xquad", "clas")),
        ("grid", "xnli", "best of 2"),
    ]
    titles = [column.title for column in overview.columns]
    assert titles[:6] == ["task", "method", "unit", "base", "score", "difference"]
    assert [cell.text for cell in overview.body[-1][:6]] == [
        "xnli",
        "best of 2",
        "accuracy, %",
        "50.00",
        "60.00",
        "+10.00",
    ]
    last = overview.data[-1]
    assert (last["made with"], last["base"], last["score"], last["changed"]) == (
        "α = -2, β = 0.4, γ = 0.2",
        50,
        60,
        40,
    )
    assert "was chosen on the same examples" in overview.notes[1]


def test_the_overview_has_what_tune_chose_where_it_had_no_part(tmp_path):
    run = grid(tmp_path / "tune", {0: 200, 2: 240}, "tune")
    gain = {"mean": 0.1, "low": 0.05, "high": 0.15}
    decision = {"chosen": 2.0, "kept": True, "together": False, "reason": "", "candidates": {"2": gain}}
    part = {"n": 100, "base": 0.5, "tuned": 0.6, "gain": gain}
    decision |= {"selection": part, "decided": {**part, "p": 0.01}, "held_out": part}
    (run / "tune.json").write_text(json.dumps({"task": "xnli", "languages": {"de": decision}}))
    document = assemble(collect([run]))
    (row,) = document.overview.data
    assert (row["command"], row["method"], row["base"], row["score"]) == ("tune", "tuned alphas", 50, 60)
    assert document.verdicts[0].sentence == "xnli: steer de."
    assert "de +10.0 with α = 2 points" in document.verdicts[0].lines()[0]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"kind": "base"}, "unsteered"),
        ({"kind": "clas", "alpha": 1.0, "beta": 0.4}, "α = 1, β = 0.4"),
        ({"kind": "clas", "alpha": {"de": -2.0, "default": 1}, "as": "hi"}, "α = de -2, otherwise 1; as = hi"),
        ({"kind": "int", "select": "lape", "value": "mean"}, "select = lape, value = mean"),
    ],
)
def test_what_a_method_was_made_with_is_told(parameters, words):
    assert made_with(parameters) == words


def test_numbers_never_promise_more_than_was_seen():
    assert numbers([5.01, 8.96], 1) == "5.1 to 9"
    assert numbers([0.0347], 3) == "0.035"
    assert numbers([30.0, 30.0], 1) == "30"
    assert numbers([120.0], 0) == "120"
    assert listed(["de", "th", "tr", "zh"], ["zh", "tr", "th", "de"]) == "all 4 languages"
    assert listed(["de"], ["de", "th"]) == "de"
