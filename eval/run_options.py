"""What `run`, `grid` and `tune` have in common for a user to choose, and what of it can be refused at once."""

from dataclasses import dataclass
from pathlib import Path

from clas_models.conversion.options import DTYPES, check_counts
from clas_models.errors import InputError

from .adapters import check_adapter, fitting_scoring
from .loading import Checkpoint, open_checkpoint
from .scoring import check_scoring
from .tasks import ExampleSource, Kind, task_of


@dataclass(frozen=True)
class RunOptions:
    """What a user can choose; the defaults are the command line's.

    Attributes:
        model: a folder or a Hub id.
        out: the run's folder.
        tasks: names, each once.
        languages: of the examples, the same for every task; None is all that the data has.
        samples: the first rows of every language after those that are skipped; None is all.
        skip: rows of every language that are left out before them, because something was learned from them.
        data_dir: folder with the published files; None is the Hub.
        corpus: of a perplexity, as the converter takes it; None is the built-in one.
        adapter: the folder of a PEFT adapter that is merged into the model.
        scoring: how answers are judged, a name that `check_scoring` knows; where it is left out, `head` with an adapter
            that has a classification head, else `letter`.
        templates: a file or folder in place of the default templates.
        chat_template: whether to use the tokenizer's.
        max_length: the most tokens of a prompt, with its longest choice where that follows it; None is what the model
            has room for beside the answer.
        batch_size: the most examples that are computed together; it decides the last bits of a result.
        dtype, device: as for the converter.
        overwrite: remove the predictions of a run with other settings that is in the folder.

    Raises InputError: the adapter's record is damaged.
    """

    model: str
    out: Path
    tasks: tuple[str, ...]
    languages: tuple[str, ...] | None = None
    samples: int | None = None
    skip: int = 0
    data_dir: Path | None = None
    corpus: str | None = None
    adapter: Path | None = None
    scoring: str = ""
    templates: Path | None = None
    chat_template: bool = True
    max_length: int | None = None
    batch_size: int = 16
    dtype: str = "auto"
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.scoring:
            object.__setattr__(self, "scoring", fitting_scoring(self.adapter))

    def check(self) -> None:
        """Raises InputError for a value that no model or data could make right."""
        tasks = [task_of(name) for name in self.tasks]
        for name in self.tasks:
            if self.tasks.count(name) > 1:
                raise InputError(f"task {name!r} is given more than once: name every task once")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        check_counts(self.max_length, self.batch_size, self.samples)
        check_adapter(self.adapter, self.scoring, tasks, self.templates, self.max_length, self.chat_template)
        check_scoring(self.scoring, tasks)
        if self.corpus is not None and all(task.kind is not Kind.PERPLEXITY for task in tasks):
            raise InputError(f"corpus {self.corpus!r} is for the task perplexity, which is not asked for: leave it out")

    def open(self) -> Checkpoint:
        """The model, after `check`; raises InputError as that and `open_checkpoint`."""
        self.check()
        return open_checkpoint(self.model, self.dtype, self.device, self.adapter)

    @property
    def source(self) -> ExampleSource:
        return ExampleSource(self.data_dir, self.corpus, self.samples, self.skip)
