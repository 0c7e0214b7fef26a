"""`python -m benchmarks.evaluation`: what evaluating costs here, and what it costs elsewhere, as Markdown tables.

(grid) a grid of strengths on XNLI / the loop that runs every setting anew; (perplexity) the same on sentences of the
built-in corpus, with the head's work among it; (lm-eval) XNLI pairs a second / those of
lm-evaluation-harness on the same token ids; (generation) XQuAD questions a second / those of `generate` calls of one
question each.  Within a part both sides run the same weights in the same precision and take turns; loading a model or
a data set is in neither side's time, making token ids in both where text is what the other side takes.  Here `base` is
the steered twin with alpha 0; the other side gets the plain model.

The texts are data that is not part of the project: give the folder that holds `xnli/` and `xquad/`.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, GenerationConfig

from eval.engine.choices import choose
from eval.engine.decoder import SplitDecoder
from eval.engine.generation import generate
from eval.engine.perplexity import negative_log_likelihood
from eval.prompts import PromptBuilder, choice_ids
from eval.tasks import Example, ExampleSource, Task
from eval.tasks.perplexity import PERPLEXITY
from eval.tasks.xnli import XNLI
from eval.tasks.xquad import XQUAD
from eval.templates import find_templates

from .harness import INSTALL, Harness, harness_version
from .models import real_plain, steered_twin
from .timing import Timings, interleaved

PARTS = ("grid", "perplexity", "lm-eval", "generation")
ALPHAS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
FEW_ALPHAS = (0.0, 1.0, -1.0, 2.0)
QUESTIONS = 5  # of a paragraph: the mean of XQuAD
ANCHOR = "en"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder of a plain checkpoint")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="which to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default: %(default)s)")
    parser.add_argument("--language", default="de", help=f"of the texts, any but {ANCHOR} (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=48, help="of XNLI (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=16, help="of the built-in corpus (default: %(default)s)")
    parser.add_argument("--paragraphs", type=int, default=3, help=f"of XQuAD, {QUESTIONS} questions each (default: "
                        "%(default)s)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=16, help="but for the single calls (default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    args = parser.parse_args()
    parts = args.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}")
    if args.language == ANCHOR:
        parser.error(f"in {ANCHOR} all settings of a grid are one; choose another language")
    missing = not (args.data / "xquad").is_dir() or not (args.data / "xnli").is_dir()
    if missing and parts != ["perplexity"]:
        parser.exit(0, f"skipped: no xquad and xnli in {args.data}; give the folder that holds them as --data\n")
    _describe(args.device)
    subject = _Subject.load(args)
    if "grid" in parts:
        print(_grid(subject, args.pairs), flush=True)
    if "perplexity" in parts:
        print(_perplexity(subject, args.texts), flush=True)
    if "lm-eval" in parts:
        print(_lm_eval(subject, args.pairs), flush=True)
    if "generation" in parts:
        print(_generation(subject, args.paragraphs), flush=True)


def _describe(device: str) -> None:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    harness = f", lm_eval {harness_version()}" if harness_version() else ""
    print(
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}{harness}",
        flush=True,
    )


@dataclass(frozen=True)
class _Subject:
    """What is measured on: a plain model, its steered twin, and how the examples come to them."""

    plain: Any
    twin: Any
    tokenizer: Any
    label: str
    data: Path
    language: str
    batch_size: int
    rounds: int

    @classmethod
    def load(cls, args: argparse.Namespace) -> _Subject:
        plain = real_plain(args.model, getattr(torch, args.dtype), args.device)
        return cls(
            plain=plain,
            twin=steered_twin(plain),
            tokenizer=AutoTokenizer.from_pretrained(args.model),
            label=f"{args.model.name} | {args.dtype}",
            data=args.data,
            language=args.language,
            batch_size=args.batch_size,
            rounds=args.rounds,
        )

    def examples(self, task: Task, samples: int | None) -> list[Example]:
        return task.load([self.language], ExampleSource(data_dir=self.data, samples=samples))[self.language]

    def prompts(self, task: Task, examples: Sequence[Example]) -> list[tuple[int, ...]]:
        builder = PromptBuilder(self.tokenizer, find_templates(task.template), task)
        return [builder.build(example, self.language).ids for example in examples]

    def timed(self, ours: Callable[[], object], theirs: Callable[[], object]) -> Timings:
        return interleaved({"ours": ours, "theirs": theirs}, self.rounds, self.plain.device.type)

    @property
    def eos_token_ids(self) -> set[int]:
        found = self.plain.generation_config.eos_token_id
        return {self.tokenizer.eos_token_id, *(found if isinstance(found, list) else [found])} - {None}


def _grid(subject: _Subject, pairs: int) -> str:
    """(a) All settings in one pass / a pass for each."""
    prompts = subject.prompts(XNLI, subject.examples(XNLI, pairs))
    choices = choice_ids(subject.tokenizer, XNLI)
    conditions = [{"alpha": alpha} for alpha in ALPHAS]
    grid, loop = torch.empty(len(ALPHAS), pairs, len(choices)), torch.empty(len(ALPHAS), pairs, len(choices))

    def ours() -> None:
        asked = (subject.twin, prompts, choices, subject.language, conditions)
        for batch, logits in choose(*asked, batch_size=subject.batch_size):
            grid[:, batch] = logits

    def theirs() -> None:
        asked = (subject.twin, prompts, choices, subject.language)
        for place, condition in enumerate(conditions):
            with subject.twin.temporary_steering(**condition):
                for batch, logits in choose(*asked, batch_size=subject.batch_size):
                    loop[place, batch] = logits[0]

    timings = subject.timed(ours, theirs)
    layers, upper, formula = _formula(subject, len(ALPHAS))
    count, measured = len(ALPHAS), timings.ratio("ours", to="theirs")
    return (
        f"\n| model | dtype | pairs | batch | layers, upper, settings | grid | loop | grid / loop | formula | "
        f"over formula (goal: at most 1.15) | equal predictions | equal logits |\n{_rule(12)}\n"
        f"| {subject.label} | {pairs} | {subject.batch_size} | {layers}, {upper}, {count} | "
        f"{timings.median('ours'):.2f} s | {timings.median('theirs'):.2f} s | {measured:.3f} | {formula:.3f} | "
        f"{measured / formula:.3f} | {_share(grid.argmax(-1).flatten(), loop.argmax(-1).flatten())} | "
        f"{_share(grid.flatten(), loop.flatten())} |"
    )


def _perplexity(subject: _Subject, texts: int) -> str:
    """All settings in one pass / a pass for each, on plain texts."""
    examples = PERPLEXITY.load([subject.language], ExampleSource(samples=texts))[subject.language]
    rows = [subject.tokenizer(example.fields["text"])["input_ids"] for example in examples]
    conditions = [{"alpha": alpha} for alpha in FEW_ALPHAS]
    asked = (subject.twin, rows, subject.language)
    grid, loop = torch.empty(len(FEW_ALPHAS), texts), torch.empty(len(FEW_ALPHAS), texts)

    def ours() -> None:
        for batch, sums, _ in negative_log_likelihood(*asked, conditions, batch_size=subject.batch_size):
            grid[:, batch] = torch.tensor(sums)

    def theirs() -> None:
        for place, condition in enumerate(conditions):
            with subject.twin.temporary_steering(**condition):
                for batch, sums, _ in negative_log_likelihood(*asked, batch_size=subject.batch_size):
                    loop[place, batch] = torch.tensor(sums[0])

    timings = subject.timed(ours, theirs)
    layers, upper, formula = _formula(subject, len(FEW_ALPHAS))
    return (
        f"\n| model | dtype | texts | batch | layers, upper, settings | together | one by one | ratio | "
        f"formula, without the head | equal sums |\n{_rule(10)}\n"
        f"| {subject.label} | {texts} | {subject.batch_size} | {layers}, {upper}, {len(FEW_ALPHAS)} | "
        f"{timings.median('ours'):.2f} s | {timings.median('theirs'):.2f} s | "
        f"{timings.ratio('ours', to='theirs'):.3f} | {formula:.3f} | {_share(grid.flatten(), loop.flatten())} |"
    )


def _formula(subject: _Subject, settings: int) -> tuple[int, int, float]:
    """Layers, those from the first steered one on, and the share of the layers' work that is left."""
    decoder = SplitDecoder(subject.twin)
    layers = len(decoder.layers)
    upper = layers - decoder.first_upper
    return layers, upper, ((layers - upper) + settings * upper) / (settings * layers)


def _lm_eval(subject: _Subject, pairs: int) -> str:
    """(b) Pairs a second / those of lm-evaluation-harness, from text to the choice."""
    if harness_version() is None:
        return f"\nlm-eval: skipped, {INSTALL}"
    examples = subject.examples(XNLI, pairs)
    tokens = choice_ids(subject.tokenizer, XNLI)
    found = torch.empty(pairs, dtype=torch.long)

    def ours() -> None:
        prompts = subject.prompts(XNLI, examples)
        asked = (subject.twin, prompts, tokens, subject.language, [{"alpha": 0.0}])
        for batch, logits in choose(*asked, batch_size=subject.batch_size):
            found[batch] = logits[0].argmax(-1)

    with tempfile.TemporaryDirectory() as folder:
        harness = Harness.of(
            subject.plain,
            subject.tokenizer,
            subject.prompts(XNLI, examples),
            list(zip(XNLI.choices, tokens, strict=True)),
            subject.batch_size,
            Path(folder),
        )
        timings = subject.timed(ours, harness.run)
    return (
        f"\n| model | dtype | pairs | batch | here | lm_eval | here / lm_eval (goal: at least 1.5) | "
        f"equal predictions |\n{_rule(8)}\n"
        f"| {subject.label} | {pairs} | {subject.batch_size} | {_rates(timings, pairs)} | "
        f"{_share(found, harness.predictions)} |"
    )


def _generation(subject: _Subject, paragraphs: int) -> str:
    """(c) Questions a second / those of one `generate` call after the other."""
    prompts = subject.prompts(XQUAD, _few_of_each(subject.examples(XQUAD, None), paragraphs))
    questions = len(prompts)
    config = GenerationConfig(
        max_new_tokens=XQUAD.max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        eos_token_id=sorted(subject.eos_token_ids),
        pad_token_id=min(subject.eos_token_ids),
    )
    found, others = [""] * questions, [""] * questions

    def ours() -> None:
        asked = (subject.twin, prompts, subject.language, XQUAD.max_new_tokens, subject.eos_token_ids)
        for batch, (rows,) in generate(*asked, [{"alpha": 0.0}], batch_size=subject.batch_size):
            for place, row in zip(batch, rows, strict=True):
                found[place] = subject.tokenizer.decode(row, skip_special_tokens=True)

    def theirs() -> None:
        for place, prompt in enumerate(prompts):
            ids = torch.tensor([prompt], device=subject.plain.device)
            row = subject.plain.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0]
            others[place] = subject.tokenizer.decode(row[len(prompt) :], skip_special_tokens=True)

    timings = subject.timed(ours, theirs)
    return (
        f"\n| model | dtype | questions, paragraphs | batch | here | `generate` | "
        f"here / `generate` (goal: at least 2) | equal texts |\n{_rule(8)}\n"
        f"| {subject.label} | {questions}, {paragraphs} | {subject.batch_size} | {_rates(timings, questions)} | "
        f"{_share(found, others)} |"
    )


def _few_of_each(examples: Sequence[Example], paragraphs: int) -> list[Example]:
    """The first questions of the first paragraphs."""
    by_paragraph: dict[str, list[Example]] = {}
    for example in examples:
        by_paragraph.setdefault(example.fields["context"], []).append(example)
    return [example for same in list(by_paragraph.values())[:paragraphs] for example in same[:QUESTIONS]]


def _rates(timings: Timings, count: int) -> str:
    """Cells: ours and theirs a second, and how many times as fast ours is."""
    rates = [f"{count / timings.median(name):.2f}/s" for name in ("ours", "theirs")]
    return f"{' | '.join(rates)} | {timings.ratio('theirs', to='ours'):.2f}"


def _share(found: Any, expected: Any) -> str:
    equal = sum(bool(one == other) for one, other in zip(found, expected, strict=True))
    return f"{equal} of {len(found)}"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


if __name__ == "__main__":
    main()
