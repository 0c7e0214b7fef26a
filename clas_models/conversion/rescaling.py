"""What of a checkpoint rescales neurons: a profile, the layers and masks from it, and what to tell of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..modeling.fitted import masks_of_categories
from ..profiling.bridge_layers import BridgeLayers, choose_bridge_layers, format_layers
from ..profiling.categories import categorize
from ..profiling.figures import save_layer_figure
from ..profiling.fitted_strengths import FittedStrengths
from ..profiling.layer_table import LayerTable, layer_table
from ..profiling.neuron_profile import NeuronProfile
from .chosen_masks import ChosenMasks, active_means, masks_of_profile, read_masks
from .mask_file import MaskRecord, OwnMasks
from .options import ConversionOptions
from .source import Source, check_strengths_fit

FIGURE_STEM = "neuron_categories"
# Options that say how masks are made, by their defaults.
_MAKING_MASKS = {"corpus": None, "profile": None, "masks": None, "languages": None, "statistic": "mean",
                 "threshold": None, "bridge_layers": "auto"}  # fmt: skip
_ABOUT_NEURONS = ("alpha", "beta", "gamma", "threshold")


@dataclass(frozen=True, eq=False)
class Rescaling:
    """The rule of CLAS in a checkpoint, as it is planned."""

    profile: NeuronProfile
    table: LayerTable
    bridge: BridgeLayers
    masks: ChosenMasks
    fitted: FittedStrengths | None = None

    def warnings(self) -> Iterator[str]:
        """What a user may not have meant."""
        if self.bridge.warning:
            yield self.bridge.warning
        yield from self.masks.warnings()

    def write(self, folder: Path, title: str) -> None:
        """The figure, and where masks come from that are somebody's own."""
        save_layer_figure(self.table, folder / FIGURE_STEM, bridge_layers=self.bridge.layers, title=title)
        if self.masks.own is not None:
            self.masks.own.write(folder)

    def summary(self) -> Iterator[str]:
        """The layer table, the bridge layers and why, and the share of neurons that are marked."""
        (shared, specific), provenance = self.masks.shares, self.profile.provenance
        yield (
            f"Neurons by layer, per cent ({', '.join(provenance.corpus)}: {provenance.samples} samples in each of "
            f"{len(self.profile.languages)} languages, {int(self.profile.tokens.sum()):,} tokens)"
        )
        yield self.table.to_text(self.bridge.layers)
        yield ""
        yield f"Bridge {self.bridge.reason}"
        yield f"Marked there: {shared:.1%} of the neurons as shared, {specific:.1%} as specific"
        if self.masks.own is not None:
            yield f"Masks: {self.masks.own}"
        if self.fitted is not None:
            yield f"Strengths: {told(self.fitted)}"
        yield f"Agreement: {self.masks.stability}"

    def card_rows(self, source: Source) -> dict[str, Any]:
        """What the card's section on neurons has places for, beside strengths."""
        (shared, specific), provenance = self.masks.shares, self.profile.provenance
        return {
            "num_layers": source.num_layers,
            "reason": self.bridge.reason,
            "shared": shared,
            "specific": specific,
            "languages": " ".join(self.profile.languages),
            "corpus": ", ".join(provenance.corpus),
            "samples": provenance.samples,
            "tokens": int(self.profile.tokens.sum()),
            "max_length": provenance.max_length,
            "active_means": self.masks.active_means,
            "masks": self.masks.origin,
            "stability": self.masks.stability,
            "fitted": "" if self.fitted is None else f"| strengths | {told(self.fitted)} |\n",
            "figure": FIGURE_STEM,
            "table": self.table.to_markdown(self.bridge.layers),
        }


def rescales(options: ConversionOptions, source: Source) -> bool:
    """Whether neurons are rescaled: not where vectors are all that is asked for.

    Raises InputError: a strength is given that has nothing to act on.
    """
    if any(getattr(options, name) is not None for name in ("corpus", "profile", "masks", "strengths")):
        return True
    if source.is_steered and (source.config.bridge_layers or source.profile_path):
        return True
    if options.vectors is None and not source.has_vectors:
        return True
    given = [name for name in _ABOUT_NEURONS if getattr(options, name) is not None]
    given += [name for name in ("bridge_layers", "statistic") if getattr(options, name) != _MAKING_MASKS[name]]
    if given:
        raise InputError(
            f"--{given[0].replace('_', '-')} is for neurons, and vectors alone rescale none; add --corpus, --profile "
            "or --masks"
        )
    return False


def told(fitted: FittedStrengths) -> str:
    """How strengths were found, a phrase."""
    found = fitted.provenance
    how = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in fitted.fit.items() if _is_short(value))
    return (
        f"fitted on {found.samples} examples a language of {', '.join(found.corpus)}: {len(fitted.layers)} layers, "
        f"{fitted.strengths.shape[1]} languages with that of all others, 4 categories{f' ({how})' if how else ''}"
    )


def _is_short(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def fitted_of(options: ConversionOptions, source: Source) -> FittedStrengths | None:
    """The strengths that a user gives, or that a source has and keeps; None where beta and gamma are in force.

    Raises InputError: a file that cannot be used, of another model, other languages or another anchor, or a source that
    is plain or has no profile.
    """
    if options.strengths is not None:
        if not source.is_steered:
            raise InputError(
                f"{source.name}: a plain checkpoint, and strengths are fitted on a steered one; give that as MODEL"
            )
        path = options.strengths
    elif not keeps_fitted(options, source):
        return None
    elif source.strengths_path is None:
        raise InputError(
            f"{source.name}: its strengths are fitted, and the file that says how is not in its folder; give them with "
            "--strengths, or --bridge-layers for strengths of the paper"
        )
    else:
        path = source.strengths_path
    if source.profile_path is None:
        raise InputError(
            f"{source.name}: carries no neuron profile, which a checkpoint with fitted strengths has; give the one "
            "that was converted"
        )
    fitted = FittedStrengths.load(path)
    check_strengths_fit(fitted, source, path)
    if (anchor := options.anchor_among(fitted.languages)) != (own := fitted.anchor):
        raise InputError(f"{path}: strengths with the anchor {own}, not {anchor}; give --anchor {own}")
    return fitted


def keeps_fitted(options: ConversionOptions, source: Source) -> bool:
    """Whether a source's strengths are fitted and stay: nothing is asked about neurons."""
    if options.strengths is not None or not (source.is_steered and source.config.fitted):
        return False
    asked = any(getattr(options, name) != default for name, default in _MAKING_MASKS.items())
    return not asked and (options.beta, options.gamma) == (None, None)


def keeps_masks(options: ConversionOptions, source: Source) -> bool:
    """Whether masks of a steered source stay as they are: only its vectors are asked about.

    Raises InputError: it carries no profile, which they would be told by.
    """
    asked = options.vectors is not None or options.says_how_vectors_act
    if not (asked and source.is_steered and source.config.bridge_layers):
        return False
    if any(getattr(options, name) != default for name, default in _MAKING_MASKS.items()):
        return False
    if source.profile_path is None:
        raise InputError(
            f"{source.name}: carries no neuron profile, so its masks would be made anew; say from what, with --corpus "
            "or --profile, or put vectors into the loaded model with set_vectors"
        )
    return True


def plan_rescaling(
    options: ConversionOptions, source: Source, profile: NeuronProfile, own: OwnMasks | None = None
) -> Rescaling:
    """Layers and masks from a profile and options, from somebody's own masks, or from a source that keeps its own.

    Raises InputError: an option cannot be used, or next to nothing would be steered.
    """
    if (fitted := fitted_of(options, source)) is not None:
        return _fitted_rescaling(source, profile, fitted)
    statistic, threshold = options.statistic, options.threshold
    categories = categorize(profile, statistic, threshold)
    table = layer_table(categories)
    if own is not None:
        bridge = choose_bridge_layers(table, source.num_layers, format_layers(own[0]))
        return Rescaling(profile, table, bridge, ChosenMasks(own[0], active_means(statistic, threshold), own=own[1]))
    if not keeps_masks(options, source):
        bridge = choose_bridge_layers(table, source.num_layers, options.bridge_layers)
        masks = masks_of_profile(profile, categories, bridge.layers, statistic, threshold)
        return Rescaling(profile, table, bridge, masks)
    bridge = choose_bridge_layers(table, source.num_layers, format_layers(source.config.bridge_layers))
    bridge = replace(bridge, reason=bridge.reason.replace("named by the user", "as in the source"))
    kept, own_record = read_masks(source, list(bridge.layers)), MaskRecord.of(source.folder)
    if own_record is not None:
        means = active_means(statistic, threshold)
        return Rescaling(profile, table, bridge, ChosenMasks(kept, means, own=own_record))
    if _same(kept, {layer: categories.masks(layer) for layer in kept}):
        return Rescaling(profile, table, bridge, masks_of_profile(profile, categories, tuple(kept), statistic, None))
    masks = ChosenMasks(kept, "not known: the masks are the source's", taken_over=True)
    return Rescaling(profile, table, bridge, masks)


def _fitted_rescaling(source: Source, profile: NeuronProfile, fitted: FittedStrengths) -> Rescaling:
    table = layer_table(categorize(profile))
    bridge = choose_bridge_layers(table, source.num_layers, format_layers(fitted.layers))
    bridge = replace(bridge, reason=bridge.reason.replace("named by the user", "those of the fitted strengths"))
    by_layer = {layer: masks_of_categories(each)[:2] for layer, each in fitted.categories_by_layer().items()}
    masks = ChosenMasks(by_layer, "not known: the masks are those of the strengths", of_strengths=True)
    return Rescaling(profile, table, bridge, masks, fitted)


def _same(one: Mapping[int, Sequence[Any]], other: Mapping[int, Sequence[Any]]) -> bool:
    return all(a.equal(b) for layer in one for a, b in zip(one[layer], other[layer], strict=True))
