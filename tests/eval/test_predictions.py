"""Appending predictions: whatever a killed run has left, going on gives the bytes of one that never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from clas_models.errors import InputError
from eval.predictions import Predictions
from eval.run_folder import Record

KEYS = ["a", "ä", "c", "d", "e"]
BATCHES = [[4, 0], [2, 1], [3]]


def record(key: str, method: int = 0) -> Record:
    return Record(key, f"Antwort {key} ✓", ("gold",), {"f1": 1 / 3 + method}, shown=f"question {key}")


def lines(batch: list[int], methods: int) -> list[list[Record]]:
    return [[record(KEYS[index], method) for index in batch] for method in range(methods)]


def finish(files: list[Path]) -> Predictions:
    """Go on from what is there to the end."""
    predictions = Predictions.resume(files, KEYS, BATCHES)
    for batch in BATCHES[predictions.batches :]:
        predictions.append(lines(batch, len(files)))
    return predictions


def paths(folder: Path, methods: int = 2) -> list[Path]:
    return [folder / "xquad" / f"method{number}" / "de.jsonl" for number in range(methods)]


@pytest.fixture
def whole(tmp_path: Path) -> list[bytes]:
    """What an uninterrupted run writes."""
    files = paths(tmp_path / "whole")
    finish(files)
    return [file.read_bytes() for file in files]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    files = paths(tmp_path)
    assert finish(files).batches == 0
    again = Predictions.resume(files, KEYS, BATCHES)
    assert again.batches == 3
    for method, found in enumerate(again.records):
        assert list(found) == [record(KEYS[index], method) for batch in BATCHES for index in batch]


def test_a_file_that_ends_anywhere_goes_on_to_the_same_bytes(whole: list[bytes], tmp_path: Path) -> None:
    ends = [place + 1 for place, byte in enumerate(whole[0]) if byte == ord("\n")]
    middles = range(0, ends[-1], 7)  # some of them within a character
    for size in sorted({*middles, *ends, *(end - 1 for end in ends)}):
        files = paths(tmp_path / str(size), methods=1)
        files[0].parent.mkdir(parents=True)
        files[0].write_bytes(whole[0][:size])
        finish(files)
        assert files[0].read_bytes() == whole[0], size


def test_a_batch_counts_when_it_is_in_all_files(whole: list[bytes], tmp_path: Path) -> None:
    lengths = [0, *(place + 1 for place, byte in enumerate(whole[0]) if byte == ord("\n"))]
    for first in lengths:
        for second in lengths:
            files = paths(tmp_path / f"{first}-{second}")
            for file, content, size in zip(files, whole, (first, second), strict=True):
                file.parent.mkdir(parents=True)
                file.write_bytes(content[:size])
            whole_lines = min(lengths.index(first), lengths.index(second))
            assert finish(files).batches == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 3}[whole_lines]
            assert [file.read_bytes() for file in files] == whole


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (record("c").to_json() + "\n", "line 1: example c, where e belongs"),
        ("".join(record(KEYS[i]).to_json() + "\n" for i in (4, 0, 2, 1, 3, 3)), "line 6: more lines than examples"),
        ('{"key": "e"}\n', "line 1: not a prediction"),
        ("\n", "line 1: not a prediction"),
        ("[1]\n", "line 1: not a prediction"),
    ],
    ids=["order", "too many", "fields missing", "empty line", "no object"],
)
def test_a_file_that_does_not_fit_is_refused_and_left_alone(content: str, said: str, tmp_path: Path) -> None:
    [file] = paths(tmp_path, methods=1)
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="delete the file and run again") as caught:
        Predictions.resume([file], KEYS, BATCHES)
    assert str(caught.value).startswith(f"{file}, ")
    assert said in str(caught.value)
    assert file.read_text(encoding="utf-8") == content


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    [file] = paths(tmp_path, methods=1)
    file.parent.mkdir(parents=True)
    file.write_bytes(b'{"key": "\xff"}\n')
    with pytest.raises(InputError, match="line 1: not a prediction"):
        Predictions.resume([file], KEYS, BATCHES)


def test_a_full_disk_is_an_error_that_names_the_file(whole: list[bytes], tmp_path: Path) -> None:
    [file] = paths(tmp_path, methods=1)
    file.parent.mkdir(parents=True)
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        finish([file])
    assert caught.value.filename == str(file)
