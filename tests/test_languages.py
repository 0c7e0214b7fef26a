"""One table of languages: every place that takes one understands the same spellings, and refuses the same.

A place is a function from what a user writes to the profiled language that is meant, or None for one that was not
profiled; what cannot be meant there is an error.  A new place that takes a language belongs into `PLACES`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from conversion.support import run_main as convert
from conversion.support import save_plain, write_corpus
from transformers import AutoModelForCausalLM

from clas_models.conversion.cli import build_parser
from clas_models.conversion.conversion import plan
from clas_models.conversion.fields import chosen_strength
from clas_models.conversion.formats.options import ExportOptions
from clas_models.conversion.formats.scaling import scaling
from clas_models.conversion.options import ConversionOptions
from clas_models.conversion.source import open_source
from clas_models.profiling.corpora import load_corpus
from clas_models.profiling.neuron_profile import NeuronProfile
from eval.cli import build_parser as evaluation_parser
from eval.lm_eval_tasks.settings import HarnessSettings
from eval.loading import Checkpoint, open_checkpoint
from eval.methods import methods_of
from eval.tasks import ExampleSource, task_of

LANGUAGES = ["en", "de", "zh"]
# What users write -> the profiled language that it means.
SPELLINGS = {
    **dict.fromkeys(("de", "DE", " de ", "deu", "ger", "de_DE", "de-AT", "deu_Latn", "German", "german"), "de"),
    **dict.fromkeys(("zh", "chi", "zho", "cmn", "zh-CN", "zh_TW", "zh-Hans", "zho_Hans", "zh-Hant", "Chinese"), "zh"),
}
NOT_PROFILED = ("sw", "swa", "swh", "swh_Latn", "sw-KE", "Swahili", "yue", "ceb")
NO_LANGUAGE = ("Germn", "cz", "Chinnese", "swahilli")  # near ones there are


class World:
    """A checkpoint on disk and in memory, and the files that it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain, self.steered = folder / "plain", folder / "steered"
        save_plain(self.plain)
        self.corpus = write_corpus(folder / "rows.jsonl")
        options = ("--corpus", self.corpus, "--bridge-layers", "2", "--detector-corpus", "none", "--quiet")
        assert convert([self.plain, "--out", self.steered, *options]) == 0
        self.model = AutoModelForCausalLM.from_pretrained(self.steered).eval()
        self.checkpoint: Checkpoint = open_checkpoint(str(self.steered))
        self.source = open_source(str(self.steered), folder)
        self.profile = NeuronProfile.load(self.steered / "neuron_profile.safetensors")
        # Strengths that tell the languages apart.
        self.strengths = {"de": 1.0, "zh": 2.0, "default": 3.0}
        self.model.set_steering(alpha=self.strengths, beta=0.9, gamma=-0.9)
        self.tokens = torch.arange(6)[None]

    def acts_as(self, run: Callable[[Any], Any], language: str) -> str | None:
        """The language whose rows come out of a model alike."""
        with torch.no_grad():
            found = run(language)
            alike = [
                code for id_, code in enumerate([*LANGUAGES, None]) if torch.equal(found, run(torch.tensor([id_])))
            ]
        assert len(alike) == 1
        return alike[0]

    def config(self, **fields: Any) -> Any:
        return type(self.model.config).from_pretrained(self.steered, **fields)

    def converted(self, *arguments: str) -> Any:
        """The fields that the converter would write with these options."""
        given = vars(build_parser().parse_args([str(self.steered), *arguments]))
        names = ("model", "alpha", "language", "anchor", "languages")
        options = ConversionOptions(**{name: given[name] for name in names}, bridge_layers="2")
        options.check()
        profile = self.profile if options.languages is None else self.profile.select(options.wanted_languages() or ())
        return SimpleNamespace(**plan(options, self.source, profile).checkpoint.fields)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("languages"))


def strongest(alpha: dict[str, float]) -> str:
    """The language that was given the strength 7."""
    return next(code for code, value in alpha.items() if value == 7)


def profiled(code: str | None, languages: list[str]) -> str | None:
    """As a configuration names it: a canonical tag, or a broader one."""
    return next((known for known in languages if code == known or str(code).startswith(f"{known}-")), None)


# ---- where a row's language is named: one that was not profiled has the default alpha


def forward(world: World, text: str) -> str | None:
    return world.acts_as(lambda language: world.model(world.tokens, language=language).logits, text)


def forward_row(world: World, text: str) -> str | None:
    def run(language: Any) -> Any:
        return world.model(world.tokens, language=[language] if isinstance(language, str) else language).logits

    return world.acts_as(run, text)


def generation(world: World, text: str) -> str | None:
    options = {"max_new_tokens": 2, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}

    def run(language: Any) -> Any:
        return torch.stack(world.model.generate(world.tokens, language=language, **options).logits)

    return world.acts_as(run, text)


def language_of_the_configuration(world: World, text: str) -> str | None:
    return profiled(world.config(language=text).language, LANGUAGES)


def language_when_loading(world: World, text: str) -> str | None:
    loaded = AutoModelForCausalLM.from_pretrained(world.steered, language=text)
    return profiled(loaded.config.language, LANGUAGES)


def language_of_the_converter(world: World, text: str) -> str | None:
    return profiled(world.converted(f"--language={text}").language, LANGUAGES)


@contextmanager
def plug_in() -> Iterator[Any]:
    """The plug-in's module for requests without vLLM, of which it uses here no more than names."""
    processors = ModuleType("vllm.v1.sample.logits_processor")
    processors.__dict__.update(BatchUpdate=object, LogitsProcessor=object, MoveDirectionality=object)
    names = (
        "vllm",
        *(f"vllm.{name}" for name in ("config", "logger", "sampling_params", "forward_context", "v1.sample")),
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, MagicMock())
        patch.setitem(sys.modules, processors.__name__, processors)
        for name in ("languages", "requests"):
            patch.delitem(sys.modules, f"clas_models.vllm_plugin.{name}", raising=False)
        yield importlib.import_module("clas_models.vllm_plugin.requests")
        for name in ("languages", "requests"):
            sys.modules.pop(f"clas_models.vllm_plugin.{name}")


def language_of_a_request_to_vllm(world: World, text: str) -> str | None:
    with plug_in() as requests:
        params = SimpleNamespace(extra_args={"language": text})
        requests.RequestLanguages.validate_params(params)
        processor = SimpleNamespace(config=world.model.config)
        id_ = requests.RequestLanguages._language_id(processor, requests._requested(params), [1])
    return [*LANGUAGES, None][id_]


# ---- where a profiled language is chosen: one that was not profiled means nothing there


def alpha_of_set_steering(world: World, text: str) -> str | None:
    with world.model.temporary_steering(alpha={text: 7}):
        return strongest(world.model.steering.alpha)


def vector_strength(world: World, text: str) -> str | None:
    return strongest(world.config(vector_strength={text: 7}).vector_strength)


def alpha_when_loading(world: World, text: str) -> str | None:
    return strongest(world.config(alpha={text: 7}).alpha)


def alpha_of_the_converter(world: World, text: str) -> str | None:
    return strongest(world.converted(f"--alpha={text}=7").alpha)


def vector_strength_of_the_converter(world: World, text: str) -> str | None:
    given = build_parser().parse_args(["m", f"--vector-strength={text}=7"]).vector_strength
    return strongest(world.config(vector_strength=chosen_strength(given, 0.0, ["de", "zh"])).vector_strength)


def anchor_of_the_converter(world: World, text: str) -> str | None:
    return str(world.converted(f"--anchor={text}").anchor_language)


def anchor_of_the_configuration(world: World, text: str) -> str | None:
    return str(world.config(anchor_language=text, alpha=1.0).anchor_language)


def languages_of_the_converter(world: World, text: str) -> str | None:
    return str(world.converted(f"--languages={text}").languages[1])


def languages_of_a_corpus(world: World, text: str) -> str | None:
    return load_corpus(str(world.corpus), languages=[text]).languages[0]


def languages_of_a_profile(world: World, text: str) -> str | None:
    return world.profile.select([text]).languages[0]


def exports(world: World, text: str) -> str | None:
    codes = ExportOptions("m", "folded", language=text).wanted_codes()
    return scaling(world.model.config, {}, codes[0]).language


def exports_of_several(world: World, text: str) -> str | None:
    codes = ExportOptions("m", "ia3", languages=(text,)).wanted_codes()
    return scaling(world.model.config, {}, codes[0]).language


def languages_of_the_evaluation(world: World, text: str) -> str | None:
    given = evaluation_parser().parse_args(["run", "m", "--tasks=perplexity", "--out=r", f"--languages={text}"])
    return next(iter(task_of("perplexity").load(given.languages, ExampleSource(corpus=str(world.corpus)))))


def acting_as(world: World, text: str) -> str | None:
    return str(methods_of([f"clas:as={text}"], world.checkpoint, {})[0].condition["language"])


def alpha_of_a_method(world: World, text: str) -> str | None:
    return strongest(methods_of([f"clas:alpha={text}=7"], world.checkpoint, {})[0].condition["alpha"])


def alpha_of_the_evaluation(world: World, text: str) -> str | None:
    given = evaluation_parser().parse_args(["run", "m", "--tasks=xnli", "--out=r", f"--alpha={text}=7"])
    return strongest(methods_of(["clas"], world.checkpoint, {"alpha": given.alpha})[0].condition["alpha"])


def language_of_the_harness(world: World, text: str) -> str | None:
    for code in ("de", "zh"):
        try:
            HarnessSettings.of({"pretrained": "m", "language": text}, "task", code)
        except ValueError as error:
            failure = error
        else:
            return code
    raise failure


OF_ROWS = [
    *(forward, forward_row, generation, language_of_the_configuration, language_when_loading),
    *(language_of_the_converter, language_of_a_request_to_vllm),
]
OF_PROFILED = [
    *(alpha_of_set_steering, vector_strength, alpha_when_loading, alpha_of_the_converter),
    *(vector_strength_of_the_converter, anchor_of_the_converter),
    *(anchor_of_the_configuration, languages_of_the_converter, languages_of_a_corpus, languages_of_a_profile),
    *(exports, exports_of_several, languages_of_the_evaluation, acting_as, alpha_of_a_method),
    *(alpha_of_the_evaluation, language_of_the_harness),
]
PLACES = [*OF_ROWS, *OF_PROFILED]

every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


@every_place
def test_every_place_understands_every_spelling(place: Callable[[World, str], str | None], world: World) -> None:
    assert {text: place(world, text) for text in SPELLINGS} == SPELLINGS


@every_place
def test_a_language_that_was_not_profiled(place: Callable[[World, str], str | None], world: World) -> None:
    for text in NOT_PROFILED:
        if place in OF_ROWS:
            assert place(world, text) is None
        else:
            with pytest.raises((ValueError, SystemExit)):
                place(world, text)


@every_place
def test_what_is_no_language_is_refused_with_the_nearest(
    place: Callable[[World, str], str | None], world: World
) -> None:
    for text in NO_LANGUAGE:
        with pytest.raises(ValueError, match=f"'?{text}'? ?.*did you mean '"):
            place(world, text)


# ---- where languages get their names: a corpus, a checkpoint


@pytest.mark.parametrize("text", [text for text, code in SPELLINGS.items() if "-" not in text and "_" not in text])
def test_keys_of_a_corpus_are_languages(text: str, tmp_path: Path) -> None:
    rows = [{"eng": "One.", text: "Eins."}, {"EN": "Two.", SPELLINGS[text]: "Zwei."}]
    corpus = load_corpus(str(write_corpus(tmp_path / "rows.jsonl", rows)))
    assert corpus.languages == ("en", SPELLINGS[text])
    assert list(corpus.rows) == [{"en": "One.", SPELLINGS[text]: "Eins."}, {"en": "Two.", SPELLINGS[text]: "Zwei."}]


def test_scripts_and_regions_are_languages_of_their_own_where_a_corpus_has_them(world: World, tmp_path: Path) -> None:
    keys = ["en", "zho_Hans", "zho_Hant", "pt", "pt_br"]
    rows = [dict.fromkeys(keys, f"row {number}") for number in range(3)]
    corpus = load_corpus(str(write_corpus(tmp_path / "rows.jsonl", rows)))
    assert corpus.languages == ("en", "zh", "zh-Hant", "pt", "pt-BR")
    config = world.config(languages=list(corpus.languages))
    assert config.languages == list(corpus.languages)
    with_tags = {
        "zh-TW": "zh",
        "zh_hant_HK": "zh-Hant",
        "por-BR": "pt-BR",
        "pt-PT": "pt",
        "Brazilian Portuguese": "pt-BR",
    }
    found = {text: strongest(world.config(languages=keys, alpha={text: 7}).alpha) for text in with_tags}
    assert found == with_tags


@pytest.mark.parametrize("wanted", [None, ["en", "de"]])
def test_two_names_of_one_language_are_refused_by_both(wanted: list[str] | None, world: World, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", [{"en": "One.", "de": "Eins.", "ger": "Eins."}])
    with pytest.raises(ValueError, match="'de' and 'ger', both de, given more than once"):
        load_corpus(str(corpus), languages=wanted)
    with pytest.raises(ValueError, match="de and ger, both de, more than once"):
        world.config(languages=["en", "de", "ger"])
    for name in ("de", "deu"):
        (tmp_path / f"dev-{name}.tsv").write_text("a\tb\tneutral\n")
    with pytest.raises(ValueError, match="'de' and 'deu', both de"):
        load_corpus("xnli", data_dir=tmp_path)


def test_a_key_that_is_no_language_is_refused_with_the_nearest(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", [{"en": "One.", "cz": "Jedna."}])
    with pytest.raises(ValueError, match=r"line 1: the key 'cz' is no language \(did you mean 'cs' \(Czech\)"):
        load_corpus(str(corpus))


def test_a_code_of_three_letters_that_the_table_lacks_may_be_profiled(world: World, tmp_path: Path) -> None:
    corpus = load_corpus(str(write_corpus(tmp_path / "rows.jsonl", [{"en": "One.", "qaa": "Uno."}])), languages=["QAA"])
    assert corpus.languages == ("qaa",)
    config = world.config(languages=["en", "qaa"], alpha={"qaa": 7}, language="qaa", detector_languages=["qaa"])
    assert (config.languages, config.language, strongest(config.alpha)) == (["en", "qaa"], "qaa", "qaa")


# ---- what earlier versions wrote


def test_files_of_earlier_versions_are_read_by_their_canonical_tags(world: World, tmp_path: Path) -> None:
    old = world.profile.__class__(**{**vars(world.profile), "languages": ("en", "zh-hans", "pt-br")})
    old.save(tmp_path / "profile.safetensors")
    assert NeuronProfile.load(tmp_path / "profile.safetensors").languages == ("en", "zh", "pt-BR")
    unclear = world.profile.__class__(**{**vars(world.profile), "languages": ("en", "zh", "zh-hans")})
    unclear.save(tmp_path / "unclear.safetensors")
    assert NeuronProfile.load(tmp_path / "unclear.safetensors").languages == ("en", "zh", "zh-hans")
    fields = json.loads((world.steered / "config.json").read_text())
    fields |= {"languages": ["en", "xx", "pt-br"], "alpha": {"xx": 2, "pt-br": 3, "default": 1}, "language": "xx"}
    config = type(world.model.config).from_dict(fields)
    assert (config.languages, config.language) == (["en", "xx", "pt-BR"], "xx")
    assert config.alpha == {"xx": 2.0, "pt-BR": 3.0, "default": 1.0}
