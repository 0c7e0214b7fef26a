"""Whether a checkpoint is tested on text that its masks, its vectors or its strengths were made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clas_models.profiling.fitted_strengths import METADATA_KEY as STRENGTHS_KEY
from clas_models.profiling.language_vectors import METADATA_KEY as VECTORS_KEY
from clas_models.profiling.neuron_profile import METADATA_KEY
from clas_models.profiling.seen_text import read_seen_text

from .jobs import Job
from .loading import Checkpoint

_NAMED = 4  # languages that are told


@dataclass(frozen=True)
class ProfiledExamples:
    """How many examples of a task have a line that masks or vectors were made from, by language; `unknown` where a
    profile that may have seen them does not say what it saw.
    """

    task: str
    examples: int
    counts: Mapping[str, int]
    unknown: bool = False

    def remarks(self) -> Iterator[str]:
        """What a user should know, a line."""
        if self.unknown:
            yield (
                f"{self.task}: it was profiled, and the profile, of an older version, does not say which examples: the "
                "scores may not be of unseen text"
            )
        if found := {code: count for code, count in self.counts.items() if count}:
            named = ", ".join(f"{code} {count}" for code, count in list(found.items())[:_NAMED])
            more = f" and {len(found) - _NAMED} languages more" if len(found) > _NAMED else ""
            yield (
                f"{self.task}: {sum(found.values()):,} of {self.examples:,} examples were profiled ({named}{more}), so "
                "the scores are not of unseen text"
            )


def profiled_examples(job: Job, checkpoint: Checkpoint) -> ProfiledExamples:
    """What of a task's examples the profile, vectors and fitted strengths that a checkpoint carries have seen."""
    source = checkpoint.source
    carried = (
        (source.profile_path, METADATA_KEY),
        (source.vectors_path, VECTORS_KEY),
        (source.strengths_path, STRENGTHS_KEY),
    )
    seen = [read_seen_text(path, key) for path, key in carried if path is not None]
    counts = {
        language: sum(any(each.has(text) for each in seen for text in job.told(example)) for example in examples)
        for language, examples in job.examples.items()
    }
    unknown = any(each.lines is None and (job.corpus or job.task.name) in each.corpus for each in seen)
    return ProfiledExamples(job.task.name, sum(map(len, job.examples.values())), counts, unknown)
