"""The table of steered families, and their registration with the Auto classes.

Adding a family is adding its `modeling_clas_*.py`, a configuration, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass

import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

from . import modeling_clas_llama as llama
from . import modeling_clas_qwen2 as qwen2
from .configuration_clas import ClasLlamaConfig, ClasQwen2Config


@dataclass(frozen=True)
class Family:
    """A steered family: `base` is the plain model type, `config` its steered configuration class."""

    base: str
    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    causal_lm: type[PreTrainedModel]
    sequence_classification: type[PreTrainedModel]
    token_classification: type[PreTrainedModel]
    question_answering: type[PreTrainedModel]

    @property
    def model_type(self) -> str:
        return self.config.model_type

    @property
    def base_config(self) -> type[PreTrainedConfig]:
        """The plain family's configuration class."""
        return next(cls for cls in self.config.__mro__ if cls.__dict__.get("model_type") == self.base)

    def _by_auto_class(self) -> dict[type, type[PreTrainedModel]]:
        return {
            AutoModel: self.model,
            AutoModelForCausalLM: self.causal_lm,
            AutoModelForSequenceClassification: self.sequence_classification,
            AutoModelForTokenClassification: self.token_classification,
            AutoModelForQuestionAnswering: self.question_answering,
        }

    def register(self) -> None:
        """Teach the Auto classes this family; doing it again changes nothing.

        What is saved from now on carries its modeling files, so that it loads without this package, too.
        """
        AutoConfig.register(self.model_type, self.config, exist_ok=True)
        self.config.register_for_auto_class()
        for auto_class, model_class in self._by_auto_class().items():
            auto_class.register(self.config, model_class, exist_ok=True)  # type: ignore[attr-defined]
            model_class.register_for_auto_class(auto_class.__name__)
        if hasattr(transformers, "AutoModelForDecision"):  # which `transformers serve` asks first
            transformers.AutoModelForDecision.register(self.config, self.causal_lm, exist_ok=True)
        tokenizer = TOKENIZER_MAPPING.get(self.base_config, None)
        if tokenizer is not None:
            AutoTokenizer.register(self.config, tokenizer_class=tokenizer, exist_ok=True)


FAMILIES = {
    family.base: family
    for family in (
        Family(
            "llama",
            ClasLlamaConfig,
            llama.ClasLlamaModel,
            llama.ClasLlamaForCausalLM,
            llama.ClasLlamaForSequenceClassification,
            llama.ClasLlamaForTokenClassification,
            llama.ClasLlamaForQuestionAnswering,
        ),
        Family(
            "qwen2",
            ClasQwen2Config,
            qwen2.ClasQwen2Model,
            qwen2.ClasQwen2ForCausalLM,
            qwen2.ClasQwen2ForSequenceClassification,
            qwen2.ClasQwen2ForTokenClassification,
            qwen2.ClasQwen2ForQuestionAnswering,
        ),
    )
}


def register() -> None:
    """Register every family."""
    for family in FAMILIES.values():
        family.register()
