"""`python -m benchmarks.alternatives`: fitted strengths against what people would do instead, on the same examples.

Every method sees the same examples to fit on (with the same inner validation), and all are scored on the same examples
that took no part.  Prints Markdown and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clas_models.modeling.configuration_clas import UNSTEERED
from clas_models.profiling.fitted_strengths import FittedStrengths
from eval.engine.conditions import VECTORS, Condition
from eval.fitting.options import FitOptions
from eval.fitting.search import SearchOptions
from eval.fitting.work import FitWork
from eval.jobs import Job
from eval.progress import Progress
from eval.prompts import Prompt
from eval.run_options import RunOptions
from eval.scoring import LIKELIHOOD
from eval.statistics import gain_test, percentile_interval, resampled_means
from eval.vectors import measured_vectors

from .adapters import Adapter, after, few_shot, train

ALPHAS = (-4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
VECTOR_STRENGTHS = (-1.0, 0.5, 1.0, 2.0, 3.0)
CHOOSE, REPORT = 0, 2


@dataclass
class Variant:
    """One way to answer: what is in force, the strengths, what stands before the prompts, and what it took to make."""

    name: str
    in_force: Callable[[Any], AbstractContextManager[Any]] = lambda model: nullcontext()
    condition: Condition = None  # type: ignore[assignment]
    shots: Mapping[str, tuple[int, ...]] | None = None
    seconds: float = 0.0
    numbers: int = 0
    validation: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.condition = {**UNSTEERED, **(self.condition or {})}


def subset(job: Job, rows: Sequence[int], languages: Sequence[str]) -> Job:
    return replace(job, examples={code: [job.examples[code][row] for row in rows] for code in languages}, built={})


def measure(model: Any, job: Job, language: str, variant: Variant, batch_size: int) -> tuple[np.ndarray, float]:
    """The main score of every example of a job in a language, and seconds."""
    job = replace(job, batch_size=batch_size)
    prompts: list[Prompt] = job.prompts(language)
    asked = prompts if variant.shots is None else after(variant.shots.get(language, ()), prompts)
    started, scores = time.monotonic(), np.zeros(len(prompts))
    with variant.in_force(model):
        for batch, replies in job.answers(model, asked, language, [variant.condition], 0):
            for index, reply in zip(batch, replies[0], strict=True):
                record = job.record(job.examples[language][index], language, prompts[index], reply)
                scores[index] = record.scores[job.task.metrics[0]]
    return scores, time.monotonic() - started


def tuned_alpha(work: FitWork, model: Any, rows: Sequence[int]) -> Variant:
    """The paper's rule: for each language the alpha with the best likelihood on the examples to fit on."""
    started, job, found = time.monotonic(), subset(work.job, rows, work.job.languages), {"default": 0.0}
    conditions = [{**UNSTEERED, "alpha": alpha} for alpha in (0.0, *ALPHAS)]
    for language in job.languages:
        nats = _nats(model, job, language, conditions)
        found[language] = (0.0, *ALPHAS)[int(nats.mean(axis=1).argmin())]
    return Variant(
        "CLAS, tuned alpha", condition={"alpha": found}, seconds=time.monotonic() - started, numbers=len(found) - 1
    )


def tuned_vectors(work: FitWork, model: Any, rows: Sequence[int], count: int) -> Variant:
    """Vectors of the prompts to fit on: the layer with the best mean likelihood, a strength for each language."""
    started = time.monotonic()
    anchor = work.checkpoint.anchor_language
    job = subset(work.whole_job, rows, [anchor, *work.job.languages])
    vectors = measured_vectors(job, model, work.checkpoint, "last", 16)
    known = list(model.config.languages)
    layers = sorted({round((place + 1) * count / 8) for place in range(7)})
    tables = dict(vectors.tables(layers, known))
    settings = [(layer, strength) for layer in layers for strength in VECTOR_STRENGTHS]
    conditions = [UNSTEERED, *({"alpha": 0.0, VECTORS: {layer: strength}} for layer, strength in settings)]
    with model.temporary_vectors(tables, strength=0.0, positions="last"):
        gains = {}
        for language in work.job.languages:
            nats = _nats(model, job, language, conditions).mean(axis=1)
            gains[language] = nats[0] - nats[1:]
    mean = np.mean(list(gains.values()), axis=0)
    layer = settings[int(mean.argmax())][0]
    own = [number for number, setting in enumerate(settings) if setting[0] == layer]
    strength = {"default": 0.0}
    for language, gain in gains.items():
        best = max(own, key=lambda number: gain[number])
        strength[language] = settings[best][1] if gain[best] > 0 else 0.0
    kept = {layer: tables[layer]}
    return Variant(
        f"vectors, tuned (layer {layer})",
        lambda model: model.temporary_vectors(kept, strength=0.0, positions="last"),
        {VECTORS: {layer: strength}},
        seconds=time.monotonic() - started,
        numbers=kept[layer].numel(),
    )


def _nats(model: Any, job: Job, language: str, conditions: Sequence[Condition]) -> np.ndarray:
    """`[conditions, examples]`"""
    prompts = job.prompts(language)
    found = np.zeros((len(conditions), len(prompts)))
    for batch, replies in job.answers(model, prompts, language, conditions, 0):
        for place, given in enumerate(replies):
            for index, reply in zip(batch, given, strict=True):
                record = job.record(job.examples[language][index], language, prompts[index], reply)
                found[place, index] = record.scores["gold_nats"]
    return found


def fitted(name: str, strengths: FittedStrengths, seconds: float) -> Variant:
    tables, categories = strengths.tables(), strengths.categories_by_layer()
    validation = tuple(strengths.fit["validation"])
    return Variant(
        name,
        lambda model: model.temporary_fitted(tables, categories),
        {"alpha": 1.0},
        seconds=seconds,
        numbers=strengths.numbers,
        validation=(validation[0], validation[1]),
    )


def adapted(adapter: Adapter) -> Variant:
    name = "LoRA, r = 8" if adapter.kind == "lora" else "IA3"
    return Variant(name, adapter.in_force, None, None, adapter.seconds, adapter.numbers, (adapter.base, adapter.best))


def compared(base: np.ndarray, other: np.ndarray, units: np.ndarray, factor: float, sign: int) -> dict[str, float]:
    """Of `[languages, examples]`: the mean difference, its interval over texts, and p of a gain."""
    order = np.argsort(units, kind="stable")
    _, starts = np.unique(units[order], return_index=True)
    sums = np.add.reduceat((other - base)[:, order], starts, axis=1)
    counts = np.add.reduceat(np.ones_like(base)[:, order], starts, axis=1)
    mean = float((other - base).mean())
    draws = resampled_means(sums, counts).mean(axis=1)
    interval = percentile_interval(mean, draws, examples=sums.shape[1])
    p = gain_test(sign * sums.sum(axis=0))
    return {"gain": factor * mean, "low": factor * interval.low, "high": factor * interval.high, "p": p}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alternatives", description=__doc__)
    add = parser.add_argument
    add("checkpoint")
    add("--task", required=True)
    add("--data-dir", type=Path, required=True)
    add("--languages", required=True)
    add("--unseen", default="", help="languages that are scored and not fitted")
    add("--other-task", default="", help="TASK=DIR, scored with what was fitted to --task")
    add("--samples", type=int, default=200)
    add("--skip", type=int, default=0)
    add("--split", default="1,1,2")
    add("--end", type=float, default=0.0)
    add("--layers", default=None)
    add("--batch-size", type=int, default=16)
    add("--answer-batch", type=int, default=64, help="examples that are answered together")
    add("--shots", type=int, default=4)
    add("--penalty", default="0.03,0.003")
    add("--epochs", type=int, default=6)
    add("--skip-variants", default="")
    add("--dtype", default="auto")
    add("--max-length", type=int, default=None)
    add("--out", type=Path, required=True)
    args = parser.parse_args()
    Comparison(args).run()


class Comparison:
    """All methods on one checkpoint and one task."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.languages = tuple(args.languages.split(","))
        split = tuple(int(part) for part in args.split.split(","))
        penalties = tuple(float(each) for each in args.penalty.split(","))
        self.search = SearchOptions(penalties=penalties, epochs=args.epochs)
        self.split = (split[0], split[1], split[2])
        args.out.mkdir(parents=True, exist_ok=True)
        self.skipped = args.skip_variants.split(",")

    def work(self, **more: Any) -> FitWork:
        args = self.args
        options = RunOptions(
            args.checkpoint, args.out / more.get("groups", "profile"), (args.task,), ("en", *self.languages),
            args.samples, args.skip, data_dir=args.data_dir, batch_size=args.batch_size, dtype=args.dtype,
            max_length=args.max_length,
        )  # fmt: skip
        chosen = FitOptions(end=args.end, layers=args.layers, split=self.split, search=self.search, **more)
        work = FitWork(options, chosen, options.open(), Progress(quiet=True))
        work.prepare()
        return work

    def variants(self, model: Any) -> list[Variant]:
        work = self.work()
        rows = work.rows()
        chosen = [*rows[0], *rows[1]]
        count = int(model.config.num_hidden_layers)
        made: list[Variant] = [Variant("base")]

        def add(name: str, make: Callable[[], Variant]) -> None:
            if name in self.skipped:
                return
            started = time.monotonic()
            made.append(make())
            print(f"{made[-1].name}: {time.monotonic() - started:.0f} s", flush=True)

        def fit(name: str, **more: Any) -> Variant:
            started = time.monotonic()
            _, strengths = self.work(**more).fitted_on(model)
            strengths.save(self.args.out / f"{more.get('groups', 'profile')}.safetensors")
            return fitted(name, strengths, time.monotonic() - started)

        add("clas", lambda: tuned_alpha(work, model, chosen))
        add("vectors", lambda: tuned_vectors(work, model, chosen, count))
        add("fitted", lambda: fit("fitted strengths"))
        add("random", lambda: fit("fitted, random groups", groups="random"))
        for kind in ("ia3", "lora"):
            add(kind, partial(self._trained, kind, model, work))
        add("few-shot", lambda: self._shots(work, chosen))
        return made

    def _trained(self, kind: str, model: Any, work: FitWork) -> Variant:
        end, batch_size = self.args.end, self.args.batch_size
        return adapted(train(kind, model, work.whole_job, work.rows(), self.languages, end=end, batch_size=batch_size))

    def _shots(self, work: FitWork, rows: Sequence[int]) -> Variant:
        job, shots = work.whole_job, self.args.shots
        prefixes = {code: few_shot(job, code, rows, shots) for code in (*self.languages, "en")}
        return Variant(f"{shots} examples in the prompt", shots=prefixes)

    def run(self) -> None:
        work = self.work()
        report = [int(row) for row in work.parts.of_part(REPORT)]
        units = work.parts.unit[report]
        model = work.checkpoint.load().requires_grad_(False)
        variants = self.variants(model)
        jobs = self._jobs(work, report)
        told: dict[str, Any] = {"args": {k: str(v) for k, v in vars(self.args).items()}, "variants": {}}
        scores: dict[str, dict[str, np.ndarray]] = {}
        for variant in variants:
            found = scores[variant.name] = {}
            seconds = 0.0
            for key, (job, languages) in jobs.items():
                rows = []
                for language in languages:
                    values, took = measure(model, job, language, variant, self.args.answer_batch)
                    rows.append(values)
                    seconds += took if key == "score" else 0.0
                found[key] = np.stack(rows)
            told["variants"][variant.name] = self._told(variant, found, scores["base"], units, jobs, seconds)
            print(json.dumps({variant.name: told["variants"][variant.name]}), flush=True)
            (self.args.out / "alternatives.json").write_text(json.dumps(told, indent=1) + "\n")

    def _jobs(self, work: FitWork, report: Sequence[int]) -> dict[str, tuple[Job, tuple[str, ...]]]:
        score = Job.of(self.args.task, work.options, work.checkpoint)
        nats = work.whole_job
        jobs = {
            "score": (subset(score, report, self.languages), self.languages),
            "nats": (subset(nats, report, self.languages), self.languages),
            "en score": (subset(score, report, ("en",)), ("en",)),
            "en nats": (subset(nats, report, ("en",)), ("en",)),
        }
        if unseen := tuple(filter(None, self.args.unseen.split(","))):
            options = replace(work.options, languages=unseen, scoring=LIKELIHOOD)
            jobs["unseen nats"] = (subset(Job.of(self.args.task, options, work.checkpoint), report, unseen), unseen)
        if self.args.other_task:
            name, _, folder = self.args.other_task.partition("=")
            options = replace(work.options, tasks=(name,), data_dir=Path(folder), samples=150, skip=0, languages=None)
            known = Job.of(name, options, work.checkpoint)
            both = tuple(code for code in self.languages if code in known.examples)
            jobs[f"{name} score"] = (replace(known, built={}), both)
            other = Job.of(name, replace(options, scoring=LIKELIHOOD), work.checkpoint)
            jobs[f"{name} nats"] = (replace(other, built={}), both)
        return jobs

    def _told(
        self, variant: Variant, found: Mapping[str, np.ndarray], base: Mapping[str, np.ndarray], units: np.ndarray,
        jobs: Mapping[str, tuple[Job, tuple[str, ...]]], seconds: float,
    ) -> dict[str, Any]:  # fmt: skip
        told: dict[str, Any] = {
            "seconds to fit": variant.seconds, "numbers": variant.numbers, "seconds to answer": seconds,
            "validation": variant.validation, "condition": str(dict(variant.condition)),
        }  # fmt: skip
        for key, (job, languages) in jobs.items():
            scale = job.task.scale
            own = units if found[key].shape[1] == len(units) else np.arange(found[key].shape[1])
            told[key] = {
                "mean": scale.factor * float(found[key].mean()),
                **compared(base[key], found[key], own, scale.factor, scale.sign),
                "by language": {
                    code: {
                        "mean": scale.factor * float(found[key][row].mean()),
                        **compared(base[key][[row]], found[key][[row]], own, scale.factor, scale.sign),
                    }
                    for row, code in enumerate(languages)
                },
                "identical": bool((found[key] == base[key]).all()),
            }
        return told


if __name__ == "__main__":
    torch.set_grad_enabled(True)
    main()
