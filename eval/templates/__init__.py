"""The text of a prompt, with places for an example's fields, and the files that it is read from.

A template is plain text in UTF-8; `{premise}` is a place, `{{` and `}}` are braces.  White space around the whole text
is left out.  The default of a task is the file NAME.txt of this folder, with English instructions.  A user may give a
file in its place, or a folder: there NAME.LANG.txt is for one language, for instructions in that language, and NAME.txt
for those that have no file of their own.  Chat markup and tokens are the business of `prompts.py`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Self

from clas_models.errors import InputError
from clas_models.modeling.language_tags import matching
from clas_models.profiling.corpora.languages import by_language

_DEFAULTS = Path(__file__).parent


@dataclass(frozen=True)
class Filled:
    """A template's text with the fields in their places.

    Attributes:
        text: the whole text.
        fields: where the fields' texts begin and end in it, in characters and in order.
    """

    text: str
    fields: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Template:
    """Pieces of text, each followed by the name of the field that stands there, or by None.

    Attributes:
        place: the file, for messages.
        pieces: in order.
    """

    place: str
    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str, place: str) -> Self:
        """Raises InputError: a single brace, or something in braces that is not a plain name."""
        try:
            parsed = list(Formatter().parse(text.strip()))
        except ValueError as error:
            raise InputError(f"{place}: {error}; write {{name}} for a place, {{{{ and }}}} for braces") from None
        for _, field, spec, conversion in parsed:
            if field is not None and (not field.isidentifier() or spec or conversion):
                written = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                raise InputError(f"{place}: {{{written}}} is not the name of a field; write {{{{ and }}}} for braces")
        return cls(place, tuple((literal, field) for literal, field, _, _ in parsed))

    @property
    def places(self) -> set[str]:
        return {field for _, field in self.pieces if field is not None}

    @property
    def text(self) -> str:
        """What `parse` reads it from."""
        literals = ((literal.replace("{", "{{").replace("}", "}}"), field) for literal, field in self.pieces)
        return "".join(literal + ("" if field is None else f"{{{field}}}") for literal, field in literals)

    def fill(self, fields: Mapping[str, str]) -> Filled:
        """The text for one example, whose fields have all the names that the template has places for."""
        text, spans = "", []
        for literal, field in self.pieces:
            text += literal
            if field is not None:
                spans.append((len(text), len(text) + len(fields[field])))
                text += fields[field]
        return Filled(text, tuple(spans))


@dataclass(frozen=True)
class Templates:
    """The templates of one task: one for every language that has its own, and one for all others."""

    default: Template
    by_language: Mapping[str, Template]

    def of(self, language: str) -> Template:
        found = matching(language, list(self.by_language))
        return self.default if found is None else self.by_language[found]

    def digest(self, languages: Sequence[str]) -> str:
        """SHA-256 in hexadecimal of what is in force for these languages; two with the same digest prompt the same."""
        used = [(language, self.of(language).pieces) for language in sorted(languages)]
        return hashlib.sha256(repr(used).encode()).hexdigest()


def find_templates(name: str, path: Path | None = None) -> Templates:
    """The templates of a task.

    Args:
        name: of the default template, `Task.template`.
        path: a user's file or folder; None is the default.

    Raises InputError: a path that is not there, a folder without a template of that name, a file that is not UTF-8, or
    one with other places than the default template has; the message names the file and the place.
    """
    default = _read(_DEFAULTS / f"{name}.txt")
    if path is None:
        return Templates(default, {})
    if path.is_file():
        return Templates(with_places_of(_read(path), default), {})
    if not path.is_dir():
        raise InputError(f"template {path} does not exist: give a file, or a folder with {name}.txt or {name}.LANG.txt")
    plain = path / f"{name}.txt"
    files = {file.name[len(name) + 1 : -4]: file for file in sorted(path.glob(f"{name}.*.txt"))}
    native = {tag: files[spelt] for tag, spelt in by_language(files, f"template folder {path}").items()}
    if not native and not plain.is_file():
        raise InputError(f"template folder {path} has no {name}.txt and no {name}.LANG.txt: add one of them")
    return Templates(
        with_places_of(_read(plain), default) if plain.is_file() else default,
        {language: with_places_of(_read(file), default) for language, file in native.items()},
    )


def _read(path: Path) -> Template:
    try:
        return Template.parse(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file that can") from None


def with_places_of(template: Template, default: Template) -> Template:
    """The template, if it has the places of the default one: those are the fields of the task's examples.

    Raises InputError: it has others.
    """
    known = ", ".join(f"{{{place}}}" for place in sorted(default.places))
    for places, fault in ((template.places - default.places, "unknown"), (default.places - template.places, "missing")):
        if places:
            listed = ", ".join(f"{{{place}}}" for place in sorted(places))
            raise InputError(f"{template.place}: {fault} place {listed}; use each of {known} and no other")
    return template
