"""The search: what a step is of, when it is over, and that it goes on from wherever it was kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clas_models.errors import InputError
from eval.fitting import search as module
from eval.fitting.problem import Batch
from eval.fitting.search import Found, SearchOptions, kept_identity, mean_loss, search
from eval.fitting.tables import ONE, SHRUNK, Tables

LANGUAGES = ("de", "zh")


class Quadratic:
    """In place of a `Problem`: each example wants all of its language's strengths to be one number."""

    def __init__(self, wanted: Mapping[tuple[str, int], float], objectives: Mapping[str, float]) -> None:
        self.wanted, self.weights, self.objectives = wanted, objectives, dict.fromkeys(objectives)
        self.asked = 0

    def batches(self, language: str, rows: Sequence[int], size: int = 2) -> list[Batch]:
        parts = [tuple(rows[start : start + size]) for start in range(0, len(rows), size)]
        return [Batch(name, language, (), (part,)) for name in self.objectives for part in parts]

    def losses(self, batch: Batch, tables: Tables | None) -> Iterator[Tensor]:
        self.asked += 1
        strengths = torch.zeros(()) if tables is None else tables.of(batch.language)
        for rows in batch.rows:
            wanted = torch.tensor([self.wanted[batch.language, row] for row in rows])
            yield self.weights[batch.objective] * torch.stack([(strengths - each).square().mean() for each in wanted])


def made(
    options: SearchOptions,
    state: Path | None = None,
    objectives: Mapping[str, float] | None = None,
    sharing: str = SHRUNK,
    told: Callable[..., None] = lambda epoch, base: None,
    validated: float = 0.5,
    identity: str = "mine",
) -> tuple[Found, Tables, Quadratic]:
    """Of four examples a language to fit on, which want 1, and two that validate."""
    wanted = {(code, row): 1.0 if row < 4 else validated for code in LANGUAGES for row in range(6)}
    problem: Any = Quadratic(wanted, objectives or {"gold": 1.0})
    tables = Tables.zeros(LANGUAGES, (0, 1), sharing)
    train, validation = ({code: problem.batches(code, rows) for code in LANGUAGES} for rows in (range(4), range(4, 6)))
    return search(problem, tables, train, validation, options, state, identity, told), tables, problem


def test_the_mean_is_over_examples_then_over_languages() -> None:
    wanted = {("de", row): 1.0 for row in range(3)} | {("zh", 0): 3.0}
    problem: Any = Quadratic(wanted, {"gold": 1.0, "text": 0.5})
    batches = {"de": problem.batches("de", range(3)), "zh": problem.batches("zh", range(1))}
    assert mean_loss(problem, None, batches) == pytest.approx(1.5 * (1 + 9) / 2)


def test_a_pass_ends_with_the_validation_s_best() -> None:
    found, tables, _ = made(SearchOptions(penalties=(0.0,), epochs=30, rate=0.05), validated=0.5)
    history = [each.validation for each in found.history]
    assert found.best == min(history) < found.base
    assert len(history) == history.index(found.best) + 3, "left after two passes without a gain"
    assert tables.of("de").detach().mean() == pytest.approx(0.5, abs=0.1)


def test_a_penalty_weighs_the_same_beside_a_sum_of_objectives() -> None:
    """Halves of an objective are that objective."""
    options = SearchOptions(penalties=(1.0,), epochs=60, rate=0.003, patience=60)
    found = [
        made(options, objectives=each, sharing=ONE, validated=1.0) for each in ({"gold": 1}, {"gold": 0.5, "text": 0.5})
    ]
    whole, halves = (float(tables.of("de").detach().mean()) for _, tables, _ in found)
    # The minimum of (s - 1)^2 + 8 s^2, of eight strengths that are all s.
    assert whole == pytest.approx(1 / 9, abs=0.01)
    assert halves == pytest.approx(whole, abs=0.01)
    assert found[1][0].history[0].loss == pytest.approx(found[0][0].history[0].loss, rel=0.2)


def test_the_search_is_over_when_a_later_weight_gained_nothing(tmp_path: Path) -> None:
    options = SearchOptions(penalties=(0.1, 0.01, 0.001), epochs=3)
    found, tables, _ = made(options, tmp_path / "state", validated=-1.0)  # nothing helps
    assert (found.best, found.penalty) == (found.base, 0.0)
    assert not tables.of("de").detach().any()
    assert {each.penalty for each in found.history} == {0.1, 0.01}, "the first may be too strong, a later one ends it"
    again, _, problem = made(options, tmp_path / "state", validated=-1.0)
    assert again == found
    assert problem.asked == 0, "what is over is not computed again"


@pytest.mark.parametrize("stop", range(1, 9))
def test_it_goes_on_from_every_state(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SearchOptions(penalties=(0.3, 0.03, 0.003), epochs=3, rate=0.04)
    whole, wanted, _ = made(options, validated=1.0)
    assert len(whole.history) == 9
    keep, kept = module._keep, []

    def keep_and_stop(*args: Any) -> None:
        keep(*args)
        kept.append(args)
        if len(kept) == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_keep", keep_and_stop)
        with pytest.raises(KeyboardInterrupt):
            made(options, tmp_path / "state", validated=1.0)
    found, tables, _ = made(options, tmp_path / "state", validated=1.0)
    assert found == whole
    assert torch.equal(tables.own, wanted.own)
    assert torch.equal(tables.common, wanted.common)


def test_another_search_begins_anew_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    options, state = SearchOptions(epochs=1), tmp_path / "state"
    assert kept_identity(state) is None
    found, _, _ = made(options, state)
    assert kept_identity(state) == "mine"
    assert made(options, state, identity="yours")[2].asked > 0
    assert kept_identity(state) == "yours"
    state.write_bytes(state.read_bytes()[:50])
    with pytest.raises(InputError, match="not a usable state of a fit"):
        made(options, state)
    assert found.best < found.base
