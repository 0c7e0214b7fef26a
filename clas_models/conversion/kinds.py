"""What a MODEL is that is no plain causal language model: found in the files that cost nothing to read, and said in one
sentence with what to give instead.

Tensors are `tensor_check.py`'s business, GGUF files that of `gguf_source.py`.
"""

import re
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..modeling.families import family_of
from ..modeling.family import Family
from .companions import companions, read_object
from .export_record import ADAPTER_CONFIG, refuse_adapter

_POINTER = b"version https://git-lfs.github.com/spec/"
_QUANTIZATIONS = ("quantization_config", "compression_config", "quantization")  # the last is MLX's
# What other tools leave beside a config.json that says nothing of it: AutoGPTQ, AutoAWQ, ModelOpt.
_QUANTIZATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
_DTYPES = ("float64", "float32", "float16", "bfloat16", "auto", "None")
_HEADS = {
    "SequenceClassification": "a sequence classifier, such as a reward model",
    "TokenClassification": "a token classifier",
    "QuestionAnswering": "a model that marks answers in a text",
    "ConditionalGeneration": "a model with more parts than a language model",
}
_OTHER_SENSES = ("vision_config", "audio_config", "mm_vision_tower")


def check_config(name: str, folder: Path, raw: dict[str, Any]) -> Family:
    """The family of the model whose `config.json` is `raw`; nothing else need be in the folder.

    Raises InputError: not a supported family, an adapter, quantised, in a precision that no layer computes in, or with
    another head.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        _refuse_merged(name, folder)
    try:
        family = family_of(raw.get("model_type"))
    except ValueError as error:
        raise InputError(f"{name}: {_what(raw)}{error}") from error
    _check_quantization(name, folder, raw)
    dtype = str(raw.get("dtype") or raw.get("torch_dtype")).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise InputError(
            f"{name}: its config.json gives its weights as {dtype}, in which no layer computes; give the model in "
            "bfloat16, float16 or float32"
        )
    _check_head(name, raw)
    return family


def _refuse_merged(name: str, folder: Path) -> None:
    base = read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    raise InputError(
        f"{name}: an adapter (it has an {ADAPTER_CONFIG}), not a checkpoint; merge it into its base model {base or ''} "
        "(merge_and_unload of PEFT) and give the result"
    )


def _what(raw: dict[str, Any]) -> str:
    if raw.get("is_encoder_decoder"):
        return "an encoder-decoder, not a causal language model: "
    if any(raw.get(field) for field in _OTHER_SENSES):
        return "a model that reads more than text: "
    return ""


def _check_quantization(name: str, folder: Path, raw: dict[str, Any]) -> None:
    found = next((raw[field] for field in _QUANTIZATIONS if raw.get(field)), None)
    file = next((file for file in _QUANTIZATION_FILES if (folder / file).is_file()), None)
    if found is None and file is None:
        return
    method = found.get("quant_method") if isinstance(found, dict) else None
    refuse_quantized(name, str(method or file or "quantization in its config.json"))


def refuse_quantized(name: str, how: str) -> None:
    """Raises InputError that says so; `how` is a method, or where it was seen."""
    raise InputError(
        f"{name}: its weights are quantised already ({how}); give the model as it was before, in bfloat16, float16 or "
        "float32, and quantise what comes out"
    )


def _check_head(name: str, raw: dict[str, Any]) -> None:
    listed = raw.get("architectures")
    names = [str(each) for each in listed] if isinstance(listed, list) else []
    heads = [match[1] for each in names if (match := re.search(r"For([A-Z]\w*)$", each))]
    if heads and not any(head.startswith("CausalLM") for head in heads):
        raise InputError(
            f"{name}: {_HEADS.get(heads[0], 'a model with another head')} ({names[0]}), not a causal language model; "
            "give the one that it was made from"
        )


def refuse_without_config(folder: Path, name: str) -> None:
    """Raises InputError for a folder that has no `config.json`: what it is, as far as its files tell."""
    refuse_adapter(folder, name)
    entries = sorted(folder.iterdir())
    whole = [path.name for path in entries if (path / "config.json").is_file()]
    if (folder / "model_index.json").is_file():
        reason = "no config.json: a pipeline of several models (model_index.json), not a causal language model"
    elif not entries:
        reason = "no config.json: an empty folder; give the folder of a downloaded model, or a Hub id"
    elif gguf := [path.name for path in entries if path.suffix == ".gguf"]:
        reason = f"no config.json, but GGUF files; give one of them, such as {folder / gguf[0]}"
    elif whole:
        reason = f"no config.json, but there is one below it; give a folder such as {folder / whole[-1]}"
    elif (folder / "params.json").is_file():
        reason = "no config.json, weights in their publisher's own format; give the model as Transformers has it"
    else:
        reason = "no config.json, so not a Transformers checkpoint"
    raise InputError(f"{name}: {reason}")


def refuse_pointers(folder: Path) -> None:
    """Raises InputError where a file is what Git LFS puts in its place."""
    for path in sorted({*folder.glob("*.json"), *folder.glob("*.safetensors"), *companions(folder)}):
        if path.is_file():
            refuse_pointer(path)


def refuse_pointer(path: Path) -> None:
    """Raises InputError: the file is a pointer of Git LFS."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(
                f"{path}: a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder, or download it"
            )
