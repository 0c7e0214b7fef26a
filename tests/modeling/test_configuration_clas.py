"""The steering fields of a configuration: what they become, and every value that they refuse, wherever it comes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import STEERING, TINY, tiny_steered
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models.modeling.configuration_clas import STEERING_FIELDS
from clas_models.modeling.version import VERSION

NAN, INF = float("nan"), float("inf")
REFUSED: list[tuple[dict[str, Any], type[Exception], list[str]]] = [
    ({"languages": "en"}, TypeError, ["languages:", "'en'", "str", "a list of language codes"]),
    ({"languages": {"en": 1}}, TypeError, ["languages:", "{'en': 1}", "dict", "a list of language codes"]),
    ({"languages": None}, TypeError, ["languages:", "None", "a list of language codes"]),
    ({"languages": []}, ValueError, ["languages:", "empty", "at least one language"]),
    ({"language": "auto"}, ValueError, ["language:", '"auto"', "no language detector", "clas-convert"]),
    ({"vector_layers": [6]}, ValueError, ["vector_layers[0]:", "6", "0 to 5"]),
    ({"vector_strength": {"de": "1"}}, TypeError, ["vector_strength['de']:", "'1'", "a finite number"]),
    ({"vector_positions": "first"}, ValueError, ["vector_positions:", "'first'", "last, generated, all"]),
    ({"detector_floor": 1.5}, ValueError, ["detector_floor:", "1.5", "0 to 1"]),
    ({"detector_floor": "high"}, TypeError, ["detector_floor:", "'high'", "str", "number"]),
    ({"detector_temperature": 0}, ValueError, ["detector_temperature:", "0", "above 0"]),
    ({"detector_handicap": -1}, ValueError, ["detector_handicap:", "-1", "0 or a number above"]),
    ({"detector_languages": []}, ValueError, ["detector_languages:", "empty", "at least one language"]),
    ({"detector_languages": "de"}, TypeError, ["detector_languages:", "'de'", "str", "list"]),
    ({"detector_languages": ["de", "en"]}, ValueError, ["detector_languages:", "'en'", "anchor", "leave it out"]),
    ({"languages": ["en", 3]}, TypeError, ["languages[1]:", "3", "int", 'a code such as "de"']),
    ({"languages": ["en", "Germ"]}, ValueError, ["languages[1]:", "'Germ'", "'de' (German)", "ISO 639"]),
    ({"languages": ["en", "de", "DE"]}, ValueError, ["languages:", "de and DE, both de, more than once"]),
    ({"languages": ["de", "zh"]}, ValueError, ["anchor_language:", "'en'", "the languages de, zh"]),
    ({"anchor_language": "fr"}, ValueError, ["anchor_language:", "'fr'", "the languages en, de, zh, hi"]),
    ({"anchor_language": None}, TypeError, ["anchor_language:", "None", 'a code such as "de"']),
    ({"anchor_language": "en glish"}, ValueError, ["anchor_language:", "'en glish'", "ISO 639"]),
    ({"bridge_layers": 3}, TypeError, ["bridge_layers:", "3", "int", "a list of layer indices"]),
    ({"bridge_layers": "2-3"}, TypeError, ["bridge_layers:", "'2-3'", "str", "a list of layer indices"]),
    ({"bridge_layers": [2, 6]}, ValueError, ["bridge_layers[1]:", "6", "0 to 5"]),
    ({"bridge_layers": [-1]}, ValueError, ["bridge_layers[0]:", "-1", "0 to 5"]),
    ({"bridge_layers": [1.0]}, TypeError, ["bridge_layers[0]:", "1.0", "not an integer", "0 to 5"]),
    ({"bridge_layers": [True]}, TypeError, ["bridge_layers[0]:", "True", "not an integer", "0 to 5"]),
    ({"bridge_layers": [2, 2]}, ValueError, ["bridge_layers:", "[2, 2]", "each may stand there once"]),
    ({"alpha": "1"}, TypeError, ["alpha:", "'1'", "str", "a number or a mapping"]),
    ({"alpha": [1.0]}, TypeError, ["alpha:", "[1.0]", "list", "a number or a mapping"]),
    ({"alpha": None}, TypeError, ["alpha:", "None", "a number or a mapping"]),
    ({"alpha": True}, TypeError, ["alpha:", "True", "bool", "a number or a mapping"]),
    ({"alpha": NAN}, ValueError, ["alpha:", "nan", "a finite number"]),
    ({"alpha": {"default": -INF}}, ValueError, ["alpha['default']:", "-inf", "a finite number"]),
    ({"alpha": {"de": "2", "default": 1}}, TypeError, ["alpha['de']:", "'2'", "str", "a finite number"]),
    ({"alpha": {"fr": 1, "default": 1}}, ValueError, ["alpha:", "'fr'", "the languages en, de, zh, hi", "'default'"]),
    ({"alpha": {"?": 1, "default": 1}}, ValueError, ["alpha:", "'?'", "ISO 639"]),
    ({"alpha": {"en": 1, "default": 1}}, ValueError, ["alpha:", "'en'", "never steered", "allowed is 0"]),
    ({"alpha": {"de": 1, "DE": 2, "default": 1}}, ValueError, ["alpha:", "'de' more than once", "'DE': 2", "once"]),
    ({"beta": "big"}, TypeError, ["beta:", "'big'", "str", "a finite number"]),
    ({"beta": INF}, ValueError, ["beta:", "inf", "a finite number"]),
    ({"beta": 10**400}, ValueError, ["beta:", "1000000", "a finite number"]),
    ({"beta": None}, TypeError, ["beta:", "None", "a finite number"]),
    ({"gamma": NAN}, ValueError, ["gamma:", "nan", "a finite number"]),
    ({"gamma": [0.2]}, TypeError, ["gamma:", "[0.2]", "list", "a finite number"]),
    ({"gamma": False}, TypeError, ["gamma:", "False", "bool", "a finite number"]),
    ({"language": 1}, TypeError, ["language:", "1", "int", 'a code such as "de"']),
    ({"language": ["de"]}, TypeError, ["language:", "['de']", "list", 'a code such as "de"']),
    ({"language": "Deutsch"}, ValueError, ["language:", "'Deutsch'", "ISO 639"]),
]
refused = pytest.mark.parametrize(("fields", "error", "words"), REFUSED, ids=[str(case[0])[:50] for case in REFUSED])


def config_of(family: Any, **fields: Any) -> Any:
    return family.config(**{**TINY, **STEERING, **fields})


def assert_says(caught: pytest.ExceptionInfo[Exception], words: list[str]) -> None:
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, str(caught.value)


# ---- refused


@refused
def test_refused_on_construction(family: Any, fields: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        config_of(family, **fields)
    assert_says(caught, words)


@refused
def test_refused_on_load(
    family: Any, fields: dict[str, Any], error: type[Exception], words: list[str], tmp_path: Path
) -> None:
    config_of(family).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(error) as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert_says(caught, words)


@refused
def test_refused_as_an_override(
    family: Any, fields: dict[str, Any], error: type[Exception], words: list[str], tmp_path: Path
) -> None:
    config_of(family).save_pretrained(tmp_path)
    with pytest.raises(error) as caught:
        AutoConfig.from_pretrained(tmp_path, **fields)
    assert_says(caught, words)


@refused
def test_refused_on_save_with_nothing_written(
    family: Any, fields: dict[str, Any], error: type[Exception], words: list[str], tmp_path: Path
) -> None:
    config = config_of(family)
    for name, value in fields.items():
        setattr(config, name, value)
    with pytest.raises(error) as caught:
        config.save_pretrained(tmp_path)
    assert_says(caught, words)
    assert not list(tmp_path.iterdir())


def test_bridge_layers_must_exist_in_a_model_cut_short(family: Any, tmp_path: Path) -> None:
    message = r"bridge_layers\[1\]: 3 is out of range; layers are 0 to 2"
    with pytest.raises(ValueError, match=message):
        config_of(family, num_hidden_layers=3)
    config_of(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        AutoConfig.from_pretrained(tmp_path, num_hidden_layers=3)


def test_a_model_refuses_like_its_configuration(family: Any, tmp_path: Path) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path / "good")

    with pytest.raises(ValueError, match=r"bridge_layers\[0\]: 9 is out of range; layers are 0 to 5"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "good", bridge_layers=[9])
    with pytest.raises(ValueError, match="alpha: nan is not finite; allowed is a finite number"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "good", alpha=NAN)

    model.config.beta = "big"
    with pytest.raises(TypeError, match="beta: 'big' is of type str; allowed is a finite number"):
        model.save_pretrained(tmp_path / "bad")
    with pytest.raises(TypeError, match="beta: 'big' is of type str; allowed is a finite number"):
        family.causal_lm(model.config)
    assert not list((tmp_path / "bad").glob("*"))


# ---- accepted


def test_defaults_steer_nothing(family: Any) -> None:
    config = family.config(**TINY)
    assert {name: getattr(config, name) for name in STEERING_FIELDS} == {
        "languages": ["en"],
        "anchor_language": "en",
        "bridge_layers": [],
        "alpha": 1.0,
        "beta": 0.4,
        "gamma": 0.2,
        "fitted": False,
        "language": None,
        "detector_languages": None,
        "detector_floor": 0.0,
        "detector_temperature": 1.0,
        "detector_handicap": 0.0,
        "vector_layers": [],
        "vector_strength": 1.0,
        "vector_positions": "last",
        "clas_version": VERSION,
    }


def test_codes_layers_and_numbers_take_their_normal_form(family: Any) -> None:
    config = config_of(
        family,
        languages=("EN", "deu", "zh_Hans"),
        anchor_language="En",
        bridge_layers=(4, 1),
        alpha={"DE": -2, "default": 1, "en": 0},
        beta=1,
        gamma=0,
        language="DE",
    )
    assert config.languages == ["en", "de", "zh"]
    assert config.anchor_language == "en"
    assert config.bridge_layers == [1, 4]
    assert config.alpha == {"de": -2.0, "default": 1.0, "en": 0.0}
    assert (config.beta, config.gamma, config.language) == (1.0, 0.0, "de")
    assert all(isinstance(number, float) for number in (config.beta, config.gamma, *config.alpha.values()))


def test_every_language_has_a_strength_and_the_last_is_for_all_others(family: Any) -> None:
    strengths = config_of(family).scale_rule.strengths
    assert strengths.alpha == (0.0, -2.0, 1.5, 1.0, 1.0)
    assert (strengths.beta, strengths.gamma) == (0.4, 0.2)
    assert config_of(family, alpha=-3, anchor_language="de").scale_rule.strengths.alpha == (-3.0, 0.0, -3.0, -3.0, -3.0)


@pytest.mark.parametrize("steering", [{}, STEERING, {**STEERING, "alpha": -1.0, "language": "de"}])
def test_a_saved_configuration_holds_every_steering_field(
    family: Any, steering: dict[str, Any], tmp_path: Path
) -> None:
    config = family.config(**TINY, **steering)
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    loaded = AutoConfig.from_pretrained(tmp_path)

    assert type(loaded) is family.config
    assert saved["model_type"] == family.model_type
    for name in STEERING_FIELDS:
        assert saved[name] == getattr(config, name) == getattr(loaded, name)


@pytest.mark.parametrize(
    "override",
    [
        {"alpha": -2},
        {"alpha": {"hi": 3, "default": 0}},
        {"beta": 0.9, "gamma": 0.7},
        {"language": "de"},
        {"bridge_layers": [1]},
        {"languages": ["de", "en"], "alpha": 1},
    ],
    ids=str,
)
def test_fields_are_overridden_on_load(family: Any, override: dict[str, Any], tmp_path: Path) -> None:
    config_of(family).save_pretrained(tmp_path)
    loaded, unused = AutoConfig.from_pretrained(tmp_path, **override, return_unused_kwargs=True)
    assert {name: getattr(loaded, name) for name in override} == override
    assert unused == {}


def test_two_configurations_share_nothing(family: Any) -> None:
    first, second = family.config(**TINY), family.config(**TINY)
    first.languages.append("de")
    first.bridge_layers.append(1)
    assert (second.languages, second.bridge_layers) == (["en"], [])
