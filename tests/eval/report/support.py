"""Small finished runs on disk, of made-up predictions; and one place that knows how a run's folder is laid out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.run_folder import SETTINGS_NAME, Record, RunFolder, Settings

CLAS = {"kind": "clas", "alpha": 1.0, "beta": 0.4, "gamma": 0.2}
METHODS: dict[str, dict[str, Any]] = {
    "base": {"kind": "base"},
    "int-mean": {"kind": "int-mean", "site": "gate"},
    "clas": CLAS,
}
XNLI = ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]
XQUAD = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
METRICS = {"xnli": ["accuracy"], "xquad": ["f1", "exact_match", "mlqa_f1"], "perplexity": ["nats"], "ppl": ["nats"]}
ARABIC = "ولد تسلا في سميلجان"


def settings(
    languages: Mapping[str, Sequence[str]], methods: Mapping[str, dict[str, Any]] = METHODS, **changes: Any
) -> Settings:
    values: dict[str, Any] = {
        "command": "run",
        "model": "org/tiny-model",
        "fingerprint": "f00d",
        "anchor_language": "en",
        "languages": {task: list(codes) for task, codes in languages.items()},
        "methods": dict(methods),
        "samples": None,
        "other": {"metrics": METRICS, "max_length": 512, "precision": "float32"},
    }
    return Settings(**{**values, **changes})


def write_run(path: Path, of: Settings, records: Mapping[tuple[str, str, str], Iterable[Record]]) -> Path:
    """`records` by (task, method, language)."""
    path.mkdir(parents=True)
    (path / SETTINGS_NAME).write_text(json.dumps(asdict(of)), encoding="utf-8")
    run = RunFolder.open(path)
    for key, lines in records.items():
        file = run.file(*key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(record.to_json() + "\n" for record in lines), encoding="utf-8")
    return path


def choice(key: int, prediction: int, gold: int, **more: Any) -> Record:
    return Record(str(key), prediction, (gold,), {"accuracy": float(prediction == gold)}, **more)


def answer(key: int, prediction: str, f1: float, **more: Any) -> Record:
    scores = {"f1": f1, "exact_match": float(f1 == 1), "mlqa_f1": f1}
    return Record(str(key), prediction, ("gold answer",), scores, **{"shown": f"Question {key}?", **more})


def nats(key: int, value: float, tokens: int, size: int = 0) -> Record:
    return Record(str(key), value, (), {"nats": value}, tokens=tokens, bytes=size)


def choices(predictions: Sequence[int], gold: Sequence[int]) -> list[Record]:
    return [choice(key, *pair) for key, pair in enumerate(zip(predictions, gold, strict=True))]


def xnli_records(
    languages: Sequence[str], gains: Mapping[str, float], examples: int, *, seed: int = 0
) -> dict[tuple[str, str, str], list[Record]]:
    """Predictions of every method with about the accuracy 0.4 plus its gain; in English always the base's."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(3, size=examples)
    records = {}
    for code in languages:
        level = rng.uniform(0.35, 0.5)
        luck, wrong = rng.random(examples), (gold + rng.integers(1, 3, size=examples)) % 3
        for method, gain in gains.items():
            shift = gain * rng.uniform(0.2, 1.8) if code != "en" else 0.0
            noise = rng.normal(0, 0.06, examples) if shift else 0.0
            right = luck + noise < level + shift
            records["xnli", method, code] = choices(np.where(right, gold, wrong).tolist(), gold.tolist())
    return records


def xquad_records(
    languages: Sequence[str], gains: Mapping[str, float], examples: int, *, seed: int = 1
) -> dict[tuple[str, str, str], list[Record]]:
    """Answers with an F1 about as high as asked for; Arabic ones in Arabic script."""
    rng = np.random.default_rng(seed)
    records = {}
    for code in languages:
        before = rng.beta(0.5, 1.2, examples).round(2)
        for method, gain in gains.items():
            changed = rng.random(examples) < (0.3 if gain and code != "en" else 0)
            f1 = np.where(changed, np.clip(before + gain + rng.normal(0, 0.3, examples), 0, 1).round(2), before)
            said = ARABIC if code == "ar" else f"the answer in {code}"
            records["xquad", method, code] = [
                answer(key, f"{said} ({method})" if changed[key] else said, float(f1[key]), cut=3 if key == 5 else 0)
                for key in range(examples)
            ]
    return records


def grid_methods(
    alphas: Sequence[float], pairs: Sequence[tuple[float, float]] = ((0.4, 0.2),)
) -> dict[str, dict[str, Any]]:
    methods: dict[str, dict[str, Any]] = {"base": {"kind": "base"}}
    for beta, gamma in pairs:
        for alpha in alphas:
            name = f"clas-a{alpha:g}-b{beta:g}-g{gamma:g}"
            methods[name] = {"kind": "clas", "alpha": alpha, "beta": beta, "gamma": gamma}
    return methods


def grid_gains(methods: Mapping[str, dict[str, Any]], best: float = -2.0) -> dict[str, float]:
    """Highest at `best`, falling to both sides."""
    return {
        name: 0.06 - 0.004 * (values["alpha"] - best) ** 2 + 0.01 * values["beta"] if "alpha" in values else 0.0
        for name, values in methods.items()
    }
