"""The profile of a conversion: the one that the user names, that the source carries, or that is made now.

A finished profile is kept for the next attempt, with a description of all that it depends on.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atomic import atomic_file
from ..errors import InputError
from ..profiling.corpora import ParallelCorpus, load_corpus
from ..profiling.neuron_profile import FORMATS, NeuronProfile
from ..profiling.profiler import profile_neurons
from .loading import load_model, load_tokenizer, pick_device, pick_dtype
from .options import Options
from .progress import Progress
from .source import PROFILE_NAME, Source

DEFAULT_CORPUS = "builtin"
DEFAULT_SAMPLES = 100  # as in the paper, section 2.3
REQUEST_NAME = "profile_request.json"

# What a long pass must not be wasted on; it is told the languages and raises InputError.
Check = Callable[[tuple[str, ...]], None]


def obtain_profile(options: Options, source: Source, folder: Path, check: Check, progress: Progress) -> NeuronProfile:
    """The profile that the user names, that the source carries, or that is made now."""
    given = options.profile
    if given is None and options.corpus is None:
        given = source.profile_path
    if given is None:
        profile = _make_profile(options, source, folder, check, progress)
    else:
        profile = NeuronProfile.load(given)
        _check_fits(profile, source, given)
        if options.languages is not None:
            profile = profile.select(options.wanted_languages() or ())
        check(profile.languages)
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


def _make_profile(options: Options, source: Source, folder: Path, check: Check, progress: Progress) -> NeuronProfile:
    corpus = load_corpus(
        options.corpus or DEFAULT_CORPUS,
        languages=options.wanted_languages(),
        samples=options.samples or DEFAULT_SAMPLES,
        fewer=options.samples is None,
        data_dir=options.data_dir,
    )
    check(corpus.languages)
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    request = _request(options, source, corpus, dtype)
    if (done := _finished_profile(folder, request)) is not None:
        progress.say("profile: finished by an earlier attempt")
        return done
    # A steered source is profiled as its base model: with alpha 0 the two are the same, bit for bit.
    unsteered = {"alpha": 0.0} if source.is_steered else {}
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype, device, **unsteered)
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
    (folder / REQUEST_NAME).unlink(missing_ok=True)
    profile.save(folder / PROFILE_NAME)
    if request is not None:
        with atomic_file(folder / REQUEST_NAME) as path:
            path.write_text(json.dumps(request))


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
        "format": max(FORMATS),
    }


def _finished_profile(folder: Path, request: dict[str, Any]) -> NeuronProfile | None:
    try:
        if json.loads((folder / REQUEST_NAME).read_text()) != request:
            return None
        return NeuronProfile.load(folder / PROFILE_NAME)
    except (OSError, ValueError):
        return None
