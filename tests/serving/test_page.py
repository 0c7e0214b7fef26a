"""The file for vLLM in docs/serving.md, run as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import tiny_steered
from test_vllm import HEADS, saved
from vllm_environment import PYTHON, _environment, variables  # noqa: F401

from clas_models import FAMILIES

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def test_the_file_answers_every_prompt(tmp_path: Path) -> None:
    block = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "batch.py").write_text(block, encoding="utf-8")
    model = tiny_steered(FAMILIES["qwen2"], **HEADS, detector_languages=["de"], language="auto")
    saved(model, tmp_path / "steered")
    ended = subprocess.run(
        [PYTHON, "batch.py", "steered"],
        cwd=tmp_path,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "'Warum ist der Himmel blau?'" in ended.stdout
    assert "'Why is the sky blue?'" in ended.stdout
