"""XQuAD: questions on paragraphs of Wikipedia, the same 1190 in 12 languages.

A text of the corpus is the paragraph, a newline and the question.  Rows are matched by the id of the question and come
in the order of the file, so that neighbours share a paragraph.  The answers are read but left to others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...json_data import parse_json
from .hub_table import HubTable, check_reachable
from .languages import by_language, pick_languages
from .parallel_corpus import ParallelCorpus, align, corpus_folder, index_rows, join_text

HUB_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")

REPO = "google/xquad"
_REMEDY = "give the folder with the files xquad.LANG.json as --data-dir"


@dataclass(frozen=True)
class Question:
    """One question as it is published; whether its texts can be used is not checked.

    `place` is for messages, such as a file and a row; `key` the id of the question, the same in every language;
    `answers` a list of objects with a `text` in a file, an object with a list `text` on the Hub.
    """

    place: str
    key: str
    context: object
    question: object
    answers: Any


def load_xquad(languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    """XQuAD from `xquad.LANG.json` in `data_dir` (or in its folder `xquad`), else from the Hub.

    Raises InputError: files that are missing or are not SQuAD v1.1 JSON, a language that is not there, a question that
    one language lacks, or a Hub that cannot be reached.
    """
    texts = {
        language: index_rows(
            ((row.key, join_text([row.context, row.question], row.place)) for row in questions), f"xquad, {language}"
        )
        for language, questions in xquad_questions(languages, data_dir).items()
    }
    return ParallelCorpus("xquad", tuple(texts), align(texts, "xquad"))


def xquad_questions(languages: tuple[str, ...] | None, data_dir: Path | None) -> dict[str, Iterator[Question]]:
    """The questions of every language, in the order of the file or of the Hub; read when they are iterated.

    Raises InputError: as `load_xquad`, but questions are not matched; what is wrong with a row is found while
    iterating.
    """
    if data_dir is None:
        picked = pick_languages(languages, HUB_LANGUAGES, "xquad")
        check_reachable(REPO, _REMEDY)
        return {language: _hub_questions(language) for language in picked}
    folder = corpus_folder(data_dir, ["xquad"], ["xquad.*.json"], "xquad")
    names = {path.name.split(".")[1]: path for path in sorted(folder.glob("xquad.*.json"))}
    files = {tag: names[name] for tag, name in by_language(names, f"{folder}, xquad.LANG.json").items()}
    picked = pick_languages(languages, files, f"xquad in {folder}")
    return {language: _file_questions(files[language]) for language in picked}


def _hub_questions(language: str) -> Iterator[Question]:
    for number, row in enumerate(HubTable.open(REPO, f"xquad.{language}", _REMEDY), start=1):
        place = f"{REPO}, {language}, row {number}"
        yield Question(place, str(row["id"]), row["context"], row["question"], row.get("answers"))


def _file_questions(path: Path) -> Iterator[Question]:
    number = 0
    try:
        articles = parse_json(path.read_text(encoding="utf-8-sig"))["data"]
        for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
            for row in paragraph["qas"]:
                number += 1
                place = f"{path}, row {number}"
                yield Question(place, str(row["id"]), paragraph["context"], row["question"], row.get("answers"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give files that can") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON in UTF-8 ({error}): download the file again") from None
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not SQuAD v1.1 JSON (after row {number}: {error}): download it again") from None
