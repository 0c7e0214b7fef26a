"""What a steered family is: its classes, and the names that others have for it.

A family is one file, `clas_<family>.py`, that ends in a `Family`; `families.py` is the table of them.
"""

from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Family:
    """A steered family.

    Attributes:
        base: the model type of the plain family.
        config: its steered configuration class.
        model, causal_lm, sequence_classification, token_classification, question_answering: its steered classes.
        gguf: the architecture that a GGUF file of it names; None where transformers does not read one.
        vllm: vLLM's own causal language model, as "module:Class"; None where it has none.
    """

    base: str
    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    causal_lm: type[PreTrainedModel]
    sequence_classification: type[PreTrainedModel]
    token_classification: type[PreTrainedModel]
    question_answering: type[PreTrainedModel]
    gguf: str | None
    vllm: str | None

    @property
    def model_type(self) -> str:
        """The model type of the steered family."""
        return self.config.model_type

    @property
    def base_config(self) -> type[PreTrainedConfig]:
        """The plain family's configuration class."""
        return next(cls for cls in self.config.__mro__ if cls.__dict__.get("model_type") == self.base)

    @property
    def by_auto_class(self) -> dict[str, type[PreTrainedModel]]:
        """The steered class for each Auto class, by its name."""
        return {
            "AutoModel": self.model,
            "AutoModelForCausalLM": self.causal_lm,
            "AutoModelForSequenceClassification": self.sequence_classification,
            "AutoModelForTokenClassification": self.token_classification,
            "AutoModelForQuestionAnswering": self.question_answering,
        }
