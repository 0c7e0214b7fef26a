"""Small tokenizers of both kinds, trained on the built-in corpus: enough real pieces for a language detector."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from clas_models.profiling.corpora import load_corpus

TRAINED_VOCAB_SIZE = 3000
# What every real tokenizer has seen: emoji, and the letters of all of Europe.
EMOJI = "😀 😂 🎉 👍 🔥 ❤️ 🙏 ✅ ℹ️ 🚀"
_LETTERS = [chr(code) for code in range(0xC0, 0x180) if chr(code).isalpha()]
_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@cache
def builtin_rows() -> tuple[dict[str, str], ...]:
    """The built-in corpus, in all its languages."""
    return tuple(load_corpus("builtin").rows)


@cache
def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As Qwen2 and Llama 3 have: a blank is `Ġ`, every byte is a token, and pieces may end within a character."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, pre_tokenizers.ByteLevel.alphabet())
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL)


@cache
def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2 has: a blank is `▁`, and a letter without a token becomes bytes, tokens such as `<0xE7>`."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    _train(tokenizer, _LETTERS)
    # The bytes are ordinary tokens; the trainer could only make special ones of them.
    saved = json.loads(tokenizer.to_str())
    vocabulary = saved["model"]["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(saved)), **_SPECIAL)


def _train(tokenizer: Tokenizer, alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINED_VOCAB_SIZE,
        initial_alphabet=alphabet,
        special_tokens=list(_SPECIAL.values()),
        show_progress=False,
    )
    texts = [*(text for row in builtin_rows() for text in row.values()), *[EMOJI, EMOJI.replace(" ", "")] * 60]
    tokenizer.train_from_iterator(texts, trainer)
