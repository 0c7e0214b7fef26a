"""Corpora from the Hub: datasets laid out as there, and the ways in which the Hub cannot be used."""

import os
import socket
import subprocess
import sys

import pytest
from hub_folder import write_hub_folder

from clas_models.errors import InputError
from clas_models.profiling.corpora import load_corpus
from clas_models.profiling.corpora.hub import open_corpus

FOUND_OUT_WITHIN = 60  # seconds: ten of waiting, and a machine that is busy


def test_hub_layout_is_read_with_known_columns_and_the_validation_split(tmp_path):
    tables = {
        f"xquad.{code}": {
            "train": [{"id": 0, "context": "no", "question": "no"}],
            "validation": [{"id": n, "context": f"{code} c{n}", "question": f"q{n}"} for n in range(3)],
        }
        for code in ("EN", "de")
    }
    corpus = open_corpus(write_hub_folder(tmp_path, {**tables, "all": tables["xquad.de"]}), None, ())
    expected = [{"de": f"de c{n}\nq{n}", "en": f"EN c{n}\nq{n}"} for n in range(3)]
    assert corpus.languages == ("de", "en")
    assert list(corpus.rows) == list(corpus.rows) == expected


def test_hub_columns_and_languages_can_be_chosen(tmp_path):
    tables = {code: {"train": [{"title": f"{code} t", "body": f"{code} b"}]} for code in ("pt_BR", "task_de", "es")}
    folder = write_hub_folder(tmp_path, tables)
    corpus = open_corpus(folder, ("pt-BR", "de"), ("body", "title"))
    assert list(corpus.rows) == [{"pt-BR": "pt_BR b\npt_BR t", "de": "task_de b\ntask_de t"}]
    with pytest.raises(InputError, match=r"no fr: choose among de, es, pt-BR"):
        open_corpus(folder, ("fr",), ("body",))
    with pytest.raises(InputError, match=r"title, body; write .*:column"):
        open_corpus(folder, ("es",), ())
    with pytest.raises(InputError, match=r"no column nobody among title, body"):
        open_corpus(folder, ("es",), ("title", "nobody"))


def test_hub_rows_that_are_not_parallel(tmp_path):
    tables = {"en": {"test": [{"text": "a"}, {"text": "b"}]}, "de": {"test": [{"text": "a"}]}}
    with pytest.raises(InputError, match="row 2, de: missing"):
        list(open_corpus(write_hub_folder(tmp_path / "short", tables), ("en", "de"), ()).rows)
    tables["de"]["test"].append({"text": None})
    with pytest.raises(InputError, match="row 2, de: the text is NoneType"):
        list(open_corpus(write_hub_folder(tmp_path / "none", tables), ("en", "de"), ()).rows)


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ({"a.de": {"test": [{"text": "a"}]}, "b.de": {"test": [{"text": "a"}]}}, r"several configurations for de"),
        ({"plain": {"test": [{"text": "a"}]}}, "no configuration named by a language"),
        ({"de": {"other": [{"text": "a"}]}}, r"no split validation, val, test, train among other"),
    ],
)
def test_hub_layouts_that_cannot_be_used(tmp_path, tables, fault):
    with pytest.raises(InputError, match=fault):
        open_corpus(write_hub_folder(tmp_path, tables), None, ())


def test_hub_source_without_a_column_after_the_colon():
    with pytest.raises(InputError, match="no column after the colon"):
        load_corpus("org/name:")


def load_in_another_process(source, environment):
    """What loading says, and the seconds it takes, under an environment that the libraries read when imported."""
    code = (
        "import sys, time\n"
        "from clas_models.profiling.corpora import load_corpus\n"
        "start = time.monotonic()\n"
        "try: print(list(load_corpus(sys.argv[1]).rows))\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
        "print(time.monotonic() - start)"
    )
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-c", code, source]
    done = subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=True)
    *said, seconds = done.stdout.strip().splitlines()
    return said, float(seconds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "remedy"), [("xquad", "--data-dir"), ("xnli", "--data-dir"), ("org/name", "JSON Lines file")]
)
def test_unreachable_hub_is_found_out_within_seconds(tmp_path, source, remedy):
    # Nothing listens on port 9 of this machine.
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    (said,), seconds = load_in_another_process(source, environment)
    assert said.startswith("InputError the Hugging Face Hub cannot be reached")
    assert remedy in said
    assert seconds < FOUND_OUT_WITHIN


@pytest.mark.slow
def test_hub_that_never_answers_is_found_out_within_seconds(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}", "HF_HOME": str(tmp_path)}
        (said,), seconds = load_in_another_process("org/name", environment)
    assert said.startswith("InputError the Hugging Face Hub cannot be reached")
    assert seconds < FOUND_OUT_WITHIN


@pytest.mark.slow
def test_offline_hub_dataset_comes_from_the_cache_or_is_refused(tmp_path):
    tables = {code: {"validation": [{"text": f"{code} a"}, {"text": f"{code} b"}]} for code in ("en", "de")}
    folder = write_hub_folder(tmp_path / "org" / "name", tables)
    code = "import sys, datasets\nfor config in ('en', 'de'): datasets.load_dataset(sys.argv[1], config)"
    cache = {"HF_HOME": str(tmp_path / "home"), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code, folder], env={**os.environ, **cache}, capture_output=True, check=True)
    # What is loaded from a folder differs from what is loaded from the Hub in the owner before the name alone.
    (tmp_path / "cache" / "name").rename(tmp_path / "cache" / "org___name")
    environment = {**cache, "HF_HUB_OFFLINE": "1"}
    (said,), _ = load_in_another_process("org/name", environment)
    assert said == "[{'de': 'de a', 'en': 'en a'}, {'de': 'de b', 'en': 'en b'}]"
    for source in ("org/other", "xquad"):
        (said,), seconds = load_in_another_process(source, environment)
        assert said.startswith("InputError dataset")
        assert seconds < FOUND_OUT_WITHIN


@pytest.mark.slow
def test_malformed_hub_name_is_refused_without_the_network(tmp_path):
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    (said,), _ = load_in_another_process("a--b/c..d", environment)
    assert said.startswith("InputError the Hugging Face Hub has no dataset 'a--b/c..d'")
