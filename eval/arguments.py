"""The arguments of each command of the evaluation: how they are written, read and described.

What a command does with them is in `commands.py`, how they are asked for in `cli.py`.
"""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from clas_models.command_line import path_or_name, user_path
from clas_models.conversion.cli import parse_alpha, parse_languages

Add: TypeAlias = Callable[..., Any]  # `add_argument` of a command's parser

_TASKS = "xnli, xquad, belebele, mmmlu, hellaswag, xcopa"  # the table itself is in `tasks`, which loads much
_VALUES = "mean, zero, a percentile such as p90, or mean+2std and mean-0.5std, standard deviations from the mean"


def parse_names(text: str) -> tuple[str, ...]:
    """`xnli,xquad`."""
    return tuple(name.strip() for name in text.split(","))


def parse_numbers(text: str) -> tuple[float, ...]:
    """`-4,-2,0.5`."""
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers, such as -4,-2,0.5") from None


def parse_counts(text: str) -> tuple[int, ...]:
    """`2,1,1`."""
    found = tuple(int(part) if part.isdecimal() else 0 for part in text.split(","))
    if len(found) != 3 or not all(found):
        raise argparse.ArgumentTypeError(f"{text!r}: write three numbers above 0, such as 2,1,1")
    return found


def parse_layers(text: str) -> tuple[int, ...]:
    """`2,6,10`."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write layers, such as 2,6,10") from None


def run(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a checkpoint, steered or plain")
    add("--tasks", type=parse_names, required=True, metavar="xnli,…", help=f"{_TASKS}, perplexity")
    add("--methods", metavar="base,…", help="base, clas, vectors, clas+vectors, int-mean (default: base and what the "
        "checkpoint has); with options clas:alpha=-2,beta=0.4,gamma=0.2 or clas:alpha=de=-2/default=1, "
        "vectors:layer=14,strength=2,positions=last (last, generated or all tokens; layer=12/14 are several), "
        "clas:masks=random,seed=1 (as many neurons, drawn at random), and int:select=lape,value=mean,site=gate, which "
        "is int-mean, int:select=(lape:top_rate=0.02 or categories),value=p90 and so on; as=hi acts on all examples as "
        "on Hindi")  # fmt: skip
    add("--alpha", type=parse_alpha, metavar="A", help="of clas: a number, or by language as de=-2,default=0.5 "
        "(default: the checkpoint's)")  # fmt: skip
    add("--beta", type=float, metavar="B", help="of clas (default: the checkpoint's)")
    add("--gamma", type=float, metavar="C", help="of clas (default: the checkpoint's)")
    _add_common(add)


def grid(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a steered checkpoint")
    add("--task", required=True, metavar="NAME", help=f"{_TASKS} or perplexity")
    add("--alpha", type=parse_numbers, metavar="-2,2,…", help="(default: -8,-6,-4,-2,0,2,4)")
    add("--beta", type=parse_numbers, metavar="0.2,…", help="(default: the checkpoint's)")
    add("--gamma", type=parse_numbers, metavar="0.1,…", help="(default: the checkpoint's)")
    _add_vector_axes(add, "seven between the first and the last")
    _add_common(add)


def _add_vector_axes(add: Add, layers: str) -> None:
    add("--vector-layers", metavar="12,14", help="try vectors after each of these layers, where anything is said of "
        f"vectors or MODEL has nothing else (default: {layers}); without --alpha, CLAS stays off")  # fmt: skip
    add("--vector-strength", type=parse_numbers, metavar="1,2,…", help="of the vectors (default: -1,1,2,3)")
    add("--vector-positions", metavar="NAME", help="the tokens that they act on: last of the prompt, generated (from "
        "there on) or all (default: the checkpoint's)")  # fmt: skip


def tune(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a steered checkpoint")
    add("--task", required=True, metavar="NAME", help=f"{_TASKS} or perplexity")
    add("--alpha", type=parse_numbers, metavar="-2,2,…", help="the candidates (default: -8,-6,-4,-2,0,2,4)")
    _add_vector_axes(add, "MODEL's")
    add("--write", action="store_true", help="put what was decided into the checkpoint, its config.json and its card")
    add("--default-alpha", type=float, default=0.0, metavar="A", help="of all languages that nothing was decided about "
        "(default: 0, the base model)")  # fmt: skip
    _add_common(add, default_out="./MODEL-tune-TASK")


def fit(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a steered checkpoint")
    add("--task", required=True, metavar="NAME", help=f"{_TASKS} or perplexity")
    add("--objective", default="gold", metavar="NAME", help="what is lowered: gold (default), nats of right answers; "
        "anchor, the distance of choices to those in the anchor language, without labels; text, nats of the text "
        "itself; or a sum such as gold+text=0.1")  # fmt: skip
    add("--end", type=float, default=0.0, metavar="W", help="of gold: the weight of the token that ends a generated "
        "answer (default: 0); it makes answers shorter, and too large a one empties them")  # fmt: skip
    add("--layers", metavar="SPEC", help="the fitted ones, as 12-23 (default: the upper half)")
    add("--sharing", default="shrunk", metavar="NAME", help="shrunk (default), a common table and a deviation of each "
        "language that is shrunk to it; one table for all languages; or each its own")  # fmt: skip
    add("--split", type=parse_counts, default=(2, 1, 1), metavar="2,1,1", help="how many texts of a turn are fitted "
        "on, decided on, and only reported (default: 2,1,1)")  # fmt: skip
    add("--penalty", type=parse_numbers, metavar="0.03,…", help="weights of the squared strengths, from strong to "
        "weak; the best is chosen by inner validation (default: 0.03,0.003)")  # fmt: skip
    add("--epochs", type=int, metavar="N", help="the most passes over the examples under each of them (default: 6)")
    add("--rate", type=float, metavar="X", help="the step of the search (default: 0.03)")
    add("--seed", type=int, metavar="N", help="of the order of the examples (default: 0)")
    add("--groups", default="profile", metavar="NAME", help="neurons that share a strength: profile (default), those "
        "of a category; or random, as many that are drawn at random, for comparison")  # fmt: skip
    add("--memory", type=float, default=4.0, metavar="GB", help="what may be kept of the layers below the fitted ones; "
        "more is computed again (default: %(default)s)")  # fmt: skip
    add("--checkpointing", action="store_true", help="less memory for more time: layers are computed again for the "
        "gradient")  # fmt: skip
    add("--write", action="store_true", help="put the strengths into the checkpoint, for the languages in which they "
        "hold")  # fmt: skip
    _add_run(add, default_out="./MODEL-fit-TASK")


def vectors(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a checkpoint, steered or plain")
    add("--task", required=True, metavar="NAME", help=f"{_TASKS} or perplexity")
    add("--out", dest="file", type=user_path, required=True, metavar="FILE", help="where the vectors go, such as "
        "vectors.safetensors")  # fmt: skip
    add("--state", default="last", metavar="NAME", help="what stands for a prompt: the state of its last token (last, "
        "the default) or the mean over its tokens but the first (mean)")  # fmt: skip
    _add_overwrite(add, "a file that is there")
    _add_data(add)


def lens(add: Add) -> None:
    add("model", type=path_or_name, metavar="MODEL", help="a folder or a Hub id of a checkpoint, steered or plain")
    add("--task", required=True, metavar="NAME", help="one whose choices have texts, such as belebele")
    add("--layers", type=parse_layers, metavar="2,6,…", help="whose output is read, from 0 (default: every fourth, "
        "ending at the last one)")  # fmt: skip
    add("--methods", metavar="base,…", help="as for run")
    add("--raw", action="store_true", help="leave the final norm out before the head")
    add("--pca", type=int, default=50, metavar="N", help="the first questions whose last tokens' states are shown as "
        "points, in all languages (default: %(default)s); 0 is none")  # fmt: skip
    _add_common(add, default_out="./MODEL-lens-TASK")


def perplexity_change(add: Add) -> None:
    add("model", type=path_or_name, metavar="CHECKPOINT", help="a folder or a Hub id of a steered checkpoint")
    add("--out", type=user_path, required=True, metavar="DIR", help="the results; an interrupted run goes on in it")
    _add_overwrite(add, "results with other settings in that folder")
    add("--corpus", type=path_or_name, default="builtin", metavar="SOURCE", help="builtin (default), xquad, xnli, "
        "FILE.jsonl or a Hub data set")  # fmt: skip
    add("--tokens", type=int, default=10_000, metavar="N", help="the first rows, the same in every language, that have "
        "no more tokens than this in any (default: %(default)s)")  # fmt: skip
    add("--skip", type=int, default=0, metavar="N", help="leave out the first rows, such as those that were profiled")
    add("--languages", type=parse_languages, metavar="de,th,…", help="whose neurons, and whose text (default: all that "
        "CHECKPOINT was profiled for)")  # fmt: skip
    add("--select", default="lape", metavar="NAME", help="how neurons are found: as for neurons, one (default: lape)")
    add("--value", default="zero", metavar="NAME", help=f"what is written over them: {_VALUES} (default: zero)")
    add("--site", default="activated", metavar="NAME", help="where a value such as the mean is taken: activated, after "
        "the nonlinearity (default), or gate, before it")  # fmt: skip
    add("--data-dir", type=user_path, metavar="DIR", help="folder with the published files (default: from the Hub)")
    add("--max-length", type=int, metavar="N", help="tokens a window; a longer text goes on in the next one (default: "
        "1024, or what the model has room for)")  # fmt: skip
    _add_computing(add)


def interventions(add: Add) -> None:
    add("model", type=path_or_name, metavar="CHECKPOINT", help="a folder or a Hub id of a steered checkpoint")
    add("--task", required=True, metavar="NAME", help=f"{_TASKS} or perplexity")
    add("--select", dest="selections", metavar="lape,…", help="how neurons are found: as for neurons (default: lape, "
        "and probability with quantiles)")  # fmt: skip
    add("--values", type=parse_names, default=(), metavar="mean,…", help=f"what is written over them: {_VALUES} "
        "(default: mean,p75,p90,p95,zero,p5,p10,p25, or without quantiles mean,zero)")  # fmt: skip
    add("--site", default="gate", metavar="NAME", help="where these values are taken: gate, before the nonlinearity "
        "(default), or activated, after it")  # fmt: skip
    _add_common(add, default_out="./CHECKPOINT-interventions-TASK")


def finetune(add: Add) -> None:
    add("model", type=path_or_name, metavar="CHECKPOINT", help="a folder or a Hub id of a steered checkpoint")
    add("--task", required=True, metavar="NAME", help="xnli, by a classification head, or xquad, generated answers")
    add("--train", type=user_path, required=True, metavar="FILE.jsonl", help="a row a line: premise, hypothesis and "
        "label (entailment, neutral, contradiction), or context, question and answers as in SQuAD")  # fmt: skip
    add("--targets", type=parse_languages, required=True, metavar="vi,hi,…", help="languages that the model is not "
        "trained in, whose neurons are")  # fmt: skip
    add("--setups", type=parse_names, default=("base", "none", "random", "source", "target", "both"),
        metavar="none,…", help="what is trained beside attention and head: none, nothing; the neurons of the source, "
        "of each target, of both, or as many drawn at random; base is no training at all (default: all of "
        "these)")  # fmt: skip
    add("--select", default="lape", metavar="NAME", help="how neurons are found: as for neurons, one (default: lape)")
    add("--random", metavar="NAME", help="likewise, of the setup random, as random:per_layer=10 (default: as many in "
        "each language and layer as --select finds)")  # fmt: skip
    add("--together", action="store_true", help="one model for the neurons of all targets, in place of one for each")
    add("--source", metavar="LANGUAGE", help="the language of FILE (default: the checkpoint's anchor)")
    add("--settings", type=user_path, metavar="FILE.yaml", help="numbers of the training (default: the paper's for the "
        "task)")  # fmt: skip
    add("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE", help="one of them, such as "
        "learning_rate=2e-4; may be given again")  # fmt: skip
    add("--rows", type=int, metavar="N", help="so many rows of FILE, drawn at random (default: all)")
    add("--load-in-4bit", action="store_true", help="train on weights in 4 bits, with bitsandbytes")
    add("--values", type=parse_names, default=("mean", "p90", "zero", "p10"), metavar="mean,…", help="what is written "
        f"over each target's neurons when it is evaluated: {_VALUES} (default: mean,p90,zero,p10); none is "
        "nothing")  # fmt: skip
    add("--site", default="gate", metavar="NAME", help="where these values are taken: gate, before the nonlinearity "
        "(default), or activated, after it")  # fmt: skip
    add("--out", type=user_path, required=True, metavar="DIR", help="adapters, answers and tables; an interrupted "
        "fine-tuning goes on in it, and more setups and targets are added")  # fmt: skip
    _add_overwrite(add, "trainings with other settings, and their answers, in that folder")
    add("--samples", type=int, metavar="N", help="evaluate on the first rows of every language (default: all)")
    add("--skip", type=int, default=0, metavar="N", help="leave out the first rows of every language there")
    add("--data-dir", type=user_path, metavar="DIR", help="folder with the task's published files (default: from the "
        "Hub)")  # fmt: skip
    add("--templates", type=user_path, metavar="FILE", help="a template in place of the default one, in training and "
        "evaluation")  # fmt: skip
    add("--no-chat-template", dest="chat_template", action="store_false", help="of xquad: prompts without the "
        "tokenizer's chat template")  # fmt: skip
    _add_computing(add)


def _add_common(add: Add, default_out: str | None = None) -> None:
    """Of a command that asks a model, with an adapter or without."""
    add("--adapter", type=user_path, metavar="DIR", help="the folder of a PEFT adapter of MODEL, which is merged into "
        "it; one that was trained as a classifier is asked for its labels")  # fmt: skip
    _add_run(add, default_out)


def _add_run(add: Add, default_out: str | None = None) -> None:
    """What `fit` takes, too, whose strengths are for a checkpoint alone."""
    default = f" (default: {default_out})" if default_out else ""
    add("--out", type=user_path, required=not default_out, metavar="RUN", help="the run's folder; an interrupted run "
        f"goes on in it, and more methods, tasks, languages or samples are added to it{default}")  # fmt: skip
    _add_overwrite(add, "the predictions of a run with other settings in that folder")
    _add_data(add)


def _add_data(add: Add) -> None:
    add("--samples", type=int, metavar="N", help="the first rows of every language (default: all)")
    add("--skip", type=int, default=0, metavar="N", help="leave out the first rows of every language, such as those "
        "that vectors were made from; --samples count after them")  # fmt: skip
    add("--languages", type=parse_languages, metavar="de,th,…", help="(default: all that the data has; where "
        "neurons of a language are needed, those that were profiled)")  # fmt: skip
    add("--data-dir", type=user_path, metavar="DIR", help="folder with the published files (default: from the Hub)")
    add("--corpus", type=path_or_name, metavar="SOURCE", help="of perplexity: builtin (default), xquad, xnli, "
        "FILE.jsonl or a Hub data set")  # fmt: skip
    add("--scoring", default="", metavar="NAME", help="letter (default), choices by the logits of their letters; "
        "head (default with an adapter that has one), choices by the logits of its labels; continuation, choices by "
        "the mean log-likelihood a token of their texts after the prompt; likelihood, choices and answers by how "
        "unlikely the right one is, in nats a token, and nothing is generated")  # fmt: skip
    add("--templates", type=user_path, metavar="PATH", help="a file or a folder in place of the default templates")
    add("--no-chat-template", dest="chat_template", action="store_false", help="prompts without the tokenizer's chat "
        "template")  # fmt: skip
    add("--max-length", type=int, metavar="N", help="tokens a prompt (default: what the model has room for beside the "
        "answer)")  # fmt: skip
    _add_computing(add)


def _add_computing(add: Add) -> None:
    add("--batch-size", type=int, default=16, metavar="N", help="examples that are computed together (default: "
        "%(default)s); 1 is the reference")  # fmt: skip
    add("--dtype", default="auto", metavar="NAME", help="auto (the checkpoint's, float32 on a CPU), float32, bfloat16 "
        "or float16")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--quiet", action="store_true", help="no progress, no summary: print where the result is and nothing else")


def _add_overwrite(add: Add, what: str) -> None:
    add("--overwrite", action="store_true", help=f"replace {what}; without it they are kept, and nothing is done")


def report(add: Add) -> None:
    add("runs", type=user_path, nargs="+", metavar="RUN", help="folders of runs; those of neurons become sections, too")
    add("--out", type=user_path, metavar="DIR", help="where the report goes (default: RUN/report of the first)")
    _add_overwrite(add, "a report on other runs, or files of yours with the names of its own")


def compare(add: Add) -> None:
    add("first", type=user_path, metavar="RUN", help="the folder of a run")
    add("second", type=user_path, metavar="OTHER", help="the folder of another")


def transfer(add: Add) -> None:
    add("run", type=user_path, metavar="RUN", help="the folder of a run")
    add("--out", type=user_path, metavar="FILE", help="all numbers, as .json; or pairs of languages, as .csv (default: "
        "tables to standard output)")  # fmt: skip
    _add_overwrite(add, "a file that is there")


def layers(add: Add) -> None:
    add("model", type=path_or_name, metavar="CHECKPOINT", help="a folder or a Hub id of a steered checkpoint")
    add("--table", choices=("layers", "neurons"), default="layers", help="a row for each layer: percentages of the "
        "categories, and how many neurons are steered; or for each neuron: its category, its mask, the languages that "
        "it is active in, its mean in each (default: %(default)s)")  # fmt: skip
    add("--format", dest="form", choices=("csv", "json"), default="csv", help="(default: %(default)s)")
    add("--out", type=user_path, metavar="FILE", help="(default: standard output)")
    _add_overwrite(add, "a file that is there")
    add("--statistic", default="mean", metavar="NAME", help="of the categories: mean (default), mean_abs or frequency")
    add("--threshold", type=float, metavar="X", help="active means above it (default: as for the converter)")


def neurons(add: Add) -> None:
    add("model", type=path_or_name, metavar="CHECKPOINT", help="a folder or a Hub id of a steered checkpoint")
    add("--select", dest="selections", metavar="lape,…", help="lape, probability, categories, random, or a file of a "
        "selection; with options, as lape:languages=en/hi/ur,top_rate=0.01 or random:like=lape,seed=1; combined, as "
        "'lape or categories', with or, and, without (default: lape, and probability with quantiles)")  # fmt: skip
    add("--languages", type=parse_languages, metavar="de,th,…", help="(default: all that a selection has)")
    add("--out", type=user_path, metavar="DIR", help="where the report goes (default: ./CHECKPOINT-neurons)")
    _add_overwrite(add, "a report or files that are there")
    add("--quiet", action="store_true", help="no summary: print where the page is and nothing else")


def card(add: Add) -> None:
    add("checkpoint", type=user_path, metavar="CHECKPOINT", help="the folder of a steered checkpoint")
    add("runs", type=user_path, nargs="+", metavar="RUN", help="folders of `run` on it")
    _add_overwrite(add, "scores that are in the card and not in these runs")
