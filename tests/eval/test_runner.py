"""A run from end to end on tiny models: what is recorded, and what is left when it is killed or the disk is full."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import Ended
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    records,
    running,
    save_plain,
    steered_fixture,
    templates_fixture,
    write_xquad,
    written,
)
from transformers import AutoConfig

from eval.engine.choices import choose
from eval.loading import Checkpoint, open_checkpoint
from eval.predictions import Predictions
from eval.prompts import PromptBuilder, choice_ids
from eval.run_folder import RunFolder
from eval.tasks import ExampleSource, task_of
from eval.tasks.xquad import XQUAD
from eval.templates import find_templates

KILLS = 5
SEED = 7


@pytest.fixture
def arguments(steered: Path, data: Path, templates: Path) -> list[object]:
    """Of a run on the first eight pairs in three languages, without --out."""
    return [
        *("run", steered, "--tasks", "xnli", "--methods", "base,int-mean,clas", "--languages", "en,de,zh"),
        *("--samples", 8, "--data-dir", data, "--templates", templates, "--batch-size", 2),
    ]


# ---- what is recorded


def test_records_are_what_the_engine_answers(
    arguments: list[object], evaluation: Any, steered: Path, data: Path, templates: Path, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    task = task_of("xnli")
    checkpoint = open_checkpoint(str(steered))
    examples = task.load(["de"], ExampleSource(data_dir=data, samples=8))["de"]
    builder = PromptBuilder(checkpoint.tokenizer, find_templates("xnli", templates), task)
    prompts = [builder.build(example, "de").ids for example in examples]
    model, tokens = checkpoint.load(), choice_ids(checkpoint.tokenizer, task)
    for method, alpha in (("base", 0.0), ("clas", 4.0)):
        with model.temporary_steering(alpha=alpha):
            expected = {
                examples[index].key: int(row.argmax())
                for batch, logits in choose(model, prompts, tokens, "de", batch_size=2)
                for index, row in zip(batch, logits[0], strict=True)
            }
        found = records(tmp_path / "run", "xnli", method, "de")
        assert {record.key: record.prediction for record in found} == expected
        for record in found:
            example = next(example for example in examples if example.key == record.key)
            assert record.gold == example.gold
            assert record.scores == {"accuracy": float(record.prediction == example.gold[0])}
            assert record.shown == example.fields["hypothesis"]
            assert record.tokens == len(prompts[examples.index(example)])
            assert (record.cut, record.bytes) == (0, 0)


def test_the_anchor_is_base_under_every_method_and_others_are_not(
    arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    files = {
        (method, language): (tmp_path / "run" / "predictions" / "xnli" / method / f"{language}.jsonl").read_bytes()
        for method in ("base", "int-mean", "clas")
        for language in ("en", "zh")
    }
    assert files["base", "en"] == files["int-mean", "en"] == files["clas", "en"]
    assert files["base", "zh"] != files["clas", "zh"]


def test_methods_together_or_alone_give_the_same_bytes(
    arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "together")
    for method in ("base", "clas", "int-mean"):
        evaluation.made(*arguments, "--methods", method, "--out", tmp_path / method)
        alone = contents(tmp_path / method)
        del alone["run.json"]
        assert len(alone) == 3
        together = contents(tmp_path / "together")
        assert alone == {name: together[name] for name in alone}


def test_generation_and_perplexity_are_recorded_too(
    steered: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    ended = evaluation.made(
        *("run", steered, "--tasks", "xquad,perplexity", "--languages", "de", "--samples", 3, "--data-dir", data),
        *("--templates", templates, "--out", tmp_path / "run"),
    )
    answers = records(tmp_path / "run", "xquad", "clas", "de")
    assert set(answers[0].scores) == {"f1", "exact_match", "mlqa_f1", "mlqa_exact_match"}
    assert answers[0].gold == ("Brot",)
    assert all(isinstance(record.prediction, str) and record.shown.endswith("?") for record in answers)
    texts = records(tmp_path / "run", "perplexity", "base", "de")
    for record in texts:
        assert record.scores == {"nats": record.prediction}
        # every byte is a token, and the first has no probability
        assert record.tokens == record.bytes - 1 > 0
    mean = sum(record.scores["nats"] for record in texts) / sum(record.tokens for record in texts)
    assert f"{mean:.4f}" in ended.out


def test_settings_tell_what_predictions_depend_on(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    settings = RunFolder.open(tmp_path / "run").settings
    assert (settings.command, settings.samples, settings.anchor_language) == ("run", 8, "en")
    assert settings.languages == {"xnli": ["en", "de", "zh"]}
    assert list(settings.methods) == ["base", "int-mean", "clas"]
    assert settings.other["metrics"] == {"xnli": ["accuracy"]}
    assert (settings.other["dtype"], settings.other["batch_size"]) == ("float32", 2)


def test_a_context_is_cut_and_counted(steered: Path, templates: Path, evaluation: Any, tmp_path: Path) -> None:
    data = write_xquad(tmp_path / "data", paragraphs=2, questions=2, languages=["de"])
    ended = evaluation.made(
        *("run", steered, "--tasks", "xquad", "--methods", "base", "--data-dir", data, "--templates", templates),
        *("--max-length", 80, "--out", tmp_path / "run"),
    )
    found = records(tmp_path / "run", "xquad", "base", "de")
    assert "xquad: 4 of 4 prompts (de 4) have more than 80 tokens and lose the end of their context" in ended.err
    assert "xquad: 4 of 4 prompts cut to 80 tokens" in ended.out
    assert all(record.cut > 0 and record.tokens <= 80 for record in found)


def test_by_default_a_prompt_has_the_room_of_the_model(
    steered: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    data = write_xquad(tmp_path / "data", paragraphs=2, questions=2, languages=["de"])
    ended = evaluation.made(
        *("run", steered, "--tasks", "xquad", "--methods", "base", "--data-dir", data, "--templates", templates),
        *("--out", tmp_path / "run"),
    )
    room = AutoConfig.from_pretrained(steered).max_position_embeddings - XQUAD.max_new_tokens
    assert RunFolder.open(tmp_path / "run").settings.other["max_length"] == {"xquad": room}
    assert all(record.cut == 0 for record in records(tmp_path / "run", "xquad", "base", "de"))
    assert "lose the end" not in ended.err


def test_the_batch_size_changes_no_prediction_here(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    for size in (1, 5):
        evaluation.made(*arguments, "--batch-size", size, "--out", tmp_path / str(size))
    found = [
        {record.key: record.prediction for record in records(tmp_path / size, "xnli", "clas", "de")} for size in "15"
    ]
    assert found[0] == found[1]


def test_a_run_of_a_checkpoint_that_steers_nothing_says_so(
    arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    said = (
        "clas: its strengths are 0 in every language, so it is base; give others in its name, as clas:alpha=1 or "
        "vectors:strength=2"
    )
    fewer = [*arguments, "--samples", 2, "--methods", "base,clas"]
    assert said in evaluation.made(*fewer, "--alpha", 0, "--out", tmp_path / "none").err
    assert "strengths are 0" not in evaluation.made(*fewer, "--alpha", "de=1,default=0", "--out", tmp_path / "one").err


# ---- going on


def test_a_finished_run_computes_nothing(
    arguments: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluation.made(*arguments, "--out", tmp_path / "run")
    before = contents(tmp_path / "run")
    monkeypatch.setattr(Checkpoint, "load", lambda self: pytest.fail("the weights are loaded"))
    again = evaluation.made(*arguments, "--out", tmp_path / "run")
    assert again.out == first.out
    assert "goes on, 72 predictions are there already" in again.err
    assert contents(tmp_path / "run") == before


def test_a_method_more_leaves_those_that_are_done(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "whole")
    run = tmp_path / "run"
    evaluation.made(*arguments, "--methods", "base", "--out", run)
    base = run / "predictions" / "xnli" / "base" / "de.jsonl"
    before = base.stat().st_mtime_ns
    evaluation.made(*arguments, "--out", run)
    assert base.stat().st_mtime_ns == before
    assert contents(run) == contents(tmp_path / "whole")


def test_a_changed_setting_is_refused(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    before = contents(tmp_path / "run")
    said = evaluation.refused(*arguments, "--samples", 4, "--out", tmp_path / "run", "--quiet")
    assert "72 predictions of other settings are there (samples 8, now 4; other.examples.xnli" in said
    assert contents(tmp_path / "run") == before
    ended = evaluation.made(*arguments, "--samples", 4, "--out", tmp_path / "run", "--overwrite")
    assert "begun with other settings (samples 8, now 4; other.examples.xnli" in ended.err
    assert len(records(tmp_path / "run", "xnli", "clas", "de")) == 4


# ---- more of something


@pytest.fixture
def growing(arguments: list[object]) -> list[list[object]]:
    """Commands that each add something to the run of the one before."""
    return [
        [*arguments, "--methods", "base", "--samples", 4, "--languages", "en,de"],
        [*arguments, "--methods", "base,clas", "--samples", 7, "--languages", "en,de"],
        [*arguments, "--methods", "base,clas", "--samples", 8],
        [*arguments, "--methods", "base,clas,int-mean", "--samples", 12],
    ]


def test_more_samples_leave_those_that_are_done(
    growing: list[list[object]], arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    run, computed, before = tmp_path / "run", [], {}
    for command in growing:
        ended = evaluation.made(*command, "--out", run)
        now = contents(run)
        for name, content in before.items():
            assert name == "run.json" or now[name].startswith(content)
        computed.append(ended)
        before = now
    evaluation.made(*growing[-1], "--out", tmp_path / "whole")
    for method in ("base", "clas", "int-mean"):
        for language in ("en", "de", "zh"):
            found, expected = (
                {record.key: record.prediction for record in records(folder, "xnli", method, language)}
                for folder in (run, tmp_path / "whole")
            )
            assert found == expected
            assert len(found) == 12
    assert RunFolder.open(run).settings.other["parts"] == [4, 7, 8]
    assert "goes on, 72 predictions are there already" not in computed[-1].err
    ended = evaluation.made(*growing[-1], "--out", run)
    assert "goes on, 108 predictions are there already" in ended.err
    assert contents(run) == before


def test_rows_that_are_skipped_make_another_run(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    run = [*arguments, "--methods", "base,clas", "--out", tmp_path / "run"]
    evaluation.made(*run, "--skip", 3, "--samples", 4)
    assert RunFolder.open(tmp_path / "run").settings.other["skip"] == 3
    assert {record.key for record in records(tmp_path / "run", "xnli", "clas", "de")} == {"4", "5", "6", "7"}
    before = contents(tmp_path / "run")
    for other in ([], ["--skip", 4]):
        assert "skip 3, now" in evaluation.refused(*run, *other, "--samples", 4)
    assert contents(tmp_path / "run") == before
    evaluation.made(*run, "--skip", 3, "--samples", 6)  # more samples after the same ones
    for name, content in before.items():
        assert name == "run.json" or contents(tmp_path / "run")[name].startswith(content)
    assert {record.key for record in records(tmp_path / "run", "xnli", "clas", "de")} == set("456789")


def test_what_a_method_has_more_than_a_new_one_is_not_computed_again(
    arguments: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    evaluation.made(*arguments, "--methods", "base", "--samples", 8, "--out", run)
    base = run / "predictions" / "xnli" / "base" / "de.jsonl"
    before = base.read_bytes()
    sizes = []

    def watch(self: Any, lines: Any, append: Any = Predictions.append) -> None:
        append(self, lines)
        sizes.append(base.stat().st_size)

    monkeypatch.setattr(Predictions, "append", watch)
    evaluation.made(*arguments, "--methods", "base,clas", "--samples", 12, "--out", run)
    assert min(sizes) >= len(before)
    assert base.read_bytes().startswith(before)


@pytest.mark.slow
def test_killed_while_it_is_extended_a_run_ends_as_if_never_stopped(
    growing: list[list[object]], evaluation: Any, tmp_path: Path
) -> None:
    for command in growing:
        evaluation.made(*command, "--out", tmp_path / "whole")
    sizes = []
    for command in growing:
        with running([*command, "--out", tmp_path / "run"], tmp_path) as process:
            process.wait_while(lambda: written(tmp_path / "run") <= sum(sizes))
            process.kill()
        sizes.append(written(tmp_path / "run") if (tmp_path / "run" / "predictions").exists() else 0)
        evaluation.made(*command, "--out", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_foreign_file_is_never_written_over(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    assert "not empty (thesis.tex)" in evaluation.refused(*arguments, "--out", tmp_path / "run", "--overwrite")


def test_a_foreign_file_among_the_predictions_is_refused(
    arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    folder = tmp_path / "run" / "predictions" / "xnli" / "clas"
    shutil.copyfile(folder / "de.jsonl", folder / "half.jsonl")
    (folder / "de.jsonl").write_bytes(b"".join(reversed((folder / "half.jsonl").read_bytes().splitlines(True)[:6])))
    ended = evaluation(*arguments, "--out", tmp_path / "run")
    assert ended.status == 2
    assert f"{folder / 'de.jsonl'}, line 1: example" in ended.err


# ---- killed


def kill_and_go_on(arguments: list[object], run: Path, total: int, kills: int, seed: int) -> None:
    """Kill a run at random moments, some before it has done anything, and then let it end."""
    draw = random.Random(seed)
    moments = sorted(draw.randrange(total) for _ in range(kills))
    for moment in moments:
        with running([*arguments, "--out", run], run.parent) as process:
            if draw.random() < 0.2:
                process.wait(draw.uniform(0, 0.5))
            else:
                process.wait_while(lambda moment=moment: written(run) <= moment)  # type: ignore[misc]
                process.wait(draw.uniform(0, 0.02))
            process.kill()
    with running([*arguments, "--out", run], run.parent) as process:
        ended = process.end()
    assert ended.status == 0, ended.err


@pytest.mark.slow
def test_killed_while_it_generates_a_run_ends_as_if_never_stopped(
    steered: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    arguments: list[object] = [
        *("run", steered, "--tasks", "xquad", "--languages", "de,zh", "--data-dir", data, "--templates", templates),
        *("--methods", "base,int-mean,clas", "--batch-size", 3),
    ]
    evaluation.made(*arguments, "--out", tmp_path / "whole")
    kill_and_go_on(arguments, tmp_path / "run", written(tmp_path / "whole"), KILLS, SEED)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_on_a_full_disk_a_run_says_one_line_and_goes_on_later(
    arguments: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--samples", 12, "--out", tmp_path / "whole")
    run = tmp_path / "run"
    command = [*arguments, "--samples", 12, "--out", run]
    settings = (tmp_path / "whole" / "run.json").stat().st_size
    predictions = (tmp_path / "whole" / "predictions" / "xnli" / "base" / "en.jsonl").stat().st_size
    assert settings < predictions - 100, "the settings must fit where the predictions do not"
    with running([*command, "--quiet"], tmp_path, largest_file=predictions - 100) as process:
        ended = process.end()
    assert ended.status == 2
    assert ended.err.startswith(f"python -m eval: error: {run}")
    assert ended.err.endswith("File too large; free or choose another disk and run again\n")
    assert ended.err.count("\n") == 1
    assert written(run) > 0
    evaluation.made(*command)
    assert contents(run) == contents(tmp_path / "whole")


def test_an_interrupted_run_says_how_to_go_on(
    arguments: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "whole")
    appended = []

    def interrupt(self: Any, lines: Any, append: Any = Predictions.append) -> None:
        appended.append(lines)
        if len(appended) == 5:
            raise KeyboardInterrupt
        append(self, lines)

    with monkeypatch.context() as patched:
        patched.setattr(Predictions, "append", interrupt)
        ended = evaluation(*arguments, "--quiet", "--out", tmp_path / "run")
    assert ended == Ended(130, "", "python -m eval: error: stopped; run the same command again to go on\n")
    evaluation.made(*arguments, "--out", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_plain_checkpoint_runs_with_base_and_says_so(
    data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    plain = save_plain(tmp_path / "plain")
    ended = evaluation.made(
        *("run", plain, "--tasks", "xnli", "--languages", "de", "--data-dir", data, "--templates", templates),
        *("--out", tmp_path / "run"),
    )
    assert f"{plain}: a plain checkpoint, so base is the only method\n" in ended.err
    assert len(records(tmp_path / "run", "xnli", "base", "de")) == 12
