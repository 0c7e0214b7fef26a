"""The files to train on, from folders that are laid out like MultiNLI and SQuAD on the Hub."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command import Command
from hub_folder import write_hub_folder
from recipe_helpers import LABELS, mnli_rows, squad_rows

from recipes import mnli, squad


@pytest.fixture(params=[mnli, squad], ids=["mnli", "squad"])
def maker(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def command(maker: Any, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd, lambda given: maker.main([str(each) for each in given]), maker.PROG)


@pytest.fixture
def dataset(maker: Any, tmp_path: Path) -> str:
    return write_dataset(maker, tmp_path / "data", mnli_rows(30) if maker is mnli else squad_rows(30))


def write_dataset(maker: Any, folder: Path, found: list[dict[str, Any]]) -> str:
    return write_hub_folder(folder, {"default" if maker is mnli else "plain_text": {"train": found}})


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_are_drawn_by_the_seed(command: Command, dataset: str, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        ended = command.made("--dataset", dataset, "--rows", 10, "--seed", seed, "--out", tmp_path / name)
        made[name] = rows(tmp_path / name)
        assert ended.err == f"{tmp_path / name}: 10 rows of {dataset}\n"
    assert made["one"] == made["same"] != made["other"]
    assert len({json.dumps(row) for row in made["one"]}) == 10, "none twice"


def test_a_file_that_is_there_is_kept(command: Command, dataset: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("mine", encoding="utf-8")
    said = command.refused("--dataset", dataset, "--rows", 5, "--out", path)
    assert said == f"{path}: exists already; give another --out, or --overwrite to replace it"
    command.made("--dataset", dataset, "--rows", 5, "--out", path, "--overwrite", "--quiet")
    assert len(rows(path)) == 5


def test_fewer_rows_than_asked_for(command: Command, dataset: str, tmp_path: Path) -> None:
    said = command.refused("--dataset", dataset, "--rows", 31, "--out", tmp_path / "rows.jsonl")
    assert said == f"rows 31: {dataset} has 30 that can be used; ask for 1 to 30"


def test_no_training_split(maker: Any, command: Command, tmp_path: Path) -> None:
    config = "default" if maker is mnli else "plain_text"
    folder = write_hub_folder(tmp_path / "data", {config: {"validation": [{"premise": "a"}]}})
    said = command.refused("--dataset", folder, "--out", tmp_path / "rows.jsonl")
    assert "no split train among validation; give a folder that is laid out like the data set" in said


def test_pairs_have_the_names_of_their_labels(tmp_path: Path) -> None:
    folder = write_dataset(mnli, tmp_path / "data", mnli_rows(30))
    assert mnli.main(["--dataset", folder, "--rows", "30", "--out", str(tmp_path / "pairs"), "--quiet"]) == 0
    found = rows(tmp_path / "pairs")
    assert all(list(row) == ["premise", "hypothesis", "label"] for row in found)
    assert Counter(row["label"] for row in found) == dict.fromkeys(LABELS, 10), "and none without a label"
    told = {row["premise"] + row["hypothesis"]: LABELS[row["label"]] for row in mnli_rows(30)[:-1]}
    assert all(told[row["premise"] + row["hypothesis"]] == row["label"] for row in found)


def test_questions_have_their_answers_as_objects(tmp_path: Path) -> None:
    given = squad_rows(6)
    given[2]["answers"] = {"text": [], "answer_start": []}
    folder = write_dataset(squad, tmp_path / "data", given)
    assert squad.main(["--dataset", folder, "--out", str(tmp_path / "rows"), "--quiet"]) == 0
    found = rows(tmp_path / "rows")
    assert [row["context"] for row in found] == [given[number]["context"] for number in (0, 1, 3, 4, 5)], "in order"
    assert found[0] == {
        "context": given[0]["context"],
        "question": "Who 0?",
        "answers": [{"text": given[0]["answers"]["text"][0], "answer_start": 4}],
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"premise": "a", "hypothesis": "b", "label": 3}, "row 31: label 3; it must be one of entailment, neutral, "),
        ({"premise": "a", "hypothesis": "b"}, "label None; it must be one of"),
    ],
)
def test_a_wrong_label_is_named_with_its_row(wrong: dict[str, Any], said: str, tmp_path: Path, capfd: Any) -> None:
    folder = write_dataset(mnli, tmp_path / "data", [*mnli_rows(30)[:-1], wrong])
    assert mnli.main(["--dataset", folder, "--rows", "5", "--out", str(tmp_path / "pairs")]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_an_answer_that_is_not_in_its_context(tmp_path: Path, capfd: Any) -> None:
    given = squad_rows(3)
    given[1]["answers"]["answer_start"] = [5]
    folder = write_dataset(squad, tmp_path / "data", given)
    assert squad.main(["--dataset", folder, "--out", str(tmp_path / "rows")]) == 2
    text = given[1]["answers"]["text"][0]
    assert f"row 2: the answer {text!r} is not at 5 of the context" in capfd.readouterr().err
