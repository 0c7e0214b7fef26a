"""Whether the text that a checkpoint is tested on was profiled: then its masks were made from the very answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clas_models.profiling.neuron_profile import METADATA_KEY
from clas_models.profiling.seen_text import SeenText, read_seen_text

from .jobs import Job
from .loading import Checkpoint

_NAMED = 4  # languages that are told


@dataclass(frozen=True)
class ProfiledExamples:
    """How many examples of a task have a line that was profiled, by language; `unknown` where a profile that may have
    seen them does not say what it saw.
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
    """What of a task's examples the profile of a checkpoint has seen; nothing where it carries none."""
    path = checkpoint.source.profile_path
    seen = SeenText(frozenset(), ()) if path is None else read_seen_text(path, METADATA_KEY)
    counts = {
        language: sum(any(seen.has(text) for text in example.fields.values()) for example in examples)
        for language, examples in job.examples.items()
    }
    unknown = seen.lines is None and (job.corpus or job.task.name) in seen.corpus
    return ProfiledExamples(job.task.name, sum(map(len, job.examples.values())), counts, unknown)
