"""Templates: the default ones, a user's files and folders, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from clas_models.errors import InputError
from eval.templates import Filled, Template, find_templates

XNLI = "Say 0, 1 or 2.\n{premise}\n{hypothesis}"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def error(name: str, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_templates(name, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_places_are_filled_and_told() -> None:
    template = Template.parse("\n {{{a}}} and {b}{a}.\n\n", "here")
    assert template.places == {"a", "b"}
    assert template.fill({"a": "x{b}", "b": "", "c": "unused"}) == Filled(
        "{x{b}} and x{b}.", ((1, 5), (11, 11), (11, 15))
    )


def test_default_templates_put_what_examples_share_first() -> None:
    xnli = find_templates("xnli").of("de").fill({"premise": "PREMISE", "hypothesis": "HYPOTHESIS"}).text
    assert xnli.index("integer") < xnli.index("PREMISE") < xnli.index("HYPOTHESIS")
    xquad = find_templates("xquad").of("de").fill({"context": "CONTEXT", "question": "QUESTION"}).text
    assert xquad.index("Answer") < xquad.index("CONTEXT") < xquad.index("QUESTION")


def test_a_users_file_is_for_every_language(tmp_path: Path) -> None:
    templates = find_templates("xnli", write(tmp_path / "mine.txt", XNLI))
    for language in ("en", "de"):
        assert templates.of(language).fill({"premise": "p", "hypothesis": "h"}).text == "Say 0, 1 or 2.\np\nh"


def test_a_users_folder_has_native_files_first_and_the_default_last(tmp_path: Path) -> None:
    write(tmp_path / "xnli.de.txt", "\ufeffDeutsch {premise} {hypothesis}")
    write(tmp_path / "xnli.PT-BR.txt", "Português {premise} {hypothesis}")
    fields = {"premise": "p", "hypothesis": "h"}
    templates = find_templates("xnli", tmp_path)
    assert templates.of("de").fill(fields).text == "Deutsch p h"
    assert templates.of("pt-BR").fill(fields).text == "Português p h"
    assert templates.of("fr") == find_templates("xnli").of("fr")
    write(tmp_path / "xnli.txt", "English {premise} {hypothesis}")
    assert find_templates("xnli", tmp_path).of("fr").fill(fields).text == "English p h"
    assert "has no xquad.txt and no xquad.LANG.txt" in error("xquad", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{premise} {hypothesis} {label}", "unknown place {label}; use each of {hypothesis}, {premise} and no other"),
        ("{premise}", "missing place {hypothesis}"),
        ("", "missing place {hypothesis}, {premise}"),
        ("{premise} {hypothesis", "expected '}'"),
        ("{premise} {hypothesis} }", "Single '}'"),
        ("{premise} {hypothesis} {}", "{} is not the name of a field"),
        ("{premise} {hypothesis:>3}", "{hypothesis:>3} is not the name of a field"),
        ("{premise!r} {hypothesis}", "{premise!r} is not the name of a field"),
        ("{premise.x} {hypothesis}", "{premise.x} is not the name of a field"),
    ],
)
def test_bad_places(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "xnli.de.txt", text)
    for given in (path, tmp_path):
        message = error("xnli", given)
        assert str(path) in message
        assert said in message


def test_bad_files(tmp_path: Path) -> None:
    assert "does not exist" in error("xnli", tmp_path / "none.txt")
    path = tmp_path / "xnli.txt"
    path.write_bytes(b"{premise} {hypothesis} \xe4")
    assert f"{path}: not UTF-8" in error("xnli", tmp_path)


def test_digest_follows_what_is_in_force(tmp_path: Path) -> None:
    default = find_templates("xnli")
    assert default.digest(["en", "de"]) == find_templates("xnli").digest(["de", "en"])
    write(tmp_path / "xnli.de.txt", XNLI)
    native = find_templates("xnli", tmp_path)
    assert native.digest(["en"]) == default.digest(["en"])
    assert native.digest(["en", "de"]) != default.digest(["en", "de"])
