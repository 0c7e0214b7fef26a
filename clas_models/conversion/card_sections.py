"""What a card says of each rule that a checkpoint has: neurons that are rescaled, vectors that are added.

Source of the limits: "Cross-Lingual Activation Steering for Multilingual Language Models", sections Limitations and
Ethical Considerations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..profiling.bridge_layers import format_layers
from .chosen_vectors import ChosenVectors, name_layers
from .in_force import Fields
from .rescaling import Rescaling
from .source import Source


@dataclass(frozen=True)
class CardSection:
    """One rule: its name, what it does in a clause, its strengths, facts, and limits."""

    title: str
    does: str
    strengths: tuple[str, ...]
    text: str
    limits: str


_NEURONS = """### Neurons

| | |
|---|---|
| bridge layers | of {num_layers} layers, {reason} |
| steered there | {shared:.1%} of the neurons as shared, {specific:.1%} as language-specific |
{alpha}
{times}
{fitted}| profiled languages | {languages} |
| profiled on | {corpus}, {samples} samples in each language, {tokens:,} tokens in all, at most {max_length} a sample |
| active means | {active_means} |
| masks | {masks} |
| stability | {stability} |

A neuron that is active in none of the profiled languages is dead; in one, language-specific; in some, partial-shared;
in all, all-shared. {rule}
`neuron_profile.safetensors` holds the statistics behind the masks; with it, masks for other layers or thresholds can be
made without running the model. Method: Pokharel, Agrawal, Nagar, *Cross-Lingual Activation Steering for Multilingual
Language Models* (arXiv 2601.16390).

{table}

![Neurons by category in each layer]({figure}.png)
"""
_RULE = "Partial-shared neurons are multiplied by 1 + alpha beta, language-specific ones by 1 - alpha gamma."
_FITTED_RULE = """A neuron is multiplied by 1 + alpha s, where s is a number for its layer, its category and the
language; `fitted_strengths.safetensors` holds these numbers and what they were fitted on."""
_NEURON_LIMITS = """\
- In the paper on CLAS Hindi and Greek are among the languages that lose. It tested two instruction-tuned models of 7
  and 8 billion parameters on question answering and inference, and measured everything against English. Little is known
  about other anchors, sizes and tasks.
- The masks say what was seen on the profiling text; other text can give other masks. Neurons of the MLP are all that is
  looked at: what attention does is neither measured nor changed."""
_VECTORS = """### Vectors

| | |
|---|---|
| vector layers | of {num_layers} layers, {reason} |
{vector_strength}
| on which tokens | {positions} |
{facts}
Behind these layers a vector is added to the residual stream of each row, times a strength. It is the mean difference
between the model's states on texts in `{anchor}` and on the same texts in the row's language, so a strength above 0
moves states towards `{anchor}`, and one below 0 away from it.{file} Method: Lim, Aji, Cohn,
*Language-Specific Latent Process Hinders Cross-Lingual Performance*, section 2.3.
"""
_FILE = (
    " `steering_vectors.safetensors`\nholds the vectors of all layers; with it, other layers can be chosen without "
    "running the model."
)
_VECTOR_LIMITS = """\
- A vector says how the texts differed that it was measured on, their content, length and script included. Most of what
  is known of such vectors comes from multiple-choice questions."""


def card_sections(
    source: Source, lines: Mapping[str, str], fields: Fields, rescaling: Rescaling | None, vectors: ChosenVectors | None
) -> list[CardSection]:
    """Of the rules that the checkpoint has; `lines` are those of `card_lines`."""
    sections = []
    if rescaling is not None:
        layers, anchor = format_layers(rescaling.bridge.layers), fields["anchor_language"]
        does = (
            f"in layers {layers} the neurons of the MLP are rescaled for every language but `{anchor}`, as far as its "
        )
        fitted = rescaling.fitted is not None
        times = (
            "| beta, gamma | not used: the strengths are fitted |" if fitted else f"{lines['beta']}\n{lines['gamma']}"
        )
        rule = _FITTED_RULE if fitted else _RULE
        text = _NEURONS.format(**lines, **rescaling.card_rows(source), times=times, rule=rule)
        strengths = ("alpha",) if fitted else ("alpha", "beta", "gamma")
        sections.append(CardSection("CLAS", f"{does}alpha says", strengths, text, _NEURON_LIMITS))
    if vectors is not None:
        where = name_layers(vectors.layers.layers)
        does = f"behind {where} a vector of the input's language is added, as far as its vector strength says"
        text = _VECTORS.format(
            **lines,
            num_layers=source.num_layers,
            reason=vectors.layers.reason,
            positions=fields["vector_positions"],
            facts="".join(f"| {name} | {value} |\n" for name, value in vectors.facts()),
            anchor=fields["anchor_language"],
            file="" if vectors.data is None else _FILE,
        )
        sections.append(CardSection("steering vectors", does, ("vector_strength",), text, _VECTOR_LIMITS))
    return sections
