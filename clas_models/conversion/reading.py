"""What a model reads: a checkpoint's tokenizer and chat templates, kept as they are while its configuration changes.

`AutoTokenizer` chooses a tokenizer's class by the model type, so the same files can give other ids beside a steered
configuration.  `keep_reading` sees to it that they do not, `difference` finds out whether two tokenizers read alike.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedConfig

from ..atomic import fsync_path
from ..errors import InputError
from ..profiling.corpora import load_corpus
from .companions import TOKENIZER_CONFIG, read_object
from .copying import write_json
from .loading import load_tokenizer
from .source import Source

_TOKENIZER_FILE = "tokenizer.json"
_ROWS = 2  # of the built-in corpus, in all its languages
_LETTERS = 12  # of each script
_EDGES = (
    "", " ", "  two  blanks ", "\n", "\n\n\t line\r\n  end\t", "it's we'll I'd DON'T", "3.14159 1,000,000 ٣٤ ४५",
    "x=[i**2 for i in s]", "e\u0301 \u00e9 \ufb01 \u212b", "a\u200db\u200cc\u00adx\ufeff", "😀👍🏽 👨‍👩‍👧 🇩🇪",
    "https://example.org/a?b=c&d#e", "▁Ġ<0x0A>", "\x00\x07\ufffd",
)  # fmt: skip
_USER = {"role": "user", "content": "Grüße,  was ist 2+2?\n"}
_CHATS = (
    [_USER],
    [{"role": "system", "content": "Be brief."}, _USER, {"role": "assistant", "content": " 4 "}, _USER],
)
_TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}
_STATE = (
    "special_tokens_map", "all_special_tokens", "all_special_ids", "padding_side", "truncation_side",
    "model_input_names", "chat_template",
)  # fmt: skip


def keep_reading(source: Source, folder: Path) -> None:
    """Make the tokenizer's files in `folder`, copies of a source's, read as they do in the source.

    The class that the source's model type chose is named in `tokenizer_config.json`, where a type that transformers
    does not know would get another one; what else that type changes goes into `tokenizer.json`.  Where the source reads
    alike under any type, and where it has no tokenizer that loads, no file is touched.
    """
    try:
        theirs = load_tokenizer(source)
    except InputError:
        return
    if type(_as_unknown(source, folder)) is not type(theirs):
        path = folder / TOKENIZER_CONFIG
        write_json(path, {**read_object(path), "tokenizer_class": type(theirs).__name__})
    backend = getattr(theirs, "backend_tokenizer", None)
    ours = getattr(_as_unknown(source, folder), "backend_tokenizer", None)
    if backend is not None and ours is not None and ours.to_str() != backend.to_str():
        backend.save(str(folder / _TOKENIZER_FILE))
        fsync_path(folder / _TOKENIZER_FILE)


def _as_unknown(source: Source, folder: Path) -> Any:
    """The tokenizer in a folder for a model type that transformers does not know, with or without this package."""
    config = PreTrainedConfig.from_dict({"tokenizer_class": source.raw_config.get("tokenizer_class")})
    try:
        return AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError):
        return None


def check_reading(source: Source, folder: Path) -> None:
    """Raises InputError: what was written in `folder` reads a text, a chat or a token otherwise than the source."""
    try:
        theirs = load_tokenizer(source)
    except InputError:
        return  # nothing could be read with the source either
    try:
        ours = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{source.name}: its tokenizer loads there and not in the new checkpoint ({type(error).__name__}: {error})"
        ) from error
    if reason := difference(theirs, ours):
        raise InputError(
            f"{source.name}: its tokenizer would read otherwise in the new checkpoint, where AutoTokenizer makes it a "
            f"{type(ours).__name__}, not a {type(theirs).__name__} ({reason}); give the model with the tokenizer files "
            "of its own family, or convert its base model anew"
        )


def difference(first: Any, second: Any) -> str:
    """The first thing that one tokenizer makes otherwise than another, as text; "" where they read alike.

    Compared on texts in every script, on every special and added token, and on every chat template.
    """
    for name in _STATE:
        if (found := getattr(second, name, None)) != (expected := getattr(first, name, None)):
            return f"{name}: {_short(found)}, in the source {_short(expected)}"
    if _outcome(second.get_vocab) != _outcome(first.get_vocab):
        return "another vocabulary"
    added = _outcome(first.get_added_vocab)
    special = [f"a{token}b {token} c" for token in added] if isinstance(added, dict) else []
    for text in (*sample_texts(), *special, *first.all_special_tokens):
        for options in ({}, {"add_special_tokens": False}):
            found, expected = (_read(tokenizer, text, options) for tokenizer in (second, first))
            if found != expected:
                return f"{_short(text)} becomes {_short(found)}, in the source {_short(expected)}"
    return _template_difference(first, second)


def _template_difference(first: Any, second: Any) -> str:
    templates = first.chat_template
    names = list(templates) if isinstance(templates, dict) else [None] if templates else []
    for name in names:
        for chat in _CHATS:
            for tools in (None, [_TOOL]):
                # A template may name the time of day, which can change between two calls, but not twice.
                answers = [(_chat(second, chat, name, tools), _chat(first, chat, name, tools)) for _ in range(2)]
                if all(found != expected for found, expected in answers):
                    found, expected = answers[0]
                    return f"chat template {name or 'default'}: {_short(found)}, in the source {_short(expected)}"
    return ""


def _read(tokenizer: Any, text: str, options: dict[str, bool]) -> Any:
    def read() -> tuple[Any, ...]:
        ids = tokenizer(text, **options)["input_ids"]
        return ids, tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)

    return _outcome(read)


def _chat(tokenizer: Any, chat: list[dict[str, str]], name: str | None, tools: list[Any] | None) -> Any:
    def render() -> tuple[Any, ...]:
        text = tokenizer.apply_chat_template(
            chat, chat_template=name, tools=tools, tokenize=False, add_generation_prompt=True
        )
        return text, tokenizer(text, add_special_tokens=False)["input_ids"]

    return _outcome(render)


def _outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or how it fails: a template may refuse a chat, and must then do so in both places."""
    try:
        return call()
    except Exception as error:  # of Jinja, of a template's own making, of a tokenizer
        return f"{type(error).__name__}: {error}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


@cache
def sample_texts() -> tuple[str, ...]:
    """Sentences of the built-in corpus, some letters of every script, and what tokenizers are known to differ in."""
    rows = [text for row in load_corpus("builtin", samples=_ROWS).rows for text in row.values()]
    return (*rows, *_scripts(), *_EDGES)


def _scripts() -> Iterator[str]:
    letters: dict[str, list[str]] = {}
    for letter in map(chr, range(0x80, 0x1F000)):
        if unicodedata.category(letter)[0] in "LM":
            script = unicodedata.name(letter, "").partition(" ")[0]
            letters.setdefault(script, []).append(letter)
    for found in letters.values():
        yield "".join(found[:: max(1, len(found) // _LETTERS)][:_LETTERS]) + f" {found[0]}"
