"""What people train instead: PEFT's LoRA and IA3, on the same examples, the same loss and the same validation as a fit;
and a few of the examples in front of every prompt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from eval.engine.decoder import SplitDecoder
from eval.fitting.objectives import OBJECTIVES
from eval.fitting.problem import Batch, Problem
from eval.fitting.search import mean_loss
from eval.jobs import Job
from eval.prompts import Prompt

_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATES = {"lora": (1e-4, 5e-4), "ia3": (3e-3, 1e-2)}  # the better one is chosen by the validation


def peft_config(kind: str) -> PeftConfig:
    """LoRA of rank 8 on every linear layer; IA3 on keys, values and the MLP, as its paper has it."""
    if kind == "lora":
        return LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=_ALL)
    return IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    )


@dataclass(frozen=True)
class Adapter:
    """A trained one: its tensors, the validation's loss before and after, seconds, and how many numbers it is."""

    kind: str
    state: Mapping[str, torch.Tensor]
    base: float
    best: float
    seconds: float

    @property
    def numbers(self) -> int:
        return sum(tensor.numel() for tensor in self.state.values())

    @contextmanager
    def in_force(self, model: Any) -> Iterator[None]:
        peft = get_peft_model(model, peft_config(self.kind))
        set_peft_model_state_dict(peft, dict(self.state))
        try:
            yield
        finally:
            peft.unload()


def train(
    kind: str,
    model: Any,
    job: Job,
    rows: tuple[Sequence[int], Sequence[int]],
    languages: Sequence[str],
    *,
    objective: str = "gold",
    end: float = 0.0,
    batch_size: int = 16,
    epochs: int = 6,
    patience: int = 2,
) -> Adapter:
    """With Adam, at each of `RATES`; `rows` are the examples for the gradient and for the validation."""
    started = time.monotonic()
    best, best_state, base = float("inf"), {}, float("nan")
    for rate in RATES[kind]:
        torch.manual_seed(0)
        peft = get_peft_model(model, peft_config(kind))
        model.eval()
        objectives = {objective: OBJECTIVES[objective](job, model, end)}
        problem = Problem(SplitDecoder(model), {}, objectives, {objective: 1.0}, first=0, memory=0)
        batches = [{code: problem.batches(code, part, batch_size) for code in languages} for part in rows]
        leaves = [each for each in peft.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(leaves, lr=rate, weight_decay=0.0)
        base = mean_loss(problem, None, batches[1])
        stale = 0
        for _ in range(epochs):
            _pass(problem, batches[0], optimizer)
            found = mean_loss(problem, None, batches[1])
            stale = 0 if found < best else stale + 1
            if found < best:
                best = found
                best_state = {
                    name: value.detach().cpu().clone() for name, value in get_peft_model_state_dict(peft).items()
                }
            if stale >= patience:
                break
        peft.unload()
    return Adapter(kind, best_state, base, best, time.monotonic() - started)


def _pass(problem: Problem, batches: Mapping[str, Sequence[Batch]], optimizer: torch.optim.Optimizer) -> None:
    for number in range(max(map(len, batches.values()))):
        optimizer.zero_grad()
        for own in batches.values():
            batch = own[number % len(own)]
            for losses in problem.losses(batch, None):
                (losses.sum() / (batch.examples * len(batches))).backward()
        optimizer.step()


def few_shot(job: Job, language: str, rows: Sequence[int], shots: int) -> tuple[int, ...]:
    """Tokens of solved examples, to be put in front of a prompt of the same language."""
    tokenizer = job.checkpoint.tokenizer
    between = tokenizer("\n", add_special_tokens=False)["input_ids"]
    found: list[int] = []
    prompts = job.prompts(language)
    for row in sorted(rows, key=lambda row: len(prompts[row].ids))[: 4 * shots : 4]:
        gold = job.examples[language][row].gold[0]
        answer = (job.choices[int(gold)],) if job.choices else prompts[row].continuations[0]
        found += [*prompts[row].ids, *answer, tokenizer.eos_token_id, *between]
    return tuple(found)


def after(shots: Sequence[int], prompts: Sequence[Prompt]) -> list[Prompt]:
    return [replace(prompt, ids=(*shots, *prompt.ids)) for prompt in prompts]
