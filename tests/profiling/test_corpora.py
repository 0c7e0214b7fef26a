"""Corpora from the package and from files: what is read from good input, and what is said about bad input."""

import codecs
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from clas_models.errors import InputError
from clas_models.profiling.corpora import BUILTIN_LANGUAGES, load_corpus

DATA = Path(__file__).parents[3] / "shared" / "data"
PAIRS = [{"en": "one", "de": "eins"}, {"en": "two", "de": "zwei"}, {"en": "three", "de": "drei"}]


def needs(folder):
    return pytest.mark.skipif(not (DATA / folder).is_dir(), reason=f"the data set is not at {DATA / folder}")


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def write_xquad(folder, language, ids, *, context="Text.", question="Why?"):
    folder.mkdir(parents=True, exist_ok=True)
    questions = [{"id": identity, "question": f"{language} {question}", "answers": []} for identity in ids]
    content = {"data": [{"paragraphs": [{"context": f"{language} {context}", "qas": questions}]}]}
    (folder / f"xquad.{language}.json").write_text(json.dumps(content), encoding="utf-8")


def message(source, **options):
    """The message of the error, which must be a single line; rows are read as well."""
    with pytest.raises(InputError) as caught:
        list(load_corpus(source, **options).rows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- rows and languages, whatever the source


def test_builtin_rows_come_in_the_order_of_the_languages_asked_for():
    corpus = load_corpus("builtin", languages=["ZH", "en"], samples=2)
    assert (corpus.name, corpus.languages) == ("builtin", ("zh", "en"))
    assert [list(row) for row in corpus.rows] == [["zh", "en"]] * 2


def test_skip_and_samples_pick_a_range_that_can_be_read_again():
    whole = list(load_corpus("builtin").rows)
    corpus = load_corpus("builtin", samples=3, skip=95)
    assert list(corpus.rows) == list(corpus.rows) == whole[95:98]
    assert list(load_corpus("builtin", skip=158).rows) == whole[158:]
    assert len(whole) == 160


def test_fewer_rows_than_asked_for_are_taken_if_that_is_allowed_but_never_none():
    assert list(load_corpus("builtin", samples=9, skip=158, fewer=True).rows) == list(
        load_corpus("builtin", skip=158).rows
    )
    assert "only 160 rows" in message("builtin", samples=9, skip=160, fewer=True)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"languages": ["en", "ja", "qaa"]}, ["no ja, qaa", "zh"]),
        ({"languages": ["en", "xx"]}, ["'xx' is not a language code"]),
        ({"languages": ["en", "EN"]}, ["'en'", "more than once"]),
        ({"languages": []}, ["empty"]),
        ({"languages": "en"}, ["'en'", "list"]),
        ({"languages": ["englisch"]}, ["'englisch'", "did you mean 'en' (English)"]),
        ({"languages": ["e n"]}, ["'e n'"]),
        ({"samples": 0}, ["samples is 0"]),
        ({"skip": -1}, ["skip is -1"]),
        ({"samples": 161}, ["only 160 rows", "161"]),
        ({"samples": 2, "skip": 159}, ["only 160 rows", "159"]),
        ({"skip": 160}, ["only 160 rows"]),
        ({"data_dir": Path("somewhere")}, ["somewhere", "builtin"]),
    ],
)
def test_bad_choice_of_rows_or_languages(options, parts):
    text = message("builtin", **options)
    assert all(part in text for part in parts), text


def test_unknown_sources_are_refused(tmp_path):
    assert "builtin, neighbours, xquad, xnli" in message("squad")
    assert "is a folder" in message(str(tmp_path))
    assert "data_dir" in message("org/name", data_dir=tmp_path)


@pytest.mark.slow
def test_builtin_needs_no_datasets_library():
    code = "import sys; sys.modules['datasets'] = None\n"
    code += "from clas_models.profiling.corpora import load_corpus; print(len(list(load_corpus('builtin').rows)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "160", done.stderr


# ---- JSON Lines


def test_jsonl_takes_its_languages_from_the_first_line(tmp_path):
    corpus = load_corpus(write_jsonl(tmp_path / "mine.jsonl", PAIRS))
    assert (corpus.name, corpus.languages, list(corpus.rows)) == ("mine.jsonl", ("en", "de"), PAIRS)


def test_jsonl_tolerates_bom_blank_lines_crlf_other_keys_and_capitals(tmp_path):
    lines = ['{"EN": "one", "de": "eins", "source": 7}', "", '{"de": "zwei", "En": "tw\\u2028o"}', "  "]
    path = tmp_path / "rows.txt"
    path.write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    corpus = load_corpus(str(path), languages=["de", "en"])
    assert list(corpus.rows) == [{"de": "eins", "en": "one"}, {"de": "zwei", "en": "tw\u2028o"}]


def test_jsonl_is_read_again_on_every_iteration(tmp_path):
    path = tmp_path / "mine.jsonl"
    corpus = load_corpus(write_jsonl(path, PAIRS))
    changed = [{"en": "four", "de": "vier"}] * 3
    write_jsonl(path, changed)
    assert list(corpus.rows) == changed


def test_jsonl_stops_reading_after_the_last_sample(tmp_path):
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, PAIRS)
    path.write_text(path.read_text() + "broken", encoding="utf-8")
    assert list(load_corpus(str(path), samples=3).rows) == PAIRS
    assert "line 4" in message(str(path))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (b"\n \n", ["is empty"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a",', ["line 2", "malformed"]),
        (b'{"en": "a", "de": "b"}\n\n["a"]\n', ["line 3", "list"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a"}\n', ["line 2", "'de'"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a", "de": " "}\n', ["line 2, de", "empty"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a", "de": 5}\n', ["line 2, de", "int"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a", "de": null}\n', ["line 2, de", "NoneType"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a", "de": "\\ud800"}\n', ["line 2, de", "surrogate"]),
        (b'{"en": "a", "de": "b"}\n{"en": "a", "de": "\xe4"}\n', ["line 2", "UTF-8"]),
        (b'{"en": "a", "EN": "b"}\n', ["line 1", "'en' and 'EN', both en"]),
        (b'{"en": "a", "text": "b"}\n', ["line 1", "'text'"]),
        (b'{"id": 0, "en": "a", "de": "b"}\n', ["line 1", "'id' holds a number, 0", "name the languages"]),
        (b"{}\n", ["line 1", "no language code"]),
        (b"[" * 100_000, ["line 1", "malformed"]),
        ('{"en": "a", "de": "b"}\n'.encode("utf-16"), ["line 1", "UTF-8"]),
    ],
)
def test_bad_jsonl(tmp_path, content, parts):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    text = message(str(path))
    assert all(part in text for part in [str(path), *parts]), text


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "json"])
def test_a_table_of_another_kind_is_refused_with_the_command_that_converts_it(tmp_path, kind):
    table = Dataset.from_dict({"en": ["one", "two"], "de": ["eins, zwei", "zwölf"]})
    path = tmp_path / f"rows.{kind}"
    {
        "csv": lambda: table.to_csv(path),
        "tsv": lambda: table.to_csv(path, sep="\t"),
        "parquet": lambda: table.to_parquet(path),
        "json": lambda: table.to_json(path),
    }[kind]()
    said = message(str(path))
    assert f"corpus {path}: .{kind} is not read; convert it to JSON Lines with: python -c " in said
    command = shlex.split(said.partition("with: ")[2])
    exec(command[2])
    assert list(load_corpus(str(tmp_path / "rows.jsonl")).rows) == list(table)


def test_jsonl_that_is_missing_or_lacks_a_language(tmp_path):
    assert "does not exist" in message(str(tmp_path / "none.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot be read" in message(str(tmp_path / "folder.jsonl"))
    text = message(write_jsonl(tmp_path / "mine.jsonl", PAIRS), languages=["en", "fr"])
    assert "no fr" in text
    assert "en, de" in text


# ---- XQuAD


def test_xquad_matches_rows_by_id_in_the_order_of_the_first_language(tmp_path):
    write_xquad(tmp_path / "xquad", "de", ["a", "b"])
    write_xquad(tmp_path / "xquad", "en", ["b", "a"])
    for folder in (tmp_path, tmp_path / "xquad"):
        corpus = load_corpus("xquad", data_dir=folder)
        assert (corpus.name, corpus.languages) == ("xquad", ("de", "en"))
        assert list(corpus.rows) == [{"de": "de Text.\nde Why?", "en": "en Text.\nen Why?"}] * 2


@pytest.mark.parametrize(("lacking", "having"), [("de", "en"), ("en", "de")])
def test_xquad_names_the_row_that_a_language_lacks(tmp_path, lacking, having):
    write_xquad(tmp_path, having, ["a", "b", "c"])
    write_xquad(tmp_path, lacking, ["a", "c"])
    assert f"row 2 (id b) is missing in {lacking}" in message("xquad", data_dir=tmp_path)


def test_bad_xquad_files(tmp_path):
    assert "is not a folder" in message("xquad", data_dir=tmp_path / "none")
    assert "xquad.*.json" in message("xquad", data_dir=tmp_path)
    write_xquad(tmp_path, "en", ["a", "a"])
    assert "'a' is there twice" in message("xquad", data_dir=tmp_path)
    assert "no fr" in message("xquad", data_dir=tmp_path, languages=["en", "fr"])
    write_xquad(tmp_path, "en", ["a"], question="\ud800")
    assert "row 1: the text holds a lone surrogate" in message("xquad", data_dir=tmp_path)
    for content in ("{", "[]", '{"data": [{"paragraphs": [{"qas": [{"id": "a"}]}]}]}'):
        (tmp_path / "xquad.en.json").write_text(content, encoding="utf-8")
        assert "xquad.en.json is not" in message("xquad", data_dir=tmp_path)


@pytest.mark.real
@needs("xquad")
@pytest.mark.parametrize("data_dir", [DATA, DATA / "xquad"])
def test_real_xquad(data_dir):
    corpus = load_corpus("xquad", data_dir=data_dir)
    assert corpus.languages == ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
    rows = list(corpus.rows)
    assert len(rows) == 1190
    assert rows[0]["en"].startswith("The Panthers defense gave up just 308 points")
    assert rows[0]["en"].endswith("\nHow many points did the Panthers defense surrender?")
    assert rows[0]["en"].partition("\n")[0] == rows[1]["en"].partition("\n")[0]
    assert list(load_corpus("xquad", data_dir=data_dir, languages=["zh"], samples=5, skip=7).rows) == [
        {"zh": row["zh"]} for row in rows[7:12]
    ]


# ---- XNLI


def test_xnli_takes_quotes_for_text_and_only_line_feeds_for_line_ends(tmp_path):
    (tmp_path / "dev-en.tsv").write_bytes('"A\u2028b" c.\t"D\tneutral\r\nE\x0bf\tG\tneutral\n'.encode())
    corpus = load_corpus("xnli", data_dir=tmp_path)
    assert list(corpus.rows) == [{"en": '"A\u2028b" c.\n"D'}, {"en": "E\x0bf\nG"}]


def test_xnli_official_layout_matches_rows_by_pair(tmp_path):
    lines = ["language\tgold_label\tsentence1\tsentence2\tpairID"]
    lines += [
        f"{code}\tneutral\t{code} p{n}\t{code} h{n}\t{n}" for code, n in [("en", 1), ("en", 2), ("de", 2), ("de", 1)]
    ]
    (tmp_path / "XNLI-1.0").mkdir()
    path = tmp_path / "XNLI-1.0" / "xnli.test.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = list(load_corpus("xnli", data_dir=tmp_path, languages=["en", "de"]).rows)
    assert rows == [{"en": f"en p{n}\nen h{n}", "de": f"de p{n}\nde h{n}"} for n in (1, 2)]
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert "row 1 (id 1) is missing in de" in message("xnli", data_dir=tmp_path, languages=["en", "de"])
    path.write_text("\n".join([*lines, "de\tneutral"]), encoding="utf-8")
    assert "line 6: 2 columns" in message("xnli", data_dir=tmp_path)
    path.write_text(lines[1], encoding="utf-8")
    assert "no column language" in message("xnli", data_dir=tmp_path)


def test_bad_xnli_files(tmp_path):
    assert "dev-*.tsv" in message("xnli", data_dir=tmp_path)
    (tmp_path / "dev-en.tsv").write_text("A\tB\tneutral\nC\tD\tneutral\n", encoding="utf-8")
    (tmp_path / "dev-de.tsv").write_text("A\tB\tneutral\n", encoding="utf-8")
    assert "row 2 is missing in de" in message("xnli", data_dir=tmp_path)
    assert "row 2 is missing in de" in message("xnli", data_dir=tmp_path, languages=["en", "de"])
    (tmp_path / "dev-de.tsv").write_text("A\tB\tneutral\nA B\tneutral\n", encoding="utf-8")
    assert "dev-de.tsv, line 2: 2 columns" in message("xnli", data_dir=tmp_path)
    (tmp_path / "dev-de.tsv").write_text("A\tB\tneutral\nA\t\tneutral\n", encoding="utf-8")
    assert "dev-de.tsv, line 2: the text is empty" in message("xnli", data_dir=tmp_path)


@pytest.mark.real
@needs("xnli")
def test_real_xnli():
    corpus = load_corpus("xnli", data_dir=DATA)
    rows = list(corpus.rows)
    assert (len(rows), len(corpus.languages)) == (2490, 15)
    assert rows[1]["en"] == "And he said, Mama, I'm home.\nHe didn't say a word."
    assert set(corpus.languages) < set(BUILTIN_LANGUAGES)
