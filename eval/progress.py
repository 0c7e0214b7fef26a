"""What an evaluation tells while it runs: lines, and one bar with rate, remaining time and the running score."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from clas_models.command_line import Messages

from .score_scale import Tally

_SHOWN = 3  # methods whose scores fit beside the bar


@dataclass(frozen=True)
class Meter:
    """The bar over all predictions of a run."""

    bar: tqdm

    def already(self, count: int) -> None:
        """Predictions of an earlier attempt: they are part of the whole, but not of the rate."""
        if not self.bar.disable:
            self.bar.initial += count
            self.bar.n += count

    def at(self, what: str) -> None:
        """What is done now, such as a task, a language and its methods."""
        self.bar.set_description_str(what)

    def add(self, count: int, tallies: Mapping[str, Tally]) -> None:
        """More predictions, and the scores of the methods so far."""
        self.bar.set_postfix_str(running_scores(tallies), refresh=False)
        self.bar.update(count)


@dataclass(frozen=True)
class Progress(Messages):
    """The lines and the bar of an evaluation."""

    @contextmanager
    def predicting(self, total: int, unit: str = " predictions") -> Iterator[Meter]:
        """A bar over the predictions of all tasks, languages and methods, or over what else is counted."""
        with tqdm(total=total, unit=unit, disable=self.quiet, file=self.stream, mininterval=0.5) as bar:
            yield Meter(bar)


def running_scores(tallies: Mapping[str, Tally]) -> str:
    """The scores of a few methods, or the first and the best of many."""
    shown = list(tallies)
    if len(tallies) > _SHOWN:
        best = max(tallies, key=lambda name: tallies[name].goodness)
        shown = list(dict.fromkeys((shown[0], best)))
    return ", ".join(f"{name} {tallies[name]}" for name in shown)
