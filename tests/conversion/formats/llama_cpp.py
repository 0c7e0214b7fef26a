"""llama.cpp itself, through its C functions: the logits of a GGUF file with a control vector.

No binding hands control vectors on, but the wheel of xllamacpp 2026.10 exports llama.cpp's functions: get it with `pip
download xllamacpp`, unpack it, and name its `xllamacpp.abi3.so` in CLAS_LLAMA_CPP.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

LIBRARY = os.environ.get("CLAS_LLAMA_CPP", "")
# common_control_vector_load(const std::vector<common_control_vector_load_info> &), which llama-cli calls.
_LOAD = "_Z26common_control_vector_loadRKSt6vectorI31common_control_vector_load_infoSaIS0_EE"


class _Settings(ctypes.Structure):
    """Settings of whatever version, larger than any: llama.cpp makes them, and they go back as they came."""

    _fields_ = [("bytes", ctypes.c_byte * 1024)]


class _Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("arrays", ctypes.c_void_p * 6)]


class _Vector(ctypes.Structure):
    """A std::vector."""

    _fields_ = [("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("room", ctypes.c_void_p)]


class _LoadInfo(ctypes.Structure):
    """The strength and the file: a std::string of the manylinux2014 ABI is a pointer, with its size before the text."""

    _fields_ = [("strength", ctypes.c_float), ("text", ctypes.c_void_p)]


class _ControlVector(ctypes.Structure):
    """The vectors of layers 1, 2, … one after the other."""

    _fields_ = [("n_embd", ctypes.c_int), ("data", _Vector)]


class LlamaCpp:
    """A model and its context."""

    def __init__(self, gguf: Path) -> None:
        self.library = ctypes.CDLL(LIBRARY)
        self._call("llama_backend_init", None)
        settings = self._call("llama_model_default_params", _Settings)
        self.model = self._call("llama_model_load_from_file", ctypes.c_void_p, str(gguf).encode(), settings)
        assert self.model, f"{gguf}: llama.cpp cannot load it"
        settings = self._call("llama_context_default_params", _Settings)
        self.context = self._call("llama_init_from_model", ctypes.c_void_p, self._pointer(self.model), settings)
        self.hidden = self._call("llama_model_n_embd", ctypes.c_int32, self._pointer(self.model))
        vocabulary = self._call("llama_model_get_vocab", ctypes.c_void_p, self._pointer(self.model))
        self.vocabulary = self._call("llama_vocab_n_tokens", ctypes.c_int32, self._pointer(vocabulary))

    def put(self, control_vector: Path, layers: int) -> None:
        """As `--control-vector` does, at scale 1, from layer 1 to the last of so many."""
        name = str(control_vector).encode()
        text = ctypes.create_string_buffer(struct.pack("QQq", len(name), len(name), 0) + name)
        info = _LoadInfo(1.0, ctypes.addressof(text) + struct.calcsize("QQq"))
        infos = _Vector(ctypes.addressof(info), ctypes.addressof(info) + ctypes.sizeof(info), 0)
        loaded = self._call(_LOAD, _ControlVector, ctypes.byref(infos))
        assert loaded.n_embd == self.hidden
        floats = (loaded.data.end - loaded.data.begin) // ctypes.sizeof(ctypes.c_float)
        self._set(self._pointer(loaded.data.begin), floats, layers)

    def take_away(self) -> None:
        """The plain model again."""
        self._set(None, 0, 0)

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """float32 `[vocabulary]` after these tokens."""
        memory = self._call("llama_get_memory", ctypes.c_void_p, self._pointer(self.context))
        self._call("llama_memory_clear", None, self._pointer(memory), ctypes.c_bool(True))
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        batch = self._call("llama_batch_get_one", _Batch, ids, len(tokens))
        assert self._call("llama_decode", ctypes.c_int32, self._pointer(self.context), batch) == 0
        found = self._call("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), self._pointer(self.context), -1)
        return torch.tensor(found[: self.vocabulary])

    def _set(self, data: Any, floats: int, layers: int) -> None:
        arguments = (self._pointer(self.context), data, ctypes.c_size_t(floats), self.hidden, 1, layers)
        assert self._call("llama_set_adapter_cvec", ctypes.c_int32, *arguments) == 0

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self.library, name)
        function.restype = result
        return function(*arguments)

    @staticmethod
    def _pointer(address: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(address)
