"""The methods that a model can be evaluated with: a description of each, and what is in force on the model meanwhile.

A kind of method is a line in `METHODS`: what can be written about it (`method_names.py`), and a function that says
what it puts in force on a checkpoint.  That is strengths, which the engine sets, so that methods that differ in them
alone are computed together; and at most one `Write`, or masks in place of the checkpoint's, for the length of a block.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.modeling.configuration_clas import STRENGTHS
from clas_models.modeling.language_tags import did_you_mean
from clas_models.modeling.write import Write
from clas_models.profiling.values import SITES, VALUES
from clas_models.profiling.write_tables import SELECTIONS, WriteTables, write_tables

from .engine.conditions import Condition
from .loading import Checkpoint
from .method_names import Syntax, by_language, language, method_name, number, one_of, read_method, whole_number
from .random_masks import Masks, RandomMasks, temporary_masks
from .run_folder import BASE, CLAS

DEFAULT_METHODS = (BASE, CLAS)
RANDOM = "random"


@dataclass(frozen=True)
class Writing:
    """What is written over the activations of a language's neurons: keys of SELECTIONS, VALUES and SITES."""

    select: str
    value: str
    site: str


Change: TypeAlias = Writing | RandomMasks | None


@dataclass(frozen=True)
class Method:
    """One way to run a model.

    Attributes:
        name: the one that `method_names.py` gives it.
        described: what is in force, for the run's settings; the key "kind" is always there.
        condition: what the engine sets, the language that the method acts as for among it; nothing on a plain model.
        change: what is written, or which masks are in place of the checkpoint's; None is nothing.
    """

    name: str
    described: dict[str, Any]
    condition: Condition
    change: Change = None


InForce: TypeAlias = tuple[dict[str, Any], Condition, Change]  # as the fields of `Method`


def _base(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    return {}, _unsteered(checkpoint), None


def _clas(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    try:
        given = {name: value for name, value in options.items() if name in STRENGTHS}
        config = checkpoint.config.with_strengths(**given)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    in_force = {name: getattr(config, name) for name in strengths_of(checkpoint)}
    seed = options.get("seed", 0)
    if options.get("masks") == RANDOM:
        return {**in_force, "masks": RANDOM, "seed": seed}, in_force, RandomMasks(seed)
    if seed:
        raise InputError(f"seed={seed} of {CLAS} is for masks={RANDOM}; give that, too, or leave it out")
    return in_force, in_force, None


def _int(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    described = {name: options[name] for name in ("select", "value", "site")}
    return described, _unsteered(checkpoint), Writing(**described)


def strengths_of(checkpoint: Checkpoint) -> list[str]:
    """The strengths that say something on a checkpoint; none on a plain one."""
    if not checkpoint.is_steered:
        return []
    return [name for name in STRENGTHS if name != "vector_strength" or checkpoint.config.vector_layers]


def _unsteered(checkpoint: Checkpoint) -> Condition:
    return {name: 0.0 for name in strengths_of(checkpoint) if name in ("alpha", "vector_strength")}


METHODS: Mapping[str, tuple[Syntax, Callable[[Checkpoint, Mapping[str, Any]], InForce]]] = {
    BASE: (Syntax(), _base),
    CLAS: (
        Syntax(
            {"alpha": by_language, "beta": number, "gamma": number, "vector_strength": by_language,
             "masks": one_of(("own", RANDOM)), "seed": whole_number, "as": language},
            defaults={"masks": "own", "seed": 0},
        ),
        _clas,
    ),
    "int": (
        Syntax(
            {"select": one_of(tuple(SELECTIONS)), "value": one_of(tuple(VALUES)), "site": one_of(tuple(SITES)),
             "as": language},
            defaults={"select": "lape", "value": "mean", "site": "gate"},
        ),
        _int,
    ),
}  # fmt: skip
SHORT_NAMES = {"int-mean": "int"}
_SYNTAX = {kind: syntax for kind, (syntax, _) in METHODS.items()}


def methods_of(names: Sequence[str] | None, checkpoint: Checkpoint, strengths: Mapping[str, Any]) -> list[Method]:
    """The methods that a user wrote, or by default those that every checkpoint of its kind can be run with.

    Args:
        strengths: of `clas`, where its options do not say them.

    Raises InputError: no method of that name, one that is given twice, one that a plain checkpoint cannot be run with,
    an option that cannot be used, or strengths that no method asks about.
    """
    if names is None:
        names = DEFAULT_METHODS if checkpoint.is_steered else (BASE,)
    methods: list[Method] = []
    kinds = set()
    for text in names:
        name, kind, options = read_method(text, _SYNTAX, SHORT_NAMES)
        method = _method(name, kind, {**(strengths if kind == CLAS else {}), **options}, checkpoint)
        if same := next((known.name for known in methods if known.described == method.described), None):
            also = "" if same == text else f" as {same}"
            raise InputError(f"method {text!r} is given more than once{also}: name every method once")
        methods.append(method)
        kinds.add(kind)
    if strengths and CLAS not in kinds:
        raise InputError(f"{', '.join(strengths)} is for the method {CLAS}, which is not asked for")
    return methods


def clas_method(checkpoint: Checkpoint, strengths: Mapping[str, Any]) -> Method:
    """Steering with these strengths, which its name says; what is not there is as the checkpoint says.

    Raises InputError: the checkpoint is a plain one, or a strength cannot be used on it.
    """
    return _method(method_name(CLAS, strengths, _SYNTAX[CLAS], SHORT_NAMES), CLAS, strengths, checkpoint)


def _method(name: str, kind: str, options: Mapping[str, Any], checkpoint: Checkpoint) -> Method:
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


@dataclass(frozen=True)
class Group:
    """Methods that are computed together, because they differ in their conditions only.

    Attributes:
        methods: at least one.
        tables: what is written and where; None is nothing.
        masks: by layer the shared and the specific mask that are in place of the checkpoint's; None are its own.
    """

    methods: tuple[Method, ...]
    tables: WriteTables | None = None
    masks: Masks | None = None

    @property
    def conditions(self) -> list[Condition]:
        return [method.condition for method in self.methods]

    @property
    def digest(self) -> str | None:
        """SHA-256 in hexadecimal of the tables, or of the masks; None without any."""
        tensors = [mask for pair in (self.masks or {}).values() for mask in pair]
        if self.tables is not None:
            tensors += [self.tables.masks, self.tables.values]
        if not tensors:
            return None
        return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()

    def in_force(self, model: Any) -> AbstractContextManager[None]:
        """The group's tables or masks on the model for the length of a `with` block; strengths are the engine's."""
        if self.masks is not None:
            return temporary_masks(model, self.masks)
        if self.tables is None:
            return nullcontext()
        return model.intervening(Write(self.tables.masks, self.tables.values, self.tables.languages))


def grouped(methods: Sequence[Method], checkpoint: Checkpoint) -> list[Group]:
    """The methods as groups, in the order of their first methods.

    Raises InputError: a method needs the checkpoint's profile, and that is missing, of another model, without all
    layers, or too old for the site; or it needs masks, and those cannot be used.
    """
    together: dict[Change, list[Method]] = {}
    for method in methods:
        together.setdefault(method.change, []).append(method)
    return [_group(tuple(alike), change, checkpoint) for change, alike in together.items()]


def _group(methods: tuple[Method, ...], change: Change, checkpoint: Checkpoint) -> Group:
    if isinstance(change, RandomMasks):
        return Group(methods, masks=change.draw(checkpoint))
    if change is None:
        return Group(methods)
    profile = checkpoint.profile()
    how = {"value": change.value, "site": change.site}
    selection = SELECTIONS[change.select](profile)
    anchor = checkpoint.anchor_language  # nothing is written over its neurons
    return Group(methods, write_tables(profile, selection, checkpoint.config.languages, **how, leave_out=(anchor,)))
