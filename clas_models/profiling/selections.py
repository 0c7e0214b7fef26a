"""The selections that have a name, and how they are written: `lape`, `lape:languages=en/hi/ur`, `lape or categories`.

A kind of selection is a function and a line in SELECTIONS.  `or`, `and` and `without` combine what stands on their two
sides, from left to right; brackets keep together what is combined first, and what `random:like=(lape or categories)` is
like.  A file of `Selection.save` may stand in place of a name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..brackets import split, unwrapped
from ..errors import InputError
from .activation_probability import activation_probability
from .categories import Category, categorize
from .corpora.languages import normalise_codes
from .known import Known
from .lape import lape
from .neuron_profile import NeuronProfile
from .selection import Selection
from .selection_sets import check_same_model, difference, intersection, random_like, random_per_layer, union

SETS: Mapping[str, tuple[str, ...]] = {
    "set1": ("en", "fr", "es", "vi", "id", "ja", "zh"),
    "set6": ("en", "bn", "hi", "ta", "te", "mr", "ur", "kn", "ml", "pa"),
}
"""The sets of languages of Mondal et al. (2025), appendix A.3."""
OPERATIONS: Mapping[str, Callable[[Selection, Selection], Selection]] = {
    "or": union,
    "and": intersection,
    "without": difference,
}
_OPERATION = rf"\s+({'|'.join(OPERATIONS)})\s+"
FILE_ENDING = ".safetensors"


Reader: TypeAlias = Callable[[str], Any]  # the value of an option from its text; raises ValueError for what is none


@dataclass(frozen=True)
class Kind:
    """A kind of selection.

    Attributes:
        select: function of a Known and the options that are given, by keyword.
        options: how the value of each is read.  `languages`, the only ones that are looked at, is one of every kind.
    """

    select: Callable[..., Selection]
    options: Mapping[str, Reader] = field(default_factory=dict)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("write a number") from None


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("write a whole number, 0 or more")
    return int(text)


def read_selection(text: str) -> str:
    """The one way to write the selection that `text` describes: `lape:top_rate=0.02 or categories`.

    Whether it can be had is said by `select`.  Raises InputError: no such selection or option.
    """
    first, *rest = _parts(text)
    if not rest:
        inner = unwrapped(first)
        return _written(first) if inner is None else read_selection(inner)
    terms = [part if place % 2 else _operand(part) for place, part in enumerate((first, *rest))]
    return " ".join(terms)


def _operand(text: str) -> str:
    """One of those that are combined: in brackets if it is combined itself."""
    told = read_selection(text)
    return f"({told})" if len(_parts(told)) > 1 else told


def _written(text: str) -> str:
    if _is_file(text):
        return text
    name, options = _named(text)
    order = (*SELECTIONS[name].options, "languages")
    told = [f"{option}={_written_option(options[option])}" for option in order if option in options]
    return f"{name}:{','.join(told)}" if told else name


def _written_option(value: Any) -> str:
    if isinstance(value, tuple):
        return next((name for name, codes in SETS.items() if codes == value), "/".join(value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return f"({value})" if isinstance(value, str) and not value.isidentifier() else str(value)


def _random(known: Known, like: str | None = None, per_layer: int | None = None, seed: int = 0) -> Selection:
    if per_layer is None:
        return random_like(select(like or "lape", known), seed)
    if like is not None:
        raise InputError(f"random: per_layer={per_layer} or like={like} says how many neurons there are; give one")
    return random_per_layer(known.profile, per_layer, seed)


SELECTIONS: Mapping[str, Kind] = {
    "lape": Kind(
        lambda known, **options: lape(known.profile, **options),
        {"top_rate": _number, "activation_percentile": _number, "filter_percentile": _number, "rate_of": str},
    ),
    "probability": Kind(
        lambda known, **options: activation_probability(known.profile, known.quantiles, **options),
        {"threshold": str, "site": str, "top_rate": _number},
    ),
    "categories": Kind(
        lambda known, **options: categorize(known.profile, **options).selection(Category.LANGUAGE_SPECIFIC),
        {"statistic": str, "threshold": _number},
    ),
    "random": Kind(_random, {"like": read_selection, "per_layer": _whole_number, "seed": _whole_number}),
}
"""Name -> what says which neurons belong to each language."""


def default_selections(known: Known) -> tuple[str, ...]:
    """LAPE, and activation probability where there is what it needs."""
    return ("lape",) if known.quantiles is None else ("lape", "probability")


def select(text: str, known: Known) -> Selection:
    """The selection that `text` describes.

    Raises InputError: no such selection, option or file, something that it needs was not recorded, or a file of another
    model.
    """
    first, *rest = _parts(text)
    found = _one(first, known)
    for name, other in zip(rest[::2], rest[1::2], strict=True):
        found = OPERATIONS[name](found, _one(other, known))
    return found


def check_not_empty(selection: Selection, text: str) -> Selection:
    """The selection again. Raises InputError: it has no neuron in any language; `text` is what describes it."""
    if not bool(selection.masks.any()):
        raise InputError(f"selection {text!r}: no neuron in any language; loosen what it asks for, or choose another")
    return selection


def split_selections(text: str) -> tuple[str, ...]:
    """`lape:top_rate=0.02,rate_of=model,probability`: a part such as `rate_of=model` is an option of what precedes it.

    Raises InputError: an option of nothing, or a selection that stands there twice or is empty.
    """
    found: list[str] = []
    for part in (each.strip() for each in split(text, ",")):
        if not part:
            raise InputError(f"selections {text!r}: one between commas is empty; choose among {', '.join(SELECTIONS)}")
        if not re.match(r"\w+\s*=", part):
            found.append(part)
        elif found:
            found[-1] += ("," if ":" in found[-1] else ":") + part
        else:
            raise InputError(f"{part!r}: an option of no selection; write it behind one, such as lape:{part}")
    if twice := next((each for each in found if found.count(each) > 1), None):
        raise InputError(f"selection {twice!r} stands there twice: name every one once")
    return tuple(found)


def _parts(text: str) -> list[str]:
    """Selections, and between them what combines them."""
    return [part.strip() for part in split(text.strip(), _OPERATION)]


def _one(text: str, known: Known) -> Selection:
    if (inner := unwrapped(text)) is not None:
        return select(inner, known)
    if _is_file(text):
        return _of_file(Path(text).expanduser(), known)
    name, options = _named(text)
    languages = options.pop("languages", None)
    if languages is None:
        return SELECTIONS[name].select(known, **options)
    found = SELECTIONS[name].select(known.select(languages), **options)
    arguments = {**found.origin.arguments, "languages": list(languages)}
    return replace(found, origin=replace(found.origin, arguments=arguments))


def _is_file(text: str) -> bool:
    return text.endswith(FILE_ENDING) and text.partition(":")[0] not in SELECTIONS


def _named(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its options. Raises InputError: there is no such one."""
    name, _, rest = text.partition(":")
    if name not in SELECTIONS:
        raise InputError(
            f"unknown selection {name!r}: choose among {', '.join(SELECTIONS)}, combine them with "
            f"{', '.join(OPERATIONS)}, or give a file of one (*{FILE_ENDING})"
        )
    return name, _options(text, SELECTIONS[name], rest)


def _of_file(path: Path, known: Known) -> Selection:
    found = Selection.load(path)
    profile = known.profile
    # Made of the profile and without neurons: what the file's is compared with.
    own = replace(found, origin=replace(found.origin, profile=profile.provenance))
    if found.masks.shape[2] != profile.num_neurons or not set(found.layers) <= set(profile.layers):
        raise InputError(_of_another_model(path, found, profile))
    try:
        check_same_model(found, own)
    except InputError as error:
        raise InputError(_of_another_model(path, found, profile)) from error
    return found


def _of_another_model(path: Path, found: Selection, profile: NeuronProfile) -> str:
    mine = f"{len(profile.layers)} layers of {profile.num_neurons} neurons"
    return (
        f"{path}: a selection of another model ({found.origin.profile.model}) than the profile's "
        f"({profile.provenance.model}, {mine}); make it again, for this model"
    )


def _options(text: str, kind: Kind, rest: str) -> dict[str, Any]:
    readers = {**kind.options, "languages": _languages}
    options: dict[str, Any] = {}
    for part in filter(None, split(rest, ",")):
        name, _, value = (each.strip() for each in part.partition("="))
        value = value if (inner := unwrapped(value)) is None else inner
        if name not in readers:
            raise InputError(f"selection {text!r}: unknown option {name!r}; its options are {', '.join(readers)}")
        if name in options:
            raise InputError(f"selection {text!r}: {name} stands there twice")
        try:
            options[name] = readers[name](value)
        except ValueError as error:
            raise InputError(f"selection {text!r}: {name}={value}: {error}") from None
    return options


def _languages(text: str) -> tuple[str, ...]:
    """`en/fr/vi`, or the name of one of SETS."""
    return SETS[text] if text in SETS else normalise_codes(text.split("/"))
