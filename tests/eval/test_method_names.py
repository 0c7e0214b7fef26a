"""How methods are written: one name for each, whatever a user types, and a safe folder for each name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from profiling.selection_texts import selection_texts

from clas_models.errors import InputError
from clas_models.profiling.selections import read_selection
from eval.method_names import (
    Syntax,
    by_language,
    language,
    method_name,
    nested,
    number,
    one_of,
    read_method,
    split_methods,
)
from eval.run_folder import folder_of

KINDS = {
    "base": Syntax(),
    "clas": Syntax({"alpha": by_language, "beta": number, "as": language}),
    "int": Syntax(
        {"select": nested(read_selection), "value": one_of(("mean", "zero")), "as": language},
        defaults={"select": "lape", "value": "mean"},
    ),
}
SHORT = {"int-mean": "int"}


def read(text: str) -> tuple[str, str, dict[str, Any]]:
    return read_method(text, KINDS, SHORT)


def test_commas_stand_between_methods_and_between_options() -> None:
    assert split_methods("base, int:value=zero,as=hi,clas") == ("base", "int:value=zero,as=hi", "clas")
    assert split_methods("clas:alpha=de=-2/default=1,beta=0.4") == ("clas:alpha=de=-2/default=1,beta=0.4",)
    assert split_methods("clas,alpha=1,beta=2") == ("clas:alpha=1,beta=2",)
    with pytest.raises(InputError, match="'as=hi': an option of no method"):
        split_methods("as=hi,base")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (("base",), "base"),
        (("int-mean", "int", "int:value=mean", "int-mean:value=mean"), "int-mean"),
        (("int:value=zero", "int-mean:value=zero", "int: value = zero"), "int:value=zero"),
        (("int:as=HI,value=zero", "int:value=zero,as=hi"), "int:value=zero,as=hi"),
        (("clas:alpha=-2", "clas:alpha=-2.0", "clas:alpha=-2e0"), "clas:alpha=-2"),
        (("clas:alpha=-0", "clas:alpha=0"), "clas:alpha=0"),
        (("clas:alpha=zh=1/DE=-2/default=0.5",), "clas:alpha=de=-2/zh=1/default=0.5"),
    ],
)
def test_a_method_has_one_name(typed: tuple[str, ...], name: str) -> None:
    read_once = read(name)
    for text in typed:
        assert read(text) == read_once
        assert read(text)[0] == name


def test_numbers_that_differ_are_written_differently() -> None:
    names = {method_name("clas", {"alpha": alpha}, KINDS["clas"], SHORT) for alpha in (0.1234567, 0.1234568, 1e-7, 1e7)}
    assert len(names) == 4
    assert all(read(name)[0] == name for name in names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("magic", "unknown method 'magic': choose among base, clas, int, int-mean"),
        ("base:alpha=1", "unknown option 'alpha'; it has no options"),
        ("clas:alfa=1", "unknown option 'alfa'; its options are alpha, beta, as"),
        ("clas:", "unknown option ''"),
        ("clas:beta=much", "beta=much: write a number"),
        ("clas:beta=1,beta=2", "beta stands there twice"),
        ("clas:alpha=de=x", "write a number, or numbers by language as de=-2/default=1"),
        ("clas:alpha=de=1/ger=2/default=0", "names a language twice, de"),
        ("clas:as=Hindi!", "is not a language code"),
        ("int:value=median", "choose one of mean, zero"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_every_selection_stands_in_a_name() -> None:
    texts = list(dict.fromkeys(selection_texts(seed=1, count=300)))
    methods = [f"int:value=zero,select=({text}),as=hi" for text in texts]
    assert split_methods(",".join(["base", *methods, "clas"])) == ("base", *methods, "clas")
    names: dict[str, str] = {}
    for text, method in zip(texts, methods, strict=True):
        name, kind, options = read(method)
        assert options == {"select": read_selection(text), "value": "zero", "as": "hi"}
        assert read(name) == (name, kind, options)
        assert name == method_name(kind, options, KINDS["int"], SHORT)
        names[name] = options["select"]
    assert len(set(names.values())) == len(names)
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == len(folders)
    assert all(re.fullmatch(r"int_?[A-Za-z0-9=.+_~-]{1,120}", folder) for folder in folders)


def test_brackets_are_needed_where_there_are_commas() -> None:
    assert read("int:select=lape:top_rate=0.02,value=zero")[0] == "int:select=(lape:top_rate=0.02),value=zero"
    assert read("int:select=(lape),value=zero")[0] == "int:value=zero"
    assert folder_of("int:select=categories") == "int_select=categories", "as in earlier runs"
    assert split_methods("int:select=(lape:a=1,b=2),value=zero,site=gate") == (
        "int:select=(lape:a=1,b=2),value=zero,site=gate",
    )
    with pytest.raises(InputError, match="a bracket does not close"):
        split_methods("int:select=(lape:a=1,value=zero")


def test_every_name_has_a_safe_folder_of_its_own() -> None:
    languages = "/".join(
        f"{code}={alpha}"
        for alpha, code in enumerate(["ar", "de", "el", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"])
    )
    names = [
        *("base", "int-mean", "int:value=zero,as=hi", "clas:alpha=-2", "clas:alpha=2", "clas:alpha=de=-2/default=1"),
        *(f"clas:alpha={languages}/default={default}/and=a/lot=more/of=them/to=fill/the=name" for default in (1, 2)),
    ]
    folders = [folder_of(name) for name in names]
    assert folders[:5] == ["base", "int-mean", "int_value=zero_as=hi", "clas_alpha=-2", "clas_alpha=2"]
    assert len(set(folders)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9=._~-]{1,120}", folder) for folder in folders)
