"""The README.md of a steered checkpoint, from facts alone: what it was made of, how it steers, how to use it.

Source of the limits: "Cross-Lingual Activation Steering for Multilingual Language Models", sections Limitations and
Ethical Considerations.
"""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import ModelCardData

from ..modeling.auto_language import AUTO
from ..profiling.bridge_layers import BridgeLayers, format_layers
from ..profiling.layer_table import LayerTable
from ..profiling.neuron_profile import NeuronProfile
from .gate import MadeGate
from .hub_models import is_hub_id
from .source import Source

FIGURE_STEM = "neuron_categories"
_LICENCE = re.compile(r"^license:\s*([\w.-]+)\s*$", re.MULTILINE)

_TEMPLATE = """---
{metadata}
---

# {title}

{base} with cross-lingual activation steering (CLAS): the weights are the base model's, unchanged, and in layers
{layers} the neurons of the MLP are rescaled for every language but `{anchor}`. Input in `{anchor}` gives what the base
model gives, bit for bit.

## Use

```python
import clas_models  # pip install clas-models
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH_OR_ID")
tokenizer = AutoTokenizer.from_pretrained("PATH_OR_ID")
inputs = tokenizer("…", return_tensors="pt")
model.generate(**inputs, max_new_tokens=40, language="{example}")     # steered
model.generate(**inputs, max_new_tokens=40, language="{anchor}")      # the base model
```

Without `language=` {default}. Strengths can be changed on a loaded model with
`model.set_steering(alpha=…, beta=…, gamma=…)` or in `from_pretrained(..., alpha=…)`.

## Steering

| | |
|---|---|
| bridge layers | of {num_layers} layers, {reason} |
| alpha | {alpha} |
| beta (shared neurons) | {beta:g} |
| gamma (language-specific neurons) | {gamma:g} |
| profiled languages | {languages} |
| profiled on | {corpus}, {samples} samples in each language, {tokens:,} tokens in all, at most {max_length} a sample |
| active means | {statistic} of the activation above {threshold:g} |
| language gate | {gate} |

`neuron_profile.safetensors` holds the statistics behind the masks; with it, masks for other layers or thresholds can be
made without running the model.

{table}

![Neurons by category in each layer]({figure}.png)

## Limits

Steering is not uniformly helpful: in the paper some languages lose (Hindi and Greek among them) while the average
gains, and the best strength differs between models and tasks. Nothing was evaluated when this checkpoint was made.
It changes what a model says in ways that are not always predictable; test it on your own task before you rely on it,
and say that a model is steered where others use it.

Method: Pokharel, Agrawal, Nagar, *Cross-Lingual Activation Steering for Multilingual Language Models*
(arXiv 2601.16390).
"""


def model_card(
    source: Source,
    fields: dict[str, Any],
    profile: NeuronProfile,
    table: LayerTable,
    bridge: BridgeLayers,
    statistic: str,
    threshold: float,
    gate: MadeGate | None = None,
) -> str:
    """The card's text, metadata included.

    Args:
        fields: the steering fields of the configuration.
        statistic, threshold: what decided whether a neuron is active.
        gate: the language gate, if there is one.
    """
    others = [code for code in fields["languages"] if code != fields["anchor_language"]]
    base = source.name if is_hub_id(source.name) and source.from_hub else None
    return _TEMPLATE.format(
        metadata=_metadata(source, fields, base),
        title=f"{short_name(source)} with CLAS",
        base=f"[{base}](https://huggingface.co/{base})" if base else f"`{short_name(source)}`",
        layers=format_layers(bridge.layers),
        num_layers=source.num_layers,
        reason=bridge.reason,
        anchor=fields["anchor_language"],
        example=others[0],
        default=_default(fields["language"]),
        gate=_gate(gate),
        alpha=_alpha(fields["alpha"]),
        beta=fields["beta"],
        gamma=fields["gamma"],
        languages=" ".join(fields["languages"]),
        corpus=", ".join(profile.provenance.corpus),
        samples=profile.provenance.samples,
        tokens=int(profile.tokens.sum()),
        max_length=profile.provenance.max_length,
        statistic=statistic,
        threshold=threshold,
        figure=FIGURE_STEM,
        table=table.to_markdown(bridge.layers),
    )


def _default(language: str | None) -> str:
    if language == AUTO:
        return (
            "the model recognises the language of each input by itself, from its tokens;\n"
            "`model.detect_language(**inputs)` shows what it takes them for"
        )
    taken_for = "an unnamed language that is not the anchor" if language is None else f"`{language}`"
    return f"an input is taken for {taken_for}"


def _gate(gate: MadeGate | None) -> str:
    if gate is None:
        return "none: somebody must name the language of each input"
    known = f"knows {' '.join(gate.gate.gate_languages)}; {gate.corpus}"
    return known if gate.accuracy is None else f"{known}: {gate.accuracy}"


def _alpha(alpha: float | dict[str, float]) -> str:
    if isinstance(alpha, dict):
        return ", ".join(f"{code} {value:g}" for code, value in alpha.items())
    return f"{alpha:g}"


def short_name(source: Source) -> str:
    """The last part of what the user called the model."""
    return source.name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")


def _metadata(source: Source, fields: dict[str, Any], base: str | None) -> str:
    data = ModelCardData(
        language=[code for code in fields["languages"] if len(code) == 2],
        license=_licence(source),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["clas", "activation-steering", "multilingual"],
        base_model=base,
    )
    return data.to_yaml()


def _licence(source: Source) -> str | None:
    """The licence that the base model's card names in its metadata, if it has one."""
    card = source.folder / "README.md"
    if not card.is_file():
        return None
    head = card.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    match = _LICENCE.search(head)
    return match[1] if match else None
