"""Other forms of a steered checkpoint, in which one language or each of several is fixed.

Adding a form is adding a file and a line in this table.
"""

from ...errors import InputError
from .control_vector import CONTROL_VECTOR
from .folded import FOLDED
from .form import Form
from .ia3 import IA3

STEERED = "steered"  # what a conversion makes where no other form is asked for
FORMS: dict[str, Form] = {"folded": FOLDED, "ia3": IA3, "control-vector": CONTROL_VECTOR}


def form_named(name: str) -> Form:
    """Raises InputError: there is none of this name."""
    if name not in FORMS:
        raise InputError(f"format {name!r}: choose one of {', '.join([STEERED, *FORMS])}")
    return FORMS[name]
