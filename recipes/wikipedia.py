"""Wikipedia in several languages -> the text that a profile is made from: JSON Lines, a text of each language a line.

As appendix A.1 of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer": articles in
random order, the first 100 million tokens of each language, sequences of 512 tokens.  Texts of a line have nothing to
do with each other; what is learned from them is about each language alone.

Every language has as many lines, because texts are as long as each other (`sequences.py`).  A language with less than
was asked for ends the file for all, and is named.

A language at a time is written beside the file, under NAME.parts, and stays there until all are: an interrupted command
goes on with the language in which it was stopped.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from clas_models.atomic import atomic_file, check_place, folder_lock
from clas_models.command_line import Messages, Parser, guarded, path_or_name, user_path
from clas_models.conversion.cli import parse_languages
from clas_models.errors import InputError
from clas_models.json_data import parse_json
from clas_models.keeping import refuse_loss
from clas_models.profiling.corpora.languages import normalise_codes

from .sequences import sequences
from .training_split import training_split, write_rows

PROG = "python -m recipes.wikipedia"
SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class CorpusOptions:
    """What a corpus is made of.

    Attributes:
        dataset: a Hub id, or a folder laid out like it, with a configuration `DUMP.LANGUAGE` for each language.
        tokenizer: of the model, a folder or a Hub id.
        tokens: of each language.
        max_length: tokens a text.
        shuffle_buffer: articles among which the next one is drawn; files of the data set are read in random order.
    """

    languages: tuple[str, ...]
    tokenizer: str
    tokens: int = 100_000_000
    max_length: int = 512
    dataset: str = "wikimedia/wikipedia"
    dump: str = "20231101"
    seed: int = 0
    shuffle_buffer: int = 10_000

    @property
    def lines(self) -> int:
        return -(-self.tokens // self.max_length)


def make_corpus(options: CorpusOptions, out: Path, messages: Messages, *, overwrite: bool = False) -> int:
    """Write the corpus and return its number of lines; a finished one is left as it is.

    Raises:
        InputError: a language, tokenizer or data set that cannot be used; no text in a language; or `out` is of other
            settings, and `overwrite` is not given.
        OSError: a file cannot be written.
    """
    if options.tokens < 1 or options.shuffle_buffer < 1:
        raise InputError(f"tokens {options.tokens}, shuffle buffer {options.shuffle_buffer}: both must be at least 1")
    options = replace(options, languages=normalise_codes(options.languages))
    parts = out.with_name(f"{out.name}.parts")
    check_place(out.parent)
    parts.mkdir(parents=True, exist_ok=True)
    with folder_lock(parts, f"{parts}: another command is writing there; wait for it, or give another --out"):
        _begin(options, out, parts, overwrite=overwrite)
        if not out.exists():
            tokenizer = _tokenizer(options.tokenizer)
            counts = {code: _part(options, code, parts, tokenizer, messages) for code in options.languages}
            _tell_short(options, counts, messages)
            write_rows(out, _joined({code: _path(parts, code) for code in options.languages}))
        for code in options.languages:
            _path(parts, code).unlink(missing_ok=True)
    with out.open("rb") as lines:
        return sum(1 for _ in lines)


def _begin(options: CorpusOptions, out: Path, parts: Path, *, overwrite: bool) -> None:
    """Keep what an earlier attempt with these settings has left, and nothing else."""
    path = parts / SETTINGS_NAME
    values = parse_json(json.dumps(asdict(options)))
    if _read(path) == values:
        return
    left = [name for name in (out, *parts.glob("*.jsonl")) if name.exists()]
    refuse_loss(out, f"{left[0].name} is of other settings" if left else "", overwrite=overwrite)
    for file in left:
        file.unlink()
    with atomic_file(path) as partial_file:
        partial_file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        fault = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"tokenizer {name}: cannot be loaded ({fault}); give a folder or a Hub id") from error


def _path(parts: Path, language: str) -> Path:
    return parts / f"{language}.jsonl"


def _part(
    options: CorpusOptions, language: str, parts: Path, tokenizer: PreTrainedTokenizerBase, messages: Messages
) -> int:
    """Write the texts of a language, each as JSON in a line of its own, and return how many there are."""
    path = _path(parts, language)
    if not path.exists():
        texts = islice(sequences(_articles(options, language), tokenizer, options.max_length), options.lines)
        shown = tqdm(texts, desc=language, total=options.lines, unit="text", disable=messages.quiet)
        with atomic_file(path) as partial_file, partial_file.open("w", encoding="utf-8", newline="\n") as lines:
            lines.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in shown)
    with path.open("rb") as lines_read:
        return sum(1 for _ in lines_read)


def _articles(options: CorpusOptions, language: str) -> Iterator[str]:
    table = training_split(options.dataset, f"{options.dump}.{language}")
    table = replace(table, dataset=table.dataset.shuffle(seed=options.seed, buffer_size=options.shuffle_buffer))
    for row in table:
        if not isinstance(text := row.get("text"), str):
            raise InputError(f"dataset {table.repo}, {table.config}: a row without a text; give another --dataset")
        yield text


def _tell_short(options: CorpusOptions, counts: Mapping[str, int], messages: Messages) -> None:
    """Raises InputError: a language has no text."""
    least = min(counts.values())
    for code, count in counts.items():
        if not count:
            raise InputError(f"dataset {options.dataset}: no text in {code!r}; leave the language out")
        if count < options.lines:
            messages.say(f"{code}: {count:,} texts, which is all; {options.lines:,} were asked for")
    if least < options.lines:
        messages.say(f"every language has the {least:,} texts of the shortest")


def _joined(paths: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """A row from the next line of every file, as long as all have one."""
    with ExitStack() as stack:
        files = [stack.enter_context(path.open(encoding="utf-8", newline="\n")) for path in paths.values()]
        for lines in zip(*files, strict=False):
            yield {code: json.loads(line) for code, line in zip(paths, lines, strict=True)}


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    parser = Parser(prog=PROG, description="Wikipedia as text to profile a model on.", allow_abbrev=False)
    add, default = parser.add_argument, CorpusOptions((), "")
    add("--out", type=user_path, required=True, metavar="FILE", help="JSON Lines, languages as keys")
    add("--tokenizer", type=path_or_name, required=True, metavar="MODEL", help="a folder or a Hub id")
    add("--languages", type=parse_languages, required=True, metavar="en,hi,…")
    add("--tokens", type=int, default=default.tokens, metavar="N", help="of each language (default: %(default)s)")
    add("--max-length", type=int, default=default.max_length, metavar="N", help="tokens a text (default: %(default)s)")
    add("--dataset", type=path_or_name, default=default.dataset, metavar="NAME", help="a Hub id, or a folder laid out "
        "like it (default: %(default)s)")  # fmt: skip
    add("--dump", default=default.dump, metavar="DATE", help="its configurations are DATE.LANGUAGE (default: "
        "%(default)s)")  # fmt: skip
    add("--seed", type=int, default=default.seed, metavar="N", help="of the order (default: %(default)s)")
    add("--shuffle-buffer", type=int, default=default.shuffle_buffer, metavar="N", help="articles among which the next "
        "one is drawn (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace a corpus of other settings")
    add("--quiet", action="store_true", help="say nothing")
    return guarded(partial(_make, vars(parser.parse_args(arguments))), PROG)


def _make(given: dict[str, Any]) -> int:
    out, overwrite, messages = given.pop("out"), given.pop("overwrite"), Messages(given.pop("quiet"))
    lines = make_corpus(CorpusOptions(**given), out, messages, overwrite=overwrite)
    messages.say(f"{out}: {lines:,} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
