"""From a steered checkpoint to another form of it: opened, checked, written, loaded again, compared.

What a form is made of, and what it looks like on disk, is its own module's business.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import InputError
from ...modeling.configuration_clas import STRENGTHS
from ...profiling.bridge_layers import format_layers
from ...profiling.language_vectors import LanguageVectors
from ...profiling.neuron_profile import NeuronProfile
from ..chosen_masks import read_fitted, read_masks
from ..copying import write_json, write_text
from ..export_record import EXPORT_NAME, ExportRecord, refuse_folded
from ..hub_models import is_hub_id
from ..in_force import format_strength
from ..model_card import card_facts
from ..progress import Progress
from ..source import Source, open_source
from ..staging import check_target, staged
from . import form_named
from .comparison import Difference
from .form import Export
from .options import ExportOptions
from .scaling import scaling, steering_config


@dataclass(frozen=True)
class Exported:
    """What was made: a folder, what is in it, how far it is from the steered model, and lines that load it."""

    out: Path
    record: ExportRecord
    difference: Difference
    usage: list[str]


def export(options: ExportOptions, progress: Progress | None = None) -> Exported:
    """Write another form of a steered checkpoint and check it against the steered model.

    Raises:
        InputError: something that the user gave cannot be used, or cannot be expressed in this form.
        VerificationError: what was written differs from the steered model by more than rounding.
        OSError: the disk is full or not writable.
    """
    progress = progress or Progress(quiet=True)
    options.check()
    form = form_named(options.format)
    out = options.target()
    check_target(out, overwrite=options.overwrite)
    work = prepare(options)
    progress.tell_unused(work.source.name, work.source.unused)
    if unchanged := [each.language for each in work.scalings if each.is_identity]:
        progress.say(f"note: strength 0 or nothing to steer: as {', '.join(unchanged)} it is the base model, unsteered")
    with staged(out, overwrite=options.overwrite) as folder:
        form.write(work, folder, progress)
        write_json(folder / EXPORT_NAME, asdict(work.record))
        progress.say("checking what was written")
        difference = form.compare(work, folder)
        write_text(folder / "README.md", form.card(work, difference))
    return Exported(out, work.record, difference, form.usage(work, str(out)))


def prepare(options: ExportOptions) -> Export:
    """What the options make of a source, with nothing written yet. Raises InputError: as `export` does."""
    path = Path(options.model).expanduser()
    if path.is_file():
        raise InputError(f"{options.model}: a file, --format needs the folder or Hub id of a steered checkpoint")
    source = open_source(options.model, path)
    refuse_folded(source.folder, source.name)
    config = steering_config(source, **{name: getattr(options, name) for name in STRENGTHS})
    config.vector_positions = options.vector_positions or config.vector_positions
    form = form_named(options.format)
    form.check(source, config)
    codes = form.languages(options.wanted_codes(), config)
    masks = read_masks(source, config.bridge_layers)
    vectors = source.carried_vectors(config.languages, config.anchor_language)
    fitted = read_fitted(source, masks) if config.fitted else None
    found = (scaling(config, masks, code, vectors, fitted) for code in codes)
    scalings = tuple({each.language: each for each in found}.values())  # two tags may mean one profiled language
    acts = config.add_rule.acts
    card = card_facts(source, "base_model", "license")
    base, licence = card.get("base_model"), card.get("license")
    base = base if base and is_hub_id(base) else None
    record = ExportRecord(
        format=options.format,
        alpha={each.language: each.alpha for each in scalings},
        beta=config.beta,
        gamma=config.gamma,
        bridge_layers=tuple(config.bridge_layers),
        fitted=config.fitted,
        fingerprint=source.fingerprint,
        base_model=base,
        vector_layers=tuple(config.vector_layers) if acts else (),
        vector_strength={each.language: each.vector_strength for each in scalings} if acts else {},
    )
    return Export(source, config, scalings, record, base or _profiled_folder(source), licence)


def summarize_export(result: Exported, seconds: float) -> str:
    """What the command line says at the end."""
    record = result.record
    lines = [
        "",
        *_in_force(record),
        f"Checked: {result.difference}",
        f"Done in {seconds:.0f} s: {result.out}",
        "",
        *(f"    {line}" for line in result.usage),
        "",
    ]
    return "\n".join(lines)


def _in_force(record: ExportRecord) -> Iterator[str]:
    if record.bridge_layers:
        layers, alpha = format_layers(record.bridge_layers), format_strength(record.alpha)
        times = "fitted strengths" if record.fitted else f"beta {record.beta:g}; gamma {record.gamma:g}"
        yield f"In layers {layers}: alpha {alpha}; {times}"
    if record.vector_layers:
        layers = format_layers(record.vector_layers)
        yield f"Behind layers {layers}: vector strength {format_strength(record.vector_strength)}"


def _profiled_folder(source: Source) -> str | None:
    """The folder of the base model that was profiled, or that vectors were measured on, where it is still there."""
    carried = ((source.profile_path, NeuronProfile), (source.vectors_path, LanguageVectors))
    for path, kind in carried:
        if path is None:
            continue
        try:
            model = kind.load(path).provenance.model
        except InputError:
            continue
        if (Path(model) / "config.json").is_file():
            return str(model)
    return None
