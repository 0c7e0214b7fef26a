"""(c) Seconds to write a checkpoint / seconds to copy its files, and (d) the converter's memory / its largest shard."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models.atomic import fsync_path
from clas_models.conversion.conversion import plan
from clas_models.conversion.options import ConversionOptions
from clas_models.conversion.source import open_source
from clas_models.conversion.weights import read_shards
from clas_models.profiling.neuron_profile import SUMS, TOTALS, NeuronProfile, Provenance

from .timing import interleaved


def random_profile(folder: Path) -> NeuronProfile:
    """A profile of the right shape with random numbers: what is written does not depend on them."""
    source = open_source(str(folder), folder)
    shape = (3, source.num_layers, source.num_neurons)
    generator = torch.Generator().manual_seed(0)
    values = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        if name in SUMS
        else torch.randint(0, 1000, shape, generator=generator)
        for name in TOTALS
    }
    provenance = Provenance(
        "random", source.family.base, source.fingerprint, ("random",), 1, 512, "float32", ("0",), {}
    )
    return NeuronProfile(
        ("en", "de", "zh"),
        tuple(range(source.num_layers)),
        source.num_layers,
        tokens=torch.full((3,), 1000),
        provenance=provenance,
        **values,
    )


def measure_writing(folder: Path, rounds: int) -> str:
    """One row of the table: the same bytes copied and synchronised to disk, and the checkpoint written."""
    profile = random_profile(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        out, copy = Path(scratch) / "out", Path(scratch) / "copy"
        source = open_source(str(folder), Path(scratch))
        checkpoint = plan(ConversionOptions(str(folder)), source, profile).checkpoint

        def write() -> None:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            checkpoint.write(out)

        def copy_files() -> None:
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            for path in out.iterdir():
                shutil.copyfile(path, copy / path.name)
                fsync_path(copy / path.name)

        write()
        timings = interleaved({"copy": copy_files, "write": write}, rounds)
        size = sum(path.stat().st_size for path in out.iterdir())
    copying, ratio = timings.median("copy"), timings.ratio("write", "copy")
    return f"| {folder.name} | {size / 1e9:.2f} GB | {copying:.2f} s | {ratio:.3f} |"


def measure_memory(folder: Path, max_shard_size: str) -> str:
    """One row of the table: peak memory of a whole conversion from a finished profile, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        sharded = Path(scratch) / "sharded"
        AutoModelForCausalLM.from_pretrained(folder).save_pretrained(sharded, max_shard_size=max_shard_size)
        AutoTokenizer.from_pretrained(folder).save_pretrained(sharded)
        profile = Path(scratch) / "profile.safetensors"
        random_profile(sharded).save(profile)
        largest = max(shard.size for shard in read_shards(sharded))
        command = [
            sys.executable,
            "-m",
            "benchmarks.peak_memory",
            str(sharded),
            str(profile),
            str(Path(scratch) / "out"),
        ]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    allowed = 1.5 * largest + 0.5e9
    return f"| {folder.name} | {largest / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {allowed / 1e9:.2f} GB |"


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would also count what the parent held when it started this process
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
