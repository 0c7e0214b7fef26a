"""What travels with a checkpoint beside its weights and configuration: the one list of its files.

First of all whatever decides what the model reads of a prompt: the files of tokenizer and processor, every chat
template, and the code that they name.  What downloads, copies, uploads or fingerprints a checkpoint asks here.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from ..errors import InputError
from ..json_data import parse_json

TOKENIZER_CONFIG = "tokenizer_config.json"
# Patterns of the files that tokenizers and processors of all makes have; the last are those of vocabularies.
PROMPT_PATTERNS = (
    "tokenizer*.json", "tokenizer*.model", "tokenizer.model.*", "special_tokens_map.json", "added_tokens.json",
    "chat_template*.json", "chat_template*.jinja", "additional_chat_templates/*.jinja", "*processor*.json",
    "tekken.json", "vocab*.json", "vocab*.txt", "*_vocab.json", "merges*.txt", "*.model", "*.tiktoken", "*.spm",
    "*.bpe", "*.codes", "*.tokenizer", "dict.txt", "emoji.json", "byte_maps.json",
)  # fmt: skip
PATTERNS = (*PROMPT_PATTERNS, "generation_config.json", "LICENSE*", "NOTICE*", "USE_POLICY*")
_NAMING_CODE = (TOKENIZER_CONFIG, "processor_config.json", "preprocessor_config.json")


def prompt_files(folder: Path) -> list[Path]:
    """The files that decide what a model reads, sorted. Raises InputError: code that one of them names is not whole."""
    return sorted({*_found(folder, PROMPT_PATTERNS), *_code(folder)})


def companions(folder: Path) -> list[Path]:
    """All that travels, sorted: `prompt_files`, the generation configuration, licences. Raises InputError: as there."""
    return sorted({*prompt_files(folder), *_found(folder, PATTERNS)})


def _found(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    return (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _code(folder: Path) -> list[Path]:
    """Nothing here runs it; it runs where the source's would, for a user who trusts it."""
    maps = [read_object(folder / name).get("auto_map") for name in _NAMING_CODE]
    return [path for auto_map in maps for path in code_files_in(folder, auto_map)]


def code_files_in(folder: Path, auto_map: Any) -> list[Path]:
    """The Python files in a folder that an `auto_map` names, of whatever shape it is, and all that they import from
    beside them.  Raises InputError: one is missing.
    """
    modules = {name.partition(".")[0] for name in _strings(auto_map)}
    named = sorted(path for path in folder.glob("*.py") if path.stem in modules)
    try:
        return sorted({*named, *(Path(found) for path in named for found in get_relative_import_files(path))})
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: missing, another file of the checkpoint imports it; convert it again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object in a file; an empty one where there is no such thing."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
