"""Tables, figures and one HTML page from the folders of finished runs; no model is loaded.

    OUT/report.html       everything, in one file that needs no network
    OUT/report.md         tables, figures and outputs for a README
    OUT/report.json       every number of every table
    OUT/tables/*.csv      one file for each table
    OUT/figures/*.png, *.svg

From run folders (`collect`) over numbers (`scores`, `comparison`, `grid`) to what is shown (`tables`, `charts`,
`outputs`, put together by `document`) and how (`table`, `figures`, `interactive`, `page`).
"""

from collections.abc import Sequence
from pathlib import Path

from clas_models.atomic import atomic_file, check_place
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss

from .collect import collect
from .document import Annex, assemble
from .earlier import RECORD_NAME, lost_in
from .figures import save_chart
from .page import to_html

__all__ = ["write_report"]


def write_report(
    runs: Sequence[Path], out: Path, annexes: Sequence[Annex] = (), *, overwrite: bool = False
) -> list[Path]:
    """Write the report on `runs`, and behind them the `annexes`, into the folder `out` and return its files, the page
    first.

    The same runs give the same Markdown, CSV and JSON, byte for byte.  Each file appears whole or not at all.

    Raises:
        InputError: a folder that is not a run's or has no predictions, runs that cannot be compared, or `out` cannot be
            written, or holds what is not of these runs, and `overwrite` is not given.
        OSError: a file cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; give another folder for the report")
    check_place(out)
    results = collect([Path(run) for run in runs])
    document = assemble(results, annexes)
    texts = {
        out / "report.html": to_html(document),
        out / "report.md": document.to_markdown(),
        out / "report.json": document.to_json(),
    }
    texts |= {out / "tables" / f"{table.name}.csv": table.to_csv() for table in document.tables}
    folders = {task.path.name for task in results} | {annex.folder for annex in annexes}
    refuse_loss(out, lost_in(out, folders, texts), overwrite=overwrite)
    for folder in (out, out / "tables", out / "figures"):
        folder.mkdir(parents=True, exist_ok=True)
    # What tells whose report it is comes first: after an interruption the same command goes on.
    for path, text in sorted(texts.items(), key=lambda item: item[0].name != RECORD_NAME):
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
    figures = [path for chart in document.charts for path in save_chart(chart, out / "figures")]
    return [*texts, *figures]
