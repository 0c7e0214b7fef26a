"""The names of other libraries that this project leans on though their documentation does not promise them.

A new release may move or change such a name without a word. When a test here fails after an update, its message says
which file of ours uses the name, why, and what to check there; what the file does about it is up to the file's own tests.

vLLM is not in the table: `vllm_plugin` is written for one version of it, and the tests in `serving/` say whether it fits.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
THIS = Path(__file__).relative_to(ROOT)
PACKAGES = ("clas_models", "eval", "benchmarks", "tests")
LIBRARIES = ("accelerate", "datasets", "lm_eval", "peft", "transformers")


@dataclass(frozen=True)
class PrivateName:
    """`name` is "module:attribute.attribute", or a module; `parameters` are those that we name in a call or an override.

    `why` says what it is used for, `check` what to look at when it has gone or changed.
    """

    name: str
    why: str
    check: str
    parameters: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        return self.name.replace(":", ".").rpartition(".")[2]

    def files(self) -> list[str]:
        """Where the project uses it."""
        return [file for file, tree in _sources() if self.last in set(_words(tree)) and file != str(THIS)]

    def __str__(self) -> str:
        return f"{self.name}, used in {', '.join(self.files())} because {self.why}; check {self.check}"


PRIVATE_NAMES = (
    PrivateName(
        "transformers.generation.utils:GenerationMixin._prepare_generation_config",
        "it would move `language` into an entry of the generation configuration",
        "that generate(language=…) reaches forward (tests/modeling/test_generation.py)",
        ("generation_config", "kwargs"),
    ),
    PrivateName(
        "transformers.generation.utils:GenerationMixin._get_candidate_generator",
        "a plain draft model must not be given `language`",
        "generate(assistant_model=…) with a plain model (tests/modeling/test_generation_clas.py)",
        ("model_kwargs", "assistant_model"),
    ),
    PrivateName(
        "transformers:PreTrainedModel._init_weights",
        "transformers calls it for what a checkpoint lacks, and our buffers need values",
        "that a model from a configuration alone has empty masks and true strengths (tests/modeling/test_saving.py)",
        ("module",),
    ),
    PrivateName(
        "transformers:PreTrainedModel._no_split_modules",
        "a layer must lie on one device as a whole",
        "from_pretrained(device_map=…) (tests/modeling/test_saving.py)",
    ),
    PrivateName(
        "transformers:PreTrainedConfig._attn_implementation",
        "the engine has a mask of its own and must know in which form the attention takes it",
        "that the engine's logits are forward's (tests/eval/engine/)",
    ),
    PrivateName(
        "transformers.initialization",
        "its functions leave alone what was loaded; those of torch.nn.init do not",
        "that loading keeps masks and detector (tests/modeling/test_saving.py)",
    ),
    PrivateName(
        "transformers.dynamic_module_utils:get_relative_import_files",
        "a checkpoint carries the files that its modeling file imports, as transformers finds them",
        "what a checkpoint carries (tests/conversion/test_carried_code.py, tests/modeling/test_remote_code.py)",
        ("module_file",),
    ),
    PrivateName(
        "transformers.models.auto.tokenization_auto:TOKENIZER_MAPPING",
        "a steered family has the tokenizer of its base",
        "AutoTokenizer.from_pretrained of a steered checkpoint (tests/modeling/test_families.py)",
    ),
    PrivateName(
        "transformers.models.auto.modeling_auto:MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "a folded checkpoint names the base family's class",
        "that a folded checkpoint loads (tests/conversion/formats/test_folded.py)",
    ),
    PrivateName(
        "transformers.masking_utils:create_causal_mask",
        "layers that the engine runs by itself need the mask that forward makes",
        "that the engine's logits are forward's (tests/eval/engine/)",
        ("config", "inputs_embeds", "attention_mask", "past_key_values", "position_ids"),
    ),
    PrivateName(
        "transformers.masking_utils:create_sliding_window_causal_mask",
        "the same, for layers with a sliding window",
        "the same",
        ("config", "inputs_embeds", "attention_mask", "past_key_values", "position_ids"),
    ),
    PrivateName(
        "peft.tuners.ia3:IA3Layer",
        "a test counts the layers that an adapter changes",
        "how PEFT names the layers of an IA3 adapter",
    ),
    PrivateName(
        "lm_eval.tasks._yaml_loader:load_yaml",
        "a test reads the task files as the harness does",
        "how lm_eval reads a task's file",
    ),
    PrivateName(
        "lm_eval.models.huggingface:HFLM._loglikelihood_tokens",
        "a test gives the harness token ids of its own",
        "which method of lm_eval scores token ids",
        ("disable_tqdm",),
    ),
    PrivateName(
        "lm_eval.models.huggingface:HFLM._encode_pair",
        "a test compares the harness's token ids with ours",
        "which method of lm_eval makes the token ids of a prompt and its continuation",
    ),
)

# Modules without a page of reference whose names we may use: the library's own code and guides import from them.
PUBLIC_MODULES = (
    "transformers.distributed",  # DistributedConfig
    "lm_eval.tasks",
    "lm_eval.models.huggingface",
    "lm_eval.api.task",
    "lm_eval.api.instance",
)


@pytest.mark.parametrize("private", PRIVATE_NAMES, ids=lambda private: private.name)
def test_name_is_there(private: PrivateName) -> None:
    module, _, path = private.name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, path.split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{error}: {private}")
    if private.parameters:
        missing = set(private.parameters) - set(inspect.signature(found).parameters)
        assert not missing, f"no parameter {', '.join(sorted(missing))}: {private}"


def test_every_name_is_used() -> None:
    unused = [private.name for private in PRIVATE_NAMES if not private.files()]
    assert not unused, "take it out of PRIVATE_NAMES"


def test_table_is_complete() -> None:
    listed = {private.last for private in PRIVATE_NAMES}
    ours = {name for _, tree in _sources() for name in _defined(tree)}
    missing = [
        f"{file}: {name}"
        for file, tree in _sources()
        for name in {*_undocumented_imports(tree), *_private_attributes(tree, ours)}
        if name not in listed
    ]
    assert not missing, "used, but not in PRIVATE_NAMES"


@cache
def _sources() -> tuple[tuple[str, ast.Module], ...]:
    """Every Python file of the project: its path and its syntax tree."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple((str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def _words(tree: ast.Module) -> Iterator[str]:
    """All names in a file: variables, attributes, functions, what is imported, and strings for `getattr`."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.alias(name=name):
                yield name
            case ast.Constant(value=str(name)):
                yield name


def _defined(tree: ast.Module) -> Iterator[str]:
    """What a file defines: functions and classes, variables, fields, and attributes that it sets on `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def _private_attributes(tree: ast.Module, ours: set[str]) -> Iterator[str]:
    """Attributes with one underscore that belong to others: nobody here defines them, or they are asked of `super()`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name):
                if _is_private(name):
                    yield name
            case (
                ast.Attribute(attr=name) | ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=name), *_])
            ):
                if _is_private(name) and name not in ours:
                    yield name


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def _undocumented_imports(tree: ast.Module) -> Iterator[str]:
    """Names from a library's modules that the library itself does not offer: what is imported, and modules as such."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level or node.module in PUBLIC_MODULES:
            continue
        library, _, inner = (node.module or "").partition(".")
        if library not in LIBRARIES:
            continue
        offered = importlib.import_module(library)
        for alias in node.names:
            name = getattr(offered, alias.name, None)
            if name is None or (isinstance(name, types.ModuleType) and not inner):
                yield alias.name
