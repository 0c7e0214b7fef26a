"""The command `neurons`: which neurons a checkpoint has for each language, found in several ways, without a model.

Everything is read from the profile and the quantiles that the checkpoint carries.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clas_models.atomic import check_place
from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.profiling.corpora.languages import normalise_codes
from clas_models.profiling.known import Known
from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import check_not_empty, default_selections, select, split_selections

from ..loading import Checkpoint, open_checkpoint
from ..summary import aligned
from .neuron_numbers import activation_statistics
from .neuron_output import JSON_NAME, PAGE_NAME, NeuronReport


def report_neurons(
    model: str, selections: str | None, out: Path, languages: Sequence[str] | None = None, *, overwrite: bool = False
) -> NeuronReport:
    """Write the report.

    Args:
        model: a folder or a Hub id of a steered checkpoint.
        selections: as `split_selections` reads them; None is `lape`, and `probability` where there are quantiles.
        out: a folder.
        languages: the ones that are shown; each must have neurons in every selection.  None are all.
        overwrite: replace what is there.

    Raises:
        InputError: a plain checkpoint, or one without a usable profile; a selection that cannot be made, is of another
            model or empty; a language without neurons; or `out` cannot be written, or would lose something.
        OSError: a file cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file is in the way; give another folder")
    check_place(out)
    checkpoint = open_checkpoint(model)
    if not checkpoint.is_steered:
        raise InputError(f"{model}: a plain checkpoint, which carries no profile; convert it first with {CONVERT}")
    known = checkpoint.known()
    texts = split_selections(selections) if selections is not None else default_selections(known)
    found = {text: check_not_empty(select(text, known), text) for text in texts}
    if languages is not None:
        found = {text: _of_languages(selection, text, languages) for text, selection in found.items()}
    report = _report(checkpoint, known, found)
    taken = next((name for name in report.files() if (out / name).exists()), "")
    refuse_loss(out, f"{taken} is there" if taken else "", overwrite=overwrite)
    report.write(out)
    return report


def summarize_neurons(report: NeuronReport, out: Path) -> str:
    """For the command line: neurons by language and selection, and where the rest is."""
    table = report.parts[0].tables[0]
    rows = [[column.title for column in table.columns]]
    rows += [[cell.text for cell in row] for row in (*table.body, *table.foot)]
    return "\n".join([*report.notes, aligned(rows), f"Tables, figures and the page: {out / PAGE_NAME}"])


def _of_languages(selection: Selection, text: str, languages: Sequence[str]) -> Selection:
    codes = normalise_codes(languages)
    rows = []
    for code in codes:
        found = selection.indices(code)
        if not any(len(layer) for layer in found):
            raise InputError(
                f"language {code}: no neurons in the selection {text!r}; leave it out, or choose another selection"
            )
        rows.append(selection.row(code))
    chosen = tuple(selection.languages[row] for row in rows)
    return Selection(chosen, selection.layers, selection.masks[rows], selection.origin)


def _report(checkpoint: Checkpoint, known: Known, found: Mapping[str, Selection]) -> NeuronReport:
    profile = known.profile
    notes = []
    for text, selection in found.items():
        if without := [code for code, count in selection.counts().items() if count == 0]:
            notes.append(f"{text}: no neurons of {', '.join(without)}.")
    if known.quantiles is None:
        notes.append(f"No quantiles in this checkpoint; {CONVERT} {checkpoint.name} --quantiles makes some.")
    made = profile.provenance
    settings = {
        "checkpoint": checkpoint.name,
        "corpus": ", ".join(made.corpus),
        "samples": str(made.samples),
        "tokens": f"{int(profile.tokens.sum()):,}",
        "languages": ", ".join(profile.languages),
        "layers": str(len(profile.layers)),
        "neurons a layer": str(profile.num_neurons),
    }
    return NeuronReport(
        model=Path(checkpoint.name).name,
        selections=found,
        statistics=activation_statistics(known),
        num_neurons=len(profile.layers) * profile.num_neurons,
        settings=settings,
        notes=tuple(notes),
    )


__all__ = ["JSON_NAME", "PAGE_NAME", "report_neurons", "summarize_neurons"]
