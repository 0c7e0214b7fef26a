"""Cross-lingual activation steering (CLAS) for checkpoints of several families.

Importing this package teaches the Auto classes of transformers the steered model types, such as `clas_llama`; the
classes of a family are in its file, `clas_models.modeling.clas_llama`, and in the table FAMILIES.
"""

from .errors import InputError
from .modeling.add import Add
from .modeling.families import FAMILIES, register, register_family
from .modeling.family import Family
from .modeling.pretrained_clas import Steering
from .modeling.scale import Scale
from .modeling.version import VERSION
from .modeling.write import Write

__version__ = VERSION

__all__ = ["FAMILIES", "Add", "Family", "InputError", "Scale", "Steering", "Write", "register", "register_family"]

register()
