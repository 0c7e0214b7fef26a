"""What a user can choose, and what of it can be refused before anything is read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..modeling.language_tags import did_you_mean, matching
from ..modeling.positions import ALL, checked_positions
from ..profiling.corpora.languages import normalise_codes

# Alpha 0 is the base model: another one is for somebody to choose who has measured that it does good.
STRENGTHS: Mapping[str, float] = {"alpha": 0.0, "beta": 0.4, "gamma": 0.2}
DTYPES = ("auto", "float32", "bfloat16", "float16")
_LARGEST = 2**31


@dataclass(frozen=True)
class ConversionOptions:
    """What a user can choose; the defaults are the command line's.

    `corpus` None is the profile that a steered MODEL carries, or else the built-in corpus; `languages` None is all that
    the corpus or the profile has; `samples` None is 100, or all where a corpus has fewer.  `threshold` None is the
    statistic's own (`DEFAULT_THRESHOLDS`); `masks` is a file of `mask_file.py` in place of masks from the profile,
    `strengths` one of `FittedStrengths`, which says layers, masks and strengths; None are those that a steered MODEL
    has.
    `detector_corpus` None is the profiled corpus, several corpora have commas between them, "none" is no detector;
    `language` None is "auto" where there is a detector, "none" an unnamed language.  Strengths that are None are those
    of a steered MODEL whose profile is used, or else `STRENGTHS`.  `in_place` is for a folder that takes its own
    place once it is whole; what else is in it stays.  `vectors` is a file of `LanguageVectors` or a corpus to measure
    them on; None are those that a steered MODEL has, whose `vector_*` hold where they are None.  `quantiles` asks for
    percentiles of the activations, of the text of the profile.
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
    threshold: float | None = None
    bridge_layers: str = "auto"
    alpha: float | Mapping[str, float] | None = None
    beta: float | None = None
    gamma: float | None = None
    profile: Path | None = None
    masks: Path | None = None
    strengths: Path | None = None
    vectors: str | None = None
    vector_layers: str | None = None
    vector_strength: float | Mapping[str, float] | None = None
    vector_positions: str | None = None
    detector_corpus: str | None = None
    language: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    quantiles: bool = False
    overwrite: bool = False
    in_place: bool = False

    @property
    def says_how_vectors_act(self) -> bool:
        return (self.vector_layers, self.vector_strength, self.vector_positions) != (None, None, None)

    def wanted_languages(self) -> tuple[str, ...] | None:
        """The languages to profile; the anchor is always one of them, named or not."""
        if self.languages is None:
            return None
        codes, anchor = normalise_codes(self.languages), self.wanted_anchor()
        return codes if matching(anchor, codes) else (anchor, *codes)

    def wanted_anchor(self) -> str:
        """The anchor's canonical tag. Raises InputError: it is no language."""
        return normalise_codes([self.anchor], "anchor")[0]

    def anchor_among(self, languages: Sequence[str]) -> str:
        """Which of the profiled languages the anchor is. Raises InputError: none."""
        anchor = self.wanted_anchor()
        if (found := matching(anchor, languages)) is None:
            unknown = did_you_mean(anchor)
            raise InputError(f"anchor language {anchor!r}{unknown} is not among the languages {', '.join(languages)}")
        return found

    def wanted_language(self) -> str | None:
        """The language of inputs that come without one: a code, "auto", "none", or None where that is left open."""
        if self.language is None or (word := self.language.strip().lower()) in ("auto", "none"):
            return None if self.language is None else word
        return normalise_codes([self.language], "language")[0]

    def check(self) -> None:
        """Raises InputError for a value that no model or corpus could make right."""
        if self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        check_counts(self.max_length, self.batch_size, self.samples)
        for name in ("beta", "gamma", "threshold"):
            if (value := getattr(self, name)) is not None and not math.isfinite(value):
                raise InputError(f"{name} {value}: must be a finite number")
        if self.profile is not None and self.corpus is not None:
            raise InputError("--profile and --corpus exclude each other: a finished profile needs no corpus")
        if self.masks is not None and (self.bridge_layers, self.statistic, self.threshold) != ("auto", "mean", None):
            raise InputError(
                "--masks says which neurons of which layers are steered; leave out --bridge-layers, --statistic and "
                "--threshold"
            )
        if self.strengths is not None:
            self._check_alone()
        check_positions(self.vector_positions)
        language = self.wanted_language()
        if language == "auto" and self.detector_corpus == "none":
            raise InputError(
                "--language auto needs a detector, and --detector-corpus none makes none; leave one of them out"
            )
        self.wanted_languages()
        self.wanted_anchor()

    def _check_alone(self) -> None:
        for name in ("corpus", "profile", "masks", "languages", "threshold", "beta", "gamma"):
            if getattr(self, name) is not None:
                raise InputError(
                    f"--strengths says which neurons are steered, in which layers and languages, and how; leave out "
                    f"--{name}"
                )
        if (self.bridge_layers, self.statistic) != ("auto", "mean"):
            raise InputError("--strengths says which layers are steered; leave out --bridge-layers and --statistic")

    def target(self) -> Path:
        """Where the checkpoint goes; see `target_folder`."""
        if self.in_place:
            return Path(self.model).expanduser()
        return target_folder(self.out, self.model, "-clas")


def check_positions(positions: str | None) -> None:
    """Raises InputError: no name of tokens that vectors act on; None leaves it open."""
    try:
        checked_positions(ALL if positions is None else positions, "--vector-positions")
    except ValueError as error:
        raise InputError(str(error)) from error


def check_counts(max_length: int | None, batch_size: int, samples: int | None) -> None:
    """Raises InputError: one is below 1, or more than what counts tokens can hold."""
    for name, count in (("max length", max_length), ("batch size", batch_size), ("samples", samples)):
        if count is not None and not 1 <= count < _LARGEST:
            raise InputError(f"{name} {count}: must be {'at least 1' if count < 1 else f'below {_LARGEST:,}'}")


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
