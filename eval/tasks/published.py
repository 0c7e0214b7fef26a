"""The rows of a data set as it is published: a file for each language in a folder, or a configuration on the Hub.

What a row means, and whether it can be used, is the business of the tasks.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from clas_models.errors import InputError
from clas_models.json_data import parse_json
from clas_models.profiling.corpora.hub_table import HubTable, check_reachable, config_names
from clas_models.profiling.corpora.languages import by_language, pick_languages
from clas_models.profiling.corpora.parallel_corpus import corpus_folder
from clas_models.profiling.corpora.text_file import json_objects

from .task import ExampleSource, language_codes

_DAMAGED = "download the file again"
_LIST = ".json"  # of a file with one list of rows
_WILD = re.compile(r"[*?\[]")

Row: TypeAlias = tuple[str, Mapping[str, Any]]  # its place, for messages, and what stands there


@dataclass(frozen=True)
class Rows:
    """The rows of a data set.

    Attributes:
        by_language: each can be iterated once.
        gaps: whether rows are known to be missing or broken in some of the languages.
    """

    by_language: Mapping[str, Iterable[Row]]
    gaps: bool = False


@dataclass(frozen=True)
class Published:
    """Where a data set is found.

    Attributes:
        name: of the task, for messages.
        repo: on the Hub.
        files: patterns of file names, JSON Lines or a JSON list; what stands for the wildcards is the language.  Those
            of the first pattern that fits any file are read.
        example: one of the files, for messages.
        folders: below the folder that a user names, where the files may be, too.
        configs: what the name of a configuration with a language looks like.
        gaps: whether it is published with rows that are missing or broken in some languages: on the Hub, and in files
            that are JSON lists.
        elsewhere: languages that are a configuration of another data set on the Hub, unless `repo` has them:
            language -> its id, its name.
    """

    name: str
    repo: str
    files: Sequence[str]
    example: str
    folders: Sequence[str]
    configs: str = ".+"
    gaps: bool = False
    elsewhere: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def remedy(self) -> str:
        return f"give the folder with the files such as {self.example} as --data-dir"

    def rows(self, languages: Sequence[str] | None, source: ExampleSource) -> Rows:
        """The rows of the languages asked for, or of all there are for None.

        Raises InputError: no such files, a language that is not there, or a Hub that cannot be reached; some faults are
        found while iterating.
        """
        wanted = language_codes(languages)
        return self._hub_rows(wanted) if source.data_dir is None else self._file_rows(wanted, source.data_dir)

    def _hub_rows(self, languages: tuple[str, ...] | None) -> Rows:
        check_reachable(self.repo, self.remedy)
        names = [name for name in config_names(self.repo, self.remedy) if re.fullmatch(self.configs, name)]
        tables = {tag: (self.repo, name) for tag, name in by_language(names, self.name).items()}
        tables = {**self.elsewhere, **tables}
        picked = pick_languages(languages, sorted(tables), self.name)
        return Rows({language: self._table(*tables[language]) for language in picked}, self.gaps)

    def _table(self, repo: str, config: str) -> Iterator[Row]:
        if repo != self.repo:
            check_reachable(repo, self.remedy)
        for number, row in enumerate(HubTable.open(repo, config, self.remedy), start=1):
            yield f"{repo}, {config}, row {number}", row

    def _file_rows(self, languages: tuple[str, ...] | None, data_dir: Path) -> Rows:
        folder = corpus_folder(data_dir, self.folders, self.files, self.name)
        files = next(found for pattern in self.files if (found := _files(folder, pattern)))
        picked = pick_languages(languages, sorted(files), f"{self.name} in {folder}")
        gaps = self.gaps and any(path.suffix == _LIST for path in files.values())
        return Rows({language: _objects(files[language]) for language in picked}, gaps)


def _files(folder: Path, pattern: str) -> dict[str, Path]:
    """By language; files whose name has none are left out."""
    wild = [place.start() for place in _WILD.finditer(pattern)]
    before, after = pattern[: wild[0]], re.split(r"[*?\]]", pattern)[-1]
    paths = {path.name[len(before) : -len(after)]: path for path in sorted(folder.glob(pattern))}
    return {tag: paths[name] for tag, name in by_language(paths, f"{folder}").items()}


def _objects(path: Path) -> Iterator[Row]:
    if path.suffix != _LIST:
        yield from json_objects(path, _DAMAGED)
        return
    try:
        rows = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {_DAMAGED}") from None
    if not isinstance(rows, list):
        raise InputError(f"{path}: {type(rows).__name__} in place of a list of rows; {_DAMAGED}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}, row {number}: {type(row).__name__} in place of an object; {_DAMAGED}")
        yield f"{path}, row {number}", row
