"""The two commands, `clas-convert` and `clas-eval`, as they start: help and mistakes come before torch is loaded.

Importing `clas_models` loads torch and transformers, which takes seconds.  Its command lines need neither, so they are
imported from the package before it has run; it runs when the arguments have been read.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec, module_from_spec


def convert() -> int:
    """The converter; returns the exit status."""
    return _launch(_converter)


def evaluate() -> int:
    """The evaluation; returns the exit status."""
    return _launch(_evaluation)


def _converter(arguments: Sequence[str]) -> Callable[[], int]:
    from clas_models.conversion.cli import read

    return read(arguments)


def _evaluation(arguments: Sequence[str]) -> Callable[[], int]:
    from .cli import read

    return read(arguments)


def _launch(command: Callable[[Sequence[str]], Callable[[], int]]) -> int:
    if "clas_models" in sys.modules:
        return command(sys.argv[1:])()
    spec = find_spec("clas_models")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("clas_models is not installed beside its evaluation", name="clas_models")
    package = sys.modules["clas_models"] = module_from_spec(spec)
    work = command(sys.argv[1:])
    spec.loader.exec_module(package)
    return work()
