"""Every language that the package knows has a family; related ones stand together."""

import pytest

from clas_models.modeling.language_names import NAMES
from eval.analysis.language_families import FAMILIES, by_script_and_family, script_and_family


def test_every_known_language_has_a_family():
    assert set(FAMILIES) == set(NAMES)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("en", ("Latn", "Germanic")),
        ("deu_Latn", ("Latn", "Germanic")),
        ("npi", ("Deva", "Indic")),
        ("zh", ("Hans", "Chinese")),
        ("zh-Hant", ("Hant", "Chinese")),
        ("sr-Latn", ("Latn", "Slavic")),
        ("pt-BR", ("Latn", "Romance")),
        ("tlh", ("other", "other")),
        ("no language at all", ("other", "other")),
    ],
)
def test_script_and_family(code, expected):
    assert script_and_family(code) == expected


def test_languages_of_a_script_and_a_family_stand_together():
    codes = ["zh", "hi", "en", "ur", "fr", "ru", "mr", "de", "es", "sw", "uk", "tlh"]
    assert by_script_and_family(codes) == ("sw", "de", "en", "es", "fr", "ur", "ru", "uk", "hi", "mr", "zh", "tlh")
