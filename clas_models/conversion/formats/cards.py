"""What the README files of all forms have in common: valid metadata, the parameters, the limits."""

import textwrap
from typing import Any

from ...profiling.bridge_layers import format_layers
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

```python
{usage}
```

## Parameters

| | |
|---|---|
| base model | {base} |
| {heading} | {alpha} |
| beta (shared neurons), gamma (language-specific neurons) | {beta:g}, {gamma:g} |
| scaled layers | {layers} of {num_layers} |
| checked | {difference} |

## Limits

Steering is not uniformly helpful: some languages and tasks lose, and the best strength differs between models. It
changes what a model says in ways that are not always predictable; test it on your own task before you rely on it, and
say that a model is steered where others use it.

Method: Pokharel, Agrawal, Nagar, *Cross-Lingual Activation Steering for Multilingual Language Models*
(arXiv 2601.16390). `clas_export.json` holds these parameters for programs.
"""


def export_card(
    export: Export, difference: Difference, *, title: str, introduction: str, usage: list[str], **metadata: Any
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
        heading="alpha of each language" if len(record.alpha) > 1 else "alpha",
        alpha=format_strength(record.alpha),
        beta=record.beta,
        gamma=record.gamma,
        layers=format_layers(record.bridge_layers),
        num_layers=export.source.num_layers,
        difference=difference,
    )
