"""What a user can choose about another form of a steered checkpoint, and what of it makes no sense there."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ...errors import InputError
from ...modeling.auto_language import is_auto
from ...profiling.corpora.languages import normalise_codes
from ..options import ConversionOptions, check_positions, target_folder
from . import form_named


@dataclass(frozen=True)
class ExportOptions:
    """`model` is a steered checkpoint; strengths that are None are the checkpoint's own.

    `language` is one code, `languages` several; which of them a form needs is said by the form.
    """

    model: str
    format: str
    out: Path | None = None
    language: str | None = None
    languages: tuple[str, ...] | None = None
    alpha: float | Mapping[str, float] | None = None
    beta: float | None = None
    gamma: float | None = None
    vector_strength: float | Mapping[str, float] | None = None
    vector_positions: str | None = None
    overwrite: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From what was given on a command line, by the names of fields of `ConversionOptions`; others are left alone.

        Raises InputError: an option that says how masks are made: here they are made already.
        """
        own = {field.name for field in fields(cls)}
        if others := sorted({field.name for field in fields(ConversionOptions)}.intersection(given) - own):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in others)
            raise InputError(
                f"--format {given['format']} has no use for {names}: masks and vectors are made already; leave it out, "
                "or make another steered checkpoint first"
            )
        return cls(**{name: value for name, value in given.items() if name in own})

    def wanted_codes(self) -> tuple[str, ...]:
        """The languages that the user names, as canonical tags, each once; empty if there are none.

        Raises InputError: in both ways at once, or what is no language, such as "auto".
        """
        if self.language is not None and self.languages is not None:
            raise InputError("--language and --languages exclude each other; name the languages in one of them")
        named = self.language.split(",") if self.language is not None else self.languages or ()
        if any(map(is_auto, named)):
            raise InputError(
                f"--format {self.format} has one language for good and cannot recognise it, so auto is none; name a "
                "code such as de, or use the steered checkpoint"
            )
        return tuple(dict.fromkeys(normalise_codes([name])[0] for name in named))

    def check(self) -> None:
        """Raises InputError for a format that there is not, or languages that cannot be meant."""
        form_named(self.format)
        check_positions(self.vector_positions)
        self.wanted_codes()

    def target(self) -> Path:
        """Where the result goes; see `target_folder`."""
        codes = self.wanted_codes()
        language = f"-{codes[0]}" if len(codes) == 1 else ""
        return target_folder(self.out, self.model, f"-{self.format}{language}")
