"""What the detector adds to a prefill: the model with `language="auto"` / with the language named."""

from __future__ import annotations

from pathlib import Path

import torch

from clas_models.modeling.language_detector import LanguageDetector

from .models import real_plain, steered_twin
from .timing import interleaved

LENGTHS = (128, 512)
BATCHES = (1, 16)


def measure_cost(folder: Path, detector: LanguageDetector, rounds: int, device: str) -> str:
    """A table: the prefill, the detector alone, and the detector's share of it, each the median over the rounds."""
    plain = real_plain(folder, torch.float32 if device == "cpu" else torch.bfloat16, device)
    steered = steered_twin(plain)
    detector = detector.to(device)
    generator = torch.Generator().manual_seed(0)
    lines = ["### Cost\n", "| batch x tokens | prefill | detector | detector / prefill |", "|---|---|---|---|"]
    for batch in BATCHES:
        for length in LENGTHS:
            tokens = torch.randint(0, plain.config.vocab_size, (batch, length), generator=generator).to(device)
            mask = torch.ones_like(tokens)
            tasks = {
                "prefill": lambda t=tokens, m=mask: steered(
                    t, attention_mask=m, language="de", use_cache=True, logits_to_keep=1
                ),
                "detector": lambda t=tokens, m=mask: detector(t, m),
            }
            with torch.inference_mode():
                timings = interleaved(tasks, rounds, device)
            lines.append(
                f"| {batch} x {length} | {timings.median('prefill') * 1e3:.1f} ms | "
                f"{timings.median('detector') * 1e3:.2f} ms | {timings.ratio('detector', 'prefill'):.2%} |"
            )
    return "\n".join([*lines, ""])
