"""The search: gradient descent on strengths, from strong to weak regularisation, with an inner validation.

What is regularised to 0 more strongly comes first, and each weaker weight begins where the one before was best; a
weight is left when the validation has not gained for some epochs, and the whole search when a weight gained nothing.
The strengths with the best validation are what is found, so they are chosen by examples that no gradient has seen.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, distributed

from clas_models.errors import InputError
from clas_models.profiling.tensor_file import described_tensors, save_described

from .problem import Batch, Problem
from .tables import Tables

STATE_NAME = "fit-state.safetensors"
_KEY, _FORMAT = "clas_fit", 1


@dataclass(frozen=True)
class SearchOptions:
    """How to go down.

    Attributes:
        penalties: weights of the squared strengths, from strong to weak.
        epochs: the most passes over the examples under each.
        patience: passes without a gain of the validation after which a weight is left.
        rate: the step of Adam.
        seed: of the order of the examples.
    """

    penalties: tuple[float, ...] = (0.03, 0.003)
    epochs: int = 6
    patience: int = 2
    rate: float = 0.03
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """One pass: the mean loss of the examples and that of the validation, in nats, without the penalty."""

    penalty: float
    epoch: int
    loss: float
    validation: float


@dataclass
class Progressed:
    """How far a search is; all of it is in the state's file."""

    at: int = 0  # of the penalties
    epoch: int = 0
    stale: int = 0
    gained: bool = False
    best: float = math.inf
    best_penalty: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """What a search found: the validation's loss without any strengths, and with the best ones."""

    base: float
    best: float
    penalty: float
    history: tuple[Epoch, ...]


def search(
    problem: Problem,
    tables: Tables,
    train: Mapping[str, Sequence[Batch]],
    validation: Mapping[str, Sequence[Batch]],
    options: SearchOptions,
    state: Path | None = None,
    identity: str = "",
    told: Callable[[Epoch | None, float], None] = lambda epoch, base: None,
    step: Callable[[float], None] = lambda loss: None,
) -> Found:
    """Change `tables` into the best that is found.

    Args:
        train, validation: batches by language; every language counts the same.
        state: where the search is kept after every pass, and goes on from if it is there with the same `identity`.
        told: is called once with the base's validation, then after every pass.
        step: is called after every step with its loss.
    """
    optimizer = torch.optim.Adam(tables.leaves, lr=options.rate)
    progressed, best = Progressed(), tables.snapshot()
    known = _everywhere(_kept(state, identity) if state is not None and _rank() == 0 else None)
    if known is not None:
        progressed, best, base = _resumed(known, tables, optimizer)
    else:
        base = mean_loss(problem, None, validation)
        progressed.best = base
    told(None, base)
    while progressed.at < len(options.penalties):
        penalty = options.penalties[progressed.at]
        order = random.Random(f"{options.seed} {progressed.at} {progressed.epoch}")
        loss = train_pass(problem, tables, train, optimizer, penalty, order, step)
        found = mean_loss(problem, tables, validation)
        epoch = Epoch(penalty, progressed.epoch, loss, found)
        progressed.history.append(asdict(epoch))
        told(epoch, base)
        progressed.epoch += 1
        if found < progressed.best:
            progressed.best, progressed.best_penalty, progressed.stale, progressed.gained = found, penalty, 0, True
            best = tables.snapshot()
        else:
            progressed.stale += 1
        if progressed.stale >= options.patience or progressed.epoch >= options.epochs:
            # The first weight may be too strong for any gain: the search is over when a later one gained nothing.
            is_over = bool(progressed.at) and not progressed.gained
            tables.restore(best)
            optimizer = torch.optim.Adam(tables.leaves, lr=options.rate)
            progressed.at = len(options.penalties) if is_over else progressed.at + 1
            progressed.epoch, progressed.stale, progressed.gained = 0, 0, False
        if state is not None and _rank() == 0:
            _keep(state, identity, tables, optimizer, progressed, best, base)
    tables.restore(best)
    history = tuple(Epoch(**each) for each in progressed.history)
    return Found(base, progressed.best, progressed.best_penalty, history)


def mean_loss(problem: Problem, tables: Tables | None, batches: Mapping[str, Sequence[Batch]]) -> float:
    """Over the examples of each language, then over languages and summed over objectives, in nats."""
    totals = torch.zeros(len(batches), dtype=torch.float64)
    with torch.no_grad():
        for number, batch, _ in _shared_out([(row, each) for row, own in enumerate(batches.values()) for each in own]):
            totals[number] += sum(float(losses.double().sum()) for losses in problem.losses(batch, tables))
    _sum_over_ranks([totals])
    counts = [_examples(own) for own in batches.values()]
    return float((totals / torch.tensor(counts, dtype=torch.float64)).mean())


def train_pass(
    problem: Problem,
    tables: Tables,
    train: Mapping[str, Sequence[Batch]],
    optimizer: Any,
    penalty: float,
    order: random.Random,
    step: Callable[[float], None],
) -> float:
    """One pass over the examples: each step takes a batch of every language. Returns the mean loss, in nats."""
    shuffled = {language: order.sample(list(own), len(own)) for language, own in train.items()}
    steps = max(map(len, shuffled.values()))
    share = len(problem.objectives)  # a batch is of one of them, and a step stands for their sum beside the penalty
    total = 0.0
    for number in range(steps):
        taken = [(row, own[number % len(own)]) for row, own in enumerate(shuffled.values())]
        optimizer.zero_grad(set_to_none=False)
        loss = torch.zeros(1, dtype=torch.float64)
        for _, batch, _ in _shared_out(taken):
            for losses in problem.losses(batch, tables):
                part = share * losses.sum() / (batch.examples * len(taken))
                part.backward()
                loss += float(part.detach())
        for leaf in tables.leaves:
            if leaf.grad is None:  # another process has all of its examples
                leaf.grad = torch.zeros_like(leaf)
        _sum_over_ranks([loss, *(leaf.grad for leaf in tables.leaves if leaf.grad is not None)])
        if not all(bool(leaf.grad.isfinite().all()) for leaf in tables.leaves if leaf.grad is not None):
            raise InputError(
                f"fit: the gradient is not finite, in layers {tables.layers[0]} to {tables.layers[-1]}; fit upper "
                "layers alone (--layers), or compute in --dtype float32"
            )
        (penalty * tables.penalty()).backward()
        optimizer.step()
        total += float(loss)
        step(float(loss))
    return total / steps


def _examples(batches: Sequence[Batch]) -> int:
    """Of a language, counted once whatever the number of objectives."""
    return sum(batch.examples for batch in batches if batch.objective == batches[0].objective)


def _shared_out(batches: Sequence[tuple[int, Batch]]) -> list[tuple[int, Batch, int]]:
    """Those that this process computes."""
    size = distributed.get_world_size() if distributed.is_initialized() else 1
    return [(row, batch, place) for place, (row, batch) in enumerate(batches) if place % size == _rank()]


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def _sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """In place, in the memory of the CPU: gloo is there with every torch."""
    if distributed.is_initialized():
        for tensor in tensors:
            on_cpu = tensor.cpu()
            with _connected():
                distributed.all_reduce(on_cpu)
            tensor.copy_(on_cpu)


def _everywhere(value: Any) -> Any:
    """What rank 0 has, on every rank: another machine may not see its files."""
    if not distributed.is_initialized():
        return value
    box = [value]
    with _connected():
        distributed.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _connected() -> Iterator[None]:
    """Raises InputError: another rank is not there to answer."""
    try:
        yield
    except RuntimeError as error:  # gloo has no kind of its own
        raise InputError(
            "fit: another process has died, for want of memory perhaps; run the command again, with fewer processes"
        ) from error


def _keep(
    path: Path,
    identity: str,
    tables: Tables,
    optimizer: Any,
    progressed: Progressed,
    best: Mapping[str, Tensor],
    base: float,
) -> None:
    tensors = {f"now.{name}": value for name, value in tables.snapshot().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, leaf in enumerate(tables.leaves):
        for name, value in optimizer.state.get(leaf, {}).items():
            tensors[f"adam.{number}.{name}"] = torch.as_tensor(value).detach().cpu().clone()
    described = {"format_version": _FORMAT, "identity": identity, "base": base, **asdict(progressed)}
    save_described(path, _KEY, json.loads(json.dumps(described)), tensors)


_Kept: TypeAlias = tuple[dict[str, Any], dict[str, Tensor]]


def kept_identity(path: Path) -> str | None:
    """Whose search is kept in a file; None where there is none. Raises InputError: it is damaged."""
    kept = _read(path)
    return None if kept is None else str(kept[0]["identity"])


def _kept(path: Path, identity: str) -> _Kept | None:
    """A search that was kept; None where there is none, or another."""
    kept = _read(path)
    return kept if kept is not None and kept[0]["identity"] == identity else None


def _read(path: Path) -> _Kept | None:
    if not path.is_file():
        return None
    with described_tensors(path, _KEY, "state of a fit", "delete it", _FORMAT) as (described, tensors):
        described.pop("format_version")
        Progressed(**{name: value for name, value in described.items() if name not in ("identity", "base")})
        return {**described, "identity": described["identity"], "base": float(described["base"])}, tensors


def _resumed(known: _Kept, tables: Tables, optimizer: Any) -> tuple[Progressed, dict[str, Tensor], float]:
    """How far a search was, with its tables and its optimizer as they were; its best tables, and the base's loss."""
    described, tensors = dict(known[0]), known[1]
    del described["identity"]
    base = described.pop("base")
    tables.restore({name: tensors[f"now.{name}"] for name in ("common", "own")})
    for number, leaf in enumerate(tables.leaves):
        prefix = f"adam.{number}."
        state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        if state:
            on_device = {name: value if name == "step" else value.to(leaf.device) for name, value in state.items()}
            optimizer.state[leaf] = on_device
    return Progressed(**described), {name: tensors[f"best.{name}"] for name in ("common", "own")}, base
