"""The record of an adapter: read back as written, damaged ones refused with the file and the field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapter_helpers import RECORD, saved
from conftest import tiny_plain

from clas_models.errors import InputError
from clas_models.finetuning.adapter_record import RECORD_NAME, AdapterRecord


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, task="xquad", labels=())])
def test_reads_what_it_wrote(record: AdapterRecord, tmp_path: Path) -> None:
    record.save(tmp_path)
    assert AdapterRecord.load(tmp_path) == record == AdapterRecord.find(tmp_path)
    assert record.has_head == (record.task == "xnli")


def test_a_folder_without_one(tmp_path: Path) -> None:
    assert AdapterRecord.find(tmp_path) is None
    with pytest.raises(InputError, match=r"clas_adapter\.json cannot be read .*train the adapter again"):
        AdapterRecord.load(tmp_path)


def test_a_record_that_json_cannot_hold_replaces_nothing(tmp_path: Path) -> None:
    RECORD.save(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(RECORD, training={"rate": float("nan")}).save(tmp_path)
    assert AdapterRecord.load(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"max_length": "128"}, r"max_length: '128' in place of a whole number"),
        ({"max_length": 0}, r"max_length is 0: 1 or more"),
        ({"chat_template": 1}, r"chat_template: 1 in place of true or false"),
        ({"labels": ["a", "a"]}, r"labels a, a: two or more that differ"),
        ({"labels": ["a"]}, r"labels a: two or more that differ"),
        ({"labels": "abc"}, r"labels: 'abc' in place of a list"),
        ({"labels": [0, 1]}, r"labels: 0 in place of a text"),
        ({"template": " "}, r"template is empty"),
        ({"base_fingerprint": ""}, r"base_fingerprint is empty"),
        ({"training": []}, r"training: \[\] in place of"),
        ({"head": 1}, r"has no field 'head'"),
        ({"format_version": 2, "head": 1}, r"format_version 2: this package reads 1"),
        ({"task": None}, r"task: None in place of a text"),
    ],
)
def test_a_wrong_field_is_named(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    RECORD.save(tmp_path)
    path = tmp_path / RECORD_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(InputError, match=rf"{RECORD_NAME}: not a usable record of an adapter: .*{told}"):
        AdapterRecord.load(tmp_path)


@pytest.mark.parametrize("field", ["base", "base_fingerprint", "task", "labels", "template", "max_length"])
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    RECORD.save(tmp_path)
    path = tmp_path / RECORD_NAME
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != field}))
    with pytest.raises(InputError, match=f"AdapterRecord lacks the field '{field}'"):
        AdapterRecord.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "null", "\ud800".encode("utf-16", "surrogatepass")])
def test_damaged_files(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / RECORD_NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match="not a usable record of an adapter"):
        AdapterRecord.load(tmp_path)


def test_belongs_to_the_weights_that_it_was_trained_on(family: Any, tmp_path: Path) -> None:
    base, other = (saved(tiny_plain(family, seed), tmp_path / str(seed)) for seed in (0, 1))
    record = replace(RECORD, base_fingerprint=base.fingerprint)
    record.check_fits(base)
    with pytest.raises(InputError, match=r"an adapter for another base: it was trained on tiny \(fingerprint .*give"):
        record.check_fits(other)
