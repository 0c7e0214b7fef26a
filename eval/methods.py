"""The methods that a model can be evaluated with, by name: what is in force on it while it answers.

Adding one is adding a line to `METHODS`; another value for `int-mean`'s rule, such as zero, is also a line in
`clas_models.profiling.values.VALUES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from clas_models.errors import InputError
from clas_models.profiling.lape import lape
from clas_models.profiling.values import SITES
from clas_models.profiling.write_tables import write_tables

from .engine.settings import Setting
from .loading import Checkpoint
from .run_folder import BASE

CLAS = "clas"
DEFAULT_METHODS = (BASE, CLAS)
DEFAULT_SITE = "gate"


@dataclass(frozen=True)
class Overwriting:
    """What `act(gate)` of a language's own neurons is overwritten with: a key of VALUES, taken at a key of SITES."""

    value: str
    site: str


@dataclass(frozen=True)
class Method:
    """One way to run a model.

    Attributes:
        name: of its folder, and as users write it.
        described: what is in force, for the run's settings; the key "kind" is always there.
        strengths: what the engine sets; nothing on a plain model.
        overwriting: what is overwritten; None is nothing.
    """

    name: str
    described: dict[str, Any]
    strengths: Setting
    overwriting: Overwriting | None = None


@dataclass(frozen=True)
class Choices:
    """What a user can say about the methods.

    Attributes:
        strengths: alpha, beta and gamma of `clas`; what is not there is as the checkpoint says.
        site: where the value of a method that overwrites is taken, a key of SITES.
    """

    strengths: Mapping[str, Any] = field(default_factory=dict)
    site: str = DEFAULT_SITE


def _base(checkpoint: Checkpoint, choices: Choices) -> Method:
    return Method(BASE, {"kind": BASE}, {"alpha": 0.0} if checkpoint.is_steered else {})


def _clas(checkpoint: Checkpoint, choices: Choices) -> Method:
    return clas_method(checkpoint, CLAS, choices.strengths)


def _overwriting(name: str, value: str, checkpoint: Checkpoint, choices: Choices) -> Method:
    if choices.site not in SITES:
        raise InputError(f"unknown site {choices.site!r} of a value: choose one of {', '.join(SITES)}")
    _check_steered(checkpoint, name)
    rule = Overwriting(value, choices.site)
    return Method(name, {"kind": name, "site": choices.site}, {"alpha": 0.0}, rule)


METHODS: Mapping[str, Callable[[Checkpoint, Choices], Method]] = {
    BASE: _base,
    CLAS: _clas,
    "int-mean": partial(_overwriting, "int-mean", "mean"),
}


def methods_of(names: Sequence[str] | None, checkpoint: Checkpoint, choices: Choices) -> list[Method]:
    """The methods of these names, or by default those that every checkpoint of its kind can be run with.

    Raises:
        InputError: no method of that name, one that is given twice, one that a plain checkpoint cannot be run with,
            or a choice that cannot be used or that no method asks about.
    """
    if names is None:
        names = DEFAULT_METHODS if checkpoint.is_steered else (BASE,)
    for name in names:
        if name not in METHODS:
            raise InputError(f"unknown method {name!r}: choose among {', '.join(METHODS)}")
        if names.count(name) > 1:
            raise InputError(f"method {name!r} is given more than once: name every method once")
    if choices.strengths and CLAS not in names:
        raise InputError(f"{', '.join(choices.strengths)} is for the method {CLAS}, which is not asked for")
    return [METHODS[name](checkpoint, choices) for name in names]


def clas_method(checkpoint: Checkpoint, name: str, strengths: Mapping[str, Any]) -> Method:
    """Steering with these strengths; what is not there is as the checkpoint says.

    Raises:
        InputError: the checkpoint is a plain one, or a strength cannot be used on it.
    """
    _check_steered(checkpoint, CLAS)
    config = deepcopy(checkpoint.config)
    for field_name, value in strengths.items():
        setattr(config, field_name, value)
    try:
        config.validate_steering()
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    in_force = {field_name: getattr(config, field_name) for field_name in ("alpha", "beta", "gamma")}
    return Method(name, {"kind": CLAS, **in_force}, in_force)


def _check_steered(checkpoint: Checkpoint, name: str) -> None:
    if not checkpoint.is_steered:
        raise InputError(
            f"{checkpoint.name}: a plain checkpoint, which only {BASE} can be run with, not {name}; convert it first "
            "with convert.py"
        )


@dataclass(frozen=True)
class Group:
    """Methods that are computed together, because they differ in strengths only.

    Attributes:
        methods: at least one.
        tables: what is overwritten and with what, `[languages, layers, neurons]` bool and float32; None is nothing.
    """

    methods: tuple[Method, ...]
    tables: tuple[Tensor, Tensor] | None = None

    @property
    def strengths(self) -> list[Setting]:
        return [method.strengths for method in self.methods]

    @property
    def digest(self) -> str | None:
        """SHA-256 in hexadecimal of the tables; None without any."""
        if self.tables is None:
            return None
        return hashlib.sha256(b"".join(table.numpy().tobytes() for table in self.tables)).hexdigest()

    @contextmanager
    def in_force(self, model: Any) -> Iterator[None]:
        """The group's tables on the model for the length of a `with` block, or none; strengths are the engine's."""
        if not hasattr(model, "temporary_steering"):
            yield
            return
        if self.tables is not None:
            model.set_overwrite(*self.tables)
        with model.temporary_steering(overwrite=self.tables is not None):
            yield


def grouped(methods: Sequence[Method], checkpoint: Checkpoint) -> list[Group]:
    """The methods as groups, in the order of their first methods.

    Raises:
        InputError: a method needs the checkpoint's profile, and that is missing or lacks what it needs.
    """
    together: dict[Overwriting | None, list[Method]] = {}
    for method in methods:
        together.setdefault(method.overwriting, []).append(method)
    return [
        Group(tuple(alike), None if rule is None else overwrite_tables(checkpoint, rule))
        for rule, alike in together.items()
    ]


def overwrite_tables(checkpoint: Checkpoint, rule: Overwriting) -> tuple[Tensor, Tensor]:
    """The language neurons of the checkpoint's profile and their values, as `set_overwrite` takes them.

    The anchor's neurons are not overwritten, nor those of a language that is not in the profile.

    Raises:
        InputError: the profile is missing, of another model, without all layers, or too old for the site.
    """
    profile = checkpoint.profile()
    tables = write_tables(
        profile,
        lape(profile),
        checkpoint.config.languages,
        value=rule.value,
        site=rule.site,
        leave_out=(checkpoint.anchor_language,),
    )
    return tables.masks, tables.values
