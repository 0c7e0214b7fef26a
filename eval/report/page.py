"""The report as one HTML page that opens without a network: the library, the data and the styles are in it.

Everything that comes from a run (names, predictions) is escaped: by the template's autoescaping in the text, by
`tojson` in the figures' data, and in the texts of the figures by `interactive.py`.
"""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from .document import Document
from .interactive import plotly_figure
from .table import difference

TEMPLATE = "report.html.j2"


def to_html(document: Document) -> str:
    """The whole page; plotly's script stands in it once, and only where there is a figure."""
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
    folder = files(package) / "templates"
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    return environment.get_template(TEMPLATE).render(
        document=document,
        figures={chart.name: plotly_figure(chart) for chart in document.charts},
        style=style,
        script=script,
        library=Markup(get_plotlyjs()) if document.charts else "",
    )
