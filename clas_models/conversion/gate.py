"""The language gate of a checkpoint: from which corpus it is made, how good it is, and one that is taken over.

How a gate is made is `profiling/gate`'s business, what it does in a model `modeling/language_gate.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import InputError
from ..modeling.language_gate import LanguageGate
from ..profiling.corpora import ParallelCorpus, load_corpus
from ..profiling.gate.gate_building import build_gate
from ..profiling.gate.held_out import GateAccuracy, held_out_accuracy
from .loading import load_tokenizer
from .source import Source
from .weights import GATE_PREFIX

BUILTIN = "builtin"
NONE = "none"
MIN_ROWS = 20  # fewer sentences teach a gate too little to be trusted
MAX_ROWS = 1000  # more teach it little more, and it should not read a data set of millions
TRUSTED = 0.95  # held-out accuracy from which a checkpoint uses its gate by default


@dataclass(frozen=True)
class GateCorpus:
    """Where a gate comes from: rows to make one, or the reason why there is none."""

    corpus: ParallelCorpus | None
    reason: str = ""


@dataclass(frozen=True)
class MadeGate:
    """A gate and what is known of it: `accuracy` is None for one that was taken over from the source.

    `is_trusted`: whether a checkpoint uses it by default.
    """

    gate: LanguageGate
    corpus: str
    is_trusted: bool
    accuracy: GateAccuracy | None = None


def open_gate_corpus(
    chosen: str | None, profiled: str | None, data_dir: Path | None, languages: Sequence[str]
) -> GateCorpus:
    """The corpus that a gate is made from: the one that the user names for it, or else the profiled one.

    Args:
        chosen: `--gate-corpus`: a corpus, "none", or None.
        profiled: the corpus that was profiled, None for a profile that was there already.
        languages: the profiled languages, which the corpus must have.

    Raises:
        InputError: a corpus that the user names for the gate cannot be used for it.
    """
    if chosen == NONE:
        return GateCorpus(None, "not wanted")
    name = chosen or profiled or BUILTIN
    # All that the built-in corpus has costs nothing, and a gate knows more the more languages it has seen.
    wanted = None if name == BUILTIN else languages
    folder = data_dir if name in ("xquad", "xnli") else None
    corpus = load_corpus(name, languages=wanted, samples=MAX_ROWS, fewer=True, data_dir=folder)
    missing = [code for code in languages if code not in corpus.languages]
    rows = sum(1 for _ in corpus.rows)
    fault = ""
    if missing:
        fault = f"corpus {corpus.name} lacks {', '.join(missing)}; name another with --gate-corpus"
    elif rows < MIN_ROWS:
        fault = f"corpus {corpus.name} has {rows} rows, a gate needs {MIN_ROWS}; name another with --gate-corpus"
    if fault and chosen is not None:
        raise InputError(f"language gate: {fault}")
    return GateCorpus(None, fault) if fault else GateCorpus(corpus)


def make_gate(source: Source, corpus: ParallelCorpus, languages: Sequence[str], anchor: str) -> MadeGate:
    """A gate for the tokenizer of `source`, and its accuracy on rows that it is tried without first.

    Raises:
        InputError: the tokenizer cannot be loaded, or the corpus not be used.
    """
    tokenizer = load_tokenizer(source)
    rows, vocab_size = list(corpus.rows), int(source.config.vocab_size)
    accuracy = held_out_accuracy(tokenizer, rows, languages, anchor, vocab_size)
    gate = build_gate(tokenizer, rows, languages, anchor, vocab_size)
    return MadeGate(gate, corpus.name, accuracy.anchor_or_not >= TRUSTED, accuracy)


def carried_gate(source: Source, languages: Sequence[str], anchor: str) -> MadeGate | None:
    """The gate that a steered source carries; None if it has none, or one against another anchor.

    Raises:
        InputError: a table is missing, of another shape or dtype, or damaged.
    """
    codes = source.gate_languages
    if codes is None or getattr(source.config, "anchor_language", None) != anchor:
        return None
    gate = LanguageGate(int(source.config.vocab_size), codes, languages, anchor)
    where = {name: shard for shard in source.shards for name in shard.tensors}
    for name, table in gate.named_buffers():
        full = f"{GATE_PREFIX}{name}"
        if full not in where:
            raise InputError(f"{source.folder}: no tensor {full!r}, which its configuration promises")
        try:
            with safe_open(where[full].path, "pt") as file:
                found = file.get_tensor(full)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{where[full].path}: tensor {full!r} cannot be read ({error})") from error
        if found.dtype != table.dtype or found.shape != table.shape:
            raise InputError(
                f"{source.folder}: tensor {full!r} is {found.dtype} {list(found.shape)}, expected {table.dtype} "
                f"{list(table.shape)}; make the gate anew with --gate-corpus"
            )
        with torch.no_grad():
            table.copy_(found)
    # Without a default the source did not trust its gate, or its user did not want it.
    return MadeGate(gate, "taken over from the source", source.config.language is not None)
