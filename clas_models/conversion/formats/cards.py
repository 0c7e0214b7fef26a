"""What the README files of all forms have in common: valid metadata, the parameters, the limits."""

import textwrap
from collections.abc import Iterator
from typing import Any

from ...profiling.bridge_layers import format_layers
from ..export_record import ExportRecord
from ..in_force import format_strength
from ..model_card import card_metadata, short_name
from .comparison import Difference
from .form import Export

_TEMPLATE = """---
{metadata}
---

# {title}

{introduction}

## Use

```{code}
{usage}
```

## Parameters

| | |
|---|---|
| base model | {base} |
{strengths}
| checked | {difference} |

## Limits

Steering is not uniformly helpful: some languages and tasks lose, and the best strength differs between models. It
changes what a model says in ways that are not always predictable; test it on your own task before you rely on it, and
say that a model is steered where others use it.

{methods}
`clas_export.json` holds these parameters for programs.
"""


def export_card(
    export: Export,
    difference: Difference,
    *,
    title: str,
    introduction: str,
    usage: list[str],
    code: str = "python",
    **metadata: Any,
) -> str:
    """The text of a README; `introduction`, one paragraph, is wrapped, `metadata` are fields of `ModelCardData` beside
    languages, licence, tags and base model.
    """
    record = export.record
    base = record.base_model
    return _TEMPLATE.format(
        metadata=card_metadata(record.languages, license=export.licence, base_model=base, **metadata),
        title=title,
        introduction=textwrap.fill(introduction, 120, break_long_words=False, break_on_hyphens=False),
        usage="\n".join(usage),
        base=f"[{base}](https://huggingface.co/{base})" if base else f"that of `{short_name(export.source)}`",
        code=code,
        strengths="\n".join(f"| {name} | {value} |" for name, value in _strengths(record, export.source.num_layers)),
        methods="\n".join(_methods(record)),
        difference=difference,
    )


def _strengths(record: ExportRecord, num_layers: int) -> Iterator[tuple[str, str]]:
    each = " of each language" if len(record.alpha) > 1 else ""
    if record.bridge_layers:
        yield f"alpha{each}", format_strength(record.alpha)
        if record.fitted:
            yield "beta, gamma", "not used: the strengths are fitted"
        else:
            yield "beta (shared neurons), gamma (language-specific neurons)", f"{record.beta:g}, {record.gamma:g}"
        yield "scaled layers", f"{format_layers(record.bridge_layers)} of {num_layers}"
    if record.vector_layers:
        yield f"vector strength{each}", format_strength(record.vector_strength)
        yield "vectors are added behind layers", f"{format_layers(record.vector_layers)} of {num_layers}"


def _methods(record: ExportRecord) -> Iterator[str]:
    if record.bridge_layers:
        yield "Method: Pokharel, Agrawal, Nagar, *Cross-Lingual Activation Steering for Multilingual Language Models*"
        yield "(arXiv 2601.16390)."
    if record.vector_layers:
        yield "Vectors: Lim, Aji, Cohn, *Language-Specific Latent Process Hinders Cross-Lingual Performance*, 2.3."
