"""What a conversion tells while it runs: lines, and bars with rates and remaining time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from ..command_line import Messages


@dataclass(frozen=True)
class Progress(Messages):
    """The lines and bars of a conversion."""

    def tell_unused(self, name: str, tensors: Sequence[str]) -> None:
        """Say which tensors of a source its model has no use for."""
        if tensors:
            more = ", …" if len(tensors) > 1 else ""
            self.say(
                f"note: {name}: {len(tensors)} of its tensors have no use there ({tensors[0]}{more}); they travel along"
            )

    @contextmanager
    def profiling(self, rows: int, what: str = "profiling") -> Iterator[Callable[[str, int, int], None]]:
        """A bar over the rows of all languages; the callback takes a language, rows and tokens."""
        tokens = 0
        with tqdm(total=rows, desc=what, unit="row", disable=self.quiet, file=self.stream, mininterval=0.5) as bar:

            def update(language: str, batch_rows: int, batch_tokens: int) -> None:
                nonlocal tokens
                tokens += batch_tokens
                seconds = max(bar.format_dict["elapsed"], 1e-9)
                bar.set_postfix_str(f"{language}, {tokens / seconds:,.0f} tokens/s", refresh=False)
                bar.update(batch_rows)

            yield update

    @contextmanager
    def copying(self, size: int) -> Iterator[Callable[[int], None]]:
        """A bar over the bytes of the weights."""
        bar = tqdm(total=size, desc="weights", unit="B", unit_scale=True, disable=self.quiet, file=self.stream)
        with bar:
            yield lambda done: bar.update(done) and None
