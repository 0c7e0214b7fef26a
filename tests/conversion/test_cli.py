"""The command line: what it accepts, and the one line that a user's mistake gets, without a traceback."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from safetensors.torch import save_file
from transformers import GPT2Config

from clas_models.conversion.cli import build_parser, parse_alpha, parse_languages
from clas_models.conversion.options import ConversionOptions
from clas_models.conversion.source import PROFILE_NAME

from .support import ROWS, change_tensors, names, read_tensors, rewrite_header, rewrite_json, save_plain, write_corpus

CONVERT = Path(__file__).parents[2] / "convert.py"


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "alpha"),
    [
        ("1", 1.0),
        ("-2", -2.0),
        ("1e-1", 0.1),
        ("default=1", {"default": 1.0}),
        ("de=-2,zh=1,default=0.5", {"de": -2.0, "zh": 1.0, "default": 0.5}),
        ("ger=-2,Chinese=1", {"de": -2.0, "zh": 1.0}),
        (" DE = -2 , default = 0", {"de": -2.0, "default": 0.0}),
    ],
)
def test_alpha(text: str, alpha: object) -> None:
    assert parse_alpha(text) == alpha


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "write a number, or de=-2"),
        ("much", "write a number, or de=-2"),
        ("de=x,default=1", "write a number, or de=-2"),
        ("de=1,", "write a number, or de=-2"),
        ("de=1,DE=2,default=0", "names a language twice"),
        ("de=1,ger=2", "names a language twice, de"),
    ],
)
def test_alpha_that_cannot_be_read(text: str, fault: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=fault):
        parse_alpha(text)


def test_languages() -> None:
    assert parse_languages("de, zh,en") == ("de", "zh", "en")


def test_defaults_of_the_command_line_are_those_of_the_options() -> None:
    given = vars(build_parser().parse_args(["a/b"]))
    assert given.pop("demo") is False
    assert given.pop("quiet") is False
    assert given.pop("private") is False
    assert given.pop("push_to_hub") is None
    assert given.pop("format") == "steered"
    assert ConversionOptions(**given) == ConversionOptions("a/b")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args(["--help"])
    text = capsys.readouterr().out
    listed = (
        "out corpus data-dir languages anchor samples max-length batch-size statistic threshold bridge-layers alpha"
    )
    for name in f"{listed} beta gamma profile masks dtype device overwrite push-to-hub private demo quiet".split():
        assert f"--{name} " in text
    assert "convert.py Qwen/Qwen2.5-0.5B-Instruct\n" in text


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "give a MODEL, or --demo"),
        (["a", "b"], "unrecognized arguments: b"),
        (["a", "--over"], "unrecognized arguments: --over"),
        (["a", "--samples", "many"], "--samples: invalid int value"),
        (["a", "--alpha", "de=x"], "argument --alpha: 'de=x': write a number, or de=-2"),
        (["a", "--alpha"], "argument --alpha: expected one argument"),
        (["a", "--threshold", "high"], "--threshold: invalid float value"),
    ],
)
def test_arguments_that_cannot_be_read(converter: Command, arguments: list[str], fault: str) -> None:
    message = converter.refused(*arguments)
    assert fault in message
    assert message.endswith("--help lists the options")


# --- quiet ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quiet_script_prints_the_folder_and_nothing_else(plain_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    command: list[Any] = [
        sys.executable,
        CONVERT,
        plain_folder,
        "--corpus",
        corpus_file,
        "--quiet",
        "--bridge-layers",
        "5",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain-clas\n", "")


def test_script_exits_with_the_status(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["convert.py", "nowhere"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(CONVERT), run_name="__main__")
    assert capfd.readouterr().err == (
        "python convert.py: error: nowhere: no such folder or file, and not a Hub id of the form owner/name\n"
    )


# --- settings that cannot be used are found before any profiling ------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--alpha", "nan"], "alpha: nan is not finite"),
        (["--alpha", "fr=1,default=1"], "alpha: 'fr' is not among the languages en, de, zh"),
        (["--alpha", "de=inf,default=1"], "alpha['de']: inf is not finite"),
        (["--alpha", "en=1,default=1"], "alpha: the anchor language 'en' is never steered"),
        (["--beta", "nan"], "beta nan: must be a finite number"),
        (["--gamma", "-inf"], "gamma -inf: must be a finite number"),
        (["--threshold", "nan"], "threshold nan: must be a finite number"),
        (["--statistic", "median"], "statistic 'median': choose one of mean, mean_abs, frequency"),
        (["--dtype", "int8"], "dtype 'int8': choose one of auto, float32, bfloat16, float16"),
        (["--device", "toaster"], "device 'toaster' cannot be used here"),
        (["--device", "meta"], "device 'meta' cannot be used here"),
        (["--device", "hpu"], "device 'hpu' cannot be used here"),
        (["--bridge-layers", "6"], "layer 6 in bridge layers '6' is not in the model, whose layers are 0 to 5"),
        (["--bridge-layers", "3-1"], "bridge layers '3-1' descend"),
        (["--bridge-layers", "last"], "cannot read 'last' in bridge layers"),
        (["--samples", "0"], "samples 0: must be at least 1"),
        (["--samples", "-3"], "samples -3: must be at least 1"),
        (["--samples", "9"], "has only 4 rows"),
        (["--max-length", "0"], "max length 0"),
        (["--batch-size", "0"], "batch size 0: must be at least 1"),
        (["--anchor", "fr"], "anchor language 'fr' is not among the languages en, de, zh"),
        (["--anchor", "Englisch"], "anchor: 'Englisch' is not a language code (did you mean 'en' (English)"),
        (["--languages", "en"], "languages en: one language alone has no shared neurons; give at least two"),
        (["--languages", "en,fr"], "has no fr: choose among en, de, zh"),
        (["--languages", "en,en"], "'en' given more than once"),
        (["--languages", ""], "'' is not a language code"),
        (["--data-dir", "."], "data_dir . is of no use with corpus"),
        (["--profile", "p.safetensors"], "--profile and --corpus exclude each other"),
    ],
    ids=lambda value: "=".join(value)[2:] if isinstance(value, list) else "",
)
def test_setting_that_cannot_be_used(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, converter: Command, options: list[str], fault: str
) -> None:
    before = names(tmp_path)
    message = converter.refused(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", *options)
    assert fault in message
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--languages", "en,fr"], "languages fr are not in the profile; it has en, de, zh"),
        (["--languages", "en"], "one language alone"),
        (["--anchor", "fr"], "anchor language 'fr' is not among the languages"),
        (["--bridge-layers", "7"], "layer 7 in bridge layers '7' is not in the model"),
        (["--alpha", "fr=1,default=1"], "alpha: 'fr' is not among the languages"),
        (["--statistic", "median"], "statistic 'median': choose one of"),
    ],
    ids=lambda value: "=".join(value)[2:] if isinstance(value, list) else "",
)
def test_setting_that_cannot_be_used_with_a_finished_profile(
    steered_folder: Path, tmp_path: Path, converter: Command, options: list[str], fault: str
) -> None:
    before = names(tmp_path)
    assert fault in converter.refused(steered_folder, "--out", tmp_path / "out", *options)
    assert names(tmp_path) == before


# --- corpora that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "rows.jsonl does not exist"),
        ("", "rows.jsonl is empty"),
        ("\n \n", "rows.jsonl is empty"),
        ('{"en": "a", "de": "b"}\n{"en": "c", "de"}\n', "rows.jsonl, line 2: malformed JSON"),
        ('{"en": "a", "de": "b"}\n["c"]\n', "rows.jsonl, line 2: list in place of an object"),
        ('{"en": "a", "de": "b"}\n\n{"en": "c"}\n', "rows.jsonl, line 3: no text in 'de'"),
        ('{"en": "a", "de": "b"}\n{"en": "c", "de": " "}\n', "rows.jsonl, line 2, de: the text is empty"),
        ('{"en": "a", "de": 7}\n', "rows.jsonl, line 1: the key 'de' holds a number, 7"),
        ('{"en": "a"}\n', "languages en: one language alone has no shared neurons"),
        ('{"zh": "a", "de": "b"}\n', "anchor language 'en' is not among the languages zh, de"),
    ],
)
def test_corpus_that_cannot_be_used(
    plain_folder: Path, tmp_path: Path, converter: Command, content: str | None, fault: str
) -> None:
    corpus = tmp_path / "rows.jsonl"
    if content is not None:
        corpus.write_text(content)
    before = names(tmp_path)
    assert fault in converter.refused(plain_folder, "--corpus", corpus, "--out", tmp_path / "out")
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("corpus", "fault"),
    [
        (
            "flores",
            "unknown corpus 'flores': choose one of builtin, neighbours, xquad, xnli, a FILE.jsonl, or a Hub id",
        ),
        ("gone.jsonl", "gone.jsonl does not exist"),
    ],
)
def test_corpus_of_no_known_name(plain_folder: Path, converter: Command, corpus: str, fault: str) -> None:
    assert fault in converter.refused(plain_folder, "--corpus", corpus, "--out", plain_folder / "out")


def test_what_a_user_may_not_have_meant_is_told(plain_folder: Path, tmp_path: Path, converter: Command) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", ROWS)
    options = ("--corpus", corpus, "--bridge-layers", "2", "--out", tmp_path / "out")
    ended = converter.made(plain_folder, *options, "--alpha", "ger=-4", "--language", "swh")
    assert ended.err.count("warning: ") == 3, "one is of masks from so few rows"
    assert "factors below 0: de (alpha -4): -0.6 for shared neurons\n" in ended.err
    assert "warning: language 'sw' was not profiled (profiled are en, de, zh); rows in it are steered with" in ended.err
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (written["alpha"], written["language"]) == ({"de": -4.0, "default": 0.0}, "sw")


def test_language_without_a_usable_token(plain_folder: Path, tmp_path: Path, converter: Command) -> None:
    """All of it is special tokens to this tokenizer."""
    corpus = write_corpus(tmp_path / "rows.jsonl", [{**row, "qaa": "<unk><pad>"} for row in ROWS])
    ended = converter(plain_folder, "--corpus", corpus, "--out", tmp_path / "out", "--quiet")
    assert ended.status == 2
    assert ended.err == (
        "python convert.py: error: language 'qaa': no usable token in corpus 'rows.jsonl' for this tokenizer\n"
    )
    assert names(tmp_path) == {"plain", "rows.jsonl"}


# --- models that cannot be used ---------------------------------------------------------------------------------------


def refused_model(converter: Command, folder: Path, corpus_file: Path) -> str:
    out = folder.parent / "out"
    message = converter.refused(folder, "--corpus", corpus_file, "--out", out)
    assert not out.exists()
    return message


def test_model_of_another_family(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    GPT2Config().save_pretrained(tmp_path / "gpt2")
    message = refused_model(converter, tmp_path / "gpt2", corpus_file)
    assert "model type 'gpt2' is not supported; supported are llama and clas_llama, " in message
    assert names(tmp_path) == {"gpt2", "rows.jsonl"}


def cut_off(folder: Path) -> None:
    path = min(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])


def corrupt(folder: Path) -> None:
    rewrite_header(min(folder.glob("*.safetensors")), lambda header: min(header.values(), key=str).update(shape=[1]))


def lose_a_shard(folder: Path) -> None:
    max(folder.glob("*.safetensors")).unlink()


def name_a_ghost(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    rewrite_json(index, lambda value: value["weight_map"].update(ghost=value["weight_map"]["lm_head.weight"]))


def lose_all(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()


def pickle_it(folder: Path) -> None:
    lose_all(folder)
    torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (cut_off, "it is damaged, download it again"),
        (corrupt, "its header is damaged"),
        (lose_a_shard, "the shard is missing, the index names it"),
        (name_a_ghost, "tensor 'ghost' is missing, the index names it"),
        (lose_all, "no weights; expected model.safetensors, or shards with model.safetensors.index.json"),
        (pickle_it, "its weights are a pickle (pytorch_model.bin), which can run code when it is read"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json, so not a Transformers checkpoint"),
        (lambda folder: (folder / "config.json").write_text("{,}"), "config.json: not JSON"),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{,}"),
            "plain: its tokenizer cannot be loaded (JSONDecodeError",
        ),
    ],
)
def test_damaged_model(
    converter: Command, corpus_file: Path, tmp_path: Path, damage: Callable[[Path], Any], fault: str
) -> None:
    folder = save_plain(tmp_path / "plain", max_shard_size="60KB")
    damage(folder)
    assert fault in refused_model(converter, folder, corpus_file)
    assert names(tmp_path) == {"plain", "rows.jsonl"}


@pytest.mark.parametrize(
    ("tensor", "value", "fault"),
    [
        ("model.layers.2.mlp.gate_proj.weight", float("nan"), "layer 2: activations that are not finite"),
        ("model.layers.4.self_attn.v_proj.weight", float("inf"), "layer 4: activations that are not finite"),
        ("model.embed_tokens.weight", float("nan"), "layer 0: activations that are not finite"),
        # What comes after the last neurons is not profiled; it is found when the output is checked.
        (
            "model.layers.5.mlp.down_proj.weight",
            float("nan"),
            "values that are not finite (NaN or infinite) from layer 5",
        ),
        ("lm_head.weight", float("nan"), "values that are not finite (NaN or infinite) from the head on"),
    ],
)
def test_nan_in_the_weights_names_the_layer(
    plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path, tensor: str, value: float, fault: str
) -> None:
    change_tensors(plain_folder / "model.safetensors", lambda tensors: tensors[tensor][:, 0].fill_(value))
    ended = converter(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet")
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert fault in line
    assert "check the weights" in line
    assert not (tmp_path / "out").exists()


def test_strengths_that_overflow(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    given = [steered_folder, "--alpha", "1e38", "--beta", "1e9", "--out", tmp_path / "out", "--quiet"]
    ended = converter(*given)
    assert ended.status == 2
    assert "steered logits that are not finite; give a smaller --alpha, --beta or --gamma" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_tensor_that_nobody_misses_until_the_model_runs(
    plain_folder: Path, corpus_file: Path, converter: Command
) -> None:
    """Transformers would fill in random numbers."""
    change_tensors(plain_folder / "model.safetensors", lambda tensors: tensors.pop("model.norm.weight"))
    message = refused_model(converter, plain_folder, corpus_file)
    assert "no tensor 'model.norm.weight' in its weights" in message


def test_masks_of_the_wrong_length(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    path = max(steered_folder.glob("model-*.safetensors"))
    save_file({name: torch.cat([mask, mask]) for name, mask in read_tensors(path).items()}, path)
    message = converter.refused(steered_folder, "--out", tmp_path / "out")
    assert "has the shape [96], expected [48]" in message


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: path.unlink(), "no such neuron profile"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not a usable neuron profile"),
        (lambda path: path.write_text("[]"), "not a usable neuron profile"),
        (lambda path: save_file({"a": torch.ones(1)}, path), "it is a safetensors file, but not a neuron profile"),
    ],
)
def test_profile_that_cannot_be_used(
    steered_folder: Path, converter: Command, tmp_path: Path, damage: Callable[[Path], Any], fault: str
) -> None:
    path = Path(shutil.copy(steered_folder / PROFILE_NAME, tmp_path / "kept.safetensors"))
    damage(path)
    message = converter.refused(steered_folder, "--profile", path, "--out", tmp_path / "out")
    assert "kept.safetensors: " in message
    assert fault in message


# --- places that cannot be used ---------------------------------------------------------------------------------------


def test_output_that_exists(plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    given = [plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out"]
    assert "out: exists already; give another --out, or --overwrite to replace it" in converter.refused(*given)
    (tmp_path / "out" / "thesis.txt").touch()
    assert "not a steered checkpoint, so --overwrite leaves it alone" in converter.refused(*given, "--overwrite")
    assert names(tmp_path / "out") == {"thesis.txt"}


def test_output_that_is_the_model(steered_folder: Path, converter: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(steered_folder.parent)
    for out in ("steered", "./steered/", steered_folder, "../" + steered_folder.parent.name + "/steered"):
        message = converter.refused("steered", "--out", out, "--overwrite")
        assert "MODEL and --out are the same folder; give another --out" in message
    assert (steered_folder / PROFILE_NAME).exists()


def test_output_below_a_file(plain_folder: Path, corpus_file: Path, converter: Command) -> None:
    message = converter.refused(plain_folder, "--corpus", corpus_file, "--out", corpus_file / "out")
    assert "rows.jsonl is not a folder that can be written; give another --out" in message


def test_output_with_a_name_that_is_too_long(plain_folder: Path, corpus_file: Path, converter: Command) -> None:
    message = converter.refused(plain_folder, "--corpus", corpus_file, "--out", plain_folder.parent / ("x" * 300))
    assert "File name too long" in message
