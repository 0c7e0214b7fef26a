"""Which layers to steer: chosen from the layer table, or named by the user.

"CLAS", section 2.3, picks "a small set of bridge layers" near the final layers, where partial-shared neurons are many
and dead and language-specific ones few, and leaves the last two layers alone.  The paper chose by eye (24-29 of Llama
3.1 8B's 32, 24-25 of Qwen 2.5 7B's 28); `auto` makes a rule of it that gives the same answer for the same table:

1.  A layer's score is partial-shared - dead - language-specific, in percentage points.
2.  Candidates are the layers of the last third of the model, without the last two.  A model of 3 to 8 layers has no
    such layer, so there it is the layer just before the last two; a model of one or two layers has no candidate.
3.  The peak is the candidate with the highest score, the later one if several tie.
4.  From the peak the run grows to both sides while the next layer is a candidate and scores at least halfway from the
    lowest candidate score to the peak's.

Making the masks of these layers is left to `categories`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from ..errors import InputError
from .layer_table import LayerRow, LayerTable

_EXCLUDED = 2  # the final layers that the paper never steers
_ITEM = re.compile(r"([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?")


@dataclass(frozen=True)
class BridgeLayers:
    """The layers to steer, ascending, and why."""

    layers: tuple[int, ...]
    reason: str  # one line
    warning: str | None = None  # one line, or None where there is nothing to warn of


def choose_bridge_layers(table: LayerTable, num_model_layers: int, spec: str = "auto") -> BridgeLayers:
    """Choose the layers to steer in a model of `num_model_layers` layers.

    `spec` is `auto` (the rule in the module's docstring) or the layers themselves: `24-29`, `24,25`, `3,5-7`.

    Raises InputError: `spec` is empty, cannot be read, descends, repeats a layer or leaves the model, or `table` lacks
    a layer that is needed; with `auto` also a model that is too shallow to have a candidate.
    """
    rows = {row.layer: row for row in table.rows}
    if spec.strip() == "auto":
        return _choose(rows, num_model_layers)
    layers = parse_layers(spec, num_model_layers)
    _require(rows, layers, f"bridge layers {spec!r}")
    return BridgeLayers(layers, f"{_summary(rows, layers)}; named by the user", _warning(layers, num_model_layers))


def format_layers(layers: Iterable[int]) -> str:
    """Ascending layers in the notation that `choose_bridge_layers` reads: `(24, 25, 26, 29)` is `24-26,29`."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in contiguous_runs(layers))


def contiguous_runs(layers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last layer of every unbroken run, ascending."""
    runs: list[tuple[int, int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], layer)
        else:
            runs.append((layer, layer))
    return runs


def _choose(rows: dict[int, LayerRow], num_model_layers: int) -> BridgeLayers:
    candidates = _candidates(num_model_layers)
    _require(rows, candidates, "the automatic choice of bridge layers")
    found = {layer: rows[layer] for layer in candidates}
    scores = {layer: row.partial_shared - row.dead - row.language_specific for layer, row in found.items()}
    peak = max(candidates, key=lambda layer: (scores[layer], layer))
    enough = (min(scores.values()) + scores[peak]) / 2
    first = last = peak
    while scores.get(first - 1, float("-inf")) >= enough:
        first -= 1
    while scores.get(last + 1, float("-inf")) >= enough:
        last += 1
    layers = tuple(range(first, last + 1))
    where = "within the last third" if len(candidates) > 1 else f"the only candidate of {num_model_layers} layers"
    why = f"peak at layer {peak}, {where}, the last two layers excluded"
    return BridgeLayers(layers, f"{_summary(rows, layers)}; {why}")


def _candidates(num_model_layers: int) -> range:
    end = num_model_layers - _EXCLUDED
    if end < 1:
        raise InputError(
            f"a model of {num_model_layers} layer{'s' * (num_model_layers != 1)} has no bridge layer to choose: "
            "the last two are left alone (CLAS, section 2.3), so name the layers, for example --bridge-layers 0"
        )
    # -(-a // b) is the ceiling; the second term keeps one candidate in a model of 3 to 8 layers.
    return range(min(-(-2 * num_model_layers // 3), end - 1), end)


def parse_layers(spec: str, num_model_layers: int, what: str = "bridge layers") -> tuple[int, ...]:
    """The layers that `24-29`, `24,25` or `3,5-7` names, ascending; `what` they are is a word of messages.

    Raises InputError: `spec` is empty, cannot be read, descends, repeats a layer or leaves the model.
    """
    layers: list[int] = []
    for item in spec.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise InputError(
                f"cannot read {item.strip()!r} in {what} {spec!r}: write auto, 24-29, or 24,25 (layers count from 0)"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise InputError(f"{what} {spec!r} descend from {first} to {last}: write {last}-{first}")
        if last >= num_model_layers:
            raise InputError(
                f"layer {last} in {what} {spec!r} is not in the model, whose layers are 0 to "
                f"{num_model_layers - 1}: name layers in that range"
            )
        layers += range(first, last + 1)
    repeated = sorted({layer for layer in layers if layers.count(layer) > 1})
    if repeated:
        raise InputError(f"{what} {spec!r} repeat {format_layers(repeated)}: name each layer once")
    return tuple(sorted(layers))


def _require(rows: dict[int, LayerRow], layers: Iterable[int], what: str) -> None:
    missing = [layer for layer in layers if layer not in rows]
    if missing:
        raise InputError(
            f"the neuron profile lacks layer {format_layers(missing)}, needed for {what}: "
            "profile every layer, or name bridge layers that were profiled"
        )


def _warning(layers: tuple[int, ...], num_model_layers: int) -> str | None:
    excluded = [layer for layer in layers if layer >= num_model_layers - _EXCLUDED]
    if not excluded:
        return None
    return (
        f"bridge layers include {format_layers(excluded)}, of the last two of {num_model_layers} layers, which CLAS "
        "(section 2.3) leaves alone as specialised for output in one language and sensitive to perturbation"
    )


def _summary(rows: dict[int, LayerRow], layers: tuple[int, ...]) -> str:
    name = "layers" if len(layers) > 1 else "layer"
    partial_shared = fmean(rows[layer].partial_shared for layer in layers)
    dead = fmean(rows[layer].dead for layer in layers)
    language_specific = fmean(rows[layer].language_specific for layer in layers)
    average = " on average" if len(layers) > 1 else ""
    return (
        f"{name} {format_layers(layers)}: partial-shared {partial_shared:.1f} %, dead {dead:.1f} %, "
        f"language-specific {language_specific:.1f} %{average}"
    )
