"""Cross-lingual activation steering (CLAS) for checkpoints of several families.

Importing this package teaches the Auto classes of transformers the steered model types, such as `clas_llama`.
"""

from .errors import InputError
from .modeling.add import Add
from .modeling.clas_llama import (
    ClasLlamaConfig,
    ClasLlamaForCausalLM,
    ClasLlamaForQuestionAnswering,
    ClasLlamaForSequenceClassification,
    ClasLlamaForTokenClassification,
    ClasLlamaMLP,
    ClasLlamaModel,
)
from .modeling.clas_mistral import (
    ClasMistralConfig,
    ClasMistralForCausalLM,
    ClasMistralForQuestionAnswering,
    ClasMistralForSequenceClassification,
    ClasMistralForTokenClassification,
    ClasMistralMLP,
    ClasMistralModel,
)
from .modeling.clas_qwen2 import (
    ClasQwen2Config,
    ClasQwen2ForCausalLM,
    ClasQwen2ForQuestionAnswering,
    ClasQwen2ForSequenceClassification,
    ClasQwen2ForTokenClassification,
    ClasQwen2MLP,
    ClasQwen2Model,
)
from .modeling.families import FAMILIES, register, register_family
from .modeling.family import Family
from .modeling.pretrained_clas import Steering
from .modeling.scale import Scale
from .modeling.version import VERSION
from .modeling.write import Write

__version__ = VERSION

__all__ = [
    "FAMILIES", "Add",
    "ClasLlamaConfig", "ClasLlamaForCausalLM", "ClasLlamaForQuestionAnswering", "ClasLlamaForSequenceClassification",
    "ClasLlamaForTokenClassification", "ClasLlamaMLP", "ClasLlamaModel",
    "ClasMistralConfig", "ClasMistralForCausalLM", "ClasMistralForQuestionAnswering",
    "ClasMistralForSequenceClassification", "ClasMistralForTokenClassification", "ClasMistralMLP", "ClasMistralModel",
    "ClasQwen2Config", "ClasQwen2ForCausalLM", "ClasQwen2ForQuestionAnswering", "ClasQwen2ForSequenceClassification",
    "ClasQwen2ForTokenClassification", "ClasQwen2MLP", "ClasQwen2Model",
    "Family", "InputError", "Scale", "Steering", "Write", "register", "register_family",
]  # fmt: skip

register()
