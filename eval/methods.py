"""The methods that a model can be evaluated with: a description of each, and what is in force on the model meanwhile.

A kind of method is a line in `METHODS`: what can be written about it (`method_names.py`), and a function that says
what it puts in force on a checkpoint.  That is strengths, which the engine sets, so that methods that differ in them
alone are computed together; and at most one `Write`, for the length of a block.
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
from .method_names import Syntax, by_language, language, method_name, number, one_of, read_method
from .run_folder import BASE, CLAS

DEFAULT_METHODS = (BASE, CLAS)


@dataclass(frozen=True)
class Writing:
    """What is written over the activations of a language's neurons: keys of SELECTIONS, VALUES and SITES."""

    select: str
    value: str
    site: str


@dataclass(frozen=True)
class Method:
    """One way to run a model.

    Attributes:
        name: the one that `method_names.py` gives it.
        described: what is in force, for the run's settings; the key "kind" is always there.
        condition: what the engine sets, the language that the method acts as for among it; nothing on a plain model.
        writing: what is written; None is nothing.
    """

    name: str
    described: dict[str, Any]
    condition: Condition
    writing: Writing | None = None


InForce: TypeAlias = tuple[dict[str, Any], Condition, Writing | None]  # as the fields of `Method`


def _base(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    return {}, _unsteered(checkpoint), None


def _clas(checkpoint: Checkpoint, options: Mapping[str, Any]) -> InForce:
    try:
        given = {name: value for name, value in options.items() if name in STRENGTHS}
        config = checkpoint.config.with_strengths(**given)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    in_force = {name: getattr(config, name) for name in strengths_of(checkpoint)}
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
        Syntax({"alpha": by_language, "beta": number, "gamma": number, "vector_strength": by_language, "as": language}),
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
    described, condition, writing = METHODS[kind][1](checkpoint, options)
    described = {"kind": kind, **described}
    if acting := options.get("as"):
        if (profiled := checkpoint.profiled_as(acting)) is None:
            raise InputError(
                f"method {name!r}: {acting}{did_you_mean(acting)} is not among the profiled languages "
                f"{', '.join(checkpoint.config.languages)}; act as for one of these"
            )
        described, condition = {**described, "as": profiled}, {**condition, "language": profiled}
    return Method(name, described, condition, writing)


@dataclass(frozen=True)
class Group:
    """Methods that are computed together, because they differ in their conditions only.

    Attributes:
        methods: at least one.
        tables: what is written and where; None is nothing.
    """

    methods: tuple[Method, ...]
    tables: WriteTables | None = None

    @property
    def conditions(self) -> list[Condition]:
        return [method.condition for method in self.methods]

    @property
    def digest(self) -> str | None:
        """SHA-256 in hexadecimal of the tables; None without any."""
        if self.tables is None:
            return None
        return hashlib.sha256(self.tables.masks.numpy().tobytes() + self.tables.values.numpy().tobytes()).hexdigest()

    def in_force(self, model: Any) -> AbstractContextManager[None]:
        """The group's tables on the model for the length of a `with` block, or none; strengths are the engine's."""
        if self.tables is None:
            return nullcontext()
        return model.intervening(Write(self.tables.masks, self.tables.values, self.tables.languages))


def grouped(methods: Sequence[Method], checkpoint: Checkpoint) -> list[Group]:
    """The methods as groups, in the order of their first methods.

    Raises InputError: a method needs the checkpoint's profile, and that is missing, of another model, without all
    layers, or too old for the site.
    """
    together: dict[Writing | None, list[Method]] = {}
    for method in methods:
        together.setdefault(method.writing, []).append(method)
    groups = []
    for writing, alike in together.items():
        tables = None
        if writing is not None:
            profile = checkpoint.profile()
            how = {"value": writing.value, "site": writing.site}
            selection = SELECTIONS[writing.select](profile)
            anchor = checkpoint.anchor_language  # nothing is written over its neurons
            tables = write_tables(profile, selection, checkpoint.config.languages, **how, leave_out=(anchor,))
        groups.append(Group(tuple(alike), tables))
    return groups
