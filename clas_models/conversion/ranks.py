"""Several processes, one conversion: `torchrun convert.py …`, or `accelerate launch convert.py …`.

The process of rank 0 leads: it converts, speaks and writes as if it were alone.  The others wait for what it asks of
them, a share of the profiling pass; which share that is, and what is done with it, is `profile_step.py`'s business.
A failure on any rank ends the conversion on all of them: rank 0 says what it was, once, and all have the same exit
status.

What travels between ranks is text and one finished profile a rank, in main memory.  So the backend is gloo on every
machine: it comes with every torch, and several ranks can share an accelerator.
"""

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import distributed

from ..command_line import quieten_libraries
from ..errors import InputError
from ..profiling.neuron_profile import NeuronProfile
from .progress import Progress

# torch's launcher and accelerate's set all of them; a cluster's own scripts often set some.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# A rank waits as long as another one downloads a model.  One that dies closes its connections, which ends the wait.
_PATIENCE = timedelta(days=7)
_FAILED = "failed"


class Task(Protocol):
    """What all ranks do together; it is pickled, and `run` calls `ranks.check_others` now and then."""

    def run(self, progress: Progress, ranks: "Ranks") -> NeuronProfile: ...


class _Gone(InputError):
    """A rank has ended without a word."""


class _Abandoned(Exception):
    """Another rank has failed: what this one does is of no use any more."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a launch, as one of them sees them.

    `rank` is its place among all `size`, `local_rank` that among those of its machine.
    """

    rank: int
    size: int
    local_rank: int
    store: distributed.Store

    def together(self, task: Task, progress: Progress) -> NeuronProfile:
        """Rank 0 has every rank run the task: the sum of their profiles. Raises what it raised on any rank."""
        self._tell(task)
        return self._take_part(task, progress)

    def check_others(self) -> None:
        """Stop a task that another rank has failed at."""
        if self.store.check([_FAILED]):
            raise _Abandoned

    def _tell(self, message: Task | int | None) -> Any:
        """What rank 0 says, on every rank: a task, or that nothing is left to do, with the exit status of the whole."""
        box = [message]
        with _connected():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _take_part(self, task: Task, progress: Progress) -> NeuronProfile:
        """The sum, on rank 0; a failure is raised there, and the other ranks abandon the task."""
        profile: NeuronProfile | None = None
        failure: BaseException | None = None
        try:
            profile = task.run(progress, self)
        except BaseException as error:  # also an interruption: the other ranks are waiting to hear of it
            failure = error
        failures = self._failures(failure, profile.provenance.digests if profile else ())
        if profile is not None and not failures:
            return self._sum(profile)
        if self.rank > 0:
            raise _Abandoned
        # Its own comes with its traceback.
        raise failures[0] if failure is None or isinstance(failure, _Abandoned) else failure

    def _failures(self, failure: BaseException | None, digests: tuple[str, ...]) -> list[BaseException]:
        """What went wrong, on all ranks; `digests` are those of the text that this one has read."""
        heard: list[tuple[BaseException | None, tuple[str, ...]]] = [(None, ())] * self.size
        with _connected():
            if failure is not None:
                self.store.set(_FAILED, str(self.rank))
            distributed.all_gather_object(heard, (_sendable(failure), digests))
        failures = [error for error, _ in heard if error is not None and not isinstance(error, _Abandoned)]
        if not failures and len({digests for _, digests in heard}) > 1:
            return [InputError("the processes read different text; give all of them the same corpus and tokenizer")]
        return failures

    def _sum(self, profile: NeuronProfile) -> NeuronProfile:
        """On rank 0; the others keep their own, because what a reduction leaves there is no sum of anything."""
        parts: dict[str, Any] = {name: tensor.contiguous() for name, tensor in profile.tensors.items()}
        with _connected():
            for tensor in parts.values():
                distributed.reduce(tensor, dst=0)
        return replace(profile, **parts) if self.rank == 0 else profile

    def dismiss(self, status: int) -> None:
        """Rank 0 lets the other ranks end, with this exit status."""
        with suppress(_Gone):
            self._tell(status)

    def follow(self) -> int:
        """On another rank, do what rank 0 asks, until it is done; the exit status of the whole."""
        quieten_libraries()
        try:
            while not isinstance(message := self._tell(None), int):
                with suppress(_Abandoned):  # rank 0 says why
                    self._take_part(message, Progress(quiet=True))
        except KeyboardInterrupt:
            return 130  # and says this, too
        except _Gone:
            return 2  # and this, if it is not rank 0 itself: then it is for the launcher to say
        return message


def on_all_ranks(lead: Callable[[Ranks | None], int]) -> int:
    """Run `lead` where this process is alone (with None) or has rank 0; on other ranks, do what it asks for.

    Returns the exit status of `lead`, on every rank.
    """
    if not is_launched(os.environ):
        return lead(None)
    with connected_ranks() as ranks:
        if ranks.rank > 0:
            return ranks.follow()
        status = 1
        try:
            status = lead(ranks)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            raise
        finally:
            ranks.dismiss(status)
        return status


def is_launched(environment: Mapping[str, str]) -> bool:
    """Whether a launcher has started this process as one of several."""
    return all(name in environment for name in _VARIABLES) and int(environment["WORLD_SIZE"]) > 1


@contextmanager
def connected_ranks() -> Iterator[Ranks]:
    """A process group of all ranks, for the length of the block."""
    store, rank, size = next(distributed.rendezvous("env://"))
    store = distributed.PrefixStore("clas", store)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield Ranks(rank, size, int(os.environ["LOCAL_RANK"]), store)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _connected() -> Iterator[None]:
    """Raises _Gone if another rank is not there to answer."""
    try:
        yield
    except RuntimeError as error:  # gloo has no kind of its own
        raise _Gone(
            "another process of this conversion has died, for want of memory perhaps; run again, with fewer processes"
        ) from error


def _sendable(failure: BaseException | None) -> BaseException | None:
    """The failure in a form that can travel: what a user can mend as what it is, a defect with its traceback."""
    if isinstance(failure, (MemoryError, torch.OutOfMemoryError)):
        return MemoryError(str(failure))
    if isinstance(failure, OSError):
        return OSError(failure.errno, failure.strerror or str(failure), failure.filename)
    if failure is None or isinstance(failure, (InputError, KeyboardInterrupt, _Abandoned)):
        return failure
    return RuntimeError(f"another process failed:\n{''.join(traceback.format_exception(failure))}")
