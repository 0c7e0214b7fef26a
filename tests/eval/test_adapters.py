"""An evaluation with an adapter: its head or its text, its own prompts, its place in the settings, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from adapter_helpers import CPU, LABELS, save_adapter, wrapped
from conftest import DATA, byte_tokenizer
from real_models import REAL_MODELS
from run_helpers import (  # noqa: F401
    CHAT,
    contents,
    data_fixture,
    evaluation_fixture,
    records,
    steered_fixture,
    templates_fixture,
    write_belebele,
)

from clas_models.conversion.source import open_source
from clas_models.errors import InputError
from clas_models.finetuning.adapted_model import load_adapted
from clas_models.finetuning.adapter import CONFIG_NAME
from clas_models.finetuning.adapter_record import RECORD_NAME, AdapterRecord
from eval.adapters import trained_prompts
from eval.jobs import Job
from eval.loading import open_checkpoint
from eval.report.collect import collect
from eval.run_folder import RunFolder
from eval.run_options import RunOptions
from eval.tasks import Example, ExampleSource, task_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT, when a test makes an adapter
XNLI, XQUAD = task_of("xnli"), task_of("xquad")
METHODS = "base,clas:alpha=3,clas:alpha=-2,int:select=lape,value=zero,int:select=categories,value=zero"


@pytest.fixture(scope="module")
def head(steered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of XNLI; as a folder that is called `target-hi`."""
    return save_adapter(tmp_path_factory.mktemp("adapters") / "target-hi", open_source(str(steered), steered))


@pytest.fixture(scope="module")
def generative(steered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = open_source(str(steered), steered)
    record: dict[str, Any] = {"labels": (), "task": "xquad", "template": "{context}~{question}=", "max_length": 200}
    return save_adapter(tmp_path_factory.mktemp("adapters") / "answers", source, **record)


@pytest.fixture
def arguments(steered: Path, data: Path, head: Path) -> list[object]:
    """Of a run of the classifier without --out."""
    return ["run", steered, "--adapter", head, "--tasks", "xnli", "--data-dir", data, "--quiet"]


def head_logits(steered: Path, adapter: Path, example: Example, **steering: Any) -> torch.Tensor:
    """Of the classifier's own forward pass over the tokens of the filled template alone."""
    model = load_adapted(open_source(str(steered), steered), adapter, "float32", CPU)
    ids = byte_tokenizer()(f"{example.fields['premise']}>{example.fields['hypothesis']}")["input_ids"]
    with model.temporary_steering(**steering), torch.inference_mode():
        return model(torch.tensor([ids]), language="de").logits[0]


def test_records_are_the_logits_of_the_head(
    arguments: list[object], evaluation: Any, steered: Path, head: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    evaluation.made(*arguments, "--languages", "en,de", "--methods", METHODS, "--batch-size", 1, "--out", run)
    examples = {example.key: example for example in XNLI.load(["de"], ExampleSource(data))["de"]}
    found = {method: records(run, "xnli", method, "de") for method in RunFolder.open(run).settings.methods}
    for method, steering in (("base", {"alpha": 0.0}), ("clas:alpha=3", {"alpha": 3.0})):
        for record in found[method][:4]:
            logits = head_logits(steered, head, examples[record.key], **steering)
            expected = [float(f"{value:.9g}") for value in logits.double().log_softmax(-1).tolist()]
            assert list(record.choice_scores) == expected
            assert record.prediction == int(logits.argmax())
            assert record.scores == {"accuracy": float(record.prediction == record.gold[0])}
    assert len({tuple(record.choice_scores for record in rows) for rows in found.values()}) == len(found)
    assert len({record.prediction for rows in found.values() for record in rows}) > 1
    english = {method: records(run, "xnli", method, "en") for method in found}
    assert english["base"] == english["clas:alpha=3"]  # the anchor is never steered


def test_batches_are_each_alone_up_to_rounding(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    for size in (1, 5):
        common = ["--languages", "de", "--methods", METHODS, "--batch-size", size]
        evaluation.made(*arguments, *common, "--out", tmp_path / str(size))
    for method in RunFolder.open(tmp_path / "1").settings.methods:
        alone, together = (records(tmp_path / size, "xnli", method, "de") for size in "15")
        by_key = {record.key: record for record in together}
        for record in alone:
            assert record.choice_scores == pytest.approx(by_key[record.key].choice_scores, abs=1e-4)


def test_labels_are_matched_by_name(
    arguments: list[object], evaluation: Any, steered: Path, head: Path, tmp_path: Path
) -> None:
    order = (2, 0, 1)
    adapted = wrapped(open_source(str(steered), steered))
    score = adapted.base_model.model.score.modules_to_save.default.weight
    with torch.no_grad():
        score.copy_(score[list(order)])
    labels = tuple(LABELS[place] for place in order)
    other = save_adapter(tmp_path / "other", open_source(str(steered), steered), adapted, labels=labels)
    for adapter in (head, other):
        evaluation.made(
            *arguments,
            "--adapter",
            adapter,
            "--languages",
            "de",
            "--batch-size",
            1,
            "--out",
            tmp_path / adapter.name[:3],
        )
    for one, same in zip(*(records(tmp_path / name, "xnli", "clas", "de") for name in ("tar", "oth")), strict=True):
        assert (one.key, one.prediction) == (same.key, same.prediction)
        assert one.choice_scores == pytest.approx(same.choice_scores, abs=1e-6)


def test_the_settings_name_the_adapter(
    arguments: list[object], evaluation: Any, steered: Path, head: Path, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--languages", "de", "--samples", 2, "--out", tmp_path / "run")
    settings = RunFolder.open(tmp_path / "run").settings
    adapter = open_checkpoint(str(steered), adapter=head).adapter
    assert adapter is not None
    assert settings.other["adapter"] == {"folder": str(head), "digest": adapter.digest}
    assert (settings.other["scoring"], settings.other["chat_template"]) == ("head", False)
    assert settings.other["max_length"] == {"xnli": 128}
    assert settings.model == f"{steered} + target-hi"
    assert collect([tmp_path / "run"])[0].model_name == f"{steered.name} + target-hi"


def test_without_one_nothing_is_said_of_it(
    arguments: list[object], evaluation: Any, steered: Path, templates: Path, tmp_path: Path
) -> None:
    plain = [argument for argument in arguments if argument != "--adapter" and "target-hi" not in str(argument)]
    options = ["--languages", "de", "--samples", 2, "--templates", templates, "--out", tmp_path / "run"]
    evaluation.made(*plain, *options)
    settings = RunFolder.open(tmp_path / "run").settings
    assert settings.model == str(steered)
    assert {"adapter", "scoring"}.isdisjoint(settings.other)
    assert settings.other["chat_template"] is True


def test_a_run_is_of_one_adapter(
    arguments: list[object], evaluation: Any, head: Path, templates: Path, tmp_path: Path
) -> None:
    run = [*arguments, "--languages", "de", "--out", tmp_path / "run"]
    evaluation.made(*run)
    before = contents(tmp_path / "run")
    moved = shutil.copytree(head, tmp_path / "moved")
    evaluation.made(*run, "--adapter", moved)  # the same files in another place go on
    predictions = {name: content for name, content in contents(tmp_path / "run").items() if name != "run.json"}
    assert predictions.items() <= before.items()
    record = AdapterRecord.load(moved)
    replace(record, training={"setup": "other"}).save(moved)
    said = evaluation.refused(*run, "--adapter", moved)
    assert "predictions of other settings are there" in said
    assert "adapter.digest" in said
    file = tmp_path / "run" / "predictions" / "xnli" / "base" / "de.jsonl"
    file.write_bytes(file.read_bytes()[:-50])
    evaluation.made(*run)
    assert contents(tmp_path / "run") == before


def test_a_fingerprint_is_the_checkpoints_own_without_one(steered: Path, head: Path, generative: Path) -> None:
    found = [open_checkpoint(str(steered), adapter=adapter).fingerprint for adapter in (None, head, generative)]
    assert len(set(found)) == 3
    bare = replace(open_checkpoint(str(steered), adapter=head), adapter=None)
    assert bare.fingerprint == found[0] == open_checkpoint(str(steered)).fingerprint


def test_prompts_are_those_of_training(steered: Path, data: Path, head: Path) -> None:
    options = RunOptions(str(steered), Path("run"), ("xnli",), ("de",), data_dir=data, adapter=head)
    job = Job.of("xnli", options, options.open())
    record = AdapterRecord.load(head)
    builder = trained_prompts(record, byte_tokenizer())
    for example, prompt in zip(job.examples["de"], job.prompts("de"), strict=True):
        assert builder.build(example, "de") == prompt
        text = f"{example.fields['premise']}>{example.fields['hypothesis']}"
        assert list(prompt.ids) == byte_tokenizer()(text)["input_ids"]


def test_a_long_premise_is_cut_and_a_long_hypothesis_refused() -> None:
    builder = trained_prompts(
        AdapterRecord("b", "f", "xnli", LABELS, "{premise}>{hypothesis}", False, 12), byte_tokenizer()
    )
    prompt = builder.build(Example("1", {"premise": "0123456789", "hypothesis": "abcde"}, (0,)), "de")
    assert (prompt.text, prompt.cut) == ("012345>abcde", 4)
    with pytest.raises(InputError, match="that is without its premise, the maximum length is 12"):
        builder.build(Example("1", {"premise": "0", "hypothesis": "abcdefghijklm"}, (0,)), "de")


def test_the_chat_template_is_the_records_to_use() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT
    record = AdapterRecord("b", "f", "xnli", LABELS, "{premise}>{hypothesis}", True, 64)
    example = Example("1", {"premise": "a", "hypothesis": "b"}, (0,))
    assert trained_prompts(record, tokenizer).build(example, "de").text == "<s>a>b</s><s>"
    assert trained_prompts(replace(record, chat_template=False), tokenizer).build(example, "de").text == "a>b"


def test_a_template_of_other_places_is_refused() -> None:
    record = AdapterRecord("b", "f", "xnli", LABELS, "{premise}", False, 64)
    with pytest.raises(InputError, match=r"template of an adapter for xnli: missing place \{hypothesis\}"):
        trained_prompts(record, byte_tokenizer())


def test_a_generative_adapter_answers_in_words(
    evaluation: Any, steered: Path, data: Path, templates: Path, generative: Path, tmp_path: Path
) -> None:
    common = ["run", steered, "--adapter", generative, "--languages", "de", "--data-dir", data, "--quiet"]
    evaluation.made(*common, "--tasks", "xquad", "--methods", "clas", "--batch-size", 1, "--out", tmp_path / "run")
    checkpoint = open_checkpoint(str(steered), adapter=generative)
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    examples = {example.key: example for example in XQUAD.load(["de"], ExampleSource(data))["de"]}
    found = records(tmp_path / "run", "xquad", "clas", "de")
    assert len(found) == len(examples)
    for record in found[:2]:
        fields = examples[record.key].fields
        ids = torch.tensor([tokenizer(f"{fields['context']}~{fields['question']}=")["input_ids"]])
        mask = torch.ones_like(ids)
        written = model.generate(ids, attention_mask=mask, max_new_tokens=XQUAD.max_new_tokens, language="de")
        told = tokenizer.decode(
            written[0, ids.shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert record.prediction == told.strip()
    settings = RunFolder.open(tmp_path / "run").settings
    assert "scoring" not in settings.other
    assert settings.other["max_length"] == {"xquad": 200}
    # Of another task, and where a user says otherwise, prompts are as without an adapter.
    others = ["--tasks", "xnli,xquad", "--templates", templates, "--samples", 2, "--out", tmp_path / "others"]
    evaluation.made(*common, *others)
    job = Job.of("xquad", replace(RunOptions(str(steered), tmp_path, ("xquad",), ("de",), data_dir=data,
                                             adapter=generative), templates=templates), checkpoint)  # fmt: skip
    assert "|" in job.prompts("de")[0].text
    assert "~" not in job.prompts("de")[0].text


@pytest.mark.parametrize("command", ["grid", "tune"])
def test_grids_and_tuning_take_it(
    command: str, evaluation: Any, steered: Path, data: Path, head: Path, tmp_path: Path
) -> None:
    common = [command, steered, "--adapter", head, "--task", "xnli", "--alpha", "2,4", "--data-dir", data, "--quiet"]
    evaluation.made(*common, "--languages", "en,de", "--out", tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").settings.other["scoring"] == "head"


def test_a_lens_takes_one_that_generates(
    evaluation: Any, steered: Path, templates: Path, head: Path, generative: Path, tmp_path: Path
) -> None:
    data = write_belebele(tmp_path / "belebele", 3, ("en", "de"))
    common = ["lens", steered, "--task", "belebele", "--data-dir", data, "--templates", templates, "--quiet"]
    common += ["--layers", "3,5", "--methods", "base"]
    for name, adapter in (("without", []), ("with", ["--adapter", generative])):
        evaluation.made(*common, *adapter, "--out", tmp_path / name)
    numbers = [json.loads((tmp_path / name / "lens.json").read_text()) for name in ("without", "with")]
    assert numbers[0]["languages"]["base"]["de"] != numbers[1]["languages"]["base"]["de"]
    said = evaluation.refused(*common, "--adapter", head, "--out", tmp_path / "head")
    assert said == f"{head}: its head was trained for xnli, not for belebele; leave that task out"


def test_what_is_decided_with_it_is_not_written(
    evaluation: Any, steered: Path, data: Path, head: Path, tmp_path: Path
) -> None:
    before = contents(steered)
    common = ["tune", steered, "--adapter", head, "--task", "xnli", "--data-dir", data, "--write"]
    assert evaluation.refused(*common, "--out", tmp_path / "run") == (
        f"{steered} + target-hi: what is decided with an adapter does not hold for the checkpoint alone; leave out "
        "--write or --adapter"
    )
    assert contents(steered) == before


def test_its_scores_are_not_the_checkpoints(
    arguments: list[object], evaluation: Any, steered: Path, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--languages", "de", "--samples", 2, "--out", tmp_path / "run")
    said = evaluation.refused("card", steered, tmp_path / "run")
    assert f"a run of another model ({steered.name} + target-hi)" in said


@pytest.mark.parametrize("command", ["fit", "vectors", "perplexity-change", "neurons", "layers"])
def test_commands_about_the_checkpoint_alone_do_not_offer_it(
    command: str, evaluation: Any, steered: Path, head: Path, tmp_path: Path
) -> None:
    needed = {"fit": ["--task", "xnli"], "vectors": ["--task", "xnli"]}.get(command, [])
    ended = evaluation(command, steered, *needed, "--out", tmp_path / "out", "--adapter", head)
    assert ended.status == 2
    assert f"unrecognized arguments: --adapter {head}" in ended.err


def test_scorings_that_do_not_fit(
    arguments: list[object], evaluation: Any, steered: Path, head: Path, generative: Path, tmp_path: Path
) -> None:
    run = [*arguments, "--out", tmp_path / "run"]
    for scoring in ("letter", "likelihood"):
        assert evaluation.refused(*run, "--scoring", scoring) == (
            f"scoring '{scoring}': {head} has a classification head in place of the model's own, so its scoring is "
            "head; leave it out"
        )
    needs = "scoring 'head' is for an adapter with a classification head, and "
    said = evaluation.refused(*run, "--scoring", "head", "--adapter", generative)
    assert said == f"{needs}{generative} has none: leave it out"
    without = ["run", steered, "--tasks", "xnli", "--out", tmp_path / "run", "--scoring", "head"]
    assert evaluation.refused(*without) == f"{needs}no adapter is given: leave it out"


def test_prompts_of_another_make(
    arguments: list[object], evaluation: Any, head: Path, templates: Path, tmp_path: Path
) -> None:
    run = [*arguments, "--out", tmp_path / "run"]
    own = f"{head}: its head is asked with the prompts that it was trained on; leave out"
    assert evaluation.refused(*run, "--templates", templates) == f"{own} --templates"
    assert evaluation.refused(*run, "--max-length", 64) == f"{own} --max-length"
    evaluation.made(*run, "--max-length", 128, "--no-chat-template", "--samples", 1)
    chats = shutil.copytree(head, tmp_path / "chats")
    replace(AdapterRecord.load(head), chat_template=True).save(chats)
    said = evaluation.refused(*run, "--adapter", chats, "--no-chat-template")
    assert said == f"{chats}: its head is asked with the prompts that it was trained on; leave out --no-chat-template"


def test_other_tasks_and_labels(
    arguments: list[object], evaluation: Any, steered: Path, head: Path, tmp_path: Path
) -> None:
    run = [*arguments, "--out", tmp_path / "run"]
    said = evaluation.refused(*run, "--tasks", "xquad")
    assert said == f"{head}: its head was trained for xnli, not for xquad; leave that task out"
    two = save_adapter(tmp_path / "two", open_source(str(steered), steered), labels=("yes", "no"))
    assert evaluation.refused(*run, "--adapter", two) == (
        f"{two / RECORD_NAME}: the labels of its head are yes, no, those of xnli {', '.join(LABELS)}; "
        "train the adapter again, on that task"
    )
    belebele = shutil.copytree(head, tmp_path / "belebele")
    replace(AdapterRecord.load(head), task="belebele").save(belebele)
    said = evaluation.refused(*run, "--adapter", belebele, "--tasks", "belebele")
    assert "those of belebele none; train the adapter again" in said


def test_folders_that_cannot_be_used(arguments: list[object], evaluation: Any, head: Path, tmp_path: Path) -> None:
    run = [*arguments, "--out", tmp_path / "run"]
    said = evaluation.refused(*run, "--adapter", tmp_path / "none")
    assert said.startswith(f"{tmp_path / 'none'}: no such folder; give the folder of a PEFT adapter")
    broken = shutil.copytree(head, tmp_path / "broken")
    (broken / CONFIG_NAME).unlink()
    assert evaluation.refused(*run, "--adapter", broken).startswith(f"{broken}: no {CONFIG_NAME} there")
    (broken / RECORD_NAME).write_text("{")
    said = evaluation.refused(*run, "--adapter", broken)
    assert said.startswith(f"{broken / RECORD_NAME}: not a usable record of an adapter")
    other = shutil.copytree(head, tmp_path / "other")
    replace(AdapterRecord.load(head), base_fingerprint="f00d").save(other)
    assert evaluation.refused(*run, "--adapter", other).startswith(f"{other}: an adapter for another base: ")
    assert not (tmp_path / "run").exists()


def test_a_rank_that_does_not_fit_ends_the_run_in_a_line(
    arguments: list[object], evaluation: Any, head: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(head, tmp_path / "other")
    config = peft.PeftConfig.from_pretrained(str(head))
    config.r = 2
    config.save_pretrained(str(other))
    ended = evaluation(*arguments, "--adapter", other, "--languages", "de", "--out", tmp_path / "run")
    assert ended.status == 2
    assert "is [4, 48], and its place in ClasLlamaForSequenceClassification [2, 48]; give an adapter" in ended.err


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xnli").is_dir(), reason=f"XNLI is not at {DATA / 'xnli'}")
@pytest.mark.parametrize("name", sorted(REAL_MODELS))
def test_a_real_model_in_packs_is_itself_in_a_padded_batch(name: str, evaluation: Any, tmp_path: Path) -> None:
    """The batch is padded as in training, on the right, by the token that the classifier takes for padding."""
    folder = REAL_MODELS[name]()
    adapter = save_adapter(tmp_path / "adapter", open_source(str(folder), folder), template="{premise}\n{hypothesis} =")
    common = ["run", folder, "--adapter", adapter, "--tasks", "xnli", "--data-dir", DATA, "--quiet"]
    evaluation.made(*common, "--languages", "en,hi", "--samples", 6, "--dtype", "float32", "--out", tmp_path / "run")
    checkpoint = open_checkpoint(str(folder), "float32", "cpu", adapter)
    model, builder = checkpoint.load(), trained_prompts(AdapterRecord.load(adapter), checkpoint.tokenizer)
    for language, examples in XNLI.load(["en", "hi"], ExampleSource(DATA, samples=6)).items():
        rows = [list(builder.build(example, language).ids) for example in examples]
        longest, pad = max(map(len, rows)), model.config.pad_token_id
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            expected = model(ids, attention_mask=mask).logits.double().log_softmax(-1)
        found = {record.key: record.choice_scores for record in records(tmp_path / "run", "xnli", "base", language)}
        for example, scores in zip(examples, expected.tolist(), strict=True):
            assert found[example.key] == pytest.approx(scores, abs=0.1)  # of logits up to 60
