"""The README.md of a steered checkpoint, from facts alone: what it was made of, how it steers, how to use it."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from huggingface_hub import ModelCardData, metadata_load

from ..modeling.auto_language import AUTO
from .card_sections import CardSection, card_sections
from .chosen_vectors import ChosenVectors
from .detector import MadeDetector
from .hub_models import is_hub_id
from .in_force import card_lines
from .rescaling import Rescaling
from .source import Source

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

{introduction}
Input in `{anchor}`, and in a language whose strengths are 0, gives what the base model gives, bit for bit.

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
`model.set_steering({strengths})` or in `from_pretrained(..., {first}=…)`.

## Steering

{in_force}

| | |
|---|---|
| language detector | {detector} |

{sections}
## Plain text

{plain_text}

## Evaluation

{results}

## Limits

- Steering does not help everywhere. The best strength differs from model to model, from task to task and from language
  to language, and some languages lose where the average rises.
{limits}

## Ethical note

Steering changes what a model says while it runs, in ways that nobody can fully foresee, and sometimes for the worse.
Somebody could also use it to shift a model's answers without telling. So test it on your own task and in your own
languages before people rely on it, and say that a model is steered where others use it. Biases and gaps of the base
model are still there.
"""

NOT_MEASURED = "How likely plain text is with these strengths was not measured: there was no forward pass."
_NO_RESULTS = """Nothing was evaluated when this checkpoint was made. `clas-eval run` compares it with its base
model, and `clas-eval card` writes the scores here."""


def model_card(
    source: Source,
    fields: dict[str, Any],
    rescaling: Rescaling | None,
    vectors: ChosenVectors | None,
    detector: MadeDetector | None = None,
) -> str:
    """The card's text, metadata included.

    `fields` are the steering fields of the configuration.
    """
    base = source.name if is_hub_id(source.name) and source.from_hub else None
    lines = card_lines(fields)
    sections = card_sections(source, lines, fields, rescaling, vectors)
    strengths = [name for section in sections for name in section.strengths]
    return _TEMPLATE.format(
        metadata=card_metadata(
            fields["languages"],
            library_name="transformers",
            base_model=base,
            # A licence that the Hub has no word for has a name and a link.
            **card_facts(source, "license", "license_name", "license_link"),
        ),
        title=f"{short_name(source)} with {' and '.join(section.title for section in sections)}",
        introduction=_introduction(base, source, sections),
        anchor=fields["anchor_language"],
        example=lines["example"],
        default=_default(fields["language"]),
        strengths=", ".join(f"{name}=…" for name in strengths),
        first=strengths[0],
        in_force=lines["in_force"],
        detector=_detector(detector),
        sections="\n".join(section.text for section in sections),
        plain_text=NOT_MEASURED,
        results=f"{RESULTS_BEGIN}\n{_NO_RESULTS}\n{RESULTS_END}",
        limits="\n".join(section.limits for section in sections),
    )


def _introduction(base: str | None, source: Source, sections: Sequence[CardSection]) -> str:
    named = f"[{base}](https://huggingface.co/{base})" if base else f"`{short_name(source)}`"
    steering = "cross-lingual activation steering" + (" (CLAS)" if sections[0].title == "CLAS" else "")
    text = f"{named} with {steering}: the weights are the base model's, unchanged, and "
    text += f"{'; '.join(section.does for section in sections)} (see Steering)."
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


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
