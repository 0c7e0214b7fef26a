"""How methods are written: a kind and options, `int:value=zero,site=activated`, and the one name of each.

A value by language is written with slashes, `clas:alpha=de=-2/default=1`, because commas stand between options and
between methods.  A value with a syntax of its own stands in brackets, `int:select=(lape:top_rate=0.02 or random)`.
Which kinds and options there are is said in `methods.py`, how a folder is named in `run_folder.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from clas_models.brackets import split, unwrapped
from clas_models.command_line import strengths_by_language
from clas_models.errors import InputError
from clas_models.profiling.corpora.languages import normalise_codes

Reader: TypeAlias = Callable[[str], Any]  # the value of an option from its text; raises ValueError for what is none


class Nested(str):
    """A value with a syntax of its own: in a name it stands in brackets, unless it is a single word."""

    __slots__ = ()


@dataclass(frozen=True)
class Syntax:
    """What can be written about one kind of method.

    Attributes:
        options: how the value of each is read, in the order in which a name has them.
        defaults: of options that have one whatever the checkpoint; a name does not say them.
    """

    options: Mapping[str, Reader] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def split_methods(text: str) -> tuple[str, ...]:
    """`base,int:value=zero,site=gate,clas`: a part such as `site=gate` is one more option of the method before it.

    Raises InputError: an option before any method, or a bracket that does not close.
    """
    methods: list[str] = []
    for part in map(str.strip, split(text, ",")):
        if "=" not in part.partition(":")[0]:
            methods.append(part)
        elif methods:
            methods[-1] += ("," if ":" in methods[-1] else ":") + part
        else:
            raise InputError(f"{part!r}: an option of no method; write it behind one, such as int:{part}")
    return tuple(methods)


def read_method(
    text: str, kinds: Mapping[str, Syntax], short_names: Mapping[str, str]
) -> tuple[str, str, dict[str, Any]]:
    """A method as it is written.

    Args:
        text: what a user wrote.
        kinds: what there is.
        short_names: of methods with options; more options may follow.

    Returns:
        Its name, the same however it was written; its kind; and its options, defaults among them.

    Raises InputError: there is no such kind or option, a value cannot be used, or an option stands there twice.
    """
    written, colon, rest = text.partition(":")
    kind = short_names.get(written, written)
    if kind not in kinds:
        known = ", ".join([*kinds, *short_names])
        raise InputError(f"unknown method {written!r}: choose among {known}")
    syntax = kinds[kind]
    given: dict[str, Any] = {}
    for part in split(rest, ",") if colon else ():
        name, _, value = map(str.strip, part.partition("="))
        if name not in syntax.options:
            known = f"its options are {', '.join(syntax.options)}" if syntax.options else "it has no options"
            raise InputError(f"method {text!r}: unknown option {name!r}; {known}")
        if name in given:
            raise InputError(f"method {text!r}: {name} stands there twice")
        try:
            given[name] = syntax.options[name](value)
        except (TypeError, ValueError) as error:
            raise InputError(f"method {text!r}: {name}={value}: {error}") from None
    all_options = {**syntax.defaults, **given}
    options = {name: all_options[name] for name in syntax.options if name in all_options}
    return method_name(kind, options, syntax, short_names), kind, options


def method_name(kind: str, options: Mapping[str, Any], syntax: Syntax, short_names: Mapping[str, str]) -> str:
    """The one name of a method: its kind, and the options that are no defaults, in order; or its short name."""
    told = [
        f"{name}={written(options[name])}"
        for name in syntax.options
        if name in options and options[name] != syntax.defaults.get(name)
    ]
    if told:
        return f"{kind}:{','.join(told)}"
    return next((short for short, meant in short_names.items() if meant == kind), kind)


def written(value: Any) -> str:
    """A value as it stands in a name; the inverse of what reads it."""
    if isinstance(value, Mapping):
        codes = sorted(value, key=lambda code: (code == "default", code))
        return "/".join(f"{code}={written(value[code])}" for code in codes)
    if isinstance(value, Nested) and not value.isidentifier():
        return f"({value})"
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    if isinstance(value, float):
        value += 0.0  # -0 is 0
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def number(text: str) -> float:
    """A strength."""
    try:
        return float(text)
    except ValueError:
        raise ValueError("write a number") from None


def whole_number(text: str) -> int:
    """A number such as a seed: 0 or more, below 2^63."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise ValueError("write a whole number, 0 or more")
    return int(text)


def by_language(text: str) -> float | dict[str, float]:
    """A strength: `-2`, or `de=-2/default=1`."""
    try:
        return strengths_by_language(text, "/")
    except ValueError as error:
        fault = str(error) if "twice" in str(error) else "write a number, or numbers by language as de=-2/default=1"
        raise ValueError(fault) from None


def layers(text: str) -> tuple[int, ...]:
    """Layers: `14`, or `12/14/16`."""
    found = [whole_number(part) for part in text.split("/")]
    if len(set(found)) < len(found):
        raise ValueError("a layer stands there twice")
    return tuple(sorted(found))


def language(text: str) -> str:
    """A language, as its canonical tag."""
    return normalise_codes([text], "language")[0]


def nested(read: Callable[[str], str]) -> Reader:
    """What `read` gives for it; it may stand in brackets, and has to where there are commas in it."""
    return lambda text: Nested(read(text if (inner := unwrapped(text)) is None else inner))


def one_of(names: Sequence[str]) -> Reader:
    """One of these words."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"choose one of {', '.join(names)}")
        return text

    return read
