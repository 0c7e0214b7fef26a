"""The page as a file: it names nothing to load, forbids loading, and stays small."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.report import write_report
from eval.report.page import MOST_ROWS

from .support import ARABIC, XNLI, grid_gains, grid_methods, settings, write_run, xnli_records, xquad_records
from .test_report import evil_run, plain_run

MOST_BYTES = 1_500_000


class Loads(HTMLParser):
    """Collects what a browser would fetch, and the elements by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        self.urls += [url for name in ("src", "href", "srcset", "data", "action") if (url := values.get(name))]


def grid_run(path: Path, languages=("en", "de", "ar"), alphas=(-4, -2, 2), pairs=((0.4, 0.2),), examples=30) -> Path:
    methods = grid_methods(alphas, pairs)
    of = settings({"xnli": languages}, methods, command="grid")
    return write_run(path, of, xnli_records(languages, grid_gains(methods), examples))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report([plain_run(folder / "run"), grid_run(folder / "grid")], folder / "report")[0]


def test_the_page_names_nothing_to_load(page):
    found = Loads(page.read_text(encoding="utf-8"))
    assert found.urls
    assert all(url.startswith("#") for url in found.urls)
    assert sum(tag == "script" for tag, _ in found.elements) == 1
    assert not any(tag in ("link", "iframe", "img", "object") for tag, _ in found.elements)


def test_the_browser_is_forbidden_to_load_anything(page):
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none';")
    assert "http" not in policy[1]


def test_answers_run_in_their_own_direction(page):
    assert f'<td dir="auto">{ARABIC}</td>' in page.read_text(encoding="utf-8")


def test_everything_has_its_place(page):
    ids = {values.get("id") for _, values in Loads(page.read_text(encoding="utf-8")).elements}
    assert {"verdict", "overview", "1-xnli", "1-xquad", "1-xnli-metrics", "2-xnli-settings", "2-xnli-best"} <= ids
    assert {"1-xnli-figure", "figure-1-xquad-differences", "2-xnli-figure"} <= ids
    assert {"figure-2-xnli-alpha-beta0.4-gamma0.2", "figure-2-xnli-heat-beta0.4-gamma0.2"} <= ids


def test_the_strengths_of_every_method_are_told(page):
    text = page.read_text(encoding="utf-8")
    assert "Methods: base (unsteered); int-mean (site = gate); clas (α = 1, β = 0.4, γ = 0.2)." in text
    assert "Tried: α = -4, -2, 2; β = 0.4; γ = 0.2." in text


def test_a_run_of_evil_names_makes_no_element(tmp_path):
    found = Loads(write_report([evil_run(tmp_path / "run")], tmp_path / "out")[0].read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in found.elements) == 1


def test_a_report_without_figures_has_its_tables(tmp_path):
    records = xquad_records(["en", "de"], {"base": 0.0}, 5)
    run = write_run(tmp_path / "run", settings({"xquad": ["en", "de"]}), records)
    page = write_report([run], tmp_path / "out")[0]
    assert page.stat().st_size < 100_000
    assert 'id="1-xquad-metrics"' in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_large_grid_makes_no_large_page(tmp_path):
    pairs = [(beta, gamma) for beta in (0.1, 0.2, 0.3, 0.4) for gamma in (0.05, 0.1, 0.2)]
    run = grid_run(tmp_path / "grid", XNLI, (-8, -6, -4, -2, 0, 2, 4), pairs, 10)
    page = write_report([run], tmp_path / "out")[0]
    assert page.stat().st_size < MOST_BYTES
    rows = len(XNLI) * 7 * len(pairs)
    assert rows > MOST_ROWS
    assert f"{rows} rows, in <code>tables/1-xnli-grid.csv</code>" in page.read_text(encoding="utf-8")
