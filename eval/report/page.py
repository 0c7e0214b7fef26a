"""The report as one HTML page that opens without a network: data, script and styles are in it.

Everything that comes from a run (names, predictions) is escaped by the template's autoescaping.
"""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .document import QUESTION, Document
from .places import laid_out
from .table import difference

TEMPLATE = "report.html.j2"
MOST_ROWS = 500  # of a table; the CSV file has them all


def to_html(document: Document) -> str:
    """The whole page."""
    package = __package__ or ""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["signed"] = lambda value: difference(value, 0).text
    environment.filters["laid_out"] = laid_out
    environment.filters["kind"] = lambda chart: type(chart).__name__
    folder = files(package) / "templates"
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    return environment.get_template(TEMPLATE).render(
        document=document, question=QUESTION, most_rows=MOST_ROWS, style=style, script=script
    )
