"""What a user can choose, and what of it can be refused before anything is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..modeling.language import language_code

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ConversionOptions:
    """What a user can choose; the defaults are the command line's.

    `corpus` None is the profile that a steered MODEL carries, or else the built-in corpus; `languages` None is all that
    the corpus or the profile has; `samples` None is 100, or all where a corpus has fewer.  `detector_corpus` None is
    the profiled corpus, several corpora have commas between them, "none" is no detector; `language` None is "auto"
    where there is a detector, "none" an unnamed language.
    """

    model: str
    out: Path | None = None
    corpus: str | None = None
    data_dir: Path | None = None
    languages: tuple[str, ...] | None = None
    anchor: str = "en"
    samples: int | None = None
    max_length: int = 512
    batch_size: int = 8
    statistic: str = "mean"
    threshold: float = 0.0
    bridge_layers: str = "auto"
    alpha: float | Mapping[str, float] = 1.0
    beta: float = 0.4
    gamma: float = 0.2
    profile: Path | None = None
    detector_corpus: str | None = None
    language: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    overwrite: bool = False

    def wanted_languages(self) -> tuple[str, ...] | None:
        """The languages to profile; the anchor is always one of them, named or not."""
        if self.languages is None:
            return None
        codes = tuple(code.lower() for code in self.languages)
        return codes if self.anchor.lower() in codes else (self.anchor.lower(), *codes)

    def wanted_language(self) -> str | None:
        """The language of inputs that come without one: a code, "auto", "none", or None where that is left open."""
        return None if self.language is None else self.language.strip().lower()

    def check(self) -> None:
        """Raises InputError for a value that no model or corpus could make right."""
        if self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        if self.max_length < 1 or self.batch_size < 1:
            raise InputError(f"max length {self.max_length}, batch size {self.batch_size}: both must be at least 1")
        if self.samples is not None and self.samples < 1:
            raise InputError(f"samples {self.samples}: must be at least 1")
        for name in ("beta", "gamma", "threshold"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} {getattr(self, name)}: must be a finite number")
        if self.profile is not None and self.corpus is not None:
            raise InputError("--profile and --corpus exclude each other: a finished profile needs no corpus")
        language = self.wanted_language()
        if language == "auto" and self.detector_corpus == "none":
            raise InputError(
                "--language auto needs a detector, and --detector-corpus none makes none; leave one of them out"
            )
        try:
            language_code(self.anchor, "anchor")
            if language not in (None, "none", "auto"):
                language_code(language, "language")
        except ValueError as error:
            raise InputError(str(error)) from error

    def target(self) -> Path:
        """Where the checkpoint goes; see `target_folder`."""
        return target_folder(self.out, self.model, "-clas")


def target_folder(out: Path | None, model: str, ending: str) -> Path:
    """Where a result goes: `out`, or here, by the name of the model. Raises InputError: that is the model itself."""
    path = Path(model).expanduser()
    if out is None:
        name = path.resolve().name if path.name in ("", "..") else path.name  # "." has no name of its own
        out = Path(f"{name.removesuffix('.gguf').removesuffix('-clas')}{ending}")
    out = out.expanduser()
    if out.resolve() == path.resolve():
        raise InputError(f"{out}: MODEL and --out are the same folder; give another --out")
    return out
