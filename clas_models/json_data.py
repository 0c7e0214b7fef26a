"""JSON from outside: parsed, and turned into dataclasses whose fields hold what they declare.

What is wrong is raised as ValueError or TypeError, in a few words; the file and the remedy are for the caller to name.
"""

import json
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Data = TypeVar("Data")
_LARGEST = 2**63  # what tensors and arrays hold
_WORDS = {
    dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    NoneType: "null",
}  # fmt: skip


def parse_json(text: str | bytes) -> Any:
    """Raises ValueError: not JSON, or nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def from_json(kind: type[Data], values: Any) -> Data:
    """A dataclass from an object of JSON, and the dataclasses within it; lists become tuples where it declares them.

    Raises TypeError: not an object, another field than it has, one that is missing, or a value of another type.
    """
    read: Callable[[Any], Data] = _reader(kind)  # type: ignore[arg-type]
    return read(values)


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, with names such as `methods.clas.alpha`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """What checks a value of a type, and returns it as that type has it."""
    origin, inner = get_origin(hint), [_reader(each) for each in get_args(hint) if each is not ...]
    if hint is Any:
        return lambda value: value
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass_reader(hint)
    if origin in (Union, UnionType):
        return lambda value: _first(inner, value, hint)
    if origin in (list, tuple):
        return lambda value: origin([inner[0](item) for item in _of(list, value)])
    if origin is dict:
        return lambda value: {key: inner[1](item) for key, item in _of(dict, value).items()}
    return lambda value: _of(hint, value)


def _of(kind: Any, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
    if kind is float and whole:
        return float(value)
    if type(value) is not kind or (kind is int and not whole):
        raise TypeError(f"{reprlib.repr(value)} in place of {_WORDS[kind]}")
    return value


def _first(readers: list[Callable[[Any], Any]], value: Any, hint: Any) -> Any:
    for read in readers:
        try:
            return read(value)
        except TypeError:
            continue
    raise TypeError(f"{reprlib.repr(value)} in place of {hint}")


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    needed = {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}

    def read(values: Any) -> Any:
        found: dict[str, Any] = {}
        for name, value in _of(dict, values).items():
            if name not in readers:
                raise TypeError(f"{kind.__name__} has no field {name!r}")
            try:
                found[name] = readers[name](value)
            except TypeError as error:
                raise TypeError(f"{name}: {error}") from None
        if missing := sorted(needed - set(found)):
            raise TypeError(f"{kind.__name__} lacks the field {missing[0]!r}")
        return kind(**found)

    return read
