"""(b) Profiling tokens a second / plain decoder forward tokens a second, on the same batches."""

from __future__ import annotations

from typing import Any

import torch

from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.profiler import profile_neurons

from .timing import interleaved


class _Numbers:
    """Stands in for a tokenizer: a row's text is already its ids, as decimal numbers."""

    all_special_ids = (-1,)

    def __call__(self, text: str, truncation: bool, max_length: int) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()][:max_length]}


def measure(plain: Any, label: str, rows: int, length: int, batch: int, rounds: int) -> str:
    """One row of the table; `rows` rows of `length` tokens in each of two languages."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, plain.config.vocab_size, (2 * rows, length), generator=generator)
    texts = [" ".join(map(str, row.tolist())) for row in tokens]
    corpus = ParallelCorpus(
        "random",
        ("en", "de"),
        [dict(zip(("en", "de"), pair, strict=True)) for pair in zip(texts[:rows], texts[rows:], strict=True)],
    )
    decoder = plain.base_model
    batches = tokens.to(plain.device).split(batch)

    def forward() -> None:
        with torch.inference_mode():
            for ids in batches:
                decoder(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    def profile() -> None:
        profile_neurons(plain, _Numbers(), corpus, max_length=length, batch_size=batch)  # type: ignore[arg-type]

    timings = interleaved({"forward": forward, "profile": profile}, rounds, plain.device.type)
    dtype = str(plain.dtype).removeprefix("torch.")
    rate = tokens.numel() / timings.median("profile")
    return f"| {label} | {dtype} | {batch} x {length} | {rate:,.0f} | {1 / timings.ratio('profile', 'forward'):.3f} |"
