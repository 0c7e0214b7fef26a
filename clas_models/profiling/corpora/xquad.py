"""XQuAD: questions on paragraphs of Wikipedia, the same 1190 in 12 languages.

A text is the paragraph, a newline and the question; the answers are left out.  Rows are matched by the id of the
question and come in the order of the file, so that neighbours share a paragraph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from .hub_table import HubTable, check_reachable
from .languages import pick_languages
from .parallel_corpus import ParallelCorpus, align, corpus_folder, index_rows, join_text

HUB_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")

_REPO = "google/xquad"
_REMEDY = "give the folder with the files xquad.LANG.json as --data-dir"


def load_xquad(languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    """XQuAD from `xquad.LANG.json` in `data_dir` (or in its folder `xquad`), else from the Hub.

    Raises:
        InputError: files that are missing or are not SQuAD v1.1 JSON, a language that is not there, a question that
            one language lacks, or a Hub that cannot be reached.
    """
    if data_dir is None:
        picked = pick_languages(languages, HUB_LANGUAGES, "xquad")
        check_reachable(_REPO, _REMEDY)
        pairs = {language: _hub_pairs(language) for language in picked}
    else:
        folder = corpus_folder(data_dir, ["xquad"], ["xquad.*.json"], "xquad")
        files = {path.name.split(".")[1].lower(): path for path in sorted(folder.glob("xquad.*.json"))}
        picked = pick_languages(languages, files, "xquad")
        pairs = {language: _file_pairs(files[language]) for language in picked}
    texts = {language: index_rows(pairs[language], f"xquad, {language}") for language in picked}
    return ParallelCorpus("xquad", picked, align(texts, "xquad"))


def _hub_pairs(language: str) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(HubTable.open(_REPO, f"xquad.{language}", _REMEDY), start=1):
        yield str(row["id"]), join_text([row["context"], row["question"]], f"{_REPO}, {language}, row {number}")


def _file_pairs(path: Path) -> Iterator[tuple[str, str]]:
    number = 0
    try:
        articles = json.loads(path.read_text(encoding="utf-8-sig"))["data"]
        for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
            for question in paragraph["qas"]:
                number += 1
                text = join_text([paragraph["context"], question["question"]], f"{path}, row {number}")
                yield str(question["id"]), text
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give files that can") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON in UTF-8 ({error}): download the file again") from None
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not SQuAD v1.1 JSON (after row {number}: {error}): download it again") from None
