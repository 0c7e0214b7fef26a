"""The command `vectors`: from the prompts of a task to a file of vectors from each language towards the anchor.

What a vector is, and how it is measured in one pass, is the business of `clas_models.profiling`; the converter puts the
file into a checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.modeling.configuration_clas import UNSTEERED
from clas_models.modeling.language_tags import matching
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.language_vectors import LAST, LanguageVectors
from clas_models.profiling.seen_text import line_hashes
from clas_models.profiling.vector_measuring import measure_vectors

from .jobs import Job
from .loading import Checkpoint
from .progress import Progress
from .run_options import RunOptions
from .summary import aligned


@dataclass(frozen=True)
class VectorOptions:
    """What a user can choose beside the data and the model; `state` is one of `language_vectors.STATES`."""

    file: Path
    state: str = LAST
    overwrite: bool = False


def make_vectors(options: RunOptions, chosen: VectorOptions, progress: Progress) -> LanguageVectors:
    """Measure the vectors of every layer on the unsteered model, and write them.

    Raises:
        InputError: something cannot be used, the anchor is not in the data, or the file is there.
        OSError: the file cannot be written.
    """
    checkpoint = options.open()
    lost = "it is there" if chosen.file.exists() else ""
    refuse_loss(chosen.file, lost, overwrite=chosen.overwrite, instead="give another --out")
    if chosen.file.is_dir():
        raise InputError(f"{chosen.file}: a folder; give the name of a file as --out, such as vectors.safetensors")
    if options.languages is not None and matching(checkpoint.anchor_language, options.languages) is None:
        options = replace(options, languages=(checkpoint.anchor_language, *options.languages))
    job = Job.of(options.tasks[0], options, checkpoint)
    for remark in job.remarks():
        progress.say(remark)
    progress.say(f"loading {checkpoint.name} ({checkpoint.dtype}, {checkpoint.device})")
    vectors = measured_vectors(job, checkpoint.load(), checkpoint, chosen.state, options.batch_size, progress)
    chosen.file.parent.mkdir(parents=True, exist_ok=True)
    vectors.save(chosen.file)
    return vectors


def measured_vectors(
    job: Job, model: Any, checkpoint: Checkpoint, state: str, batch_size: int, progress: Progress | None = None
) -> LanguageVectors:
    """The vectors of a job's prompts, the anchor's among them, on the unsteered model of a checkpoint."""
    progress = progress or Progress(quiet=True)
    prompts = {language: job.prompts(language) for language in job.languages}
    ids: Mapping[str, Sequence[int]] = {prompt.text: prompt.ids for each in prompts.values() for prompt in each}
    count = len(prompts[job.languages[0]])
    rows = [{language: each[row].text for language, each in prompts.items()} for row in range(count)]
    corpus = ParallelCorpus(job.task.name, tuple(job.languages), rows)
    with progress.predicting(count * len(prompts)) as meter:

        def after_batch(language: str, batch_rows: int, batch_tokens: int) -> None:
            meter.at(f"{job.task.name} {language}")
            meter.add(batch_rows, {})

        with model.temporary_steering(**UNSTEERED) if checkpoint.is_steered else torch.no_grad():
            vectors = measure_vectors(
                model,
                checkpoint.tokenizer,
                corpus,
                checkpoint.anchor_language,
                state=state,
                max_length=job.builder.max_length,
                batch_size=batch_size,
                encode=ids.__getitem__,
                fingerprint=checkpoint.source.fingerprint,
                progress=after_batch,
            )
    return replace(vectors, lines=seen_lines(job))


def seen_lines(job: Job) -> frozenset[str]:
    """Hashes of the lines of the examples themselves.

    A prompt's other lines are in all of them, and its choices may be in many.
    """
    texts = (job.told(example) for examples in job.examples.values() for example in examples)
    return frozenset(line for told in texts for text in told for line in line_hashes(text))


def summarize_vectors(vectors: LanguageVectors, file: Path) -> str:
    """By layer the share of the difference that the vectors explain, and what to do with the file."""
    rows = [["layer", "explained", "least", "most"]]
    for layer, shares in zip(vectors.layers, (100 * vectors.explained).T.tolist(), strict=True):
        low, high = min(range(len(shares)), key=shares.__getitem__), max(range(len(shares)), key=shares.__getitem__)
        ends = [f"{vectors.languages[place]} {shares[place]:.1f} %" for place in (low, high)]
        rows.append([str(layer), f"{sum(shares) / len(shares):.1f} %", *ends])
    pairs = sorted(set(vectors.pairs.tolist()))
    lines = [
        f"vectors of {len(vectors.languages)} languages towards {vectors.anchor}, {'-'.join(map(str, pairs))} pairs "
        f"each, state: {vectors.state}",
        "how much of the squared difference between parallel texts the vectors are, mean and ends over languages:",
        aligned(rows),
        f"Put them into a checkpoint: {CONVERT} {vectors.provenance.model} --vectors {file} --out …",
    ]
    return "\n".join(lines)
