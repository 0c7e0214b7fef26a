"""The names of other libraries that this project leans on though their documentation does not promise them.

A new release may move or change such a name without a word.  When a test here fails after an update, its message says
where the name is used, why, and what to check there.

The classes of a family (`clas_models/modeling/clas_*.py`) are not in the table, because registration looks at their
parts (`family_check.py`).  Neither is vLLM, for which `vllm_plugin` is written in one version: see `tests/serving/`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel

ROOT = Path(__file__).parents[1]
THIS = Path(__file__).relative_to(ROOT)
PACKAGES = ("clas_models", "eval", "benchmarks", "tests")
LIBRARIES = ("accelerate", "datasets", "lm_eval", "peft", "transformers")
# Modules without a page of reference from which the libraries' own guides import.
PUBLIC_MODULES = (
    "lm_eval.api.instance",
    "lm_eval.api.task",
    "lm_eval.models.huggingface",
    "lm_eval.tasks",
    "transformers.distributed",
)
# What these look for on their subclasses is theirs, also where one of ours defines it.
BASES = (GenerationMixin, PreTrainedConfig, PreTrainedModel, torch.nn.Module)


@dataclass(frozen=True)
class PrivateName:
    """A name, why it is used, and what to check when it has gone or changed.

    `name` is "module", "module:attribute.attribute", or an attribute that only objects have, which is not looked up.
    `parameters` are those that our code names in a call or an override.
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
        return [file for file, tree in _sources() if self.last in _words(tree) and file != str(THIS)]

    def __str__(self) -> str:
        return f"{self.name} is used in {', '.join(self.files())}: {self.why}. Check {self.check}."


PRIVATE_NAMES = (
    PrivateName(
        "transformers.models.auto:modeling_auto",
        "its tables of class names decide what Trainer, pipelines and harnesses take a model for",
        "that they still have names in ...MAPPING_NAMES (tests/modeling/test_name_tables.py)",
    ),
    PrivateName(
        "transformers.generation.utils:GenerationMixin._prepare_generation_config",
        "it would move `language` into an entry of the generation configuration",
        "that generate(language=...) reaches forward (tests/modeling/test_generation.py)",
        ("generation_config", "kwargs"),
    ),
    PrivateName(
        "transformers.generation.utils:GenerationMixin._get_candidate_generator",
        "a plain draft model must not be given `language`",
        "generate(assistant_model=...) with a plain model (tests/modeling/test_generation_clas.py)",
        ("model_kwargs", "assistant_model"),
    ),
    PrivateName(
        "transformers:PreTrainedModel._init_weights",
        "transformers calls it for what a checkpoint lacks, and our buffers need values",
        "that a model made from a configuration has empty masks and true strengths (tests/modeling/test_scale.py)",
        ("module",),
    ),
    PrivateName(
        "transformers:PreTrainedModel._no_split_modules",
        "a layer must lie on one device as a whole",
        "from_pretrained(device_map=...) (tests/modeling/test_saving.py)",
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
        "_buffers",
        "a step of decoding reads a rule's buffers without the look-up of nn.Module",
        "that a rule's table is never stale (tests/modeling/test_scale.py)",
    ),
    PrivateName(
        "transformers.integrations.ggml:GGUF_CONFIG_MAPPING",
        "the architectures of GGUF files that transformers reads",
        "the field gguf of each family (tests/test_family_contract.py)",
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
    PrivateName(
        "transformers:PreTrainedModel._keys_to_ignore_on_load_unexpected",
        "checkpoints of an older version have tables that are no longer read",
        "that an old checkpoint loads (tests/conversion/, older checkpoints)",
    ),
    PrivateName(
        "torch.nn:Module._apply",
        "Module.to(dtype) would round strengths to half precision for good",
        "that a model cast to half precision and back has its strengths (tests/modeling/test_scale.py)",
        ("fn", "recurse"),
    ),
    PrivateName(
        "torch.nn:Module._load_from_state_dict",
        "factors that are made from fitted strengths must follow those that a state dict brings",
        "that a loaded state dict is in force (tests/modeling/test_fitted.py)",
    ),
    PrivateName(
        "transformers:PreTrainedModel._keep_in_fp32_modules_strict",
        "fitted strengths stay float32 in a model of half precision",
        "that loading in half precision keeps every bit of a table (tests/modeling/test_fitted.py)",
    ),
    PrivateName(
        "torch:Tensor._version",
        "a table derived from buffers is made again when one of them was written to",
        "that no table is stale (tests/modeling/test_scale.py)",
    ),
    PrivateName(
        "_hf_hook",
        "accelerate leaves it on a module that it offloads, and a rule must lie where the module runs",
        "from_pretrained(device_map=...) with offloading, and `intervening` on that model",
    ),
    PrivateName(
        "_hf_device_mesh",
        "transformers up to 5.17 leaves it on a layer that it splits over processes",
        "tensor parallelism (tests/distributed/test_tensor_parallel.py); it can go when 5.17 is no longer supported",
    ),
    PrivateName(
        "datasets.naming:camelcase_to_snakecase",
        "it is part of the name of a data set's folder in the cache, which is asked before the Hub",
        "where datasets caches a data set (tests/profiling/test_hub_corpus.py)",
    ),
    PrivateName(
        "torch._dynamo",
        "tests of compilation begin without compiled graphs",
        "how torch forgets what it compiled",
    ),
    PrivateName(
        "_forward_hooks",
        "a test counts the hooks that profiling leaves on a model: none",
        "where torch keeps the forward hooks of a module",
    ),
    PrivateName(
        "_forward_pre_hooks",
        "the same",
        "the same",
    ),
    PrivateName(
        "_actions",
        "a test finds the options of the command lines that take a path",
        "where argparse keeps the arguments of a parser",
    ),
    PrivateName(
        "argparse:_SubParsersAction",
        "the same, for the commands of the evaluation",
        "how argparse keeps the parsers of commands",
    ),
    PrivateName(
        "transformers.initialization:no_init_weights",
        "a test makes a large model quickly",
        "how transformers makes a model without drawing its weights",
    ),
)


@pytest.mark.parametrize(
    "private", [private for private in PRIVATE_NAMES if private.name[0] != "_"], ids=lambda private: private.name
)
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
    assert not [private.name for private in PRIVATE_NAMES if not private.files()], "take it out of PRIVATE_NAMES"


def test_table_is_complete() -> None:
    listed = {private.last for private in PRIVATE_NAMES}
    ours = {name for _, tree in _sources() for name in _defined(tree)} - {name for base in BASES for name in dir(base)}
    found = [
        f"{file}: {name}"
        for file, tree in _sources()
        for name in {*_undocumented_imports(tree), *filter(_is_private, _words(tree) - ours)}
        if name not in listed
    ]
    assert not found, "what is used of another library and not documented there belongs into PRIVATE_NAMES"


@cache
def _sources() -> tuple[tuple[str, ast.Module], ...]:
    """Every Python file of the project: its path and its syntax tree."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple((str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


@cache
def _words(tree: ast.Module) -> frozenset[str]:
    """The names that a file uses or defines: attributes (also those for `getattr`), functions, imports, fields."""
    words: set[Any] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.FunctionDef(name=name) | ast.alias(name=name):
                words.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
                words.add(name)
    return frozenset(words)


@cache
def _defined(tree: ast.Module) -> frozenset[str]:
    """What a file defines: functions, classes, variables, parameters, and attributes that it sets on `self`."""
    defined: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                defined.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                defined.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                defined.add(name)
    return frozenset(defined)


def _is_private(name: object) -> bool:
    return isinstance(name, str) and len(name) > 1 and name.startswith("_") and not name.startswith("__")


def _undocumented_imports(tree: ast.Module) -> Iterator[str]:
    """What is imported from inside a library and is not offered by the library itself, and its modules as such."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level or node.module is None or node.module in PUBLIC_MODULES:
            continue
        library, _, inner = node.module.partition(".")
        family = re.fullmatch(r"models\.(\w+)\.modeling_\1", inner)
        if library not in LIBRARIES or (family and family[1] != "auto"):
            continue
        for alias in node.names:
            offered = getattr(importlib.import_module(library), alias.name, None)
            if offered is None or (isinstance(offered, types.ModuleType) and not inner):
                yield alias.name
