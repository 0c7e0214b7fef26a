"""A virtual environment that has torch and transformers, what these ask for, and nothing else.

The files are those of the environment that runs the tests, linked: made in a second, without a download.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


@dataclass(frozen=True)
class BareEnvironment:
    """`python` is its interpreter."""

    python: Path
    home: Path

    def run(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A script in it, in a process that knows nothing of the checkout."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV", "HF_"))}
        environment |= {"HF_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [self.python, "-c", script, *map(str, arguments)],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def make_bare_environment(folder: Path) -> BareEnvironment:
    """In an empty folder."""
    venv.create(folder / "environment", with_pip=False)
    python = folder / "environment" / "bin" / "python"
    target = folder / "environment" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for package in _closure(["torch", "transformers"]):
        _link(package, target / "site-packages")
    home = folder / "home"
    home.mkdir()
    return BareEnvironment(python, home)


def _closure(names: list[str]) -> Iterator[Distribution]:
    """Installed distributions: these, what they require, and so on; no extras."""
    seen: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another system
        yield found
        requirements = map(Requirement, found.requires or [])
        names += [item.name for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]


def _link(package: Distribution, site_packages: Path) -> None:
    tops = {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        link = site_packages / top
        if not link.exists():
            link.symlink_to(package.locate_file(top))
