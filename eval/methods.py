"""The methods that a model can be evaluated with: a description of each, and what is in force on the model meanwhile.

A kind of method is a line in `METHODS`: what can be written about it (`method_names.py`), and a function that says
what it puts in force on a checkpoint.  That is strengths, which the engine sets, so that methods that differ in them
alone are computed together; and at most one change of tables for the length of a block (`method_tables.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.modeling.configuration_clas import STRENGTHS, UNSTEERED
from clas_models.modeling.language_tags import did_you_mean
from clas_models.modeling.positions import POSITIONS
from clas_models.profiling.selections import read_selection
from clas_models.profiling.values import SITES, read_value

from .engine.conditions import VECTORS as BY_LAYER
from .engine.conditions import Condition
from .loading import Checkpoint
from .method_names import (
    Syntax,
    by_language,
    language,
    layers,
    method_name,
    nested,
    number,
    one_of,
    read_method,
    whole_number,
)
from .method_tables import Change, Fitted, Vectors, Writing
from .random_masks import RandomMasks
from .run_folder import BASE, CLAS, CLAS_VECTORS, FITTED, INT, VECTORS

RANDOM = "random"


@dataclass(frozen=True)
class Method:
    """One way to run a model.

    Attributes:
        name: the one that `method_names.py` gives it.
        described: what is in force, for the run's settings; the key "kind" is always there.
        condition: what the engine sets, the language that the method acts as for among it; nothing on a plain model.
        change: what is written, or which masks or vectors are in place of the checkpoint's; None is nothing.
    """

    name: str
    described: dict[str, Any]
    condition: Condition
    change: Change = None


InForce: TypeAlias = tuple[dict[str, Any], Condition, Change]  # as the fields of `Method`


def _base(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    return {}, _unsteered(checkpoint), None


def _clas(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    config = _with_strengths(checkpoint, options)
    in_force = {name: getattr(config, name) for name in ("alpha", "beta", "gamma")}
    condition = {**_unsteered(checkpoint), **in_force}
    seed = options.get("seed", 0)
    if options.get("masks") == RANDOM:
        if config.fitted:
            raise InputError(
                f"masks={RANDOM} of {CLAS}: the strengths of {checkpoint.name} are fitted to its own categories; "
                "fit others, with fit --groups random"
            )
        return {**in_force, "masks": RANDOM, "seed": seed}, condition, RandomMasks(seed)
    if seed:
        raise InputError(f"seed={seed} of {CLAS} is for masks={RANDOM}; give that, too, or leave it out")
    return in_force, condition, None


def _fitted(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    """Strengths of a file, whatever was decided about them: alpha is 1 unless it is named."""
    if "file" not in options:
        raise InputError(f"method {FITTED}: name the strengths, as {FITTED}:file=runs/fit/strengths.safetensors")
    config = _with_strengths(checkpoint, {"alpha": options.get("alpha", 1.0)})
    change = Fitted(Path(options["file"]).expanduser())
    described = {"alpha": config.alpha, "strengths": change.digest}
    return described, {**_unsteered(checkpoint), "alpha": config.alpha}, change


def _vectors(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    config = _with_strengths(checkpoint, {"vector_strength": options["strength"]} if "strength" in options else {})
    chosen = options.get("layer") or tuple(config.vector_layers)
    if not chosen:
        raise InputError(
            f"{checkpoint.name}: no vectors are in force after any layer; name one, as {VECTORS}:layer=14, or convert "
            f"it with {CONVERT} --vectors"
        )
    described = {
        "vector_layers": list(chosen),
        "vector_strength": config.vector_strength,
        "vector_positions": options.get("positions", config.vector_positions),
    }
    condition = {**_unsteered(checkpoint), BY_LAYER: dict.fromkeys(chosen, config.vector_strength)}
    return described, condition, Vectors(described["vector_positions"])


def _both(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    scaled, scaling, _ = _clas(checkpoint, options)
    added, adding, change = _vectors(checkpoint, options)
    return {**scaled, **added}, {**adding, **{name: scaling[name] for name in scaled}}, change


def _int(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    described = {name: str(options[name]) for name in ("select", "value", "site")}
    return described, _unsteered(checkpoint), Writing(**described)


def _with_strengths(checkpoint: Checkpoint, options: Mapping[str, Any]) -> Any:
    """The checkpoint's configuration with those of the options that are strengths."""
    try:
        return checkpoint.config.with_strengths(**{name: options[name] for name in STRENGTHS if name in options})
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error


def _unsteered(checkpoint: Checkpoint) -> Condition:
    return dict(UNSTEERED) if checkpoint.is_steered else {}


_SCALING = {"alpha": by_language, "beta": number, "gamma": number}
_ADDING = {"layer": layers, "strength": by_language, "positions": one_of(POSITIONS)}

METHODS: Mapping[str, tuple[Syntax, Callable[[Checkpoint, Mapping[str, Any]], InForce]]] = {
    BASE: (Syntax(), _base),
    CLAS: (
        Syntax(
            {**_SCALING, "masks": one_of(("own", RANDOM)), "seed": whole_number, "as": language},
            defaults={"masks": "own", "seed": 0},
        ),
        _clas,
    ),
    FITTED: (Syntax({"file": str, "alpha": by_language, "as": language}), _fitted),
    VECTORS: (Syntax({**_ADDING, "as": language}), _vectors),
    CLAS_VECTORS: (Syntax({**_SCALING, **_ADDING, "as": language}), _both),
    INT: (
        Syntax(
            {"select": nested(read_selection), "value": read_value, "site": one_of(tuple(SITES)), "as": language},
            defaults={"select": "lape", "value": "mean", "site": "gate"},
        ),
        _int,
    ),
}  # fmt: skip
SHORT_NAMES = {"int-mean": INT}
_SYNTAX = {kind: syntax for kind, (syntax, _) in METHODS.items()}


def own_steering(checkpoint: Checkpoint) -> str | None:
    """The kind of method that is the checkpoint as it stands; None for a plain one."""
    if not checkpoint.is_steered:
        return None
    if not checkpoint.config.vector_layers:
        return CLAS
    return CLAS_VECTORS if checkpoint.config.bridge_layers else VECTORS


def default_methods(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The base, each kind of steering that the checkpoint has, and all of it together."""
    own = own_steering(checkpoint)
    return (BASE, CLAS, VECTORS, CLAS_VECTORS) if own == CLAS_VECTORS else (BASE, *([] if own is None else [own]))


def methods_of(names: Sequence[str] | None, checkpoint: Checkpoint, strengths: Mapping[str, Any]) -> list[Method]:
    """The methods that a user wrote, or by default those that every checkpoint of its kind can be run with.

    Args:
        strengths: of `clas`, where its options do not say them.

    Raises InputError: no method of that name, one that is given twice, one that a plain checkpoint cannot be run with,
    an option that cannot be used, or strengths that no method asks about.
    """
    if names is None:
        names = default_methods(checkpoint)
    methods: list[Method] = []
    kinds = set()
    for text in names:
        name, kind, options = read_method(text, _SYNTAX, SHORT_NAMES)
        given = strengths if kind in (CLAS, CLAS_VECTORS) else {}
        method = method_of(kind, {**given, **options}, checkpoint, name)
        if same := next((known.name for known in methods if known.described == method.described), None):
            also = "" if same == text else f" as {same}"
            raise InputError(f"method {text!r} is given more than once{also}: name every method once")
        methods.append(method)
        kinds.add(kind)
    if strengths and not kinds & {CLAS, CLAS_VECTORS}:
        raise InputError(f"{', '.join(strengths)} is for the method {CLAS}, which is not asked for")
    return methods


def method_of(kind: str, options: Mapping[str, Any], checkpoint: Checkpoint, name: str = "") -> Method:
    """A method with these options, by default under the name that says them; what is not there is as in the checkpoint.

    Raises InputError: the checkpoint is a plain one, or an option cannot be used on it.
    """
    name = name or method_name(kind, options, _SYNTAX[kind], SHORT_NAMES)
    if kind != BASE and not checkpoint.is_steered:
        raise InputError(
            f"{checkpoint.name}: a plain checkpoint, which only {BASE} can be run with, not {name}; convert it first "
            f"with {CONVERT}"
        )
    described, condition, change = METHODS[kind][1](checkpoint, options)
    described = {"kind": kind, **described}
    if acting := options.get("as"):
        if (profiled := checkpoint.profiled_as(acting)) is None:
            raise InputError(
                f"method {name!r}: {acting}{did_you_mean(acting)} is not among the profiled languages "
                f"{', '.join(checkpoint.config.languages)}; act as for one of these"
            )
        described, condition = {**described, "as": profiled}, {**condition, "language": profiled}
    return Method(name, described, condition, change)
