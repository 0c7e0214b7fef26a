"""The language detector of a checkpoint, through the command line: made, added, kept, refused, and used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from safetensors.torch import load_file
from trained_tokenizers import builtin_rows, byte_level_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models.conversion.detector import MIN_ROWS
from clas_models.conversion.source import PROFILE_NAME
from clas_models.profiling.corpora import NEIGHBOURS
from clas_models.profiling.detector.detector_building import build_detector, judge

from .support import (
    LLAMA,
    QWEN2,
    ROWS,
    assert_same_bits,
    base_only,
    change_tensors,
    file_bytes,
    masks_only,
    read_weights,
    rewrite_json,
    run_main,
    save_plain,
    write_corpus,
)

CODES = ("en", "de", "hi", "zh")
INDEX, CONFIG, CARD = "model.safetensors.index.json", "config.json", "README.md"
TABLES = {f"model.language_detector.{name}" for name in ("evidence", "kinds", "limits")}
NEW_TEXTS = {
    "en": "The train to the coast leaves an hour later today.",
    "de": "Der Zug nach Hamburg fährt heute leider erst eine Stunde später ab.",
    "hi": "गाँव का बाज़ार सुबह बहुत जल्दी खुल जाता है।",
    "zh": "我们昨天在市场上买了很多新鲜的蔬菜。",
}


def rows_of(*codes: str, count: int = 30) -> list[dict[str, str]]:
    return [{code: row[code] for code in codes} for row in builtin_rows()[:count]]


def save_trained(folder: Path, family: Any = LLAMA, dtype: torch.dtype = torch.float32) -> Path:
    """A tiny plain checkpoint with a tokenizer that has words, and an embedding with a few rows to spare."""
    tokenizer = byte_level_tokenizer()
    ids: dict[str, Any] = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    save_plain(folder, family, dtype, vocab_size=len(tokenizer) + 24, **ids)
    tokenizer.save_pretrained(folder)
    return folder


def detector_tables(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in read_weights(folder).items() if "language_detector" in name}


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / CONFIG).read_text(encoding="utf-8"))


def detected(folder: Path, **options: Any) -> dict[str, tuple[str, int]]:
    """What a reloaded model takes each of the new texts for: a code and an id."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(list(NEW_TEXTS.values()), return_tensors="pt", padding=True)
    found = model.detect_language(batch["input_ids"], batch["attention_mask"])
    return {code: (one.code, one.language_id) for code, one in zip(NEW_TEXTS, found, strict=True)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain`; `detecting` and `bare`, made of it with and without a detector; their corpus; one all in English."""
    folder = tmp_path_factory.mktemp("detector")
    save_trained(folder / "plain")
    corpus = write_corpus(folder / "rows.jsonl", rows_of(*CODES))
    write_corpus(folder / "english.jsonl", [dict.fromkeys(CODES, row["en"]) for row in rows_of("en")])
    given = [folder / "plain", "--corpus", corpus, "--samples", "4", "--quiet", "--alpha", "1"]
    assert run_main([*given, "--out", folder / "detecting"]) == 0
    assert run_main([*given, "--out", folder / "bare", "--detector-corpus", "none"]) == 0
    return folder


@pytest.fixture
def detecting(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made / "detecting", tmp_path / "detecting"))


# --- a new detector ---------------------------------------------------------------------------------------------------


def test_tables_are_in_the_last_shard_and_in_the_index(made: Path) -> None:
    index = json.loads((made / "detecting" / INDEX).read_text())
    last = sorted((made / "detecting").glob("model-*.safetensors"))[-1]
    assert {name for name in index["weight_map"] if "detector" in name and "proj" not in name} == TABLES
    assert {index["weight_map"][name] for name in TABLES} == {last.name}
    assert load_file(last).keys() == TABLES | masks_only(read_weights(made / "detecting")).keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in read_weights(made / "detecting").values())


def test_tables_are_those_of_the_corpus_and_the_tokenizer(made: Path) -> None:
    detector = build_detector(byte_level_tokenizer(), rows_of(*CODES), CODES, "en", len(byte_level_tokenizer()) + 24)
    assert_same_bits(
        detector_tables(made / "detecting"),
        {f"model.language_detector.{name}": table for name, table in detector.named_buffers()},
    )


def test_configuration(made: Path) -> None:
    detecting, bare = config_of(made / "detecting"), config_of(made / "bare")
    assert (detecting["language"], detecting["detector_languages"]) == ("auto", ["de", "hi", "zh"])
    assert (bare["language"], bare["detector_languages"]) == (None, None)
    differing = {key for key in detecting.keys() | bare.keys() if detecting.get(key) != bare.get(key)}
    assert differing == {
        "language",
        "detector_languages",
        "detector_floor",
        "detector_temperature",
        "detector_handicap",
    }


def test_the_rest_of_the_checkpoint_is_the_same_without_a_detector(made: Path) -> None:
    with_detector, without = read_weights(made / "detecting"), read_weights(made / "bare")
    assert not TABLES & without.keys()
    assert_same_bits({name: tensor for name, tensor in with_detector.items() if name not in TABLES}, without)
    assert_same_bits(base_only(with_detector), read_weights(made / "plain"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reloaded_model_names_the_languages(made: Path, dtype: torch.dtype) -> None:
    expected = {code: (code, CODES.index(code)) for code in CODES}
    assert detected(made / "detecting", dtype=dtype) == expected


def test_a_reloaded_model_steers_each_row_in_its_own_language(made: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(made / "detecting")
    plain = AutoModelForCausalLM.from_pretrained(made / "plain")
    tokenizer = AutoTokenizer.from_pretrained(made / "detecting")
    batch = tokenizer(list(NEW_TEXTS.values()), return_tensors="pt", padding=True)
    with torch.no_grad():
        decided, named = model(**batch).logits, model(**batch, language=list(NEW_TEXTS)).logits
        untouched = plain(**batch).logits
    assert torch.equal(decided, named)
    assert torch.equal(decided[0], untouched[0])
    assert not torch.equal(decided[1], untouched[1])


@pytest.mark.parametrize(("family", "dtype"), [(QWEN2, torch.bfloat16), (LLAMA, torch.float16)])
def test_family_and_precision_do_not_matter_but_the_tokenizer_does(
    converter: Command, made: Path, tmp_path: Path, family: Any, dtype: torch.dtype
) -> None:
    """Qwen2's composes decomposed text."""
    plain = save_trained(tmp_path / "plain", family, dtype)
    converter.made(plain, "--corpus", made / "rows.jsonl", "--samples", "2", "--out", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(plain)
    expected = build_detector(tokenizer, rows_of(*CODES), CODES, "en", len(tokenizer) + 24)
    assert_same_bits(
        detector_tables(tmp_path / "out"),
        {f"model.language_detector.{name}": table for name, table in expected.named_buffers()},
    )


def test_accuracy_is_in_the_summary_in_the_progress_and_in_the_model_card(
    converter: Command, made: Path, tmp_path: Path
) -> None:
    rows, tokenizer = rows_of(*CODES), byte_level_tokenizer()
    accuracy = judge(tokenizer, rows, CODES, "en", len(tokenizer) + 24)[0]
    assert accuracy.rows == 6 * len(CODES)
    ended = converter.made(made / "plain", "--corpus", made / "rows.jsonl", "--samples", "2", "--out", tmp_path / "out")
    assert f"\nlanguage detector: {accuracy}\n" in ended.err
    assert f"\nLanguage detector (rows.jsonl): {accuracy}\n" in ended.out
    assert "max_new_tokens=40" in ended.out
    assert "language=" not in ended.out
    card = (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    assert f"| language detector | knows de hi zh; rows.jsonl: {accuracy} |" in card
    assert "Without `language=` the model recognises the language of each input by itself" in card


@pytest.mark.slow
def test_the_built_in_corpus_has_all_its_languages(converter: Command, made: Path, tmp_path: Path) -> None:
    given = [made / "plain", "--corpus", made / "rows.jsonl", "--samples", "2", "--detector-corpus", "builtin"]
    ended = converter.made(*given, "--out", tmp_path / "out")
    config = config_of(tmp_path / "out")
    assert set(config["detector_languages"]) == {*builtin_rows()[0], *NEIGHBOURS} - {"en"}
    assert (config["languages"], config["language"]) == (list(CODES), "auto")
    assert " of 704 held-out texts" in ended.out
    assert detected(tmp_path / "out") == {code: (code, CODES.index(code)) for code in CODES}


def test_several_corpora_teach_one_detector(converter: Command, made: Path, tmp_path: Path) -> None:
    """Each with its own languages; together they must have the profiled ones."""
    first = write_corpus(tmp_path / "first.jsonl", rows_of("en", "de", "fr", count=25))
    second = write_corpus(tmp_path / "second.jsonl", rows_of("en", "hi", "zh", count=25))
    given = [made / "bare", "--detector-corpus", f"{first},{second}", "--out", tmp_path / "out"]
    assert "Language detector (first.jsonl,second.jsonl): " in converter.made(*given).out
    assert set(config_of(tmp_path / "out")["detector_languages"]) == {"de", "fr", "hi", "zh"}
    assert detected(tmp_path / "out") == {code: (code, CODES.index(code)) for code in CODES}
    message = converter.refused(made / "bare", "--detector-corpus", f"{first},{first}", "--out", tmp_path / "refused")
    assert message.startswith("language detector: corpus first.jsonl,first.jsonl lacks ")


@pytest.mark.parametrize(("given", "expected"), [("DE", "de"), ("none", None), ("Auto", "auto")])
def test_a_chosen_default_wins(
    converter: Command, made: Path, tmp_path: Path, given: str, expected: str | None
) -> None:
    ended = converter.made(made / "detecting", "--language", given, "--out", tmp_path / "out")
    assert config_of(tmp_path / "out")["language"] == expected
    assert_same_bits(detector_tables(tmp_path / "out"), detector_tables(made / "detecting"))
    assert ('language="de"' in ended.out) == (expected != "auto")
    card = (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    taken_for = {"de": "is taken for `de`", None: "an unnamed language", "auto": "recognises the language"}[expected]
    assert taken_for in card


# --- no detector, or one that is not trusted --------------------------------------------------------------------------


def test_none_makes_none(converter: Command, made: Path, tmp_path: Path) -> None:
    given = [made / "plain", "--corpus", made / "rows.jsonl", "--samples", "2", "--detector-corpus", "none"]
    ended = converter.made(*given, "--out", tmp_path / "out")
    assert "detector" not in ended.err
    remedy = "name the language of each input, or make a detector with --detector-corpus"
    assert f"\nNo language detector (not wanted): {remedy}\n" in ended.out
    assert "| language detector | none: " in (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with pytest.raises(ValueError, match="no language detector"):
        model(torch.tensor([[5, 6, 7]]), language="auto")


def test_too_few_rows_make_no_detector_and_that_is_said(converter: Command, plain_folder: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", ROWS)
    ended = converter.made(plain_folder, "--corpus", corpus, "--out", tmp_path / "out")
    fault = "corpus rows.jsonl has 4 rows, a detector needs 20; name another with --detector-corpus"
    assert [line for line in ended.err.splitlines() if "detector" in line] == [f"no language detector: {fault}"]
    config = config_of(tmp_path / "out")
    assert (config["language"], config["detector_languages"]) == (None, None)
    assert not detector_tables(tmp_path / "out")
    assert f"\nNo language detector ({fault}): name the language of each input" in ended.out


def test_as_many_rows_as_a_detector_needs(converter: Command, made: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "few.jsonl", rows_of("en", "de", count=MIN_ROWS))
    given = [made / "plain", "--corpus", corpus, "--samples", "2"]
    assert "of 8 held-out texts" in converter.made(*given, "--out", tmp_path / "out").out


def test_a_detector_that_is_too_often_wrong_is_no_default(converter: Command, made: Path, tmp_path: Path) -> None:
    given = [made / "bare", "--detector-corpus", made / "english.jsonl", "--out", tmp_path / "out"]
    ended = converter.made(*given)
    assert 'warning: that is too often wrong for a default; ask for it with language="auto"' in ended.err
    config = config_of(tmp_path / "out")
    assert (config["language"], config["detector_languages"]) == (None, ["de", "hi", "zh"])
    assert detector_tables(tmp_path / "out").keys() == TABLES
    assert "anchor or not right in 25.0%" in ended.out
    assert 'language="de"' in ended.out
    converter.made(tmp_path / "out", "--alpha", "2", "--out", tmp_path / "again")
    assert config_of(tmp_path / "again")["language"] is None, "nobody has trusted it since"
    converter.made(tmp_path / "out", "--language", "auto", "--out", tmp_path / "chosen")
    assert config_of(tmp_path / "chosen")["language"] == "auto"


def test_a_model_without_a_tokenizer_gets_no_detector(converter: Command, made: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(made / "plain", tmp_path / "plain"))
    for path in plain.glob("tokenizer*"):
        path.unlink()
    given = [plain, "--profile", made / "bare" / PROFILE_NAME, "--out", tmp_path / "out"]
    ended = converter.made(*given)
    assert f"no language detector: {plain}: its tokenizer cannot be loaded" in ended.err
    assert config_of(tmp_path / "out")["detector_languages"] is None
    assert "its tokenizer cannot be loaded" in converter(*given, "--detector-corpus", "builtin", "--overwrite").err


# --- a steered checkpoint ---------------------------------------------------------------------------------------------


def test_a_detector_is_added_without_a_forward_pass(converter: Command, made: Path, tmp_path: Path) -> None:
    ended = converter.made(made / "bare", "--detector-corpus", made / "rows.jsonl", "--out", tmp_path / "out")
    assert "profiling" not in ended.err
    assert "no forward pass needed" in ended.err
    assert config_of(tmp_path / "out")["language"] == "auto"
    found = read_weights(tmp_path / "out")
    assert_same_bits(masks_only(found), masks_only(read_weights(made / "bare")))
    assert_same_bits(base_only(found), read_weights(made / "plain"))
    assert_same_bits(detector_tables(tmp_path / "out"), detector_tables(made / "detecting"))
    assert (tmp_path / "out" / PROFILE_NAME).read_bytes() == (made / "bare" / PROFILE_NAME).read_bytes()
    assert detected(tmp_path / "out") == {code: (code, CODES.index(code)) for code in CODES}


def test_a_detector_is_kept_bit_for_bit(converter: Command, made: Path, tmp_path: Path) -> None:
    before = file_bytes(made / "detecting")
    ended = converter.made(made / "detecting", "--alpha", "-1", "--bridge-layers", "1,2", "--out", tmp_path / "out")
    assert "making the language detector" not in ended.err
    assert "\nLanguage detector (taken over from the source)\n" in ended.out
    assert_same_bits(detector_tables(tmp_path / "out"), detector_tables(made / "detecting"))
    config = config_of(tmp_path / "out")
    assert (config["language"], config["detector_languages"]) == ("auto", ["de", "hi", "zh"])
    before_config = config_of(made / "detecting")
    for field in ("detector_floor", "detector_temperature", "detector_handicap"):
        assert config[field] == before_config[field]
    assert str(made) not in (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    assert file_bytes(made / "detecting") == before


def test_a_detector_is_kept_for_fewer_languages(converter: Command, made: Path, tmp_path: Path) -> None:
    converter.made(made / "detecting", "--languages", "zh,de", "--out", tmp_path / "out")
    assert_same_bits(detector_tables(tmp_path / "out"), detector_tables(made / "detecting"))
    config = config_of(tmp_path / "out")
    assert (config["languages"], config["detector_languages"]) == (["en", "zh", "de"], ["de", "hi", "zh"])
    # Hindi is no longer profiled, but still known.
    assert detected(tmp_path / "out") == {"en": ("en", 0), "de": ("de", 2), "hi": ("hi", 3), "zh": ("zh", 1)}


def test_a_detector_that_somebody_saved_with_the_model_is_kept(converter: Command, made: Path, tmp_path: Path) -> None:
    """`save_pretrained` writes masks, detector and weights into one file."""
    AutoModelForCausalLM.from_pretrained(made / "detecting").save_pretrained(tmp_path / "saved")
    shutil.copy(made / "detecting" / PROFILE_NAME, tmp_path / "saved")
    converter.made(tmp_path / "saved", "--out", tmp_path / "out")
    assert_same_bits(read_weights(tmp_path / "out"), read_weights(made / "detecting"))


def test_a_detector_is_made_anew_or_left_out_where_that_is_asked_for(
    converter: Command, made: Path, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "others.jsonl", rows_of("hi", "en", "zh", "de", count=25))
    converter.made(made / "detecting", "--detector-corpus", corpus, "--out", tmp_path / "anew")
    with pytest.raises(AssertionError):
        assert_same_bits(detector_tables(tmp_path / "anew"), detector_tables(made / "detecting"))
    converter.made(made / "detecting", "--detector-corpus", "none", "--out", tmp_path / "without")
    assert not detector_tables(tmp_path / "without")
    assert config_of(tmp_path / "without")["language"] is None


def test_a_detector_against_another_anchor_is_not_kept(converter: Command, made: Path, tmp_path: Path) -> None:
    converter.made(made / "detecting", "--anchor", "de", "--out", tmp_path / "out")
    assert not detector_tables(tmp_path / "out")
    assert config_of(tmp_path / "out")["detector_languages"] is None
    message = converter.refused(
        made / "detecting", "--anchor", "de", "--language", "auto", "--out", tmp_path / "refused"
    )
    assert message == (
        f"--language auto needs a language detector: {made / 'detecting'} has none against de; make one with "
        "--detector-corpus"
    )
    converter.made(
        made / "detecting", "--anchor", "de", "--detector-corpus", made / "rows.jsonl", "--out", tmp_path / "german"
    )
    assert set(config_of(tmp_path / "german")["detector_languages"]) == {"en", "hi", "zh"}
    assert detected(tmp_path / "german")["de"] == ("de", CODES.index("de"))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda tables: tables.pop("evidence"),
            "no tensor 'model.language_detector.evidence', which its configuration",
        ),
        (lambda tables: tables.pop("kinds"), "no tensor 'model.language_detector.kinds', which its configuration"),
        (
            lambda tables: tables.update(evidence=tables["evidence"][:, :-1].contiguous()),
            "tensor 'model.language_detector.evidence' is torch.int8 [3024, 4], expected torch.int8 [3024, 5]",
        ),
        (
            lambda tables: tables.update(kinds=tables["kinds"][:-1].contiguous()),
            "tensor 'model.language_detector.kinds' is torch.uint8 [3023], expected torch.uint8 [3024]",
        ),
        (
            lambda tables: tables.update(limits=tables["limits"].float()),
            "tensor 'model.language_detector.limits' is torch.float32 [5], expected torch.int32 [5]",
        ),
    ],
    ids=["no evidence", "no kinds", "columns", "rows", "dtype"],
)
def test_damaged_tables_are_refused_and_can_be_made_anew(
    converter: Command,
    made: Path,
    detecting: Path,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], Any],
    fault: str,
) -> None:
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        tables = {name.rsplit(".", 1)[1]: tensors.pop(name) for name in TABLES}
        change(tables)
        tensors.update({f"model.language_detector.{name}": table for name, table in tables.items()})

    last = sorted(detecting.glob("model-*.safetensors"))[-1]
    change_tensors(last, damage)
    kept = detector_tables(detecting).keys()
    rewrite_json(detecting / INDEX, lambda index: [index["weight_map"].pop(name) for name in TABLES - kept])
    message = converter.refused(detecting, "--out", tmp_path / "out")
    assert message.startswith(str(detecting))
    assert fault in message
    assert not (tmp_path / "out").exists()
    converter.made(detecting, "--detector-corpus", made / "rows.jsonl", "--out", tmp_path / "out")
    assert_same_bits(detector_tables(tmp_path / "out"), detector_tables(made / "detecting"))


# --- what is refused before anything runs -----------------------------------------------------------------------------


def test_a_corpus_that_lacks_a_profiled_language(converter: Command, made: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "two.jsonl", rows_of("en", "de"))
    for model, more in ((made / "plain", ["--corpus", made / "rows.jsonl"]), (made / "bare", [])):
        message = converter.refused(model, *more, "--detector-corpus", corpus, "--out", tmp_path / "out")
        assert "two.jsonl" in message
        assert "hi" in message
        assert not (tmp_path / "out").exists()


def test_the_built_in_corpus_does_not_have_every_language(converter: Command, made: Path, tmp_path: Path) -> None:
    rows = [{"en": row["en"], "qaa": row["de"]} for row in rows_of("en", "de")]
    corpus = write_corpus(tmp_path / "rows.jsonl", rows)
    given = [made / "plain", "--corpus", corpus, "--detector-corpus", "builtin", "--out", tmp_path / "out"]
    message = converter.refused(*given)
    assert message == "language detector: corpus builtin lacks qaa; name another with --detector-corpus"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            "few.jsonl",
            "language detector: corpus few.jsonl has 19 rows, a detector needs 20; name another with --detector-corpus",
        ),
        ("missing.jsonl", "missing.jsonl"),
        ("buildin", "unknown corpus 'buildin'"),
    ],
)
def test_a_corpus_that_no_detector_can_be_made_of(
    converter: Command, made: Path, tmp_path: Path, name: str, fault: str
) -> None:
    write_corpus(tmp_path / "few.jsonl", rows_of(*CODES, count=MIN_ROWS - 1))
    corpus = tmp_path / name if name.endswith(".jsonl") else name
    given = [made / "plain", "--corpus", made / "rows.jsonl", "--out", tmp_path / "out"]
    assert fault in converter.refused(*given, "--detector-corpus", corpus)


def test_auto_without_a_detector(converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    given = [plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", "--language", "auto"]
    assert converter.refused(*given, "--detector-corpus", "none") == (
        "--language auto needs a detector, and --detector-corpus none makes none; leave one of them out"
    )
    assert converter.refused(*given) == (
        "--language auto needs a language detector: corpus rows.jsonl has 4 rows, a detector needs 20; name another "
        "with --detector-corpus"
    )


def test_auto_where_a_steered_checkpoint_has_no_detector(converter: Command, made: Path, tmp_path: Path) -> None:
    message = converter.refused(made / "bare", "--language", "auto", "--out", tmp_path / "out")
    assert message == (
        f"--language auto needs a language detector: {made / 'bare'} has none against en; make one with "
        "--detector-corpus"
    )


@pytest.mark.parametrize("language", ["german!", "", "de,zh"])
def test_a_language_that_is_none(converter: Command, made: Path, tmp_path: Path, language: str) -> None:
    assert "language" in converter.refused(made / "detecting", "--language", language, "--out", tmp_path / "out")
