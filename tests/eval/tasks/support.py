"""Small data sets in their published layouts, and what loading a bad one says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from clas_models.errors import InputError
from eval.tasks import ExampleSource, task_of


def load_error(task: str, data_dir: Path | None, languages: Sequence[str] | None = None, **source: Any) -> str:
    """The message of the error, which must be a single line."""
    with pytest.raises(InputError) as caught:
        task_of(task).load(languages, ExampleSource(data_dir, **source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_hub_folder(
    folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]], split: str = "validation"
) -> None:
    """A folder that `datasets` reads in place of the Hub dataset of the same name: configuration -> rows."""
    card = ["---", "configs:"]
    for config, rows in tables.items():
        card += [f"- config_name: {config}", f"  data_files: [{{split: {split}, path: {config}.jsonl}}]"]
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / f"{config}.jsonl", rows)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which `owner/name` is found before the Hub, which nothing asks."""
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path
