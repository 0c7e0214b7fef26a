"""What the command lines have in common: how paths are read, and what becomes of a user's mistake (one line and exit
status 2) and of an interruption (130).
"""

import argparse
import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

from tqdm import tqdm

from .errors import InputError
from .modeling.language_tags import own_code

# A disk that is full can be mended; with these the path is wrong.
_WRONG_PLACE = (errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
                errno.EPERM, errno.EROFS)  # fmt: skip


# A clone has the scripts beside the package; an installation has commands.
_CLONE = (Path(__file__).parents[1] / "convert.py").is_file()
CONVERT = "python convert.py" if _CLONE else "clas-convert"
EVAL = "python -m eval" if _CLONE else "clas-eval"


@dataclass(frozen=True)
class Messages:
    """Writes to `stream` (standard error, so that standard output can be piped); nothing at all if `quiet`."""

    quiet: bool = False
    stream: TextIO | None = None

    def say(self, line: str) -> None:
        if not self.quiet:
            tqdm.write(line, file=self.stream or sys.stderr)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as everything else does."""

    def error(self, message: str) -> NoReturn:
        leads = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
        self.exit(2, f"{self.prog}: error: {message}; --help lists the options\n" if leads else None)


def user_path(text: str) -> Path:
    """A path as a user types it: `~` is a home folder, also behind `--out=`, where no shell expands it.

    Relative paths stay relative, and links are not followed.
    """
    if not text:
        raise argparse.ArgumentTypeError("an empty path; leave the option out, or write . for this folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no home folder of that name") from None


def path_or_name(text: str) -> str:
    """What may be a path or a name, such as a Hub id: as `user_path`, but a text."""
    path = user_path(text)
    return str(path) if text.startswith("~") else text


def paths_or_names(text: str) -> str:
    """Several of them with commas between, each as `path_or_name`."""
    return ",".join(map(path_or_name, text.split(",")))


def strengths_by_language(text: str, separator: str) -> float | dict[str, float]:
    """A strength as a user types it: `1`, or, here with the separator `,`, `de=-2,zh=1,default=0.5`.

    What the languages mean, and what holds where `default` is missing, is said by the configuration.

    Raises ValueError: neither of them, or a language twice.
    """
    if "=" not in text:
        return float(text)
    pairs = [part.partition("=") for part in text.split(separator)]
    strengths: dict[str, float] = {}
    for name, _, value in pairs:
        written = name.strip()
        code = written.lower() if written.lower() == "default" else own_code(written) or written
        if code in strengths:
            raise ValueError(f"names a language twice, {code}")
        strengths[code] = float(value)
    return strengths


def joined(arguments: Sequence[str], options: Collection[str]) -> list[str]:
    """`--alpha -2` and `--beta -1e-3` need no `=`: argparse would read a value such as -1e-3 as an option.

    `arguments` are as the shell gave them, `options` those with values that may begin with a minus.
    """
    result, values = [], iter(arguments)
    for argument in values:
        if argument in options:
            value = next(values, None)
            result.append(argument if value is None else f"{argument}={value}")
        else:
            result.append(argument)
    return result


def guarded(work: Callable[[], int], prog: str) -> int:
    """The exit status of `work`; what a user can mend is said in one line on standard error."""
    try:
        quieten_libraries()
        return work()
    except InputError as error:
        return _fail(prog, str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        remedy = "give another place" if error.errno in _WRONG_PLACE else "free or choose another disk and run again"
        return _fail(prog, f"{place}{error.strerror or error}; {remedy}")
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail(prog, "out of memory; use a smaller --batch-size or --max-length, or --dtype bfloat16")
    except KeyboardInterrupt as stop:
        return _fail(prog, str(stop) or "stopped; run the same command again to go on", status=130)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def quieten_libraries() -> None:
    """Their bars and notes would stand between ours; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # A name that PEFT and the Trainer ask for themselves.
    warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
    # What those two warn of the programs say themselves, once.
    own = ("clas_models.modeling.language", "clas_models.modeling.steering")
    for name in ("datasets", "huggingface_hub", "httpx", "httpx2", *own):
        logging.getLogger(name).setLevel(logging.ERROR)


def _fail(prog: str, message: str, status: int = 2) -> int:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return status
