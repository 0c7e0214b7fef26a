"""A checkpoint as a model: on which device, in which precision, with every tensor, in memory or left on disk."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from ..errors import InputError, VerificationError
from ..modeling.tensor_names import is_added
from .source import Source

HEAD = "score"  # the module that every family's sequence classification adds to its decoder


def pick_device(name: str) -> torch.device:
    """A device that works; "auto" is an accelerator where there is one. Raises InputError: it cannot be used here."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise InputError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def pick_dtype(name: str, device: torch.device, own: object = None) -> str:
    """The precision to load in: "auto" is the checkpoint's, but on a processor float32, where that is not the slower.

    Half precision is slow on most processors.  Where it is fast, a checkpoint in bfloat16 is profiled as on an
    accelerator, in its own precision: fewer neurons change their category by that than by other text
    (docs/results/layers.md).

    Args:
        own: the checkpoint's precision, as its configuration gives it; None is an unknown one.
    """
    if name != "auto" or device.type != "cpu" or (str(own) == "bfloat16" and fast_in_bfloat16()):
        return name
    return "float32"


def fast_in_bfloat16() -> bool:
    """Whether this processor multiplies matrices in bfloat16 much faster than in float32: it has tiles for them."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))


def load_tokenizer(source: Source) -> Any:
    """Raises InputError: it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
    except Exception as error:  # whatever its readers find wrong with a user's files
        raise _unusable(source, error, "its tokenizer ") from error


def load_model(source: Source, dtype: str, device: torch.device, **overrides: Any) -> Any:
    """The causal language model, in eval mode, in a dtype of `pick_dtype`; `overrides` are fields of the configuration.

    Raises InputError: it cannot be loaded, or lacks a weight.
    """
    return _loaded(AutoModelForCausalLM, source, dtype, device, is_added, **overrides)


def load_classifier(source: Source, labels: Sequence[str], dtype: str, device: torch.device, **overrides: Any) -> Any:
    """The decoder of a source under a head with a logit for each label, in eval mode.

    The head is random: whoever asks for it trains it, or puts a trained one in its place, so transformers' report that
    there is none is left out.

    Raises as `load_model`.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}
    with _without_report():
        return _loaded(
            AutoModelForSequenceClassification,
            source,
            dtype,
            device,
            lambda name: is_added(name) or name == f"{HEAD}.weight",
            num_labels=len(labels),
            **names,
            **overrides,
        )


def _loaded(
    auto: Any, source: Source, dtype: str, device: torch.device, may_be_missing: Callable[[str], bool], **fields: Any
) -> Any:
    try:
        loaded: Any = auto.from_pretrained(
            source.folder, dtype=dtype, device_map={"": device}, output_loading_info=True, **fields
        )
    except Exception as error:  # whatever transformers finds wrong with a user's files
        raise _unusable(source, error) from error
    model, info = loaded
    if missing := sorted(name for name in info["missing_keys"] if not may_be_missing(name)):
        raise InputError(f"{source.name}: no tensor {missing[0]!r} in its weights; download the model again")
    return model.eval()


@contextmanager
def _without_report() -> Iterator[None]:
    """Without transformers' table of tensors that are missing or left over."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_report)  # a level would do, but from warnings on transformers has more to say
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)


def _is_no_report(said: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in said.getMessage()


def load_unsteered(source: Source, dtype: str, device: torch.device) -> Any:
    """The base model of a source: a steered one with strengths of 0 is the same, to the bit. Raises as `load_model`."""
    unsteered = {"alpha": 0.0, "vector_strength": 0.0} if source.is_steered else {}
    return load_model(source, dtype, device, **unsteered)


@contextmanager
def on_disk(folder: Path, *, may_be_left: Callable[[str], bool], **kwargs: Any) -> Iterator[Any]:
    """The causal language model in a folder, in eval mode.

    Its weights stay on disk and are read layer by layer, so that this needs no more memory than the largest of them.

    Args:
        may_be_left: which tensors of the folder the model may have no use for.
        kwargs: of `from_pretrained`.

    Raises VerificationError: it cannot be loaded, or a tensor is missing, left over or of another shape.
    """
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it warns that weights stay on disk
    with tempfile.TemporaryDirectory() as offload:
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, device_map={"": "disk"}, offload_folder=offload, output_loading_info=True, **kwargs
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise VerificationError(f"{folder}: cannot be loaded ({type(error).__name__}: {error})") from error
        model, info = loaded
        left = {name for name in info["unexpected_keys"] if not may_be_left(name)}
        for problem, found in {**info, "unexpected_keys": left}.items():
            if found:
                raise VerificationError(f"{folder}: {problem} on loading: {sorted(map(str, found))[:3]}")
        yield model.eval()


def _unusable(source: Source, error: Exception, part: str = "") -> InputError:
    return InputError(f"{source.name}: {part}cannot be loaded ({type(error).__name__}: {error})")
