"""The environment with vLLM, beside the one that runs the tests: where it is, and a process in it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("CLAS_VLLM_PYTHON", Path.home() / ".cache" / "clas-vllm-env" / "bin" / "python"))
REQUESTS = "clas_models.vllm_plugin.requests:RequestLanguages"
# float32 on the CPU, without compilation: what can be compared with transformers token for token, and starts fast.
ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 256,
    "disable_log_stats": False,
    "kv_cache_memory_bytes": 2**28,
}
PER_REQUEST: dict[str, Any] = {"enable_prefix_caching": False, "logits_processors": [REQUESTS]}


def variables(workers: int = 1) -> dict[str, str]:
    """The environment variables of a process with vLLM, which binds each worker to a core of its own.

    What is installed tells vLLM of the plug-in; the code that runs is this checkout's.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    cores = sorted(os.sched_getaffinity(0))
    bind = {"VLLM_CPU_OMP_THREADS_BIND": "|".join(str(cores[rank % len(cores)]) for rank in range(workers))}
    return {**kept, **offline, **bind, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """For every test of a module that imports this: it has vLLM, and the project is installed in it."""
    if not PYTHON.is_file():
        pytest.skip(f"no environment with vLLM: {PYTHON} does not exist; tests/serving/run makes it")
    plugins = "from importlib.metadata import entry_points as e; print(*e(group='vllm.general_plugins').names)"
    found = subprocess.run([PYTHON, "-c", plugins], cwd="/", capture_output=True, text=True, check=True).stdout
    if "clas" not in found.split():
        pytest.fail(f"the project is not installed beside vLLM ({PYTHON}); run tests/serving/run")


class VllmError(Exception):
    """What vLLM refused, in its words."""


class Vllm:
    """A process that runs one engine after the other.

    Args:
        log: where its output goes.
        workers: 0 runs the engine in that process itself, which starts in seconds; otherwise it runs as in a server,
            in a process of its own, with so many processes for workers.
    """

    def __init__(self, log: Path, workers: int = 0) -> None:
        self.workers = workers
        self.log = log.open("w")
        reading, writing = os.pipe()
        self.answers = os.fdopen(reading)
        self.process = subprocess.Popen(
            [PYTHON, Path(__file__).with_name("vllm_worker.py"), str(writing)],
            env={**variables(workers or 1), "VLLM_ENABLE_V1_MULTIPROCESSING": str(min(workers, 1))},
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            pass_fds=(writing,),
            text=True,
        )
        os.close(writing)

    def run(self, model: Path, *batches: list[dict[str, Any]], **engine: Any) -> dict[str, Any]:
        """The answer to a job; see `vllm_worker.py`.

        Raises:
            VllmError: the engine did not start.
        """
        backend = {"tensor_parallel_size": self.workers} if self.workers else {"distributed_executor_backend": "uni"}
        job = {"engine": {"model": str(model), **ENGINE, **backend, **engine}, "batches": batches}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.answers.readline()
        if not line:
            raise RuntimeError(f"vLLM's process ended; its last words are in {self.log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise VllmError(answer["error"])
        return answer

    def __enter__(self) -> Vllm:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()
        self.log.close()
