"""The page in a real browser: tables and figures are there, sorting works, and nothing is asked of a network."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.report import write_report

from .support import ARABIC, grid_gains, grid_methods, settings, write_run, xnli_records, xquad_records
from .test_report import evil_run, plain_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")


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


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    methods = grid_methods([-4, -2, 2])
    languages = ["en", "de", "ar"]
    grid = write_run(
        folder / "grid",
        settings({"xnli": languages}, methods, command="grid"),
        xnli_records(languages, grid_gains(methods), 30),
    )
    return write_report([plain_run(folder / "run"), grid], folder / "report")[0]


def browse(page: Path, tmp_path: Path, *options: str) -> str:
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--virtual-time-budget=20000", "--enable-logging=stderr", *options, page.as_uri()),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout


def test_the_page_names_nothing_to_load(page):
    found = Loads(page.read_text(encoding="utf-8"))
    assert found.urls
    assert all(url.startswith("#") for url in found.urls)
    scripts = [values for tag, values in found.elements if tag == "script"]
    assert sum("type" not in values for values in scripts) == 2  # the library once, and the page's own
    assert not any(tag in ("link", "iframe", "img", "object") for tag, _ in found.elements)


def test_the_browser_is_forbidden_to_load_anything(page):
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none';")
    assert "http" not in policy[1]


def test_answers_run_in_their_own_direction(page):
    text = page.read_text(encoding="utf-8")
    assert f'<td dir="auto">{ARABIC}</td>' in text


@needs_chromium
def test_tables_and_figures_are_drawn(page, tmp_path):
    found = Loads(browse(page, tmp_path, "--dump-dom"))
    ids = {values.get("id") for _, values in found.elements}
    assert {"overview", "1-xnli", "1-xquad", "1-xnli-metrics", "2-xnli-settings", "2-xnli-best", "2-xnli-grid"} <= ids
    drawn = [values for tag, values in found.elements if "js-plotly-plot" in (values.get("class") or "")]
    assert [values["id"] for values in drawn] == [
        *("figure-1-xnli-differences", "figure-1-xquad-differences"),
        *("figure-2-xnli-alpha-beta0.4-gamma0.2", "figure-2-xnli-heat-beta0.4-gamma0.2"),
    ]
    assert sum("main-svg" in (values.get("class") or "") for tag, values in found.elements if tag == "svg") >= 4


@needs_chromium
def test_a_click_sorts_a_column_and_a_second_one_turns_it_round(page, tmp_path):
    clicks = (
        "<script>const table = document.getElementById('1-xnli');"
        "const order = () => Array.from(table.tBodies[0].rows, (row) => row.cells[2].textContent).join(' ');"
        "const button = table.tHead.rows[0].cells[2].querySelector('button');"
        "button.click(); const up = order(); button.click(); const down = order();"
        "document.title = up + ' / ' + down + ' / ' + table.tHead.rows[0].cells[2].getAttribute('aria-sort');</script>"
    )
    clicked = tmp_path / "clicked.html"
    clicked.write_text(page.read_text(encoding="utf-8").replace("</body>", clicks + "</body>"), encoding="utf-8")
    title = re.search(r"<title>(.*?)</title>", browse(clicked, tmp_path, "--dump-dom"))
    assert title
    up, down, direction = title[1].split(" / ")
    assert [float(value) for value in up.split()] == sorted(float(value) for value in up.split())
    assert down.split() == up.split()[::-1]
    assert direction == "descending"


@needs_chromium
def test_it_looks_like_something_in_light_and_dark(page, tmp_path):
    from matplotlib import image

    brightness = {}
    for name, scheme in (("dark", 0), ("light", 1)):
        shot = tmp_path / f"{name}.png"
        browse(
            page,
            tmp_path,
            *(f"--screenshot={shot}", "--window-size=1200,2000", "--hide-scrollbars"),
            f"--blink-settings=preferredColorScheme={scheme}",
        )
        pixels = image.imread(shot)[..., :3]
        assert pixels.shape[:2] == (2000, 1200)
        assert pixels.std() > 0.05  # not blank
        brightness[name] = pixels.mean()
    assert brightness["dark"] < 0.3 < 0.8 < brightness["light"]


@needs_chromium
def test_no_script_of_a_run_is_run(tmp_path):
    page = write_report([evil_run(tmp_path / "run")], tmp_path / "out")[0]
    found = Loads(browse(page, tmp_path, "--dump-dom"))
    assert sum(tag == "script" and "type" not in values for tag, values in found.elements) == 2
    assert any("js-plotly-plot" in (values.get("class") or "") for _, values in found.elements)


def test_tables_of_a_task_without_figures_need_no_library(tmp_path):
    records = xquad_records(["en", "de"], {"base": 0.0}, 5)
    run = write_run(tmp_path / "run", settings({"xquad": ["en", "de"]}), records)
    page = write_report([run], tmp_path / "out")[0]
    assert page.stat().st_size < 100_000
    assert 'id="1-xquad-metrics"' in page.read_text(encoding="utf-8")
