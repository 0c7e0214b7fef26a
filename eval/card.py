"""The scores of finished runs go into the model card of the checkpoint that was run.

As metadata in the Hub's `model-index` form, which its pages and search read, and as a short section for people, between
two marks.  Everything else in the card, and every other file of the checkpoint, stays as it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard
from yaml import YAMLError

from clas_models.atomic import atomic_file
from clas_models.conversion.in_force import format_strength, with_strengths
from clas_models.conversion.model_card import CARD_NAME, RESULTS_BEGIN, RESULTS_END
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.modeling.configuration_clas import STRENGTHS

from .loading import Checkpoint, open_checkpoint
from .methods import own_steering
from .report.collect import TaskResults, collect
from .report.comparison import compare
from .run_folder import CLAS, STEERING
from .statistics import Interval

_HEADING = "## Evaluation"
_NEXT_HEADING = "\n## Limits"
_MISSING = "–"


# How the Hub calls a task: type, name, data set, its name, and the configuration of a language.
_HUB_TASKS = {
    "xnli": ("text-classification", "Natural Language Inference", "facebook/xnli", "XNLI", "{}"),
    "xquad": ("question-answering", "Question Answering", "google/xquad", "XQuAD", "xquad.{}"),
    "belebele": ("multiple-choice", "Reading Comprehension", "facebook/belebele", "Belebele", "{}"),
    "mmmlu": ("multiple-choice", "Question Answering", "alexandrainst/m_mmlu", "MMLU", "{}"),
    "hellaswag": ("multiple-choice", "Sentence Completion", "alexandrainst/m_hellaswag", "HellaSwag", "{}"),
    "xcopa": ("multiple-choice", "Causal Reasoning", "cambridgeltl/xcopa", "XCOPA", "{}"),
}


@dataclass(frozen=True)
class LanguageScore:
    """The main score of the checkpoint in one language, on the scale of the report.

    `base` and `interval` (of the difference to it) are None where the base was not run; then `examples` are all that
    there are, and else those that both have.
    """

    language: str
    examples: int
    score: float
    base: float | None = None
    interval: Interval | None = None


def write_card(folder: Path, runs: Sequence[Path], *, overwrite: bool = False) -> Path:
    """Put the scores of `runs` into the card of the checkpoint in `folder`, in place of those of an earlier call.

    The lines that say which strengths are in force follow the configuration.  The card appears whole or not at all; its
    path is returned.

    Raises:
        InputError: no checkpoint or card there, a run that is not of this checkpoint, or scores that the card has and
            the runs have not, and `overwrite` is not given.
        OSError: the card cannot be written.
    """
    path = folder / CARD_NAME
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a steered checkpoint")
    if not path.is_file():
        raise InputError(f"{folder}: no {CARD_NAME} to write into; convert the model again, or add one")
    checkpoint = open_checkpoint(str(folder))
    tasks = collect(runs)
    method = own_steering(checkpoint) or CLAS
    _check(tasks, checkpoint, method)
    scores = {task.task: language_scores(task, method) for task in tasks}
    try:
        card = ModelCard(path.read_bytes().decode("utf-8"))
    except (ValueError, YAMLError) as error:
        raise InputError(
            f"{path}: its metadata cannot be read ({error}); mend the lines between the two ---"
        ) from error
    before = card.data.get("eval_results") or []
    kept = [result for result in before if (result.metric_args or {}).get("method") not in STEERING]
    found = [result for task in tasks for result in eval_results(task, scores[task.task], method)]
    lost = sorted({_place(result) for result in before if result not in kept} - set(map(_place, found)))
    refuse_loss(
        path,
        f"it has scores that these runs do not have ({', '.join(lost[:3])})" if lost else "",
        overwrite=overwrite,
        instead="name the runs that have them, too",
    )
    card.data["eval_results"] = [*kept, *found]
    card.data["model_name"] = card.data.get("model_name") or folder.resolve().name
    fields = vars(checkpoint.config) if checkpoint.is_steered else None
    text = with_strengths(card.text, fields) if fields else card.text
    card.text = with_section(text, section(tasks, scores, checkpoint, method))
    with atomic_file(path) as partial:
        partial.write_text(str(card), encoding="utf-8", newline="")
    return path


def language_scores(task: TaskResults, method: str) -> list[LanguageScore]:
    """The scores of a method in every language that it was run in."""
    comparison = compare(task)
    compared = {row.language: row.differences.get(method) for row in comparison.rows} if comparison else {}
    found = []
    for code in task.languages:
        records = task.records.get((method, code))
        if cell := compared.get(code):
            found.append(LanguageScore(code, cell.examples, cell.score, cell.base, cell.interval))
        elif records:
            found.append(LanguageScore(code, len(records), task.scale.shown(list(records.values()))))
    return found


def eval_results(task: TaskResults, scores: Sequence[LanguageScore], method: str) -> list[EvalResult]:
    """One result a language, with the number of examples and the base model's score beside it."""
    # The name of a perplexity's corpus; where a user's own file lies is nobody's business.
    corpus = str(task.settings.other.get("corpus") or "builtin").rpartition("/")[2]
    named = _HUB_TASKS.get(task.task) or ("text-generation", task.task, corpus, corpus, "{}")
    task_type, task_name, dataset, dataset_name, config = named
    places = task.scale.digits
    strengths = {name: task.parameters(method).get(name) for name in STRENGTHS}
    made_with = {name: _plain(value) for name, value in strengths.items() if value is not None}
    return [
        EvalResult(
            task_type=task_type,
            task_name=task_name,
            dataset_type=dataset,
            dataset_name=f"{dataset_name} ({score.language})",
            dataset_config=config.format(score.language),
            metric_type=task.scale.shown_as,
            metric_name=task.scale.unit,
            metric_value=round(score.score, places),
            metric_args={"method": method, **made_with, "examples": score.examples}
            | ({} if score.base is None else {"base": round(score.base, places)}),
        )
        for score in scores
    ]


def _place(result: EvalResult) -> str:
    return f"{result.dataset_name}, {result.metric_type}"


def section(
    tasks: Sequence[TaskResults], scores: dict[str, list[LanguageScore]], checkpoint: Checkpoint, method: str
) -> str:
    """The scores as Markdown tables, one a task, each with the strengths that it was made with."""
    parts = [
        "This checkpoint with the strengths that are named, beside its base model, on the same examples. The interval\n"
        "is that of the difference (95 %, paired bootstrap over examples): where it holds 0, the difference may be\n"
        "chance."
    ]
    for task in tasks:
        better = "higher" if task.scale.higher_is_better else "lower"
        known = task.settings.other
        longest = known.get("max_length", "?")
        longest = longest.get(task.task, "?") if isinstance(longest, dict) else longest
        how = f"{known.get('dtype', 'unknown precision')}, prompts of at most {longest} tokens"
        how += f", scoring {known['scoring']}" if "scoring" in known else ""
        rows = [["language", "examples", "base", "steered", "difference", "95 % interval"]]
        rows += [["---", *["---:"] * 5]]
        rows += [_cells(score, task.scale.digits) for score in scores[task.task]]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        heading = f"**{task.task}**: {task.scale.unit}, {better} is better ({how})"
        parts.append(f"{heading}\n\n{_made_with(task, checkpoint, method)}\n\n{table}")
    return "\n\n".join(parts)


def _made_with(task: TaskResults, checkpoint: Checkpoint, method: str) -> str:
    """The strengths of a run, and beside them those that are in force now where they are others."""
    ran, now = task.parameters(method), checkpoint.config
    names = [name for name in STRENGTHS if name in ran]
    made = f"Made with {_strengths({name: ran.get(name) for name in names})}"
    if all(ran.get(name) == getattr(now, name) for name in names):
        return f"{made}, as is in force."
    return (
        f"{made}. In force now: {_strengths({name: getattr(now, name) for name in names})}; these scores are not of it."
    )


def _plain(strength: float | Mapping[str, float]) -> float | str:
    return format_strength(strength) if isinstance(strength, Mapping) else strength


def _strengths(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {format_strength(value)}" for name, value in values.items() if value is not None)


def with_section(text: str, content: str) -> str:
    """The card's text with `content` between the two marks; a card without them gets them, before its limits."""
    marked = f"{RESULTS_BEGIN}\n{content}\n{RESULTS_END}"
    before, begin, rest = text.partition(RESULTS_BEGIN)
    _, end, after = rest.partition(RESULTS_END)
    if begin and end:
        return before + marked + after
    before, heading, after = text.partition(_NEXT_HEADING)
    return f"{before.rstrip()}\n\n{_HEADING}\n\n{marked}\n{heading}{after}"


def _cells(score: LanguageScore, places: int) -> list[str]:
    cells = [score.language, str(score.examples)]
    if score.base is None or score.interval is None:
        return [*cells, _MISSING, f"{score.score:.{places}f}", _MISSING, _MISSING]
    low, high = score.interval.low, score.interval.high
    bounds = f"{low:+.{places}f} to {high:+.{places}f}" if math.isfinite(low) and math.isfinite(high) else _MISSING
    scores = f"{score.base:.{places}f}", f"{score.score:.{places}f}", f"{score.interval.mean:+.{places}f}"
    return [*cells, *scores, bounds]


def _check(tasks: Sequence[TaskResults], checkpoint: Checkpoint, method: str) -> None:
    seen: dict[str, Path] = {}
    for task in tasks:
        if task.settings.fingerprint != checkpoint.fingerprint:
            raise InputError(
                f"{task.path}: a run of another model ({task.model_name}), whose scores do not belong into the card of "
                f"{checkpoint.name}"
            )
        if task.settings.command != "run" or method not in task.methods:
            raise InputError(f"{task.path}: no scores of {method}; give the folder of an `eval run` with that method")
        if task.task in seen:
            raise InputError(f"{seen[task.task]} and {task.path} both have {task.task}; give one of them")
        seen[task.task] = task.path
