"""The gradient of strengths, and the losses that it lowers, against straightforward computations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_helpers import data_fixture, steered_fixture, templates_fixture  # noqa: F401
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from clas_models.errors import InputError
from eval.engine.decoder import SplitDecoder
from eval.fitting.objectives import OBJECTIVES, Gold, read_objectives
from eval.fitting.problem import Problem
from eval.fitting.search import mean_loss
from eval.fitting.tables import EACH, ONE, SHRUNK, Tables, fitting_scales
from eval.jobs import Job
from eval.run_options import RunOptions
from eval.scoring import LIKELIHOOD

LANGUAGES = ("en", "de", "zh")
LAYERS = (3, 4, 5)


@pytest.fixture(scope="module")
def model(steered: Path) -> Any:
    """A double-precision model, so that differences mean something."""
    return AutoModelForCausalLM.from_pretrained(steered).double().eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def norms_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of transformers compute in float32, whatever the model's dtype, which is too coarse for differences."""

    def norm(self: LlamaRMSNorm, hidden: Tensor) -> Tensor:
        return self.weight * hidden * (hidden.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", norm)


@pytest.fixture(scope="module")
def categories(model: Any) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(0)
    neurons = model.config.intermediate_size
    return {layer: torch.randint(0, 4, (neurons,), generator=generator, dtype=torch.uint8) for layer in LAYERS}


def job_of(task: str, steered: Path, data: Path, templates: Path) -> Job:
    options = RunOptions(
        str(steered), Path(), (task,), LANGUAGES, 6, data_dir=data, templates=templates, scoring=LIKELIHOOD
    )
    return Job.of(task, options, options.open())


@pytest.fixture(scope="module", params=["xnli", "xquad"])
def job(request: pytest.FixtureRequest, steered: Path, data: Path, templates: Path) -> Job:
    return job_of(request.param, steered, data, templates)


def problem_of(decoder: SplitDecoder, scales: Any, job: Job, name: str = "gold", **more: Any) -> Problem:
    end = more.pop("end", 0.0)
    objectives = {name: OBJECTIVES[name](job, decoder.model, end)}
    return Problem(decoder, scales, objectives, {name: 1.0}, first=min(LAYERS), **{"memory": 10**9, **more})


def random_tables(sharing: str = SHRUNK, seed: int = 1) -> Tables:
    """Of strengths that are far from 0, in double precision."""
    tables = Tables.zeros(("de", "zh"), LAYERS, sharing)
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: torch.randn(getattr(tables, name).shape, generator=generator, dtype=torch.float64) / 5
        for name in ("common", "own")
    }
    leaves = {name: getattr(tables, name).requires_grad for name in drawn}
    return replace(
        tables,
        **{n: (v if leaves[n] else torch.zeros_like(v)).requires_grad_(leaves[n]) for n, v in drawn.items()},
    )


def total(problem: Problem, batches: Any, tables: Tables | None) -> Tensor:
    return torch.stack([losses.sum() for batch in batches for losses in problem.losses(batch, tables)]).sum()


@pytest.mark.parametrize("end", [0.0, 0.3])
def test_losses_are_those_of_plain_forward_passes(
    job: Job, model: Any, categories: dict[int, Tensor], end: float
) -> None:
    tables = random_tables()
    with fitting_scales(model, categories) as (decoder, scales):
        problem = problem_of(decoder, scales, job, end=end)
        batches = {code: problem.batches(code, [0, 2, 3, 5], 3) for code in tables.languages}
        found = mean_loss(problem, tables, batches)
        base = mean_loss(problem, None, batches)
    expected = {"steered": 0.0, "base": 0.0}
    strengths = tables.strengths(model.config.languages)
    strengths[:, model.config.languages.index("en")] = 0
    by_layer = {layer: strengths[row] for row, layer in enumerate(LAYERS)}
    with torch.no_grad(), model.temporary_fitted(by_layer, categories):
        for kind, alpha in (("steered", 1.0), ("base", 0.0)):
            with model.temporary_steering(alpha=alpha):
                for language in tables.languages:
                    for row in (0, 2, 3, 5):
                        expected[kind] += naive(model, job, language, row, end) / 8
    assert found == pytest.approx(expected["steered"], abs=1e-5), "a checkpoint's table is float32"
    assert base == pytest.approx(expected["base"], abs=1e-9)
    assert abs(found - base) > 1e-3


def naive(model: Any, job: Job, language: str, row: int, end: float) -> float:
    """The loss of one example by one forward pass."""
    prompt, gold = job.prompts(language)[row], job.examples[language][row].gold[0]
    if job.choices:
        logits = model(torch.tensor([prompt.ids]), language=language).logits[0, -1, list(job.choices)]
        return -float(logits.log_softmax(-1)[int(gold)])
    answer = (*prompt.continuations[0], job.checkpoint.tokenizer.eos_token_id)
    logits = model(torch.tensor([[*prompt.ids, *answer]]), language=language).logits[0, len(prompt.ids) - 1 : -1]
    nats = -logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
    return float(nats[:-1].mean() + end * nats[-1])


@pytest.mark.parametrize("sharing", [SHRUNK, ONE, EACH])
def test_the_gradient_is_that_of_finite_differences(
    sharing: str, job: Job, model: Any, categories: dict[int, Tensor]
) -> None:
    tables, step = random_tables(sharing), 1e-5
    with fitting_scales(model, categories) as (decoder, scales):
        problem = problem_of(decoder, scales, job, end=0.2)
        batches = [each for code in tables.languages for each in problem.batches(code, [0, 1, 4], 3)]
        for batch in batches:
            for losses in problem.losses(batch, tables):
                losses.sum().backward()
        for leaf in tables.leaves:
            assert leaf.grad is not None
            shape = leaf.shape
            for place in ((0,) * leaf.dim(), tuple(size - 1 for size in shape), tuple(size // 2 for size in shape)):
                found = []
                for sign in (1, -1):
                    with torch.no_grad():
                        leaf[place] += sign * step
                        found.append(float(total(problem, batches, tables)))
                        leaf[place] -= sign * step
                difference = (found[0] - found[1]) / (2 * step)
                assert float(leaf.grad[place]) == pytest.approx(difference, rel=1e-3, abs=1e-6)


def test_memory_and_checkpointing_change_nothing(job: Job, model: Any, categories: dict[int, Tensor]) -> None:
    gradients = []
    for more in ({}, {"memory": 0}, {"checkpointing": True}):
        tables = random_tables()
        with fitting_scales(model, categories) as (decoder, scales):
            problem = problem_of(decoder, scales, job, **more)
            for batch in problem.batches("de", range(6), 4):
                for losses in problem.losses(batch, tables):
                    losses.sum().backward()
            assert bool(problem._kept) == (more.get("memory") != 0)
        gradients.append(tables.common.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


def test_the_layers_below_run_once(
    job: Job, model: Any, categories: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    run = SplitDecoder._run

    def counted(self: Any, state: Any, layers: range, **steering: Any) -> Tensor:
        ran.extend(layer for layer in layers if layer < min(LAYERS))
        return run(self, state, layers, **steering)

    monkeypatch.setattr(SplitDecoder, "_run", counted)
    with fitting_scales(model, categories) as (decoder, scales):
        problem, tables = problem_of(decoder, scales, job), random_tables()
        batches = problem.batches("de", range(6), 3)
        for _ in range(3):
            total(problem, batches, tables)
        assert len(ran) == min(LAYERS) * sum(len(batch.packs) for batch in batches)


def test_the_model_stays_as_it_was(job: Job, model: Any, categories: dict[int, Tensor]) -> None:
    ids = torch.tensor([job.prompts("de")[0].ids])
    before, steering = model(ids, language="de").logits, str(model.steering)
    with fitting_scales(model, categories) as (decoder, scales):
        problem = problem_of(decoder, scales, job)
        total(problem, problem.batches("de", [0], 1), random_tables())
    with pytest.raises(KeyError), fitting_scales(model, categories):
        raise KeyError
    assert torch.equal(model(ids, language="de").logits, before)
    assert str(model.steering) == steering


def test_the_anchor_s_answers_are_a_distribution_over_choices(
    steered: Path, data: Path, templates: Path, model: Any, categories: dict[int, Tensor]
) -> None:
    job, tables = job_of("xnli", steered, data, templates), random_tables()
    with fitting_scales(model, categories) as (decoder, scales):
        problem = problem_of(decoder, scales, job, "anchor")
        (losses,) = problem.losses(problem.batches("de", [2], 1)[0], None)
        (steered_losses,) = problem.losses(problem.batches("de", [2], 1)[0], tables)
    with torch.no_grad(), model.temporary_steering(alpha=0.0):
        logits = [model(torch.tensor([job.prompts(code)[2].ids]), language=code).logits for code in ("en", "de")]
        wanted, found = (each[0, -1, list(job.choices)].log_softmax(-1) for each in logits)
    assert float(losses) == pytest.approx(float((wanted.exp() * (wanted - found)).sum()), rel=1e-4)
    assert float(steered_losses.detach()) != pytest.approx(float(losses), rel=1e-3)


def test_plain_text_is_that_of_the_prompts(job: Job, model: Any, categories: dict[int, Tensor]) -> None:
    with torch.no_grad(), fitting_scales(model, categories) as (decoder, scales):
        problem = problem_of(decoder, scales, job, "text")
        (losses,) = problem.losses(problem.batches("zh", [1], 1)[0], None)
    ids = torch.tensor([job.prompts("zh")[1].ids])
    with torch.no_grad(), model.temporary_steering(alpha=0.0):
        logits = model(ids, language="zh").logits[0, :-1]
    assert float(losses) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])), rel=1e-5)


def test_what_no_objective_can_be(steered: Path, data: Path, templates: Path) -> None:
    assert read_objectives("gold+text=0.1") == {"gold": 1.0, "text": 0.1}
    for text in ("gold+gold", "magic", "gold=0", "gold=x", "gold=inf", ""):
        with pytest.raises(InputError, match="objective"):
            read_objectives(text)
    generated = job_of("xquad", steered, data, templates)
    with pytest.raises(InputError, match="choices that have a letter; xquad has none; take gold"):
        OBJECTIVES["anchor"].check(generated)
    options = RunOptions(str(steered), Path(), ("perplexity",), ("en", "de"), 4)
    plain = Job.of("perplexity", options, options.open())
    with pytest.raises(InputError, match="the task perplexity has no right answers; take text"):
        Gold.check(plain)


def test_languages_share_what_they_have_in_common() -> None:
    tables = random_tables()
    strengths = tables.strengths(["en", "de", "fr", "zh"])
    torch.testing.assert_close(strengths[:, 1], tables.common.detach() + tables.own.detach()[0])
    torch.testing.assert_close(strengths[:, 3], tables.common.detach() + tables.own.detach()[1])
    for row in (2, 4):  # French was not fitted, and the last row is of languages that nobody profiled
        assert torch.equal(strengths[:, row], tables.common.detach())
    penalty = tables.common.square().sum() + 4 * tables.own.square().sum() / 2
    assert float(tables.penalty().detach()) == pytest.approx(float(penalty.detach()))
    assert not random_tables(EACH).strengths(["fr"]).any()
    assert len(random_tables(ONE).leaves) == len(random_tables(EACH).leaves) == 1
    with pytest.raises(InputError, match="sharing 'all': choose one of shrunk, one, each"):
        Tables.zeros(("de",), LAYERS, "all")
