"""The files that a checkpoint carries: those of its family, whole, and nothing that only the package needs."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

from clas_models.conversion.checkpoint import code_files
from clas_models.conversion.companions import code_files_in
from clas_models.errors import InputError


def test_a_family_s_files_and_no_other_s(family: Any) -> None:
    names = {path.name for path in code_files(family)}
    assert f"clas_{family.base}.py" in names
    assert not {"families.py", "family_check.py", "__init__.py"} & names
    assert len([name for name in names if name.startswith("clas_")]) == 1


def test_whatever_a_file_imports_from_beside_it_is_carried(family: Any) -> None:
    files = {path.stem: path for path in code_files(family)}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module in files, f"{path.name} imports {node.module}"


def test_every_class_that_the_configuration_names_is_in_them(family: Any) -> None:
    stems = {path.stem for path in code_files(family)}
    for place in family.config.code_map().values():
        module, _, name = place.partition(".")
        assert module in stems
        assert getattr(importlib.import_module(f"clas_models.modeling.{module}"), name).__name__ == name


def test_files_of_another_version_are_those_that_its_configuration_names(tmp_path: Path) -> None:
    files = {
        "modeling_old.py": "from .layers_old import Layer",
        "layers_old.py": "import torch\nfrom .steering import steer",
        "steering.py": "",
        "train.py": "",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = code_files_in(tmp_path, {"AutoModel": "modeling_old.Model", "AutoConfig": "elsewhere.Config"})
    assert {path.name for path in found} == {"modeling_old.py", "layers_old.py", "steering.py"}
    (tmp_path / "steering.py").unlink()
    with pytest.raises(InputError, match=r"steering\.py: missing, another file of the checkpoint imports it"):
        code_files_in(tmp_path, {"AutoModel": "modeling_old.Model"})
