"""The command `lens` from a checkpoint and data to numbers and figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import DATA
from real_models import smollm2
from run_helpers import LANGUAGES, contents, save_plain, write_belebele, write_xnli

from eval.analysis import lens as lens_module
from eval.analysis.lens_parts import Part, part_path
from eval.loading import open_checkpoint
from eval.run_folder import RunFolder

QUESTIONS, LAYERS = 5, (1, 3, 5)


@pytest.fixture
def asked(steered: Path, tmp_path: Path) -> list[object]:
    """A small lens into tmp_path/lens; later options replace earlier ones."""
    template = tmp_path / "multiple_choice.txt"
    template.write_text("{passage}|{question}|{a}|{b}|{c}|{d}", encoding="utf-8")
    data = write_belebele(tmp_path / "belebele", QUESTIONS)
    return [
        *("lens", steered, "--task", "belebele", "--data-dir", data, "--templates", template),
        *("--layers", ",".join(map(str, LAYERS)), "--out", tmp_path / "lens"),
    ]


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "lens.json").read_text(encoding="utf-8"))


def test_every_number_is_in_the_json_and_in_the_table(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    said = evaluation.made(*asked).out.splitlines()
    found = result(tmp_path / "lens")
    assert (found["layers"], found["chance"], found["anchor"]) == (list(LAYERS), 0.25, "en")
    assert list(found["languages"]) == ["base", "clas"]
    rows = list(csv.DictReader((tmp_path / "lens" / "lens.csv").open(encoding="utf-8")))
    assert len(rows) == 2 * len(LANGUAGES) * len(LAYERS)
    for row in rows:
        numbers = found["languages"][row["method"]][row["language"]]
        place = LAYERS.index(int(row["layer"]))
        assert float(row["log_ratio"]) == numbers["log_ratio"][place]
        assert float(row["accuracy_native"]) == numbers["native"][place]
        assert float(row["accuracy_letters"]) == numbers["letters"][place]
    mean = sum(found["languages"]["base"][code]["log_ratio"][0] for code in LANGUAGES[1:]) / 3
    assert said[2].split() == ["base", "1", f"{mean:+.2f}", *said[2].split()[3:]]
    assert {name.name for name in (tmp_path / "lens").glob("*.*")} >= {
        f"lens-{name}.{form}" for name in ("log-ratio", "accuracy", "pca") for form in ("png", "svg")
    }


def test_a_steered_model_differs_above_its_first_steered_layer(
    asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*asked, "--methods", "base,clas:alpha=4", "--quiet")
    base, clas = result(tmp_path / "lens")["languages"].values()
    for code in LANGUAGES:
        ratios = [numbers[code]["log_ratio"] for numbers in (base, clas)]
        if code == "en":
            assert ratios == [[0.0] * len(LAYERS)] * 2, "the anchor's texts are the native ones"
            assert base[code] == clas[code]
        else:
            assert ratios[0][0] == ratios[1][0], "layer 1 lies below the bridge layers"
            assert all(one != other for one, other in zip(ratios[0][1:], ratios[1][1:], strict=True))


def test_what_is_kept_is_what_the_model_computes(
    asked: list[object], steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*asked, "--methods", "base", "--quiet")
    run = RunFolder.open(tmp_path / "lens")
    part = Part.load(part_path(run, "base", "de"), len(LAYERS), QUESTIONS, 4)
    checkpoint = open_checkpoint(str(steered))
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    row = json.loads((tmp_path / "belebele" / "deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()[1])
    other = json.loads((tmp_path / "belebele" / "eng_Latn.jsonl").read_text(encoding="utf-8").splitlines()[1])
    choices = [row[f"mc_answer{place}"] for place in range(1, 5)]
    text = "|".join([row["flores_passage"], row["question"], *choices])
    prompt = tokenizer(f"<s>{text}</s><s>", add_special_tokens=False)["input_ids"]
    for kept, source in ((part.native, row), (part.anchor, other)):
        for place in range(4):
            answer = tokenizer(source[f"mc_answer{place + 1}"], add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                states = model(torch.tensor([prompt + answer]), language="en", output_hidden_states=True).hidden_states
                logits = model.lm_head(model.model.norm(states[LAYERS[1] + 1][0]))
            log_p = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None])
            assert float(kept[1, 1, place]) == pytest.approx(float(log_p.mean()), rel=1e-4)
    assert part.gold.tolist() == [number % 4 for number in range(QUESTIONS)]


def test_a_plain_model_is_the_base_of_its_steered_one(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--methods", "base", "--quiet")
    plain = save_plain(tmp_path / "plain")
    evaluation.made("lens", plain, *asked[2:], "--out", tmp_path / "other", "--quiet")
    assert result(tmp_path / "lens")["languages"] == result(tmp_path / "other")["languages"]


def test_its_predictions_are_those_of_run(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--raw", "--layers", 2, "--quiet")
    where = asked.index("--layers")
    run = ["run", asked[1], "--tasks", "belebele", *asked[4:where], "--out", tmp_path / "run", "--quiet"]
    evaluation.made(*run)
    rows = [line.split() for line in evaluation.made("compare", tmp_path / "lens", tmp_path / "run").out.splitlines()]
    count = str(QUESTIONS * len(LANGUAGES))
    assert [row[:4] for row in rows[1:]] == [["belebele", name, count, "0"] for name in ("base", "clas")]


def test_layers_are_every_fourth_ending_at_the_last_one(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    where = asked.index("--layers")
    evaluation.made(*asked[:where], *asked[where + 2 :], "--languages", "de", "--pca", 0, "--quiet")
    assert result(tmp_path / "lens")["layers"] == [1, 5]
    assert list(result(tmp_path / "lens")["languages"]["base"]) == ["en", "de"]
    assert not list((tmp_path / "lens").glob("lens-pca*"))


# ---- a lens that goes on


def test_a_stopped_lens_goes_on_with_the_next_language(
    asked: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.made(*asked, "--out", tmp_path / "whole", "--quiet")
    computed: list[str] = []

    def stopping(*given: Any, **options: Any) -> Any:
        computed.append(given[4])
        if computed == ["de", "en", "sw"]:
            raise KeyboardInterrupt
        return original(*given, **options)

    original = lens_module.latent
    monkeypatch.setattr(lens_module, "latent", stopping)
    assert evaluation(*asked, "--quiet").status == 130
    evaluation.made(*asked, "--quiet")
    assert computed == ["de", "en", "sw", "sw", "zh"], "the first two are finished"
    first, second = contents(tmp_path / "whole"), contents(tmp_path / "lens")
    assert first == second


def test_a_method_is_added_without_computing_the_others(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--methods", "base", "--quiet")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lens" / "lens" / "base").iterdir()}
    evaluation.made(*asked, "--methods", "base,clas", "--quiet")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert list(result(tmp_path / "lens")["languages"]) == ["base", "clas"]


def test_other_layers_are_another_lens(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--quiet")
    before = contents(tmp_path / "lens")
    assert "other.lens.layers 1,3,5, now 2" in evaluation.refused(*asked, "--layers", 2, "--quiet")
    assert contents(tmp_path / "lens") == before
    evaluation.made(*asked, "--layers", 2, "--languages", "de", "--overwrite", "--quiet")
    assert result(tmp_path / "lens")["layers"] == [2]
    assert len(list((tmp_path / "lens" / "lens").rglob("*.safetensors"))) == 4, "none of the other lens"


def test_a_damaged_part_is_named(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--quiet")
    part = tmp_path / "lens" / "lens" / "base" / "de.safetensors"
    part.write_bytes(part.read_bytes()[:-9])
    ended = evaluation(*asked, "--quiet")
    assert ended.status == 2
    assert f"{part}: not a usable part of a lens" in ended.err
    part.unlink()
    evaluation.made(*asked, "--quiet")


# ---- what it refuses


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--layers", "1,6"), "layer 6: the model's layers are 0 to 5"),
        (("--layers", "1,1"), "layer 1 is given more than once"),
        (("--layers", "deep"), "'deep': write layers, such as 2,6,10"),
        (("--task", "xnli"), "task xnli: its choices have no texts, which the lens reads; choose among "),
        (("--task", "xnly"), "unknown task 'xnly'"),
        (("--scoring", "continuation"), "scoring 'continuation': the answers of a lens are ranked by their letters"),
        (("--languages", "en"), "languages: there is only en, the anchor language"),
        (("--pca", "-1"), "points -1: give 0 or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_read_is_refused(
    options: tuple[str, ...], said: str, asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    assert said in evaluation.refused(*asked, *options)
    assert not (tmp_path / "lens").exists()


@pytest.mark.parametrize("options", [(), ("--languages", "de,sw")])
def test_data_without_the_anchor_is_refused(
    options: tuple[str, ...], asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    data = write_belebele(tmp_path / "others", QUESTIONS, ("de", "sw"))
    said = evaluation.refused(*asked, "--data-dir", data, *options)
    assert "has no en" in said
    assert not (tmp_path / "lens").exists()


def test_an_answer_that_the_model_has_no_room_for_is_named(
    asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    file = tmp_path / "belebele" / "deu_Latn.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[2]["flores_passage"] = "lang " * 200
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    ended = evaluation(*asked, "--quiet")
    assert ended.status == 2
    assert "belebele, de, example q2#1: a prompt of 512 tokens and an answer of " in ended.err
    evaluation.made(*asked, "--max-length", 480, "--quiet")


def test_a_run_is_not_written_over(asked: list[object], steered: Path, evaluation: Any, tmp_path: Path) -> None:
    data = write_xnli(tmp_path / "xnli", rows=3)
    template = tmp_path / "xnli.txt"
    template.write_text("{premise}|{hypothesis}", encoding="utf-8")
    run = ["run", steered, "--tasks", "xnli", "--data-dir", data, "--templates", template, "--languages", "de"]
    evaluation.made(*run, "--out", tmp_path / "lens", "--quiet")
    before = contents(tmp_path / "lens")
    assert "6 predictions of other settings are there (command run, now lens" in evaluation.refused(*asked, "--quiet")
    assert contents(tmp_path / "lens") == before


@pytest.mark.real
def test_a_real_model_goes_from_the_native_language_over_english_and_back(evaluation: Any, tmp_path: Path) -> None:
    """As the paper has it of small models: below 0 in the middle layers, above 0 at the end."""
    if not (DATA / "belebele").is_dir():
        pytest.skip(f"no Belebele in {DATA}")
    for code, variant in (("en", "eng_Latn"), ("de", "deu_Latn"), ("zu", "zul_Latn")):
        rows = (DATA / "belebele" / f"belebele.{code}.jsonl").read_text(encoding="utf-8").splitlines()[:3]
        (tmp_path / f"{variant}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    evaluation.made(
        *("lens", smollm2(), "--task", "belebele", "--data-dir", tmp_path, "--out", tmp_path / "lens", "--quiet"),
        *("--layers", "1,17,29"),
    )
    found = result(tmp_path / "lens")["languages"]["base"]
    assert found["en"]["log_ratio"] == [0.0, 0.0, 0.0]
    for code in ("de", "zu"):
        first, middle, last = found[code]["log_ratio"]
        assert first > middle < 0 < last
