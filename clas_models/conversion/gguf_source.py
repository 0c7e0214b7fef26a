"""A GGUF file as a source: its weights de-quantized once into an ordinary checkpoint.

Transformers does the reading; this module checks the file first and keeps the result for a second attempt.
"""

import io
import shutil
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..errors import InputError
from ..modeling.families import FAMILIES

MAX_SHARD = "4GB"


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do."""
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def dequantize(path: Path, scratch: Path, dtype: str, *, quiet: bool = False) -> Path:
    """The folder of a checkpoint with the weights and the tokenizer of a GGUF file.

    Args:
        scratch: a folder of which a subfolder is used; what an earlier call finished there is taken again.
        dtype: "auto" (float32) or the name of a torch dtype.

    Raises InputError: the file is damaged, or its architecture not supported.  OSError: the disk cannot be written.
    """
    stat = path.stat()
    done = scratch / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}-{dtype}"
    if (done / "config.json").is_file():
        return done
    _check_architecture(path)
    precision = torch.float32 if dtype == "auto" else getattr(torch, dtype)
    try:
        with redirect_stderr(io.StringIO()) if quiet else nullcontext():  # its bar knows no other way
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=precision, output_loading_info=True
            )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # the readers of the tokenizer raise nothing more special
        raise InputError(f"{path}: cannot be read as a GGUF model ({type(error).__name__}: {error})") from error
    model, info = loaded
    if missing := sorted(info["missing_keys"]):  # they would be random
        raise InputError(f"{path}: a damaged GGUF file (no tensor {missing[0]!r}); download it again")
    model.hf_quantizer, model.is_quantized = None, False  # plain tensors from here on
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    partial = done.with_name(done.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial, max_shard_size=MAX_SHARD)
    except SafetensorError as error:
        raise OSError(f"{partial}: {error}") from error
    tokenizer.save_pretrained(partial)
    partial.rename(done)
    return done


def _check_architecture(path: Path) -> None:
    from gguf import GGUFReader

    try:
        field = GGUFReader(path).get_field("general.architecture")
        architecture = None if field is None else str(field.contents())
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise InputError(f"{path}: a damaged GGUF file ({error}); download it again") from error
    supported = [family.gguf for family in FAMILIES.values() if family.gguf is not None]
    if architecture not in supported:
        raise InputError(
            f"{path}: GGUF architecture {architecture!r} is not supported; supported are {', '.join(supported)}"
        )
