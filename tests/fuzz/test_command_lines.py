"""Command lines with odd values: one line, or a right result."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clas_models.command_line import CONVERT, EVAL
from clas_models.conversion.cli import main as convert
from eval.cli import main as evaluate

from . import sound
from .verdict import status_of

_NUMBERS = ["0", "1", "-1", "2", "0.5", "-1e-3", "1e400", "nan", "-inf", "9" * 30, "9" * 5000, "", "x", "١", "1_0"]
_WORDS = [
    "", " ", "en", "de", "EN", "de,zh", "de,,zh", "en,en", "auto", "none", "builtin", "xquad", "xnli", "a b", "é",
    "\udcff", "a\nb", "x" * 300, "../x", "-x", "--", "0-1", "1-2", "2-1", "1,1", "1-99999999999", "de=1,default=2",
    "de=1", "de=nan,default=1", "=,=", "mean", "lape", "cpu", "cuda:99", "float16", "xnli,xnli", "base,clas",
    "int:value=zero", "int:select=(lape or (categories)),value=p90", "(lape", "random:per_layer=2",
    "mean+2std", "clas:alpha=x", "clas:as=zz", "int-mean:", ":", "steered", "folded", "ia3", "letter",
    "continuation",
]  # fmt: skip
_FLAGS = ["--overwrite", "--private", "--no-chat-template", "--write", "--unknown", "--help=1"]
_CONVERT = ["--corpus", "--data-dir", "--languages", "--anchor", "--samples", "--max-length", "--batch-size", "--dtype",
            "--statistic", "--threshold", "--bridge-layers", "--alpha", "--beta", "--gamma", "--detector-corpus",
            "--language", "--profile", "--device", "--format"]  # fmt: skip
_EVALUATE = ["--tasks", "--task", "--methods", "--alpha", "--beta", "--gamma", "--samples", "--languages", "--data-dir",
             "--corpus", "--templates", "--max-length", "--batch-size", "--dtype", "--device", "--skip",
             "--scoring", "--select", "--values", "--site"]  # fmt: skip

_CHANGE = ["--corpus", "--tokens", "--skip", "--languages", "--select", "--value", "--site", "--data-dir",
           "--max-length", "--batch-size", "--dtype", "--device"]  # fmt: skip


def paths() -> st.SearchStrategy[str]:
    """What is there, of the right kind or of a wrong one, and what is not."""
    there = [sound.steered(), sound.plain(), sound.corpus(), sound.xnli(), sound.run_folder(), sound.templates()]
    there += [sound.steered() / name for name in ("config.json", "neuron_profile.safetensors", "tokenizer.json")]
    return st.sampled_from([*map(str, there), "/dev/null", "/", "nowhere", "no/where", "a/b/c", "~nobody/x", "x" * 300])


def options(names: list[str]) -> st.SearchStrategy[list[str]]:
    values = st.sampled_from(_NUMBERS) | st.sampled_from(_WORDS) | paths()
    pair = st.tuples(st.sampled_from(names), values).map(list)
    joined = pair.map(lambda pair: ["=".join(pair)])
    return st.lists(pair | joined | st.sampled_from(_FLAGS).map(lambda flag: [flag]), max_size=4).map(
        lambda lists: [each for some in lists for each in some]
    )


def in_new_folder(main: Any, prog: str, *arguments: object) -> None:
    """Where results without --out go, too."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            status = status_of(main, arguments, prog)
            assert status == 0 or not [path for path in Path().iterdir() if not path.name.startswith(".")]
        finally:
            os.chdir(before)


@given(data=st.data())
def test_converter(data: st.DataObject) -> None:
    model = data.draw(st.just(str(sound.steered())) | paths() | st.sampled_from(_WORDS))
    in_new_folder(convert, CONVERT, model, "--out", "out", "--quiet", *data.draw(options(_CONVERT)))


@given(data=st.data())
def test_evaluation(data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(["run", "run", "grid", "tune", "interventions"]))
    task = data.draw(st.sampled_from(["xnli", "xnli", "perplexity", "xquad", "mmmlu", "x"]))
    model = data.draw(st.just(str(sound.steered())) | paths() | st.sampled_from(_WORDS))
    given = ["--tasks" if command == "run" else "--task", task, "--templates", str(sound.templates()), "--quiet"]
    given += ["--corpus", str(sound.corpus())] if task == "perplexity" else ["--data-dir", str(sound.xnli())]
    chosen = ["--no-chat-template", "--samples", "3", "--out", "out", *data.draw(options(_EVALUATE))]
    in_new_folder(evaluate, EVAL, command, model, *given, *chosen)


@given(data=st.data())
def test_commands_on_runs(data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(["compare", "card", "nothing", ""]))
    in_new_folder(evaluate, EVAL, command, *data.draw(st.lists(paths() | st.sampled_from(_WORDS), max_size=3)))


@given(data=st.data())
def test_perplexity_change(data: st.DataObject) -> None:
    model = data.draw(st.just(str(sound.steered())) | paths() | st.sampled_from(_WORDS))
    given = ["--corpus", str(sound.corpus()), "--tokens", "60", "--quiet"]
    chosen = [*given, "--out", "out", *data.draw(options(_CHANGE))]
    in_new_folder(evaluate, EVAL, "perplexity-change", model, *chosen)
