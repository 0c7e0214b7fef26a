"""The README.md of a steered checkpoint, from facts alone: what it was made of, how it steers, how to use it.

Source of the limits: "Cross-Lingual Activation Steering for Multilingual Language Models", sections Limitations and
Ethical Considerations.
"""

import re
from collections.abc import Iterable
from typing import Any

from huggingface_hub import ModelCardData, metadata_load

from ..modeling.auto_language import AUTO
from ..profiling.bridge_layers import BridgeLayers, format_layers
from ..profiling.layer_table import LayerTable
from ..profiling.neuron_profile import NeuronProfile
from .chosen_masks import ChosenMasks
from .detector import MadeDetector
from .hub_models import is_hub_id
from .in_force import card_lines, format_strength
from .source import Source

FIGURE_STEM = "neuron_categories"
CARD_NAME = "README.md"
CARD_TAG = "clas"
# What `clas-eval card` puts scores between.
RESULTS_BEGIN, RESULTS_END = "<!-- results -->", "<!-- /results -->"
PLACEHOLDER = "PATH_OR_ID"
_ADDRESS = re.compile(r"\n<!-- address: (\S+) -->\n")

_TEMPLATE = """---
{metadata}
---

# {title}

{base} with cross-lingual activation steering (CLAS): the weights are the base model's, unchanged, and in layers
{layers} the neurons of the MLP are rescaled for every language but `{anchor}`, as far as its alpha says (see Steering).
Input in `{anchor}`, and in a language whose alpha is 0, gives what the base model gives, bit for bit.

## Use

With the package:

```python
import clas_models  # pip install clas-models
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH_OR_ID")
tokenizer = AutoTokenizer.from_pretrained("PATH_OR_ID")
inputs = tokenizer("…", return_tensors="pt")
{example}
model.generate(**inputs, max_new_tokens=40, language="{anchor}")      # the base model
```

Without it, torch and transformers are enough; the code in this repository is run instead:

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("PATH_OR_ID", trust_remote_code=True)
```

In the language model evaluation harness:

    lm_eval --model hf --model_args pretrained=PATH_OR_ID,trust_remote_code=True --tasks …

Without `language=` {default}. Strengths can be changed on a loaded model with
`model.set_steering(alpha=…, beta=…, gamma=…)` or in `from_pretrained(..., alpha=…)`.

## Steering

{in_force}

| | |
|---|---|
| bridge layers | of {num_layers} layers, {reason} |
| steered there | {shared:.1%} of the neurons as shared, {specific:.1%} as language-specific |
{alpha}
{beta}
{gamma}
{vectors}| profiled languages | {languages} |
| profiled on | {corpus}, {samples} samples in each language, {tokens:,} tokens in all, at most {max_length} a sample |
| active means | {active_means} |
| masks | {masks} |
| stability | {stability} |
| language detector | {detector} |

A neuron that is active in none of the profiled languages is dead; in one, language-specific; in some, partial-shared;
in all, all-shared. Partial-shared neurons are multiplied by 1 + alpha beta, language-specific ones by 1 - alpha gamma.
`neuron_profile.safetensors` holds the statistics behind the masks; with it, masks for other layers or thresholds can be
made without running the model.

{table}

![Neurons by category in each layer]({figure}.png)

## Plain text

{plain_text}

## Evaluation

{results}

## Limits

- Steering does not help everywhere. In the paper the average over the languages rises while some languages lose, Hindi
  and Greek among them; the best strength differs from model to model, from task to task and from language to language.
- The paper tested two instruction-tuned models of 7 and 8 billion parameters on question answering and inference, and
  measured everything against English. Little is known about other anchors, sizes and tasks.
- The masks say what was seen on the profiling text; other text can give other masks. Neurons of the MLP are all that is
  looked at: what attention does is neither measured nor changed.

## Ethical note

Steering changes what a model says while it runs, in ways that nobody can fully foresee, and sometimes for the worse.
Somebody could also use it to shift a model's answers without telling. So test it on your own task and in your own
languages before people rely on it, and say that a model is steered where others use it. Biases and gaps of the base
model are still there.

Method: Pokharel, Agrawal, Nagar, *Cross-Lingual Activation Steering for Multilingual Language Models*
(arXiv 2601.16390).
"""

NOT_MEASURED = "How likely plain text is with these strengths was not measured: there was no forward pass."
_NO_RESULTS = """Nothing was evaluated when this checkpoint was made. `clas-eval run` compares it with its base
model, and `clas-eval card` writes the scores here."""


def model_card(
    source: Source,
    fields: dict[str, Any],
    profile: NeuronProfile,
    table: LayerTable,
    bridge: BridgeLayers,
    masks: ChosenMasks,
    detector: MadeDetector | None = None,
) -> str:
    """The card's text, metadata included.

    `fields` are the steering fields of the configuration.
    """
    shared, specific = masks.shares
    base = source.name if is_hub_id(source.name) and source.from_hub else None
    return _TEMPLATE.format(
        metadata=card_metadata(
            fields["languages"],
            library_name="transformers",
            base_model=base,
            # A licence that the Hub has no word for has a name and a link.
            **card_facts(source, "license", "license_name", "license_link"),
        ),
        title=f"{short_name(source)} with CLAS",
        base=f"[{base}](https://huggingface.co/{base})" if base else f"`{short_name(source)}`",
        layers=format_layers(bridge.layers),
        num_layers=source.num_layers,
        reason=bridge.reason,
        shared=shared,
        specific=specific,
        anchor=fields["anchor_language"],
        default=_default(fields["language"]),
        detector=_detector(detector),
        **card_lines(fields),
        vectors=_vectors(fields),
        languages=" ".join(fields["languages"]),
        corpus=", ".join(profile.provenance.corpus),
        samples=profile.provenance.samples,
        tokens=int(profile.tokens.sum()),
        max_length=profile.provenance.max_length,
        active_means=masks.active_means,
        masks="the partial-shared and the language-specific neurons of the profile" if masks.own is None else masks.own,
        stability=masks.stability,
        figure=FIGURE_STEM,
        table=table.to_markdown(bridge.layers),
        plain_text=NOT_MEASURED,
        results=f"{RESULTS_BEGIN}\n{_NO_RESULTS}\n{RESULTS_END}",
    )


def with_address(card: str, repo_id: str) -> str:
    """The card with a repository's id in its instructions, in place of the placeholder or of the id of an earlier call.

    The same for every kind of card with a section "Use".
    """
    head, title, rest = card.partition("\n## Use\n")
    usage, following, tail = rest.partition("\n## ")
    earlier = _ADDRESS.search(usage)
    before = earlier[1] if earlier else PLACEHOLDER
    usage = _ADDRESS.sub("", usage)
    for text in ('"{}"', "pretrained={},"):
        usage = usage.replace(text.format(before), text.format(repo_id))
    return f"{head}{title}{usage}\n<!-- address: {repo_id} -->\n{following}{tail}" if title else card


def _default(language: str | None) -> str:
    if language == AUTO:
        return (
            "the model recognises the language of each input by itself, from its tokens;\n"
            "`model.detect_language(**inputs)` shows what it takes them for"
        )
    taken_for = "an unnamed language that is not the anchor" if language is None else f"`{language}`"
    return f"an input is taken for {taken_for}"


def _detector(detector: MadeDetector | None) -> str:
    if detector is None:
        return "none: somebody must name the language of each input"
    known = f"knows {' '.join(detector.detector.detector_languages)}; {detector.corpus}"
    return known if detector.accuracy is None else f"{known}: {detector.accuracy}"


def _vectors(fields: dict[str, Any]) -> str:
    """A row of the table for a model that is steered by vectors, too."""
    if not fields.get("vector_layers"):
        return ""
    layers, tokens = format_layers(fields["vector_layers"]), fields["vector_positions"]
    strength = format_strength(fields["vector_strength"])
    return f"| vectors of the source | after layers {layers}, on tokens: {tokens}; strength {strength} |\n"


def short_name(source: Source) -> str:
    """The last part of what the user called the model."""
    return source.name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")


def card_metadata(languages: Iterable[str], **fields: Any) -> str:
    """The metadata of a card as YAML; `fields` are those of `ModelCardData` beside languages, tags and task."""
    data = ModelCardData(
        language=[code for code in languages if len(code) == 2] or None,  # the Hub knows these
        pipeline_tag="text-generation",
        tags=[CARD_TAG, "activation-steering", "multilingual"],
        **fields,
    )
    return data.to_yaml()


def card_facts(source: Source, *names: str) -> dict[str, str]:
    """What the metadata of a source's own card says under these names, where that is text; nothing if there is no card
    that can be read.
    """
    try:
        found = metadata_load(source.folder / CARD_NAME) or {}
    except Exception:  # a user's file may hold anything, and it is worth a line in a card, no more
        return {}
    return {name: found[name] for name in names if isinstance(found.get(name), str)}
