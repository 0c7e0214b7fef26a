"""A folder that `datasets` reads like a data set of the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_hub_folder(folder: Path, tables: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
    """`tables` maps configuration -> split -> rows."""
    card = ["---", "configs:"]
    for config, splits in tables.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            card += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
            (folder / config).mkdir(parents=True, exist_ok=True)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / config / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")
    return str(folder)
