"""`python -m benchmarks.detector_doubt`: what users write, languages without a class, and the detector's confidences.

Beside `benchmarks.detector`: the detector is made from what comes with the package and asked about sentences of SIB-200
(FLORES) in 38 languages, as they stand and in other spellings, and about languages of other data sets that it has no
class for.  `--figure` draws how often answers of each confidence are right.  The texts are data that is not part of the
project: give the folder that holds `sib-200/`, `belebele/` and `xcopa/`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from transformers import AutoConfig, AutoTokenizer

from clas_models.conversion.detector import builtin_corpus
from clas_models.modeling.language_detector import LanguageDetector
from clas_models.profiling.corpora import BUILTIN_LANGUAGES
from clas_models.profiling.detector.detector_building import build_detector, judge
from clas_models.profiling.detector.spelling import capitals_without_accents, without_accents

from .detector import ANCHOR, decide

OTHER = "other"
MAX_CHARS = 2000
# FLORES' codes of the languages of SIB-200 whose first letters are not the code that this project writes.
_CODES = {
    "arb": "ar", "ben": "bn", "bul": "bg", "deu": "de", "ell": "el", "eng": "en", "fin": "fi", "fra": "fr", "guj": "gu",
    "heb": "he", "hin": "hi", "ind": "id", "ita": "it", "jav": "jv", "jpn": "ja", "kan": "kn", "kor": "ko", "mal": "ml",
    "mar": "mr", "nld": "nl", "npi": "ne", "pan": "pa", "pes": "fa", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es",
    "swh": "sw", "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi",
    "yor": "yo", "zho": "zh",
}  # fmt: skip
_CODE_AROUND = "```python\ndef total(rows):\n    return sum(row.price for row in rows)\n```\n{}"
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "all capitals": str.upper,
    "no capitals": str.lower,
    "no accents": without_accents,
    "capitals, no accents": capitals_without_accents,
    "decomposed (NFD)": lambda text: unicodedata.normalize("NFD", text),
    "every word capitalised": str.title,
    "emoji around it": lambda text: f"😀🎉 {text} 🙏🔥",
    "hash tags for its last three words": lambda text: _tagged(text),
    "behind ten lines of code": lambda text: _CODE_AROUND.format(text),
    "first five words": lambda text: " ".join(text.split()[:5]),
    "first word": lambda text: text.split()[0],
}
ROMANISED = {
    "hi": ["mujhe chhatravritti ke liye aavedan karna hai, kripya bataiye kaise karun",
           "aaj mausam bahut achha hai, chalo bahar ghoomne chalte hain",
           "kya aap mujhe bata sakte hain ki station kahan hai",
           "yeh kitab maine pichhle saal padhi thi, bahut achhi lagi"],
    "ar": ["ana 3ayez a3raf ezay a2addem 3ala el minha law sama7t",
           "kif halak el yawm, inshallah kol shi tamam",
           "mumkin tesa3edni, ana mish fahem el dars da",
           "shukran jazilan ya sadiqi, ila al liqa' ghadan"],
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the detector says of one text: the language's name, what steers the row, and how sure it is."""

    code: str
    is_profiled: bool
    confidence: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector_doubt", description=__doc__)
    parser.add_argument(
        "models", nargs="+", type=Path, metavar="DIR", help="folders with a tokenizer and a config.json"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="DIR")
    parser.add_argument("--rows", type=int, default=150, help="of each language (default: %(default)s)")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the reliability of the confidences")
    args = parser.parse_args()
    if not (args.data / "sib-200").is_dir():
        parser.exit(0, f"skipped: no sib-200 in {args.data}; give the folder that holds it as --data\n")
    reliability: dict[str, list[tuple[bool, float]]] = {}
    for folder in args.models:
        tokenizer, detector = _make(folder)
        sib = read_sib(args.data, args.rows)
        _print_spellings(detector, tokenizer, {code: sib[code] for code in BUILTIN_LANGUAGES})
        asked = {code: _answers(detector, tokenizer, texts) for code, texts in sib.items()}
        _print_unprofiled("SIB-200", {code: asked[code] for code in asked if code not in BUILTIN_LANGUAGES})
        unknown = read_unknown(args.data, args.rows, detector.detector_languages)
        _print_unprofiled("other data sets", {
            code: _answers(detector, tokenizer, texts) for code, texts in unknown.items()
        })  # fmt: skip
        names = {ANCHOR, *detector.detector_languages}
        reliability[folder.name] = [
            (answer.code == (code if code in names else OTHER), answer.confidence)
            for code, answers in asked.items()
            for answer in answers
        ]
        print(
            f"Expected calibration error: {100 * calibration_error(reliability[folder.name]):.2f} points\n", flush=True
        )
    if args.figure:
        draw(reliability, args.figure)


def _make(folder: Path) -> tuple[Any, LanguageDetector]:
    tokenizer, vocabulary = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder).vocab_size
    rows = list(builtin_corpus().rows)
    began = time.process_time()
    _, temperature = judge(tokenizer, rows, BUILTIN_LANGUAGES, ANCHOR, vocabulary)
    judged = time.process_time()
    detector = build_detector(tokenizer, rows, BUILTIN_LANGUAGES, ANCHOR, vocabulary, temperature)
    size = sum(buffer.nbytes for buffer in detector.buffers()) / 1e6
    print(
        f"\n## {folder.name}: {size:.2f} MB, made in {time.process_time() - judged:.1f} s of one core, judged in "
        f"{judged - began:.1f} s; temperature {temperature:g}\n",
        flush=True,
    )
    return tokenizer, detector


def read_sib(data: Path, rows: int) -> dict[str, list[str]]:
    """The first rows of each language of SIB-200."""
    paths = sorted((data / "sib-200").glob("sib.*.jsonl"))
    return {_CODES[path.name.split(".")[1][:3]]: _texts(path, "text")[:rows] for path in paths}


def read_unknown(data: Path, rows: int, known: Sequence[str]) -> dict[str, list[str]]:
    """Languages of other data sets that the detector has no class for."""
    found = {
        path.name.split(".")[1]: _texts(path, "premise", "choice1", "choice2") for path in data.glob("xcopa/val.*")
    }
    for path in data.glob("belebele/belebele.*.jsonl"):
        first_sentences = [re.split(r"(?<=[.?!።])\s", text)[0] for text in _texts(path, "flores_passage")]
        found[path.name.split(".")[1]] = first_sentences
    outside = (code for code in sorted(found) if code not in {*known, ANCHOR, *_CODES.values()})
    return {code: found[code][:rows] for code in outside}


def _texts(path: Path, *fields: str) -> list[str]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [" ".join(record[field] for field in fields)[:MAX_CHARS] for record in records]


def _answers(detector: LanguageDetector, tokenizer: Any, texts: Sequence[str]) -> list[Answer]:
    found = decide(detector, tokenizer, texts)
    names = (ANCHOR, *detector.detector_languages, OTHER)
    profiled = (found.language_ids != detector.anchor_id) & (found.language_ids != detector.others)
    sure = found.confidences.gather(1, found.names[:, None]).squeeze(1)
    rows = zip(found.names.tolist(), profiled.tolist(), sure.tolist(), strict=True)
    return [Answer(names[place], is_profiled, confidence) for place, is_profiled, confidence in rows]


def _print_spellings(detector: LanguageDetector, tokenizer: Any, texts: Mapping[str, Sequence[str]]) -> None:
    print("| spelling | anchor or not | language | below 90 |\n|---|---|---|---|")
    for name, spell in SPELLINGS.items():
        found = {
            code: [a.code for a in _answers(detector, tokenizer, list(map(spell, rows)))]
            for code, rows in texts.items()
        }
        kept = [sum((a == ANCHOR) == (code == ANCHOR) for a in rows) / len(rows) for code, rows in found.items()]
        right = {code: 100 * rows.count(code) / len(rows) for code, rows in found.items()}
        weak = ", ".join(f"{code} {share:.0f}" for code, share in right.items() if share < 90)
        print(
            f"| {name} | {100 * sum(kept) / len(kept):.2f} | {sum(right.values()) / len(right):.2f} | {weak} |",
            flush=True,
        )
    for code, lines in ROMANISED.items():
        answers = Counter(answer.code for answer in _answers(detector, tokenizer, lines))
        print(f"| {code} in Latin letters, {len(lines)} sentences | | | {_listed(answers)} |")
    print()


def _print_unprofiled(title: str, answers: Mapping[str, Sequence[Answer]]) -> None:
    """How languages that were not profiled are named."""
    print(
        f"| {title} | under a profiled name | English | under its own name or other | answers |\n|---|---|---|---|---|"
    )
    columns = []
    for code, found in answers.items():
        names = Counter(answer.code for answer in found)
        shares = (
            sum(answer.is_profiled for answer in found), names[ANCHOR], names[OTHER] + names[code],
        )  # fmt: skip
        columns.append([100 * share / len(found) for share in shares])
        print(f"| {code} | {' | '.join(f'{share:.1f}' for share in columns[-1])} | {_listed(names)} |")
    means = [sum(column) / len(columns) for column in zip(*columns, strict=True)]
    print(f"| mean of {len(columns)} | {' | '.join(f'{mean:.1f}' for mean in means)} | |\n", flush=True)


def _listed(answers: Counter[str]) -> str:
    return ", ".join(f"{code} {count}" for code, count in answers.most_common(3))


def calibration_error(answers: Sequence[tuple[bool, float]], bins: int = 10) -> float:
    """The expected calibration error: |share right - mean confidence|, weighted by the answers of each bin."""
    return sum(
        count * abs(right - confidence) for right, confidence, count in _bins(answers, bins)
    ) / len(answers)  # fmt: skip


def _bins(answers: Sequence[tuple[bool, float]], bins: int) -> list[tuple[float, float, int]]:
    """Share right, mean confidence and number of the answers of each bin that has any."""
    grouped: dict[int, list[tuple[bool, float]]] = {}
    for right, confidence in answers:
        grouped.setdefault(min(int(confidence * bins), bins - 1), []).append((right, confidence))
    means = lambda column, group: sum(float(row[column]) for row in group) / len(group)  # noqa: E731
    return [(means(0, group), means(1, group), len(group)) for _, group in sorted(grouped.items())]


def draw(reliability: Mapping[str, Sequence[tuple[bool, float]]], path: Path) -> None:
    """The share of right answers by confidence, a panel for each model."""
    figure, panels = plt.subplots(1, len(reliability), figsize=(4.2 * len(reliability), 4), squeeze=False, sharey=True)
    for panel, (name, answers) in zip(panels[0], reliability.items(), strict=True):
        found = _bins(answers, 10)
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        panel.plot([confidence for _, confidence, _ in found], [right for right, _, _ in found], "o-", color="#1f5fa8")
        for right, confidence, count in found:
            panel.annotate(f"{count}", (confidence, right), textcoords="offset points", xytext=(0, -14), ha="center",
                           fontsize=7, color="0.35")  # fmt: skip
        panel.set(title=f"{name}\nexpected error {100 * calibration_error(answers):.1f} points", xlabel="confidence",
                  xlim=(0, 1.03), ylim=(0, 1.03))  # fmt: skip
        panel.title.set_fontsize(9)
    panels[0][0].set_ylabel("share of right answers")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _tagged(text: str) -> str:
    words = text.split()
    return " ".join([*words[:-3], *(f"#{word.strip('.,')}" for word in words[-3:])])


if __name__ == "__main__":
    main()
