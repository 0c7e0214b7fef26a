"""The command `perplexity-change` from a checkpoint and a corpus to the matrix."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conversion.support import write_corpus
from run_helpers import contents, quantified_fixture, running, save_plain  # noqa: F401

from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import select as selected
from eval.analysis import perplexity_change as module
from eval.loading import Checkpoint, open_checkpoint

CODES = ("en", "de", "zh")
WORDS = {"en": "the cat sleeps on bread. ", "de": "die Katze schläft auf Brot. ", "zh": "猫在桌上睡觉。"}
ROWS = [{code: f"{number} {WORDS[code] * (1 + number % 3)}" for code in CODES} for number in range(7)]
TOKENS, WINDOW = 300, 40
READ = 5  # rows that have no more tokens in any language


@pytest.fixture
def asked(steered: Path, tmp_path: Path) -> list[object]:
    """A small matrix into tmp_path/change; later options replace earlier ones."""
    corpus = write_corpus(tmp_path / "rows.jsonl", ROWS)
    return [
        *("perplexity-change", steered, "--corpus", corpus, "--tokens", TOKENS, "--max-length", WINDOW),
        *("--out", tmp_path / "change"),
    ]


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "perplexity-change.json").read_text(encoding="utf-8"))


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are computed with in double precision."""
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda self: load(self).double())


@contextmanager
def hooked(model: Any, masks: torch.Tensor, values: torch.Tensor) -> Iterator[None]:
    """Values `[layers, neurons]` in place of act(gate), where the masks say so: a hook on every MLP."""

    def again(mlp: Any, args: Any, _: Any, mask: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
        activated = torch.where(mask, written, mlp.act_fn(mlp.gate_proj(args[0])))
        return mlp.down_proj(activated * mlp.up_proj(args[0]))

    handles = [
        layer.mlp.register_forward_hook(partial(again, mask=mask, written=written))
        for layer, mask, written in zip(model.model.layers, masks, values, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def perplexity(model: Any, tokenizer: Any, language: str) -> float:
    """Of the rows that are read, one forward pass of the unsteered model a window."""
    nats, tokens = 0.0, 0
    for row in ROWS[:READ]:
        ids = tokenizer(row[language])["input_ids"]
        for start in range(0, len(ids), WINDOW):
            window = torch.tensor(ids[start : start + WINDOW])
            with torch.inference_mode(), model.temporary_steering(alpha=0.0):
                log_p = model(window[None], language=language).logits[0, :-1].log_softmax(-1)
            nats -= float(log_p.gather(1, window[1:, None]).sum())
            tokens += len(window) - 1
    return math.exp(nats / tokens)


@pytest.mark.parametrize(
    ("select", "value", "site"),
    [("lape", "zero", "activated"), ("categories", "mean", "activated"), ("lape", "mean", "gate")],
)
def test_the_matrix_is_that_of_plain_loops(
    select: str,
    value: str,
    site: str,
    asked: list[object],
    steered: Path,
    evaluation: Any,
    double: None,
    tmp_path: Path,
) -> None:
    evaluation.made(*asked, "--select", select, "--value", value, "--site", site, "--quiet")
    found = result(tmp_path / "change")
    checkpoint = open_checkpoint(str(steered))
    model, tokenizer, profile = checkpoint.load(), checkpoint.tokenizer, checkpoint.profile()
    selection = selected(select, checkpoint.known())
    sums = profile.act_sum if site == "activated" else profile.gate_sum
    before = {code: perplexity(model, tokenizer, code) for code in CODES}
    for row, neurons in enumerate(CODES):
        place = profile.languages.index(neurons)
        means = sums[place] / profile.tokens[place] if value == "mean" else torch.zeros_like(sums[place])
        means = means.float().double()  # a table holds single precision
        with hooked(model, selection.masks[selection.languages.index(neurons)], means):
            for column, text in enumerate(CODES):
                after = perplexity(model, tokenizer, text)
                assert found["perplexity"][row][column] == pytest.approx(after, rel=1e-7)
                assert found["perplexity_change"][row][column] == pytest.approx(
                    after - before[text], rel=1e-4, abs=1e-7
                )
                assert found["log_ratio"][row][column] == pytest.approx(math.log(after / before[text]), abs=1e-7)
    assert all(found["texts"][code]["perplexity"] == pytest.approx(before[code], rel=1e-7) for code in CODES)
    assert len({change for row in found["perplexity_change"] for change in row}) == 9, "every pair is another number"


def test_percentiles_are_written(asked: list[object], quantified: Path, evaluation: Any, tmp_path: Path) -> None:
    assert "value p90: quantiles were not recorded" in evaluation.refused(*asked, "--value", "p90")
    asked[1] = quantified
    found = {}
    for value in ("p90", "p10", "mean+std"):
        evaluation.made(*asked, "--value", value, "--quiet", "--overwrite")
        found[value] = result(tmp_path / "change")
    assert found["mean+std"]["settings"]["value"] == "mean+1std"
    assert len({str(each["perplexity"]) for each in found.values()}) == 3


def test_the_same_rows_are_read_in_every_language(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    said = evaluation.made(*asked).err
    found = result(tmp_path / "change")
    assert found["settings"]["rows"] == READ
    assert all(text["tokens"] <= TOKENS for text in found["texts"].values())
    most = max(text["tokens"] for text in found["texts"].values())
    assert re.search(rf"{READ} rows of rows.jsonl in every language, tokens: \w\w \d+ to \w\w {most}\n", said)
    assert re.search(r"100%.* (\d+)/\1 \[\d+:\d+<00:00, .*tokens/s\]", said), "progress with a remaining time"


def test_every_number_is_in_the_json_and_in_the_table(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    said = evaluation.made(*asked).out.splitlines()
    found = result(tmp_path / "change")
    rows = list(csv.DictReader((tmp_path / "change" / "perplexity-change.csv").open(encoding="utf-8")))
    assert [(row["neurons_of"], row["text_of"]) for row in rows] == [(i, j) for i in CODES for j in CODES]
    for row in rows:
        i, j = CODES.index(row["neurons_of"]), CODES.index(row["text_of"])
        assert float(row["perplexity_change"]) == found["perplexity_change"][i][j]
        assert float(row["nats_after"]) == found["nats"][i][j]
        per_token = float(row["nats_after"]) / int(row["tokens"])
        assert float(row["perplexity_after"]) == pytest.approx(math.exp(per_token))
    ratios = found["log_ratio"]
    own = sum(ratios[place][place] for place in range(3)) / 3
    others = (sum(map(sum, ratios)) - 3 * own) / 6
    assert found["diagonal"]["log_ratio"]["own"] == pytest.approx(own)
    assert found["diagonal"]["log_ratio"]["difference"]["mean"] == pytest.approx(own - others)
    assert (
        f"log ratio: mean on the diagonal {own:+.3f}, off it {others:+.3f}, difference {own - others:+.3f}" in said[-3]
    )
    assert {path.name for path in (tmp_path / "change").glob("*.[ps][nv]g")} == {
        f"perplexity-change{which}.{form}" for which in ("", "-log-ratio") for form in ("png", "svg")
    }


def test_some_languages_are_a_part_of_the_matrix(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--quiet")
    asked[-1] = tmp_path / "some"
    assert evaluation.made(*asked, "--languages", "zh,German", "--quiet").out == f"{tmp_path / 'some'}\n"
    whole, some = result(tmp_path / "change"), result(tmp_path / "some")
    assert some["languages"] == ["zh", "de"]
    assert some["nats"] == [[whole["nats"][i][j] for j in (2, 1)] for i in (2, 1)]


def test_profiled_text_is_told(asked: list[object], steered: Path, evaluation: Any) -> None:
    corpus = steered.with_name(f"{steered.name}-sources") / "rows.jsonl"
    said = evaluation.made(*asked, "--corpus", corpus, "--tokens", 60).err
    assert "of these rows were profiled (en), so the text is not unseen" in said


# ---- work that goes on


def test_a_stopped_matrix_goes_on_with_the_next_language(
    asked: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.made(*asked, "--quiet", "--out", tmp_path / "whole")
    computed, original = [], module.nats_under_writes

    def stopping(model: Any, write: Any, windows: Any, **options: Any) -> Any:
        computed.append(len(windows))
        if len(computed) == 2:
            raise KeyboardInterrupt
        return original(model, write, windows, **options)

    monkeypatch.setattr(module, "nats_under_writes", stopping)
    assert evaluation(*asked, "--quiet").status == 130
    assert sorted(path.stem for path in (tmp_path / "change" / "parts").iterdir()) == ["en"]
    assert "goes on, 1 parts are there already" in evaluation.made(*asked).err
    assert len(computed) == 4, "English is finished"
    assert contents(tmp_path / "change") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_matrix_ends_as_if_never_stopped(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--quiet", "--out", tmp_path / "whole")
    parts = tmp_path / "change" / "parts"
    with running([*asked, "--batch-size", "16"], tmp_path) as process:
        process.wait_while(lambda: not list(parts.glob("*.safetensors")))
        process.kill()
    evaluation.made(*asked, "--quiet")
    assert contents(tmp_path / "change") == contents(tmp_path / "whole")


def test_a_finished_matrix_loads_no_model(
    asked: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.made(*asked, "--quiet")
    before = contents(tmp_path / "change")
    monkeypatch.setattr(Checkpoint, "load", lambda self: pytest.fail("the model is loaded"))
    evaluation.made(*asked, "--quiet")
    assert contents(tmp_path / "change") == before


def test_other_settings_are_refused_and_replaced_by_the_user_s_will(
    asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*asked, "--quiet")
    before = contents(tmp_path / "change")
    said = evaluation.refused(*asked, "--value", "mean", "--quiet")
    assert "3 parts of other settings are there (value zero, now mean; written " in said
    assert said.endswith("give another --out, or --overwrite to replace it")
    assert contents(tmp_path / "change") == before
    mine = tmp_path / "change" / "mine.txt"
    mine.write_text("mine")
    evaluation.made(*asked, "--value", "mean", "--overwrite", "--quiet")
    assert result(tmp_path / "change")["settings"]["value"] == "mean"
    assert mine.read_text() == "mine"


def test_a_damaged_part_is_named(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--quiet")
    part = tmp_path / "change" / "parts" / "de.safetensors"
    part.write_bytes(part.read_bytes()[:100])
    said = evaluation(*asked, "--quiet")
    assert said.status == 2
    assert f"{part}: not a usable part of a perplexity change" in said.err


# ---- what is refused, in one line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--select", "best"), "unknown selection 'best': choose among lape, "),
        (("--value", "one"), "unknown value 'one' to write: choose one of mean, zero, p5"),
        (("--site", "neurons"), "site 'neurons': choose one of gate, activated"),
        (("--tokens", "0"), "tokens 0: must be at least 1"),
        (("--tokens", "30"), r"tokens 30: too few for 2 rows of corpus rows.jsonl in \w+, where row \d ends at"),
        (("--tokens", "9999"), r"9,999: corpus rows.jsonl has only \d+ in \w+, the language with most; give"),
        (("--languages", "de"), "there is only de, and the matrix compares languages"),
        (("--languages", "de,fr"), "fr was not profiled, so it has no neurons of its own; choose among en, de, zh"),
        (("--max-length", "1"), "max length 1: the first token of a window is not predicted"),
        (("--max-length", "5000"), "max length 5000: .* has room for 512 tokens"),
        (("--corpus", "nowhere"), "unknown corpus 'nowhere'"),
        (("--skip", "100"), "has only 7 rows"),
        (("--skip", "-1"), "skip is -1: give 0 or more"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    options: tuple[str, ...], said: str, asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    assert re.search(said, evaluation.refused(*asked, *options))
    assert not (tmp_path / "change").exists()


def test_a_corpus_without_a_language(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "two.jsonl", [{code: row[code] for code in ("en", "de")} for row in ROWS])
    assert "zh" in evaluation.refused(*asked, "--corpus", corpus)
    evaluation.made(*asked, "--corpus", corpus, "--languages", "en,de", "--tokens", 100, "--quiet")


def test_a_plain_checkpoint_and_one_without_a_profile(
    asked: list[object], steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    asked[1] = save_plain(tmp_path / "plain")
    assert "plain: a plain checkpoint, which carries no profile to find language neurons in" in evaluation.refused(
        *asked
    )
    asked[1] = shutil.copytree(steered, tmp_path / "bare")
    (tmp_path / "bare" / "neuron_profile.safetensors").unlink()
    assert "bare: no neuron_profile.safetensors in its folder" in evaluation.refused(*asked)


def test_languages_without_neurons(asked: list[object], evaluation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(known: Any, *languages: str) -> Selection:
        selection = selected("lape", known)
        masks = selection.masks.clone()
        for code in languages:
            masks[selection.languages.index(code)] = False
        return Selection(selection.languages, selection.layers, masks, selection.origin)

    monkeypatch.setattr(module, "select", lambda text, known: without(known, "de"))
    assert "selection lape: no neurons for de; leave it out of --languages" in evaluation.refused(*asked)
    monkeypatch.setattr(module, "select", lambda text, known: without(known, *CODES))
    assert "selection lape: it is empty, no language has a neuron in " in evaluation.refused(*asked)


@pytest.mark.parametrize("what", ["a file", "another folder", "other settings"])
def test_a_place_that_is_taken(what: str, asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    place = tmp_path / "change"
    if what == "a file":
        place.write_text("mine")
        assert "change: a file is in the way; give another --out" in evaluation.refused(*asked)
    elif what == "another folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
        said = evaluation.refused(*asked, "--overwrite")
        assert "change: not empty (mine.txt) and not the folder of a perplexity change; give another --out" in said
    else:
        place.mkdir()
        (place / "settings.json").write_text('{"command": "mine"}')
        said = evaluation.refused(*asked, "--overwrite")
        assert "settings.json: not the settings of a perplexity change (its command is not perplexity-change)" in said
        assert (place / "settings.json").read_text() == '{"command": "mine"}'
