"""Cross-lingual activation steering (CLAS) for Llama and Qwen2 checkpoints.

Importing this package teaches the Auto classes of transformers the model types `clas_llama` and `clas_qwen2`.
"""

from .errors import InputError
from .modeling.configuration_clas import ClasLlamaConfig, ClasQwen2Config
from .modeling.families import FAMILIES, register
from .modeling.modeling_clas_llama import (
    ClasLlamaForCausalLM,
    ClasLlamaForQuestionAnswering,
    ClasLlamaForSequenceClassification,
    ClasLlamaForTokenClassification,
    ClasLlamaMLP,
    ClasLlamaModel,
)
from .modeling.modeling_clas_qwen2 import (
    ClasQwen2ForCausalLM,
    ClasQwen2ForQuestionAnswering,
    ClasQwen2ForSequenceClassification,
    ClasQwen2ForTokenClassification,
    ClasQwen2MLP,
    ClasQwen2Model,
)
from .modeling.pretrained_clas import Steering
from .modeling.version import VERSION

__version__ = VERSION

__all__ = [
    "FAMILIES",
    "ClasLlamaConfig",
    "ClasLlamaForCausalLM",
    "ClasLlamaForQuestionAnswering",
    "ClasLlamaForSequenceClassification",
    "ClasLlamaForTokenClassification",
    "ClasLlamaMLP",
    "ClasLlamaModel",
    "ClasQwen2Config",
    "ClasQwen2ForCausalLM",
    "ClasQwen2ForQuestionAnswering",
    "ClasQwen2ForSequenceClassification",
    "ClasQwen2ForTokenClassification",
    "ClasQwen2MLP",
    "ClasQwen2Model",
    "InputError",
    "Steering",
    "register",
]

register()
