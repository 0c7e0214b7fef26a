"""Whether steering does harm to plain text: how likely a fresh checkpoint finds rows that it did not profile.

A small measurement at the end of a conversion, a few rows in each language, as the base model and steered.  Whether
steering helps a task is the business of an evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..profiling.corpora import BUILTIN_LANGUAGES, PROFILED_ROWS, ParallelCorpus, load_corpus
from .checkpoint import SteeredCheckpoint
from .in_force import Strength, acts, alpha_of, format_strength
from .loading import load_model, load_tokenizer, pick_device, pick_dtype
from .options import ConversionOptions
from .progress import Progress

ROWS = 8
MAX_LENGTH = 128  # tokens a row
TRIED = 1.0  # the paper's alpha; what is tried where the checkpoint steers nothing
_BUILTIN = "builtin"


@dataclass(frozen=True)
class PlainText:
    """What was measured.

    Attributes:
        alpha: what was in force meanwhile; None where no neurons are rescaled.
        corpus: its name.
        rows: in each language.
        nats: by language that is steered, -log p a token of the base model and steered.
        vector_strength: what was in force of vectors.
    """

    alpha: Strength | None
    corpus: str
    rows: int
    nats: Mapping[str, tuple[float, float]]
    vector_strength: Strength = 0.0

    @property
    def verdict(self) -> str:
        """`alpha 1: text gets less likely in 14 of 15 languages, by 0.21 nats a token on average`."""
        worse = sum(steered > base for base, steered in self.nats.values())
        mean = sum(steered - base for base, steered in self.nats.values()) / len(self.nats)
        told = [] if self.alpha is None else [f"alpha {format_strength(self.alpha)}"]
        told += [f"vector strength {format_strength(self.vector_strength)}"] if acts(self.vector_strength) else []
        return (
            f"{', '.join(told)}: text gets less likely in {worse} of {len(self.nats)} "
            f"languages ({mean:+.2f} nats a token on average)"
        )

    def to_markdown(self) -> str:
        """For the card."""
        lines = [
            f"On {self.rows} rows a language of {self.corpus} that were not profiled, at {self.verdict}.",
            "Lower is better; a difference below 0 is a gain.",
            "",
            "| language | base, nats a token | steered | difference |",
            "| --- | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {code} | {base:.3f} | {steered:.3f} | {steered - base:+.3f} |"
            for code, (base, steered) in self.nats.items()
        ]
        return "\n".join(lines)


def measure_checkpoint(
    checkpoint: SteeredCheckpoint, folder: Path, corpus: str, options: ConversionOptions, progress: Progress
) -> PlainText | None:
    """What its strengths do to text of a corpus that a checkpoint, written to `folder`, was not made from.

    None where there is no such text, or too little memory; then it is said.
    """
    source, languages = checkpoint.source, checkpoint.fields["languages"]
    seen = max(data.provenance.samples for data in (checkpoint.profile, checkpoint.vector_data) if data is not None)
    rows = unseen_rows(corpus, languages, seen, options.data_dir)
    if rows is None:
        progress.say("plain text was not measured: no text in these languages is left that was not profiled")
        return None
    progress.say("measuring how likely plain text is")
    device = pick_device(options.device)
    try:
        model = load_model(replace(source, folder=folder), pick_dtype(options.dtype, device, source.dtype), device)
        return measure(model, load_tokenizer(source), rows)
    except (MemoryError, torch.OutOfMemoryError):
        progress.say("plain text was not measured: out of memory")
        return None


def unseen_rows(corpus: str, languages: Sequence[str], profiled: int, data_dir: Path | None) -> ParallelCorpus | None:
    """Rows after the `profiled` ones of a corpus; the built-in test rows where it has none; None where those lack the
    languages, too.
    """
    try:
        return load_corpus(corpus, languages=languages, skip=profiled, samples=ROWS, fewer=True, data_dir=data_dir)
    except InputError:
        known = [code for code in languages if code in BUILTIN_LANGUAGES]
        return load_corpus(_BUILTIN, languages=known, skip=PROFILED_ROWS[_BUILTIN], samples=ROWS) if known else None


def measure(model: Any, tokenizer: Any, corpus: ParallelCorpus) -> PlainText | None:
    """How likely a steered causal language model finds a corpus, beside its base model.

    Where nothing is steered, a strength is `TRIED` meanwhile.  None where no language of the corpus is steered or
    has a token to predict.
    """
    config = model.config
    others = [code for code in corpus.languages if code != config.anchor_language]
    alpha, vector_strength = config.alpha, config.vector_strength if config.vector_layers else 0.0
    if not config.bridge_layers:
        alpha = None
        vector_strength = vector_strength if acts(vector_strength) else TRIED
    elif not any(alpha_of(alpha, code) for code in others):
        alpha = TRIED
    rows, nats = list(corpus.rows), {}
    with model.temporary_steering(alpha=alpha, vector_strength=vector_strength):
        for code in others:
            encoded = (tokenizer(row[code], truncation=True, max_length=MAX_LENGTH)["input_ids"] for row in rows)
            texts = [ids for ids in encoded if len(ids) > 1]
            if texts and any(alpha_of(value, code) for value in (alpha or 0.0, vector_strength)):
                nats[code] = _nats_a_token(model, texts, code)
    return PlainText(alpha, corpus.name, len(rows), nats, vector_strength) if nats else None


@torch.inference_mode()
def _nats_a_token(model: Any, texts: Sequence[list[int]], language: str) -> tuple[float, float]:
    """As the anchor language, which is the base model, and as `language`, in one batch."""
    device, longest = model.device, max(map(len, texts))
    # Padded with a token of the row itself, on the right, where causal attention does not see it.
    ids = torch.tensor([text + text[-1:] * (longest - len(text)) for text in texts], device=device).repeat(2, 1)
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=device).repeat(2, 1)
    languages = [model.config.anchor_language] * len(texts) + [language] * len(texts)
    arguments = {"positions": mask.bool()} if model.config.vector_layers else {}
    hidden = model.base_model(
        input_ids=ids, attention_mask=mask, language=languages, use_cache=False, **arguments
    ).last_hidden_state
    head, tokens = model.get_output_embeddings(), sum(len(text) - 1 for text in texts)
    sums = [_nats(head, row[: len(text) - 1], text) for row, text in zip(hidden, [*texts, *texts], strict=True)]
    return sum(sums[: len(texts)]) / tokens, sum(sums[len(texts) :]) / tokens


def _nats(head: Any, hidden: Tensor, text: Sequence[int]) -> float:
    """Of a row alone: the logits of a batch would be many times its other memory."""
    logits = head(hidden).float()
    return float(F.cross_entropy(logits, torch.tensor(text[1:], device=logits.device), reduction="sum"))
