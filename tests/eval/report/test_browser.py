"""The page in a real browser, as wide as a desk and as a phone: nothing runs over, nothing is asked of a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.report import write_report

from .support import METHODS, XNLI, settings, write_run, xquad_records
from .test_page import grid_run
from .test_report import evil_run, plain_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
WIDTHS = (1280, 390)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")

# What is wider than the page and does not scroll by itself.
RUNS_OVER = """() => {
  const wide = document.documentElement.clientWidth + 0.5;
  const inside = (element) => element.closest(".scroll") !== null;
  return Array.from(document.body.querySelectorAll("*"))
    .filter((element) => !inside(element) && element.getBoundingClientRect().right > wide)
    .map((element) => element.outerHTML.slice(0, 80));
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    grid = grid_run(folder / "grid", XNLI, (-8, -6, -4, -2, 0, 2, 4), ((0.4, 0.2), (0.2, 0.1)), 20)
    return write_report([plain_run(folder / "run"), grid, long_run(folder / "long")], folder / "report")[0]


def long_run(path: Path) -> Path:
    """Names without a place to break them at."""
    methods = {"base": METHODS["base"], "clas:" + "alpha=de=-2/default=1," * 4: METHODS["clas"]}
    gains = dict(zip(methods, (0.0, 0.1), strict=True))
    of = settings({"xquad": ["en", "de"]}, methods, model="org/" + "a-model-with-a-long-name" * 3)
    return write_run(path, of, xquad_records(["en", "de"], gains, 20))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page that is open, and what it said and asked for meanwhile."""

    def __init__(self, browser: Any, path: Path, width: int, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def visit(browser, report) -> Iterator[Any]:
    visits: list[Visit] = []

    def open_page(width: int = 1280, path: Path = report, **options: Any) -> Visit:
        visits.append(Visit(browser, path, width, **options))
        return visits[-1]

    yield open_page
    for each in visits:
        assert each.said == []
        assert len(each.asked) == 1  # the page itself
        each.page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_runs_over_the_page(visit, width):
    page = visit(width).page
    for details in page.locator("details").all():
        details.locator("summary").click()
    choices = page.locator("select").all()
    counts = [choice.locator("option").count() for choice in choices]
    assert counts == [3, 4]  # pairs of languages by method, strengths of the grid
    for choice, count in zip(choices, counts, strict=True):
        for index in range(count):
            choice.select_option(index=index)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(RUNS_OVER) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdict_is_seen_without_scrolling(visit, width):
    box = visit(width).page.locator(".call").first.bounding_box()
    assert box["y"] + box["height"] < 900


def test_no_text_covers_another_in_the_charts(visit):
    covered = """() => {
      const boxes = Array.from(document.querySelectorAll(".dots .axis b, .lines b, .bar .value, .legend li"))
        .filter((element) => element.offsetParent && element.textContent.trim())
        .map((element) => [element.textContent.trim(), element.getBoundingClientRect()]);
      const found = [];
      boxes.forEach(([text, one], index) => boxes.slice(index + 1).forEach(([other, two]) => {
        const beside = one.left > two.right - 1 || two.left > one.right - 1;
        const below = one.top > two.bottom - 1 || two.top > one.bottom - 1;
        if (!beside && !below) found.push(`${text} / ${other}`);
      }));
      return found;
    }"""
    for width in WIDTHS:
        assert visit(width).page.evaluate(covered) == []


def test_a_wide_table_says_that_there_is_more_until_its_end_is_reached(visit):
    page = visit(390).page
    box = page.locator(".scroll", has=page.locator("#overview"))
    classes = "element => element.className"
    assert box.evaluate(classes) == "scroll wide more"
    assert box.evaluate("element => element.tabIndex") == 0
    box.evaluate("element => { element.scrollLeft = element.scrollWidth; }")
    page.wait_for_function("() => !document.querySelector('#overview').parentElement.classList.contains('more')")
    assert box.evaluate(classes) == "scroll wide"


def test_a_click_sorts_a_column_and_a_second_one_turns_it_round(visit):
    page = visit().page
    table, number = page.locator("[id='1-xnli']"), 2
    button = table.locator("thead button").nth(number)
    orders = []
    for _ in range(2):
        button.click()
        orders.append([float(row) for row in table.locator(f"tbody td:nth-child({number + 1})").all_inner_texts()])
    assert orders[0] == sorted(orders[0])
    assert orders[1] == orders[0][::-1]
    assert table.locator("thead th").nth(number).get_attribute("aria-sort") == "descending"


def test_the_selector_shows_one_chart_at_a_time(visit):
    page = visit().page
    figure = page.locator("[id='2-xnli-figure']")
    seen = []
    for index in range(4):
        figure.locator("select").select_option(index=index)
        (chart,) = [each for each in figure.locator(".chart").all() if each.is_visible()]
        seen.append(chart.get_attribute("id"))
    assert len(set(seen)) == 4


def test_without_scripts_every_chart_is_there(visit):
    page = visit(java_script_enabled=False).page
    assert all(chart.is_visible() for chart in page.locator(".chart").all())


def test_what_is_pointed_at_is_read_and_a_line_can_be_followed(visit):
    page = visit().page
    page.locator("[id='2-xnli-figure'] select").select_option(label="scores, β = 0.4, γ = 0.2")
    chart = page.locator("[id='figure-2-xnli-alpha-beta0.4-gamma0.2']")
    chart.locator("rect").nth(1).hover()
    assert chart.locator(".readout").inner_text().startswith("α = -6: ar ")
    button = chart.locator(".legend button").nth(2)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    lines = chart.locator("g.line")
    width = "line => getComputedStyle(line.querySelector('.path')).strokeWidth"
    assert (lines.nth(2).evaluate(width), lines.nth(3).evaluate(width)) == ("4px", "1.6px")
    assert lines.nth(3).evaluate("line => getComputedStyle(line).opacity") == "0.2"


@pytest.mark.parametrize(("scheme", "dark"), [("dark", True), ("light", False)])
def test_it_follows_the_readers_scheme(visit, scheme, dark):
    ground = visit(color_scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark


def test_no_script_of_a_run_is_run(visit, tmp_path):
    path = write_report([evil_run(tmp_path / "run")], tmp_path / "out")[0]
    assert visit(path=path).page.locator("script").count() == 1
