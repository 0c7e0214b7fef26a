"""What a checkpoint makes of a text is what its source made of it: tokenizer, special tokens, every chat template."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command
from conftest import byte_tokenizer
from trained_tokenizers import byte_level_tokenizer, sentencepiece_tokenizer
from transformers import AutoTokenizer, PreTrainedConfig

from clas_models import FAMILIES
from clas_models.conversion.companions import companions, prompt_files
from clas_models.conversion.copying import copy_companions
from clas_models.conversion.hub_upload import checkpoint_files
from clas_models.conversion.reading import check_reading, difference, keep_reading, sample_texts
from clas_models.conversion.source import open_source
from clas_models.errors import InputError

from .support import QWEN2, names, rewrite_json, save_plain

DEFAULT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TOOL_USE = "tools: {{ tools }}" + DEFAULT
CHAT = [{"role": "user", "content": "Grüße"}]
TRAINED = {"vocab_size": 3400, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MAKERS: dict[str, Callable[[], Any]] = {"byte level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}


def with_templates(folder: Path) -> Path:
    """The byte tokenizer with two chat templates, as it saves them."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = {"default": DEFAULT, "tool_use": TOOL_USE}
    tokenizer.save_pretrained(folder)
    assert (folder / "additional_chat_templates" / "tool_use.jinja").is_file()
    return folder


def carried(plain: Path, family: Any, out: Path, *, mended: bool = True) -> Path:
    """A plain folder's tokenizer beside a steered configuration, without a profiling pass."""
    out.mkdir()
    config = {**json.loads((plain / "config.json").read_text()), "model_type": family.model_type}
    (out / "config.json").write_text(json.dumps(config))
    copy_companions(plain, out)
    if mended:
        keep_reading(open_source(str(plain), plain), out)
    return out


def read(tokenizer: Any) -> list[Any]:
    return [tokenizer(text)["input_ids"] for text in sample_texts()]


def test_every_chat_template_travels(converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    with_templates(plain_folder)
    out = tmp_path / "out"
    converter.made(plain_folder, "--corpus", corpus_file, "--out", out)
    base, output = (AutoTokenizer.from_pretrained(folder) for folder in (plain_folder, out))
    assert output.chat_template == {"default": DEFAULT, "tool_use": TOOL_USE}
    for name in (None, "default", "tool_use"):
        told = [each.apply_chat_template(CHAT, chat_template=name, tokenize=False) for each in (base, output)]
        assert told[0] == told[1]
        assert "Grüße" in told[1]
    converter.made(out, "--format", "folded", "--language", "de", "--out", tmp_path / "folded")
    assert AutoTokenizer.from_pretrained(tmp_path / "folded").chat_template == output.chat_template


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("declared", ["LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "TokenizersBackend", None])
def test_tokenizer_of_any_family_gives_the_ids_of_the_source(
    family: str, make: Callable[[], Any], declared: str | None, tmp_path: Path
) -> None:
    """Also where this package is not installed, so that transformers does not know the model type."""
    plain = save_plain(tmp_path / "plain", FAMILIES[family], **TRAINED)
    make().save_pretrained(plain)
    rewrite_json(plain / "tokenizer_config.json", lambda config: config.update(tokenizer_class=declared))
    out = carried(plain, FAMILIES[family], tmp_path / "out")
    base, output = (AutoTokenizer.from_pretrained(folder) for folder in (plain, out))
    bare = AutoTokenizer.from_pretrained(out, config=PreTrainedConfig())
    assert read(output) == read(bare) == read(base)
    assert difference(base, output) == difference(base, bare) == ""


def test_conversion_of_a_model_with_the_tokenizer_of_another_family(
    converter: Command, corpus_file: Path, tmp_path: Path
) -> None:
    plain, out = save_plain(tmp_path / "plain", QWEN2, **TRAINED), tmp_path / "out"
    sentencepiece_tokenizer().save_pretrained(plain)
    rewrite_json(plain / "tokenizer_config.json", lambda config: config.update(tokenizer_class="LlamaTokenizer"))
    converter.made(plain, "--corpus", corpus_file, "--out", out)
    base, output = (AutoTokenizer.from_pretrained(folder) for folder in (plain, out))
    assert type(output) is type(base)
    assert read(output) == read(base)
    assert (out / "tokenizer.json").read_bytes() == (plain / "tokenizer.json").read_bytes()


def test_correction_that_transformers_makes_for_a_model_type_is_kept(tmp_path: Path) -> None:
    """Old Mistral checkpoints may ask for another pattern, which large vocabularies of no other model type get."""
    mistral, many = FAMILIES["mistral"], {f"{number:X}zz": 3400 + number for number in range(100_000)}
    sizes = {**TRAINED, "vocab_size": 103_400, "hidden_size": 8, "num_hidden_layers": 1, "tie_word_embeddings": True}
    plain = save_plain(tmp_path / "plain", mistral, **sizes)
    byte_level_tokenizer().save_pretrained(plain)
    rewrite_json(plain / "tokenizer.json", lambda value: value["model"]["vocab"].update(many))
    rewrite_json(plain / "tokenizer_config.json", lambda config: config.update(fix_mistral_regex=True))
    rewrite_json(plain / "config.json", lambda config: config.update(transformers_version="4.50.0"))
    out = carried(plain, mistral, tmp_path / "out", mended=False)
    base = AutoTokenizer.from_pretrained(plain)
    assert difference(base, AutoTokenizer.from_pretrained(out)), "the files alone do not say it"
    out = carried(plain, mistral, tmp_path / "mended")
    assert difference(base, AutoTokenizer.from_pretrained(out)) == ""


def lose_a_template(folder: Path) -> None:
    (folder / "additional_chat_templates" / "tool_use.jinja").unlink()


def change_a_template(folder: Path) -> None:
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(TOOL_USE + "\n")


def normalize_no_more(folder: Path) -> None:
    rewrite_json(folder / "tokenizer.json", lambda value: value.update(normalizer=None))


def begin_with_a_blank(folder: Path) -> None:
    rewrite_json(folder / "tokenizer.json", lambda value: value["pre_tokenizer"].update(add_prefix_space=True))


def forget_an_added_token(folder: Path) -> None:
    rewrite_json(folder / "tokenizer.json", lambda value: value["added_tokens"].pop())


def pad_on_the_left(folder: Path) -> None:
    rewrite_json(folder / "tokenizer_config.json", lambda config: config.update(padding_side="left"))


def another_end(folder: Path) -> None:
    rewrite_json(folder / "tokenizer_config.json", lambda config: config.update(eos_token="<pad>"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lose_a_template, "chat_template: "),
        (change_a_template, "chat_template: "),
        (normalize_no_more, "becomes"),
        (begin_with_a_blank, "becomes"),
        (forget_an_added_token, ""),
        (pad_on_the_left, "padding_side: "),
        (another_end, "special_tokens_map: "),
    ],
)
def test_what_reads_otherwise_is_noticed(
    change: Callable[[Path], Any], told: str, plain_folder: Path, tmp_path: Path
) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = {"default": DEFAULT, "tool_use": TOOL_USE}
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(plain_folder)
    source, copy = open_source(str(plain_folder), tmp_path), shutil.copytree(plain_folder, tmp_path / "copy")
    check_reading(source, copy)
    change(copy)
    with pytest.raises(InputError, match=f"plain: its tokenizer would read otherwise .*{told}") as caught:
        check_reading(source, copy)
    assert len(str(caught.value).splitlines()) == 1


def test_conversion_that_would_read_otherwise_fails_in_one_line(
    converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(source: Any, folder: Path) -> None:
        normalize_no_more(folder)

    monkeypatch.setattr("clas_models.conversion.checkpoint.keep_reading", damage)
    ended = converter(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet")
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "its tokenizer would read otherwise in the new checkpoint" in line
    assert not (tmp_path / "out").exists()


def test_texts_are_in_all_scripts() -> None:
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in "".join(sample_texts())}
    assert {unicodedata.name(letter).partition(" ")[0] for letter in "aжαაԱאبहবதతಕമසกລཀမግខᏣあ漢한ᠮꯀ𐐷"} <= scripts
    assert len(scripts) > 150


FILES = [
    "tokenizer.json", "tokenizer.4.0.0.json", "tokenizer.model", "tokenizer.model.v3", "spiece.model", "vocab.json",
    "merges.txt", "tekken.json", "qwen.tiktoken", "source.spm", "bpe.codes", "preprocessor_config.json",
    "processor_config.json", "chat_template.json", "chat_template.jinja", "additional_chat_templates/rag.jinja",
    "special_tokens_map.json", "added_tokens.json", "tokenization_own.py", "own_helper.py",
]  # fmt: skip
STRAYS = ["notes.txt", "train.py", "training_args.bin", "tokenizer.json.orig", "README.md", "optimizer.pt", ".env"]


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    folder = tmp_path / "everything"
    (folder / "additional_chat_templates").mkdir(parents=True)
    for name in (*FILES, *STRAYS, "LICENSE", "generation_config.json"):
        (folder / name).write_text(name)
    (folder / "tokenization_own.py").write_text("from .own_helper import a\n")
    config = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def relative(folder: Path, paths: list[Path]) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in paths}


def test_one_list_of_files(everything: Path) -> None:
    expected = {*FILES, "tokenizer_config.json"}
    assert relative(everything, prompt_files(everything)) == expected
    assert relative(everything, companions(everything)) == {*expected, "LICENSE", "generation_config.json"}


def test_copies_and_uploads_hold_all_of_them(everything: Path, steered_folder: Path, tmp_path: Path) -> None:
    for path in ("README.md", *STRAYS):
        (everything / path).unlink(missing_ok=True)
    copy_companions(everything, steered_folder)
    (steered_folder / "notes.txt").touch()
    uploaded = set(checkpoint_files(steered_folder))
    assert {*FILES, "tokenizer_config.json", "LICENSE", "generation_config.json"} <= uploaded
    assert "notes.txt" not in uploaded
    assert "additional_chat_templates" in names(steered_folder)


def test_code_of_a_tokenizer_does_not_run(plain_folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (plain_folder / "tokenization_own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    rewrite_json(
        plain_folder / "tokenizer_config.json",
        lambda config: config.update(auto_map={"AutoTokenizer": [None, "tokenization_own.Own"]}),
    )
    source = open_source(str(plain_folder), tmp_path)
    check_reading(source, plain_folder)
    assert not ran.exists()


def test_source_that_has_no_tokenizer_is_none_to_compare(plain_folder: Path, tmp_path: Path) -> None:
    for path in plain_folder.glob("tokenizer*"):
        path.unlink()
    check_reading(open_source(str(plain_folder), tmp_path), plain_folder)
