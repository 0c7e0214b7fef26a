"""A GGUF file as a source: its weights de-quantized once into an ordinary checkpoint.

Transformers does the reading; this module checks the file first and keeps the result for a second attempt.
"""

import io
import re
import shutil
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..errors import InputError
from ..modeling.families import FAMILIES

MAX_SHARD = "4GB"
_TEMPLATE = "tokenizer.chat_template."


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
    templates = _check_header(path)
    precision = torch.float32 if dtype == "auto" else getattr(torch, dtype)
    try:
        with redirect_stderr(io.StringIO()) if quiet else nullcontext():  # its bar knows no other way
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=precision, output_loading_info=True
            )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # the readers of the tokenizer raise nothing more special
        raise InputError(f"{path}: cannot be read as a GGUF model ({type(error).__name__}: {error})") from error
    if templates and isinstance(tokenizer.chat_template, str | None):
        default = {"default": tokenizer.chat_template} if tokenizer.chat_template else {}
        tokenizer.chat_template = default | templates
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


def _check_header(path: Path) -> dict[str, str]:
    """The chat templates beside the default one, by their names, which transformers does not read.

    Raises InputError: the file is damaged, a part of a model, something else than one, or not supported.
    """
    from gguf import GGUFReader

    if (part := re.search(r"-\d{5}-of-(\d{5})\.gguf$", path.name)) and int(part[1]) > 1:
        _refuse_part(path, int(part[1]))
    try:
        reader = GGUFReader(path)
        values = {name: field.contents() for name, field in reader.fields.items() if _wanted(name)}
        tensors = {tensor.name for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise InputError(f"{path}: a damaged GGUF file ({error}); download it again") from error
    if (parts := values.get("split.count") or 0) > 1:
        _refuse_part(path, parts)
    architecture, kind = values.get("general.architecture"), values.get("general.type") or "model"
    supported = [family.gguf for family in FAMILIES.values() if family.gguf is not None]
    if kind != "model":
        raise InputError(f"{path}: a GGUF file of the type {kind!r}, not a model; give the file of the model")
    if architecture not in supported:
        raise InputError(
            f"{path}: GGUF architecture {architecture!r} is not supported; supported are {', '.join(supported)}"
        )
    if not tensors:
        raise InputError(f"{path}: a GGUF file without weights, a vocabulary alone; give the file of the model")
    if values.get(f"{architecture}.expert_count"):
        raise InputError(f"{path}: a mixture of experts, which is not supported; give a model without experts")
    if any(name.startswith("cls.") for name in tensors):
        raise InputError(f"{path}: a classifier; give the causal language model behind it")
    return {name[len(_TEMPLATE) :]: text for name, text in values.items() if name.startswith(_TEMPLATE)}


def _wanted(field: str) -> bool:
    names = ("general.architecture", "general.type", "split.count")
    return field in names or field.endswith(".expert_count") or re.fullmatch(rf"{_TEMPLATE}\w+", field) is not None


def _refuse_part(path: Path, parts: int) -> NoReturn:
    raise InputError(
        f"{path}: one part of a GGUF file that is split into {parts}; join them (llama-gguf-split --merge FIRST OUT, "
        "of llama.cpp) and give the whole file"
    )
