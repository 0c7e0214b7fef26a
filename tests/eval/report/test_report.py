"""The whole report: which files there are, that they repeat themselves, and that a run's text is never markup."""

import json
from pathlib import Path

import pytest

from clas_models.errors import InputError
from eval.report import write_report

from .support import METHODS, METRICS, answer, choices, settings, write_run, xnli_records, xquad_records

LANGUAGES = ["en", "de", "ar"]
GAINS = {"base": 0.0, "int-mean": -0.05, "clas": 0.1}
TRANSFER = ("transfer-differences-by-language", "transfer-by-language", "transfer-pairs")
TABLES = (
    *("verdict", "overview", "1-xnli", "1-xnli-transfer", "1-xnli-transfer-differences", "1-xnli-metrics"),
    *("1-xnli-answers", *(f"1-xnli-{name}" for name in TRANSFER), "1-xquad", "1-xquad-metrics"),
)
MAPS = tuple(f"xnli-positive-{place}-{name}" for place, name in enumerate(("base", "int-mean", "clas"), start=1))
EVIL = '<script>alert("x")</script>'


def plain_run(path: Path) -> Path:
    records = xnli_records(LANGUAGES, GAINS, 20) | xquad_records(LANGUAGES, GAINS, 20)
    return write_run(path, settings({"xnli": LANGUAGES, "xquad": LANGUAGES}), records)


def test_every_file_is_written_and_named(tmp_path):
    written = write_report([plain_run(tmp_path / "run")], tmp_path / "new" / "report")
    out = tmp_path / "new" / "report"
    assert written[0] == out / "report.html"
    assert sorted(written) == sorted(path for path in out.rglob("*") if path.is_file())
    assert {str(path.relative_to(out)) for path in written} == {
        *("report.html", "report.md", "report.json"),
        *(f"tables/{name}.csv" for name in TABLES),
        *(
            f"figures/1-{name}.{suffix}"
            for name in ("xnli-differences", "xquad-differences", *MAPS)
            for suffix in ("png", "svg")
        ),
    }
    text = (out / "report.md").read_text(encoding="utf-8")
    for name in text.split("](")[1:]:
        assert (out / name.split(")")[0]).is_file()


def test_the_same_runs_give_the_same_bytes(tmp_path):
    run = plain_run(tmp_path / "run")
    first, second = (write_report([run], tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_an_earlier_report_is_replaced(tmp_path):
    run = plain_run(tmp_path / "run")
    write_report([run], tmp_path / "out")
    (tmp_path / "out" / "report.md").write_text("old")
    write_report([run], tmp_path / "out")
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8").startswith("# tiny-model: xnli, xquad")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out: a file is in the way"):
        write_report([plain_run(tmp_path / "run")], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_json_holds_tables_and_settings(tmp_path):
    write_report([plain_run(tmp_path / "run")], tmp_path / "out")
    values = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [table["name"] for table in values["tables"]] == [
        *TABLES,
    ]
    assert [(verdict["task"], list(verdict["languages"])) for verdict in values["verdict"]] == [
        *(("xnli", ["de", "ar"]), ("xquad", ["de", "ar"])),
    ]
    assert values["verdict"][0]["because"][0]["strengths"] == "α = 1, β = 0.4, γ = 0.2"
    assert values["settings"][0]["model"] == "org/tiny-model"
    assert "scipy" in values["settings"][-1]


def test_without_a_base_there_are_scores_and_a_reason(tmp_path):
    of = settings({"xnli": ["de"]}, {"clas": METHODS["clas"]})
    run = write_run(tmp_path / "run", of, {("xnli", "clas", "de"): choices([0, 1], [0, 0])})
    write_report([run], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "nothing to compare with; run with --methods base too" in text
    assert "| de | clas | 2 | 50.00 |" in text


def evil_run(path: Path) -> Path:
    methods = {"base": {"kind": "base"}, EVIL.replace("/", "_"): METHODS["clas"]}
    name = list(methods)[1]
    records = {("xquad", "base", "de"): [answer(0, EVIL, 0.1, shown=EVIL), answer(1, "same", 0.3)]}
    records |= {("xquad", name, "de"): [answer(0, f"</td>{EVIL}", 0.9, shown=EVIL), answer(1, "same", 0.3)]}
    of = settings(
        {"xquad": ["de"]},
        methods,
        model=f"org/{EVIL.replace('/', '_')}",
        other={"metrics": METRICS, "note": f"</table>{EVIL}"},
    )
    return write_run(path, of, records)


def test_what_a_run_says_is_never_markup(tmp_path):
    page, markdown, *_ = write_report([evil_run(tmp_path / "run")], tmp_path / "out")
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert") > 5
    assert html.count("<script") == 1  # the page's own
    text = markdown.read_text(encoding="utf-8")
    assert text.count("\\<script>alert") > 5
    assert text.count("<script>alert") == text.count("\\<script>alert")
