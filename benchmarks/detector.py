"""`python -m benchmarks.detector`: does the language detector recognise text that it never saw, and what does it cost?

The detector is made from what comes with the package and asked about XQuAD and XNLI, by language, with the tokenizer of
each model; Lingua, a language identifier from PyPI, is asked about the same texts decoded.  The texts are data that is
not part of the project: give the folder that holds `xquad/` and `xnli/`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoTokenizer

from clas_models.conversion.detector import builtin_corpus
from clas_models.modeling.language_detector import DetectorDecision, LanguageDetector
from clas_models.profiling.corpora import BUILTIN_LANGUAGES
from clas_models.profiling.detector.detector_building import build_detector

from .detector_cost import measure_cost
from .detector_texts import PARTS, SETS, TARGETS, Texts, read_texts

ANCHOR = "en"
BATCH = 32
MAX_TOKENS = 512
Answers = dict[str, list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="DIR", help="folders of plain checkpoints")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument("--rows", choices=PARTS, default="all", help="all rows (default), every tenth, "
                        "all but every tenth, or a tenth of those")  # fmt: skip
    parser.add_argument("--sets", default=",".join(SETS), help="which texts (default: %(default)s)")
    parser.add_argument("--lingua-step", type=int, default=10, metavar="N", help="Lingua gets every Nth row; 0 "
                        "leaves it out (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=7, help="of the cost (default: %(default)s); 0 leaves it out")
    parser.add_argument("--device", default="cpu", help="of the cost: cpu (default) or cuda")
    args = parser.parse_args()
    if not (args.data / "xquad").is_dir() or not (args.data / "xnli").is_dir():
        parser.exit(0, f"skipped: no xquad and xnli in {args.data}; give the folder that holds them as --data\n")
    rows = list(builtin_corpus().rows)
    for folder in args.models:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        began = time.perf_counter()
        vocabulary = AutoConfig.from_pretrained(folder).vocab_size
        detector = build_detector(tokenizer, rows, BUILTIN_LANGUAGES, ANCHOR, vocabulary)
        size = sum(buffer.nbytes for buffer in detector.buffers()) / 1e6
        print(f"\n## {folder.name}: made in {time.perf_counter() - began:.1f} s, {size:.2f} MB\n", flush=True)
        identify = _identifier(BUILTIN_LANGUAGES) if args.lingua_step else None
        for name in args.sets.split(","):
            texts = read_texts(name, args.data, tokenizer, args.rows)
            _report(name, texts, tokenizer, detector, (*BUILTIN_LANGUAGES, "other"), identify, args.lingua_step)
        if args.rounds:
            print(measure_cost(folder, detector, args.rounds, args.device), flush=True)


def _report(
    name: str,
    texts: Texts,
    tokenizer: Any,
    detector: LanguageDetector,
    codes: Sequence[str],
    identify: Callable[[str], str] | None,
    step: int,
) -> None:
    """One table: a row for each language, the means, and the targets."""
    answers = {
        code: [codes[i] for i in decide(detector, tokenizer, rows).language_ids.tolist()]
        for code, rows in texts.items()
    }
    lingua = {code: [identify(row) for row in rows[::step]] for code, rows in texts.items()} if identify else {}
    print(f"### {SETS[name].title}\n")
    print(
        "| language | rows | anchor or not | language | Lingua: anchor or not | Lingua: language |\n"
        "|---|---|---|---|---|---|"
    )
    for code, rows in texts.items():
        print(f"| {code} | {len(rows)} | {_cells(answers, [code])} | {_cells(lingua, [code])} |")
    every, others = list(texts), [code for code in texts if code != ANCHOR]
    print(f"| mean | {sum(map(len, texts.values()))} | {_cells(answers, every)} | {_cells(lingua, every)} |")
    if others:
        print(f"| mean but {ANCHOR} | | {_cells(answers, others)} | {_cells(lingua, others)} |")
    print(f"\nWanted: {TARGETS[name]}\n", flush=True)


def _cells(answers: Mapping[str, Sequence[str]], codes: Sequence[str]) -> str:
    if not answers:
        return "– | –"
    pairs = [_score(answers[code], code) for code in codes]
    return " | ".join(f"{statistics.mean(column):.2f}" for column in zip(*pairs, strict=True))


def _score(answers: Sequence[str], code: str) -> tuple[float, float]:
    """Per cent right: anchor or not, and the language itself."""
    kept = sum((answer != ANCHOR) == (code != ANCHOR) for answer in answers)
    return 100 * kept / len(answers), 100 * sum(answer == code for answer in answers) / len(answers)


def decide(detector: LanguageDetector, tokenizer: Any, texts: Sequence[str]) -> DetectorDecision:
    """What the detector says of every text, asked in padded batches of similar length."""
    ids = [torch.tensor(row[:MAX_TOKENS]) for row in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    found = []
    for start in range(0, len(ids), BATCH):
        part = order[start : start + BATCH]
        batch = pad_sequence([ids[place] for place in part], batch_first=True)
        mask = pad_sequence([torch.ones_like(ids[place]) for place in part], batch_first=True)
        found.append(detector(batch, mask))
    back = torch.tensor(order).argsort()
    return DetectorDecision(*(torch.cat(column)[back] for column in zip(*found, strict=True)))


def _identifier(languages: Sequence[str]) -> Callable[[str], str] | None:
    try:
        from lingua import IsoCode639_1, LanguageDetectorBuilder
    except ImportError:
        print("Lingua is not installed; pip install lingua-language-detector")
        return None
    codes = [getattr(IsoCode639_1, code.upper()) for code in languages]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()

    def identify(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "none"

    return identify


if __name__ == "__main__":
    main()
