"""Belebele: multiple choice on passages of FLORES-200, the same 900 questions in 122 language variants.

A variant is named as in FLORES-200, `deu_Latn`; of two scripts the plain code has the usual one, Simplified for
Chinese.

Source: Bandarkar et al. 2024, The Belebele Benchmark.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clas_models.errors import InputError
from clas_models.profiling.corpora.hub_table import HubTable, check_reachable, config_names
from clas_models.profiling.corpora.languages import by_language, pick_languages
from clas_models.profiling.corpora.parallel_corpus import corpus_folder, join_text
from clas_models.profiling.corpora.text_file import json_objects

from .task import Example, ExampleSource, Kind, Task, language_codes, parallel_examples, score_choice

_REPO = "facebook/belebele"
_REMEDY = "give the folder with the files such as deu_Latn.jsonl as --data-dir"
_VARIANT = re.compile(r"[a-z]{3}_[A-Za-z]{4}")
_TEXTS = ("flores_passage", "question", "mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
_FIELDS = ("passage", "question", "a", "b", "c", "d")  # the places of templates/multiple_choice.txt
LETTERS = ("A", "B", "C", "D")

Row = tuple[str, Mapping[str, Any]]  # its place, for messages, and what stands there


def load_belebele(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Questions in the order of their keys, so that `samples` are the same whatever the languages.

    A key is made of the passage's link (with its split, where the row has one) and the question's number.

    Raises InputError: a source or row that cannot be used, or a question that a language lacks.
    """
    wanted = language_codes(languages)
    rows = _hub_rows(wanted) if source.data_dir is None else _file_rows(wanted, source.data_dir)
    examples = {language: sorted(_examples(given), key=lambda example: example.key) for language, given in rows.items()}
    return parallel_examples(examples, BELEBELE.name, source.samples)


def _hub_rows(languages: tuple[str, ...] | None) -> dict[str, Iterator[Row]]:
    check_reachable(_REPO, _REMEDY)
    names = [name for name in config_names(_REPO, _REMEDY) if _VARIANT.fullmatch(name)]
    variants = by_language(names, BELEBELE.name)
    picked = pick_languages(languages, sorted(variants), BELEBELE.name)
    return {language: _table_rows(variants[language]) for language in picked}


def _table_rows(variant: str) -> Iterator[Row]:
    for number, row in enumerate(HubTable.open(_REPO, variant, _REMEDY), start=1):
        yield f"{_REPO}, {variant}, row {number}", row


def _file_rows(languages: tuple[str, ...] | None, data_dir: Path) -> dict[str, Iterator[Row]]:
    folder = corpus_folder(data_dir, ["belebele", "Belebele"], ["[a-z][a-z][a-z]_????.jsonl"], BELEBELE.name)
    paths = {path.stem: path for path in sorted(folder.glob("*.jsonl")) if _VARIANT.fullmatch(path.stem)}
    files = {tag: paths[variant] for tag, variant in by_language(paths, f"{folder}").items()}
    picked = pick_languages(languages, sorted(files), f"{BELEBELE.name} in {folder}")
    return {language: json_objects(files[language], "download the file again") for language in picked}


def _examples(rows: Iterable[Row]) -> Iterator[Example]:
    met: Counter[str] = Counter()
    for place, row in rows:
        missing = [name for name in ("link", "question_number", "correct_answer_num", *_TEXTS) if name not in row]
        if missing:
            raise InputError(f"{place}: no {', '.join(missing)}; download the file again")
        key = "#".join(str(row[name]) for name in ("link", "split", "question_number") if name in row)
        met[key] += 1
        # A link may lead to two passages, and published rows may lack the split that tells them apart.
        key = key if met[key] == 1 else f"{key}#{met[key]}"
        texts = [join_text([row[name]], f"{place}, {name}") for name in _TEXTS]
        number = str(row["correct_answer_num"])
        if number not in ("1", "2", "3", "4"):
            raise InputError(f"{place}: correct_answer_num is {number!r}, not 1 to {len(LETTERS)}; mend the row")
        yield Example(key, dict(zip(_FIELDS, texts, strict=True)), (int(number) - 1,))


BELEBELE = Task(
    name="belebele",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_belebele,
    score=score_choice,
    template="multiple_choice",
    choices=LETTERS,
    choice_fields=("a", "b", "c", "d"),
    cut="passage",
)
