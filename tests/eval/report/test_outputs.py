"""Answers side by side: the largest differences, in both directions, a few of each language."""

from eval.report.collect import collect
from eval.report.comparison import compare
from eval.report.outputs import IN_MARKDOWN, PER_LANGUAGE, side_by_side

from .support import METHODS, answer, grid_methods, settings, write_run, xnli_records, xquad_records


def outputs(tmp_path, records, languages, methods=METHODS, task="xquad", **changes):
    run = write_run(tmp_path / "run", settings({task: languages}, methods, **changes), records)
    return side_by_side(compare(collect([run])[0]))


def test_gains_and_losses_in_turn_the_largest_first(tmp_path):
    base = [answer(key, "old", 0.5) for key in range(8)]
    after = [0.6, 0.9, 0.5, 0.1, 0.4, 0.7, 1.0, 0.8]
    steered = [answer(key, f"new {key}", f1) for key, f1 in enumerate(after)]
    (found,) = outputs(tmp_path, {("xquad", "base", "de"): base, ("xquad", "clas", "de"): steered}, ["de"])
    assert [(pair.key, round(pair.gain)) for pair in found.pairs] == [
        ("6", 50),
        ("3", -40),
        ("1", 40),
        ("4", -10),
        ("7", 30),
    ]
    first = found.pairs[0]
    assert (first.question, first.gold, first.base, first.other) == ("Question 6?", ("gold answer",), "old", "new 6")


def test_only_steered_methods_and_only_generated_text(tmp_path):
    gains = {"base": 0.0, "int-mean": -0.2, "clas": 0.2}
    found = outputs(tmp_path, xquad_records(["en", "de"], gains, 30), ["en", "de"])
    assert [item.method for item in found] == ["clas"]
    assert {pair.language for pair in found[0].pairs} == {"de"}  # nothing differs in English
    assert outputs(tmp_path / "xnli", xnli_records(["de"], gains, 30), ["de"], task="xnli") == []


def test_the_best_setting_stands_for_a_grid(tmp_path):
    methods = grid_methods([-2, 2])
    gains = dict(zip(methods, (0.0, -0.3, 0.3), strict=True))
    found = outputs(tmp_path, xquad_records(["en", "de"], gains, 30), ["en", "de"], methods, command="grid")
    assert [item.method for item in found] == ["clas-a2-b0.4-g0.2"]


def test_an_output_that_changed_is_counted_and_shown_though_the_score_did_not(tmp_path):
    base = [answer(key, "old", 0.0) for key in range(10)]
    steered = [answer(key, "new" if key < 6 else "old", 0.0) for key in range(10)]
    steered[9] = answer(9, "gold", 1.0)
    (found,) = outputs(tmp_path, {("xquad", "base", "hi"): base, ("xquad", "clas", "hi"): steered}, ["hi"])
    assert [(pair.key, pair.gain) for pair in found.pairs] == [("9", 100.0), *((str(key), 0.0) for key in range(4))]
    assert "hi 7 of 10 (1 better, 0 worse)" in found.notes[0]
    assert len(found.strongest()) == 5
    assert "hi 7 of 10 (1 better, 0 worse)" in found.to_markdown()


def test_markdown_has_a_dozen_from_both_directions(tmp_path):
    languages = ["ar", "de", "el", "es", "hi", "ru", "th", "tr"]
    (found,) = outputs(tmp_path, xquad_records(languages, {"base": 0.0, "clas": 0.02}, 40), languages)
    assert len(found.pairs) == PER_LANGUAGE * len(languages)
    strongest = found.strongest()
    assert len(strongest) == IN_MARKDOWN
    assert sum(pair.gain > 0 for pair in strongest) == IN_MARKDOWN // 2
    assert len({pair.language for pair in strongest}) > 4
    assert found.to_markdown().count("\n| ") == IN_MARKDOWN + 1


def test_losses_fill_the_places_that_gains_leave(tmp_path):
    records = {}
    for code in ("de", "th", "tr"):
        records["xquad", "base", code] = [answer(key, "old", 0.9) for key in range(9)]
        records["xquad", "clas", code] = [answer(key, "new", 0.1) for key in range(9)]
    (found,) = outputs(tmp_path, records, ["de", "th", "tr"])
    assert len(found.strongest()) == IN_MARKDOWN
    assert all(pair.gain < 0 for pair in found.strongest())


def test_a_long_answer_is_shortened_and_stays_in_its_row(tmp_path):
    records = {
        ("xquad", "base", "de"): [answer(0, "so | and\nso " * 100, 0.0)],
        ("xquad", "clas", "de"): [answer(0, "x", 1.0)],
    }
    (found,) = outputs(tmp_path, records, ["de"])
    row = found.to_markdown().splitlines()[4]
    assert row.startswith("| de | Question 0? | gold answer | so \\| and so ")
    assert row.endswith("… | x | +100 |")
