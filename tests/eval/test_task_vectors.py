"""Vectors from the prompts of a task, in a checkpoint, and as methods: one tiny model through all commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conversion.support import run_main as run_converter
from run_helpers import evaluation_fixture, records, save_plain, write_choices  # noqa: F401
from transformers import AutoModelForCausalLM

from clas_models.errors import InputError
from clas_models.profiling.language_vectors import LanguageVectors
from eval.grid import Grid, grid_methods
from eval.jobs import Job
from eval.loading import open_checkpoint
from eval.method_tables import grouped
from eval.methods import methods_of
from eval.run_options import RunOptions

LANGUAGES = "en,de,zh"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain`; `data` with choices in four languages; `vectors.safetensors` of three; `steered`, with them in it."""
    folder = tmp_path_factory.mktemp("vectors")
    save_plain(folder / "plain")
    write_choices(folder / "data", rows=24)
    (folder / "mmmlu.txt").write_text("{question}|{a}|{b}|{c}|{d}")
    data = folder / "data" / "mmmlu"
    made = ("vectors", folder / "plain", "--task", "mmmlu", "--data-dir", data, "--languages", LANGUAGES)
    assert evaluate(*made, "--samples", 8, "--templates", folder / "mmmlu.txt", "--out", file(folder), "--quiet") == 0
    convert = (folder / "plain", "--vectors", file(folder), "--vector-layers", 2, "--vector-strength", "de=6,default=4")
    assert run_converter([*convert, "--detector-corpus", "none", "--out", folder / "steered", "--quiet"]) == 0
    return folder


def evaluate(*arguments: object) -> int:
    from run_helpers import run_main

    return run_main(arguments)


def file(world: Path) -> Path:
    return world / "vectors.safetensors"


def common(world: Path, model: str = "steered") -> list[object]:
    """Arguments on examples that the vectors were not made from."""
    return [
        *(world / model, "--data-dir", world / "data" / "mmmlu", "--languages", LANGUAGES, "--batch-size", 4),
        *("--skip", 8, "--samples", 16, "--templates", world / "mmmlu.txt"),
    ]


# ---- the command


def test_they_are_the_differences_at_the_prompts_last_tokens(world: Path) -> None:
    vectors = LanguageVectors.load(file(world))
    assert (vectors.languages, vectors.anchor, vectors.pairs.tolist()) == (("de", "zh"), "en", [8, 8])
    assert vectors.provenance.corpus == ("mmmlu",)
    data, templates = world / "data" / "mmmlu", world / "mmmlu.txt"
    options = RunOptions(str(world / "plain"), Path(), ("mmmlu",), ("en", "de"), 8, data_dir=data, templates=templates)
    job = Job.of("mmmlu", options, options.open())
    model = AutoModelForCausalLM.from_pretrained(world / "plain")

    def states(ids: tuple[int, ...]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        hooks = [layer.register_forward_hook(lambda _, a, out: seen.append(out[0, -1])) for layer in model.model.layers]
        with torch.inference_mode():
            model(torch.tensor([ids]))
        for hook in hooks:
            hook.remove()
        return torch.stack(seen).double()

    pairs = zip(job.prompts("en"), job.prompts("de"), strict=True)
    expected = torch.stack([states(english.ids) - states(german.ids) for english, german in pairs]).mean(0)
    torch.testing.assert_close(vectors.mean[0], expected, rtol=1e-5, atol=1e-6)


def test_the_summary_has_a_line_a_layer_and_what_comes_next(world: Path, evaluation: Any, tmp_path: Path) -> None:
    made = [*("vectors", world / "plain", "--task", "mmmlu", "--data-dir", world / "data" / "mmmlu")]
    made += ["--samples", 4, "--templates", world / "mmmlu.txt", "--languages", "de,zh", "--out", tmp_path / "v.st"]
    ended = evaluation.made(*made)  # the anchor is added
    lines = ended.out.splitlines()
    assert lines[0] == "vectors of 2 languages towards en, 4 pairs each, state: last"
    assert [line.split()[0] for line in lines[2:9]] == ["layer", *map(str, range(6))]
    assert lines[-1].startswith("Put them into a checkpoint: python convert.py ")
    before = (tmp_path / "v.st").read_bytes()
    assert "it is there; give another --out, or --overwrite to replace it" in evaluation.refused(*made)
    assert (tmp_path / "v.st").read_bytes() == before
    evaluation.made(*made, "--overwrite", "--state", "mean")
    assert LanguageVectors.load(tmp_path / "v.st").state == "mean"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samples", 1), "1 pairs of texts in en and de: a vector needs at least 2"),
        (("--languages", "en"), "en is its only language"),
        (("--state", "first"), "state 'first': choose one of last, mean"),
        (("--task", "magic"), "unknown task 'magic'"),
    ],
)
def test_what_no_vectors_can_be_made_of(
    options: tuple[object, ...], said: str, world: Path, evaluation: Any, tmp_path: Path
) -> None:
    made = [*("vectors", world / "plain", "--task", "mmmlu", "--data-dir", world / "data" / "mmmlu", "--samples", 4)]
    made += ["--languages", "en,de", "--templates", world / "mmmlu.txt", "--out", tmp_path / "v", "--quiet", *options]
    assert said in evaluation.refused(*made)
    assert not (tmp_path / "v").exists()


def test_an_anchor_that_is_not_in_the_data(world: Path, evaluation: Any, tmp_path: Path) -> None:
    data = Path(shutil.copytree(world / "data" / "mmmlu", tmp_path / "data"))
    (data / "m_mmlu_val.en.jsonl").unlink()
    made = ("vectors", world / "plain", "--task", "mmmlu", "--data-dir", data, "--out", tmp_path / "v", "--quiet")
    assert "anchor 'en': mmmlu has de, sw, zh" in evaluation.refused(*made, "--templates", world / "mmmlu.txt")


# ---- methods


def test_methods_say_what_is_in_force(world: Path) -> None:
    checkpoint = open_checkpoint(str(world / "steered"))
    names = ["vectors", "vectors:strength=2,layer=4/1,positions=all", "vectors:as=zh"]
    own, other, acting = methods_of(names, checkpoint, {})
    own_strength = {"de": 6.0, "default": 4.0}
    assert own.described == {
        "kind": "vectors", "vector_layers": [2], "vector_strength": own_strength, "vector_positions": "last"
    }  # fmt: skip
    assert other.name == "vectors:layer=1/4,strength=2,positions=all"
    assert other.condition == {"alpha": 0.0, "vector_strength": 0.0, "vectors": {1: 2.0, 4: 2.0}}
    assert acting.described["as"] == "zh"
    assert [method.name for method in methods_of(None, checkpoint, {})] == ["base", "vectors"]


def test_methods_on_the_same_tokens_are_computed_together(world: Path) -> None:
    checkpoint = open_checkpoint(str(world / "steered"))
    names = ["base", "vectors", "vectors:layer=4", "vectors:positions=all"]
    first, second = grouped(methods_of(names, checkpoint, {}), checkpoint)
    assert [method.name for method in first.methods] == names[:3]
    assert (sorted(first.vectors or {}), first.positions, second.positions) == ([2, 4], "last", "all")
    alone = grouped(methods_of(["vectors"], checkpoint, {}), checkpoint)[0]
    assert alone.digest(alone.methods[0]) == first.digest(first.methods[1])
    assert first.digest(first.methods[0]) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vectors:layer=9", r"layers \[9\] for vectors: layers are 0 to 5"),
        ("vectors:layer=2/2", "layer=2/2: a layer stands there twice"),
        ("vectors:layer=x", "write a whole number"),
        ("vectors:strength=en=1/default=0", "the anchor language 'en' is never steered"),
        ("vectors:positions=first", "choose one of last, generated, all"),
    ],
)
def test_methods_that_cannot_be(name: str, said: str, world: Path) -> None:
    checkpoint = open_checkpoint(str(world / "steered"))
    with pytest.raises(InputError, match=said):
        grouped(methods_of([name], checkpoint, {}), checkpoint)


def test_other_layers_need_the_file_that_the_checkpoint_carries(world: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(world / "steered", tmp_path / "copy"))
    (folder / "steering_vectors.safetensors").unlink()
    checkpoint = open_checkpoint(str(folder))
    assert grouped(methods_of(["vectors"], checkpoint, {}), checkpoint)[0].vectors
    with pytest.raises(InputError, match=r"no steering_vectors.safetensors in its folder"):
        grouped(methods_of(["vectors:layer=3"], checkpoint, {}), checkpoint)


def test_a_checkpoint_without_vectors_says_how_to_get_some(world: Path, tmp_path: Path) -> None:
    plain = open_checkpoint(str(world / "plain"))
    with pytest.raises(InputError, match="a plain checkpoint, which only base can be run with"):
        methods_of(["vectors"], plain, {})


# ---- run, grid and tune


def test_a_run_is_what_the_checkpoint_does(world: Path, evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made("run", *common(world), "--tasks", "mmmlu", "--out", tmp_path / "run")
    assert "not of unseen text" not in ended.err
    model = AutoModelForCausalLM.from_pretrained(world / "steered")
    job = Job.of("mmmlu", _options(world), open_checkpoint(str(world / "steered")))
    for language in ("en", "de", "zh"):
        base = records(tmp_path / "run", "mmmlu", "base", language)
        found = {each.key: each for each in records(tmp_path / "run", "mmmlu", "vectors", language)}
        changed = sum(found[each.key].choice_scores != each.choice_scores for each in base)
        assert changed == (0 if language == "en" else 16)
        for example, prompt in list(zip(job.examples[language], job.prompts(language), strict=True))[:4]:
            with torch.inference_mode():
                logits = model(torch.tensor([prompt.ids]), language=language).logits[0, -1, list(job.choices)]
            assert found[example.key].choice_scores == pytest.approx(logits.log_softmax(-1).tolist(), abs=1e-4)
    assert "no vector: sw; there vectors equals base" in evaluation.made(
        "run", *common(world), "--languages", "en,sw", "--tasks", "mmmlu", "--out", tmp_path / "swahili"
    ).err  # fmt: skip


def test_examples_that_vectors_were_made_from_are_told(world: Path, evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made("run", *common(world), "--skip", 6, "--tasks", "mmmlu", "--out", tmp_path / "run")
    assert "examples were profiled" in ended.err


def test_a_grid_of_layers_and_strengths(world: Path, evaluation: Any, tmp_path: Path) -> None:
    grid = ("grid", *common(world), "--task", "mmmlu", "--vector-layers", "1,4", "--vector-strength=-2,3")
    ended = evaluation.made(*grid, "--out", tmp_path / "grid")
    names = [f"vectors:layer={layer},strength={strength}" for layer in (1, 4) for strength in (-2, 3)]
    assert [line.split()[0] for line in ended.out.splitlines()[2:7]] == ["base", *names]
    one = ("run", *common(world), "--tasks", "mmmlu", "--methods", names[2], "--out", tmp_path / "one")
    evaluation.made(*one)
    for language in ("de", "zh"):
        together = records(tmp_path / "grid", "mmmlu", names[2], language)
        alone = records(tmp_path / "one", "mmmlu", names[2], language)
        assert [each.prediction for each in together] == [each.prediction for each in alone]
        assert together[0].choice_scores == pytest.approx(alone[0].choice_scores, abs=1e-4)
    evaluation.made("report", tmp_path / "grid")
    report = (tmp_path / "grid" / "report" / "report.md").read_text()
    assert "| strength | layer |" in report.replace("  ", " ") or "strength" in report
    assert (tmp_path / "grid" / "report" / "figures").is_dir()


def test_what_is_tried_where_nobody_names_it(world: Path) -> None:
    checkpoint = open_checkpoint(str(world / "steered"))
    nothing_said = Grid().completed(checkpoint)
    assert (nothing_said.kind, nothing_said.vector_layers) == ("vectors", "1,2,3,4,5"), "it has vectors alone"
    assert nothing_said.vector_strength == (-1.0, 1.0, 2.0, 3.0)
    assert Grid(vector_positions="all").completed(checkpoint, layers=(2,)).vector_layers == "2"
    assert Grid(alpha=(1.0,)).completed(checkpoint).kind == "clas"
    assert Grid(alpha=(1.0,), vector_layers="2").completed(checkpoint).kind == "clas+vectors"
    both = grid_methods(Grid((2.0,), vector_layers="2", vector_strength=(1.0,)), checkpoint)
    assert [each.name for each in both] == ["base", "clas+vectors:alpha=2,beta=0.4,gamma=0.2,layer=2,strength=1"]


def test_tune_chooses_a_layer_for_all_and_a_strength_for_each(world: Path, evaluation: Any, tmp_path: Path) -> None:
    tune = ("tune", *common(world), "--task", "mmmlu", "--vector-layers", "1,4", "--vector-strength=-9,9")
    ended = evaluation.made(*tune, "--out", tmp_path / "tune")
    found = json.loads((tmp_path / "tune" / "tune.json").read_text())
    assert (found["dial"], list(found["languages"])) == ("vector_strength", ["de", "zh"])
    assert found["layer"] in (1, 4)
    assert set(found["languages"]["de"]["candidates"]) == {"0", "-9", "9"}
    assert f"vectors after layer {found['layer']}, the best of all languages" in ended.out
    kept = any(each["kept"] for each in found["languages"].values())
    assert (f"--vector-layers {found['layer']} --vector-strength " in ended.out) == kept
    evaluation.made("report", tmp_path / "tune")
    assert "tuned vectors" in (tmp_path / "tune" / "report" / "report.md").read_text()
    refused = evaluation.refused(*tune, "--write", "--out", tmp_path / "other")
    assert "--write changes strengths, and" in refused
    assert "alpha or vectors, one after the other" in evaluation.refused(*tune, "--alpha", 1, "--out", tmp_path / "o")


def test_tune_writes_the_strengths_of_the_layer_that_there_is(world: Path, evaluation: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(world / "steered", tmp_path / "checkpoint"))
    arguments = common(world)
    arguments[0] = folder
    tune = ("tune", *arguments, "--task", "mmmlu", "--vector-strength=-9,9", "--write")
    ended = evaluation.made(*tune, "--out", tmp_path / "tune")
    strength = json.loads((tmp_path / "tune" / "tune.json").read_text())["vector_strength"]
    assert json.loads((folder / "config.json").read_text())["vector_strength"] == strength
    assert f"In force from now on, in {folder}: vector strength " in ended.out
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.steering.vector_strength == {"en": 0.0, **strength}


def _options(world: Path) -> RunOptions:
    model, data, templates = str(world / "steered"), world / "data" / "mmmlu", world / "mmmlu.txt"
    return RunOptions(model, Path(), ("mmmlu",), ("en", "de", "zh"), 16, 8, data_dir=data, templates=templates)
