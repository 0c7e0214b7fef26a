"""The project's own promises: the README's commands, the pinned versions, what is installed."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.metadata import requires, version
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import clas_models

ROOT = Path(__file__).parents[1]
TEST_COMMAND = "pip install -c constraints.txt '.[test]' && python -m pytest -n 2"
DEMO_COMMAND = "pip install -c constraints.txt . && python convert.py --demo"


def test_readme_starts_with_the_two_commands() -> None:
    commands = re.findall(r"^    (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands[:2] == [DEMO_COMMAND, TEST_COMMAND]


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "")
    assert TEST_COMMAND in script


def test_constraints_pin_every_requirement_within_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in requires("clas-models") or []:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_versions_agree() -> None:
    assert clas_models.__version__ == version("clas-models")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {clas_models.__version__}" in changelog
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == clas_models.__version__
    assert f"version = {{{clas_models.__version__}}}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_modeling_imports_nothing_but_torch_transformers_and_its_own_files() -> None:
    allowed = ("torch", "transformers", "__future__")
    library = {"re", "sys", "math", "copy", "difflib", "contextlib", "dataclasses", "collections", "numbers", "typing"}
    for path in (ROOT / "clas_models" / "modeling").glob("*.py"):
        for name in re.findall(r"^(?:from|import) (\.*\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            own = name.startswith(".") and not name.startswith("..")
            assert own or name in allowed or name in library, (path.name, name)


INSTALLED = {"clas_models": ROOT / "clas_models", "clas_eval": ROOT / "eval"}  # import name -> folder


def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_every_folder_of_code_is_installed() -> None:
    found = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in INSTALLED.items()
        for path in files(folder)
        if path.suffix == ".py"
    }
    assert sorted(found) == sorted(setup()["options"]["packages"].split())


def test_every_file_that_is_no_code_is_installed() -> None:
    covered: set[Path] = set()
    for package, patterns in setup()["options.package_data"].items():
        name, *within = package.split(".")
        for pattern in re.split(r"[\s,]+", patterns.strip()):
            covered.update(INSTALLED[name].joinpath(*within).glob(pattern))
    data = [path for folder in INSTALLED.values() for path in files(folder) if path.suffix != ".py"]
    assert len(data) > 100
    assert [str(path.relative_to(ROOT)) for path in data if path not in covered] == []
