"""`python -m benchmarks.perplexity_change`: what a matrix of perplexity changes costs, as Markdown tables.

(matrix) the text of each language under the writes of all, as `perplexity-change` computes it / a full pass of the same
packs for every language's write and one without / one forward pass a text for each of these, as a plain loop has it.
The sides take turns; with one thread (`OMP_NUM_THREADS=1`) it is the processor's seconds that count, which other work
does not change.  Beside it where the neurons sit, and how often each layer runs: that decides the ratio.

The checkpoint is a steered one that was profiled for the languages; the text is the built-in corpus' test rows.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from clas_models.modeling.configuration_clas import UNSTEERED
from clas_models.modeling.write import Write
from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus
from clas_models.profiling.known import Known
from clas_models.profiling.lape import lape
from clas_models.profiling.write_tables import write_tables
from eval.analysis.perplexity_texts import Texts
from eval.engine.packing import PACK_TOKENS
from eval.engine.perplexity import negative_log_likelihood
from eval.engine.writes import WriteTree, nats_under_writes
from eval.loading import open_checkpoint

from .timing import interleaved

LANGUAGES = "en,de,es,fr,ro,ru,bg,tr,sw,vi,zh,ar"
GOAL = 0.75


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perplexity_change", description=__doc__)
    parser.add_argument("model", type=Path, metavar="CHECKPOINT", help="folder of a steered checkpoint")
    parser.add_argument("--languages", default=LANGUAGES, help="(default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=200, help="the most of a language (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="counted rounds (default: %(default)s)")
    args = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
    checkpoint = open_checkpoint(str(args.model))
    languages = args.languages.split(",")
    profile = checkpoint.profile()
    tables = write_tables(Known(profile), lape(profile), languages, value="zero")
    write = Write(tables.masks, tables.values, tables.languages)
    print(_where(write, checkpoint.config.languages), flush=True)
    corpus = load_corpus("builtin", languages=languages, skip=PROFILED_ROWS["builtin"])
    texts = Texts.of(corpus, lambda text: checkpoint.tokenizer(text)["input_ids"], args.tokens, PACK_TOKENS)
    print(_measure(checkpoint.load(), write, texts, args.rounds), flush=True)


def _where(write: Write, languages: Sequence[str]) -> str:
    """By language how many neurons and in which layers, and how often each layer runs."""
    tree, layers = WriteTree.of(write, languages), write.masks.shape[1]
    lines = ["\n| language | neurons | first layer | in the lower half | in the last third |", "|---" * 5 + "|"]
    for code, mask in zip(write.languages or (), write.masks, strict=True):
        counts = mask.sum(-1)
        touched = counts.nonzero().flatten()
        first = int(touched[0]) if len(touched) else "none"
        lower, last = int(counts[: layers // 2].sum()), int(counts[-(layers // 3) :].sum())
        lines.append(f"| {code} | {int(counts.sum())} | {first} | {lower} | {last} |")
    passes = [tree.passes(layer) for layer in range(layers)]
    own = sum(layers - _start(written) for written in tree.written)
    full = len(tree.written) * layers
    lines.append(
        f"\nRuns of each layer: {passes}, together {sum(passes) / full:.3f} of the {full} of full passes "
        f"({own / full:.3f} if only what precedes a language's own first neuron were shared)."
    )
    return "\n".join(lines)


def _start(written: Sequence[int]) -> int:
    """The first layer with a write; without any the whole model runs, and serves what lies below the others'."""
    return next((layer for layer, what in enumerate(written) if what), 0)


def _measure(model: Any, write: Write, texts: Texts, rounds: int) -> str:
    codes: list[str | None] = [None, *(write.languages or ())]
    shape = (len(texts.by_language), len(codes))
    found = {name: torch.zeros(shape, dtype=torch.float64) for name in ("matrix", "passes", "loop")}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    tasks = {
        "matrix": lambda: _matrix(model, write, texts, found["matrix"]),
        "passes": lambda: _passes(model, write, codes, texts, found["passes"]),
        "loop": lambda: _loop(model, write, codes, texts, found["loop"]),
    }
    timings = interleaved(tasks, rounds, clock=clock)
    seconds = " | ".join(f"{timings.median(name):.1f} s" for name in found)
    counts = texts.tokens.values()
    equal = float((found["matrix"] - found["loop"]).abs().max() / found["loop"].max())
    heads = [
        "matrix", "tokens a language", "matrix, tree of passes", "full passes, same packs", "full passes, text by text",
        f"to the same packs (goal: {GOAL})", f"to text by text (goal: {GOAL})", "largest difference",
    ]  # fmt: skip
    return (
        f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n| {shape[0]} x {shape[0]} | {min(counts)}-{max(counts)} | "
        f"{seconds} | {timings.ratio('matrix', to='passes'):.3f} | {timings.ratio('matrix', to='loop'):.3f} | "
        f"{equal:.1e} of the nats |"
    )


def _matrix(model: Any, write: Write, texts: Texts, found: Tensor) -> None:
    for column, text in enumerate(texts.by_language.values()):
        found[column] = 0
        for _, sums in nats_under_writes(model, write, text.windows):
            found[column] += torch.tensor(sums, dtype=torch.float64).sum(-1)


def _passes(model: Any, write: Write, codes: Sequence[str | None], texts: Texts, found: Tensor) -> None:
    """Each write in a pass of its own, with the same packs; without any the model as it is."""
    for row, code in enumerate(codes):
        with model.temporary_steering(**UNSTEERED), model.intervening(_only(write, code)):
            for column, text in enumerate(texts.by_language.values()):
                language = code or model.config.anchor_language
                batches = negative_log_likelihood(model, text.windows, language)
                found[column, row] = sum(sum(sums[0]) for _, sums, _ in batches)


@torch.inference_mode()
def _loop(model: Any, write: Write, codes: Sequence[str | None], texts: Texts, found: Tensor) -> None:
    """Each text through the model's own forward, as often as there are writes, and once without."""
    for row, code in enumerate(codes):
        with model.temporary_steering(**UNSTEERED), model.intervening(_only(write, code)):
            for column, text in enumerate(texts.by_language.values()):
                total = 0.0
                for window in text.windows:
                    ids = torch.tensor(window)[None]
                    logits = model(ids, language=code or model.config.anchor_language, use_cache=False).logits[0, :-1]
                    log_p = logits.float().log_softmax(-1)
                    total -= float(log_p.gather(1, ids[0, 1:, None]).double().sum())
                found[column, row] = total


def _only(write: Write, code: str | None) -> Write:
    """The write of one language, or none."""
    masks = torch.zeros_like(write.masks)
    if code is not None:
        row = (write.languages or ()).index(code)
        masks[row] = write.masks[row]
    return Write(masks, write.values, write.languages)


if __name__ == "__main__":
    main()
