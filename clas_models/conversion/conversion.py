"""The main job from end to end: a plain checkpoint in, a steered one out.

Puts the parts together: source -> corpus -> profile -> categories -> bridge layers -> checkpoint -> check.  What the
command line prints is `summary.py`'s business.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..atomic import atomic_file
from ..errors import InputError
from ..modeling.language import language_code
from ..profiling.bridge_layers import BridgeLayers, choose_bridge_layers, parse_layers
from ..profiling.categories import STATISTICS, categorize
from ..profiling.corpora import ParallelCorpus, load_corpus
from ..profiling.figures import save_layer_figure
from ..profiling.layer_table import LayerTable, layer_table
from ..profiling.neuron_profile import NeuronProfile
from ..profiling.profiler import profile_neurons
from .checkpoint import SteeredCheckpoint, steered_config
from .model_card import FIGURE_STEM, model_card, short_name
from .progress import Progress
from .source import PROFILE_NAME, Source, open_source
from .staging import check_target, staged
from .verification import verify
from .weights import is_mask

DEFAULT_CORPUS = "builtin"
DEFAULT_SAMPLES = 100  # as in the paper, section 2.3
DTYPES = ("auto", "float32", "bfloat16", "float16")
_REQUEST_NAME = "profile_request.json"
_SCRATCH_NAME = "dequantized"


@dataclass(frozen=True)
class Options:
    """What a user can choose; the defaults are the command line's.

    `corpus` None is the profile that a steered MODEL carries, or else the built-in corpus; `languages` None is all that
    the corpus or the profile has; `samples` None is 100, or all where a corpus has fewer.
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
    dtype: str = "auto"
    device: str = "auto"
    overwrite: bool = False

    def wanted_languages(self) -> tuple[str, ...] | None:
        """The languages to profile; the anchor is always one of them, named or not."""
        if self.languages is None:
            return None
        codes = tuple(code.lower() for code in self.languages)
        return codes if self.anchor.lower() in codes else (self.anchor.lower(), *codes)

    def target(self) -> Path:
        """Where the checkpoint goes."""
        if self.out is not None:
            return self.out.expanduser()
        model = Path(self.model).expanduser()
        name = model.resolve().name if model.name in ("", "..") else model.name  # "." has no name of its own
        return Path(f"{name.removesuffix('.gguf').removesuffix('-clas')}-clas")


@dataclass(frozen=True)
class Result:
    """What a conversion made."""

    out: Path
    table: LayerTable
    bridge: BridgeLayers
    profile: NeuronProfile
    masks: dict[int, tuple[torch.Tensor, torch.Tensor]]
    fields: dict[str, Any]


def convert(options: Options, progress: Progress | None = None) -> Result:
    """Make a steered checkpoint and check it.

    Raises:
        InputError: something that the user gave cannot be used.
        OSError: the disk is full or not writable; what was finished is kept for the next attempt.
    """
    progress = progress or Progress(quiet=True)
    _check_options(options)
    out = options.target()
    if out.resolve() == Path(options.model).expanduser().resolve():
        raise InputError(f"{out}: MODEL and --out are the same folder; give another --out")
    check_target(out, overwrite=options.overwrite)
    with staged(out, overwrite=options.overwrite, keep=(_SCRATCH_NAME, _REQUEST_NAME, PROFILE_NAME)) as folder:
        source = open_source(options.model, folder / _SCRATCH_NAME, options.dtype, quiet=progress.quiet)
        profile = _profile(options, source, folder, progress)
        checkpoint, table, bridge = plan(options, source, profile)
        if bridge.warning:
            progress.say(f"warning: {bridge.warning}")
        save_layer_figure(table, folder / FIGURE_STEM, bridge_layers=bridge.layers, title=short_name(source))
        with progress.copying(sum(shard.size for shard in source.shards)) as copied:
            checkpoint.write(folder, copied)
        progress.say("checking what was written")
        verify(folder, checkpoint)
        _tidy(folder)
    return Result(out, table, bridge, profile, dict(checkpoint.masks), checkpoint.fields)


def _check_options(options: Options) -> None:
    if options.dtype not in DTYPES:
        raise InputError(f"dtype {options.dtype!r}: choose one of {', '.join(DTYPES)}")
    if options.max_length < 1 or options.batch_size < 1:
        raise InputError(f"max length {options.max_length}, batch size {options.batch_size}: both must be at least 1")
    if options.samples is not None and options.samples < 1:
        raise InputError(f"samples {options.samples}: must be at least 1")
    for name in ("beta", "gamma", "threshold"):
        if not math.isfinite(getattr(options, name)):
            raise InputError(f"{name} {getattr(options, name)}: must be a finite number")
    if options.profile is not None and options.corpus is not None:
        raise InputError("--profile and --corpus exclude each other: a finished profile needs no corpus")
    try:
        language_code(options.anchor, "anchor")
    except ValueError as error:
        raise InputError(str(error)) from error


def _profile(options: Options, source: Source, folder: Path, progress: Progress) -> NeuronProfile:
    """The profile that the user names, that the source carries, or that is made now."""
    given = options.profile
    if given is None and options.corpus is None:
        given = source.profile_path
    if given is None:
        profile = _make_profile(options, source, folder, progress)
    else:
        profile = NeuronProfile.load(given)
        _check_fits(profile, source, given)
        if options.languages is not None:
            profile = profile.select(options.wanted_languages() or ())
        _check_early(options, source, profile.languages)
        progress.say(f"profile: {given}, no forward pass needed")
        _save_profile(profile, folder, request=None)
    return profile


def _check_fits(profile: NeuronProfile, source: Source, path: Path) -> None:
    mine = (source.family.base, source.num_layers, source.num_neurons, source.fingerprint)
    model_type = profile.provenance.model_type.removeprefix("clas_")
    theirs = (model_type, profile.num_model_layers, profile.num_neurons, profile.provenance.fingerprint or mine[3])
    for what, expected, found in zip(
        ("type", "number of layers", "neurons a layer", "weights"), mine, theirs, strict=True
    ):
        if expected != found:
            raise InputError(
                f"{path}: a profile of another model ({profile.provenance.model}): its {what} {found} differ from "
                f"{expected} of {source.name}"
            )


def _make_profile(options: Options, source: Source, folder: Path, progress: Progress) -> NeuronProfile:
    corpus = load_corpus(
        options.corpus or DEFAULT_CORPUS,
        languages=options.wanted_languages(),
        samples=options.samples or DEFAULT_SAMPLES,
        fewer=options.samples is None,
        data_dir=options.data_dir,
    )
    _check_early(options, source, corpus.languages)
    device, dtype = _device(options.device), options.dtype
    if dtype == "auto" and device.type == "cpu":
        dtype = "float32"  # half precision is slow on most processors, and a mean near 0 decides a category
    request = _request(options, source, corpus, dtype)
    if (done := _finished_profile(folder, request)) is not None:
        progress.say("profile: finished by an earlier attempt")
        return done
    model, tokenizer = _load(source, dtype, device)
    rows = len(corpus.rows) * len(corpus.languages)  # type: ignore[arg-type]
    with progress.profiling(rows) as update:
        profile = profile_neurons(
            model,
            tokenizer,
            corpus,
            max_length=options.max_length,
            batch_size=options.batch_size,
            fingerprint=source.fingerprint,
            progress=update,
        )
    del model
    gc.collect()
    _save_profile(profile, folder, request)
    return profile


def _save_profile(profile: NeuronProfile, folder: Path, request: dict[str, Any] | None) -> None:
    """At no moment does a request stand beside a profile that is not its own, whenever this is killed."""
    (folder / _REQUEST_NAME).unlink(missing_ok=True)
    profile.save(folder / PROFILE_NAME)
    if request is not None:
        with atomic_file(folder / _REQUEST_NAME) as path:
            path.write_text(json.dumps(request))


def _load(source: Source, dtype: str, device: torch.device) -> tuple[Any, Any]:
    # A steered source is profiled as its base model: with alpha 0 the two are the same, bit for bit.
    unsteered = {"alpha": 0.0} if source.is_steered else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.folder, dtype=dtype, device_map={"": device}, output_loading_info=True, **unsteered
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{source.name}: cannot be loaded ({type(error).__name__}: {error})") from error
    model, info = loaded
    if missing := sorted(name for name in info["missing_keys"] if not is_mask(name)):
        raise InputError(f"{source.name}: no tensor {missing[0]!r} in its weights; download the model again")
    return model.eval(), tokenizer


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise InputError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def _request(options: Options, source: Source, corpus: ParallelCorpus, dtype: str) -> dict[str, Any]:
    """All that a profile depends on."""
    texts = hashlib.sha256()
    for row in corpus.rows:
        texts.update(json.dumps(row).encode())
    return {
        "fingerprint": source.fingerprint,
        "languages": list(corpus.languages),
        "texts": texts.hexdigest(),
        "max_length": options.max_length,
        "dtype": dtype,
    }


def _finished_profile(folder: Path, request: dict[str, Any]) -> NeuronProfile | None:
    try:
        if json.loads((folder / _REQUEST_NAME).read_text()) != request:
            return None
        return NeuronProfile.load(folder / PROFILE_NAME)
    except (OSError, ValueError):
        return None


def _fields(options: Options, languages: Sequence[str], bridge_layers: Sequence[int]) -> dict[str, Any]:
    return {
        "languages": list(languages),
        "anchor_language": options.anchor.lower(),
        "bridge_layers": list(bridge_layers),
        "alpha": dict(options.alpha) if isinstance(options.alpha, Mapping) else options.alpha,
        "beta": options.beta,
        "gamma": options.gamma,
        "language": None,
    }


def _check_early(options: Options, source: Source, languages: tuple[str, ...]) -> None:
    """What a long profiling pass must not be wasted on: languages, strengths, the statistic, the bridge layers."""
    if len(languages) < 2:
        raise InputError(
            f"languages {', '.join(languages)}: one language alone has no shared neurons; give at least two"
        )
    if options.anchor.lower() not in languages:
        raise InputError(f"anchor language {options.anchor!r} is not among the languages {', '.join(languages)}")
    if options.statistic not in STATISTICS:
        raise InputError(f"statistic {options.statistic!r}: choose one of {', '.join(STATISTICS)}")
    explicit = () if options.bridge_layers == "auto" else parse_layers(options.bridge_layers, source.num_layers)
    steered_config(source, _fields(options, languages, explicit))


def plan(
    options: Options, source: Source, profile: NeuronProfile
) -> tuple[SteeredCheckpoint, LayerTable, BridgeLayers]:
    """What a profile and the options make of a source, with nothing written yet.

    Raises:
        InputError: an option cannot be used with this profile or source.
    """
    categories = categorize(profile, options.statistic, options.threshold)
    table = layer_table(categories)
    bridge = choose_bridge_layers(table, source.num_layers, options.bridge_layers)
    fields = _fields(options, profile.languages, bridge.layers)
    card = model_card(source, fields, profile, table, bridge, options.statistic, options.threshold)
    masks = {layer: categories.masks(layer) for layer in bridge.layers}
    return SteeredCheckpoint(source, masks, fields, profile, card), table, bridge


def _tidy(folder: Path) -> None:
    (folder / _REQUEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(folder / _SCRATCH_NAME, ignore_errors=True)
