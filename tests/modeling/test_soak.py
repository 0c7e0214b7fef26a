"""A long life: a thousand generations from several threads, while what is in force changes again and again.

Settings hold for a whole model, so they change between bursts; within a burst threads, languages and strategies mix.
"""

from __future__ import annotations

import gc
import random
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from conftest import tiny_plain
from detector_helpers import CHINESE, GERMAN, rows, with_detector
from torch import Tensor

from clas_models import FAMILIES
from clas_models.modeling.write import Write

GENERATIONS, BURST, THREADS = 1000, 10, 4
PROMPTS = rows([GERMAN] * 6, [CHINESE] * 6, list(range(100, 106)), list(range(30, 36)))[0]
LANGUAGES = ["en", "de", "zh", "hi", "fr", "auto"]
STRATEGIES = ({"num_beams": 1}, {"num_beams": 3, "num_return_sequences": 2})
SETTINGS = ("as saved", "set_steering", "temporary_steering", "intervening")


@contextmanager
def in_force(model: Any, setting: str) -> Iterator[None]:
    masks = torch.zeros(4, 6, 48, dtype=torch.bool)
    masks[1:, :, ::5] = True
    saved = {"alpha": model.config.alpha, "beta": model.config.beta}
    if setting == "set_steering":
        model.set_steering(alpha=-3.0, beta=0.7)
    context = {
        "temporary_steering": lambda: model.temporary_steering(alpha={"de": 4, "zh": -3, "default": 2}),
        "intervening": lambda: model.intervening(Write(masks, torch.ones(4, 6, 48))),
    }.get(setting, nullcontext)
    with context():
        yield
    model.set_steering(**saved)


def generate(model: Any, prompts: list[int], languages: list[str], strategy: int) -> Tensor:
    """New tokens `[prompts, returned, 4]` of each prompt."""
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, **STRATEGIES[strategy]}
    language = languages[0] if len(set(languages)) == 1 else languages
    return model.generate(PROMPTS[prompts], language=language, **options)[:, -4:].reshape(len(prompts), -1, 4)


@pytest.mark.slow
def test_a_thousand_generations() -> None:
    family = FAMILIES["llama"]
    model, reference = with_detector(family).double(), with_detector(family).double()
    chance = random.Random(0)

    alone = {}
    for case in product(SETTINGS, range(len(PROMPTS)), LANGUAGES, range(len(STRATEGIES))):
        setting, prompt, language, strategy = case
        with in_force(reference, setting):
            alone[case] = generate(reference, [prompt], [language], strategy)[0]

    def burst(setting: str, pool: ThreadPoolExecutor) -> None:
        calls = []
        for _ in range(BURST):
            prompts = chance.sample(range(len(PROMPTS)), chance.randint(1, 4))
            named = chance.choice([["auto"] * len(prompts), chance.choices(LANGUAGES[:-1], k=len(prompts))])
            calls.append((prompts, named, chance.randrange(len(STRATEGIES))))
        with in_force(model, setting):
            answers = list(pool.map(lambda call: generate(model, *call), calls))
        for (prompts, named, strategy), answer in zip(calls, answers, strict=True):
            for row, prompt, language in zip(answer, prompts, named, strict=True):
                assert torch.equal(row, alone[setting, prompt, language, strategy]), (setting, prompt, language)

    def held() -> tuple[int, int]:
        gc.collect()
        return sum(isinstance(item, Tensor) for item in gc.get_objects()), resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss

    with ThreadPoolExecutor(THREADS) as pool:
        for setting in SETTINGS * 5:
            burst(setting, pool)
        tensors, peak = held()
        for _ in range(GENERATIONS // BURST - 20):
            burst(chance.choice(SETTINGS), pool)
        assert held()[0] <= tensors + len(SETTINGS)  # a table may be kept for what is in force
        assert held()[1] - peak < 20_000  # KB
    assert len({tuple(alone[setting, 0, "de", 0].flatten().tolist()) for setting in SETTINGS}) == len(SETTINGS)
    plain = tiny_plain(family).double().generate(PROMPTS[:1], max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert torch.equal(alone["intervening", 0, "en", 0][0], plain[0, -4:])
