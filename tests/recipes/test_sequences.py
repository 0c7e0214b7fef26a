"""Documents cut into texts of so many tokens."""

from __future__ import annotations

import pytest
from conftest import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from trained_tokenizers import byte_level_tokenizer, sentencepiece_tokenizer

from clas_models.errors import InputError
from recipes.sequences import sequences

TOKENIZERS = {"bytes": byte_tokenizer, "byte level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}
DOCUMENTS = ["The cat sleeps on the mat.", "बिल्ली सो रही है, और बारिश हो रही है।", "猫在睡觉。\n\n下雨了。", "Ende 🎉"]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None)  # the first example trains the tokenizer
@given(documents=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=6), length=st.integers(4, 40))
def test_nothing_is_lost_or_told_twice(name: str, documents: list[str], length: int) -> None:
    texts = list(sequences(documents, TOKENIZERS[name](), length))
    whole = "\n\n".join(documents)
    # Texts without a letter are left out, wherever they stand.
    assert "".join("".join(texts).split()) == "".join(whole.split())
    assert all(text.strip() for text in texts)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_text_but_the_last_is_full(name: str) -> None:
    tokenizer, length = TOKENIZERS[name](), 16
    texts = list(sequences(DOCUMENTS * 5, tokenizer, length))
    counts = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    # A character of at most four bytes goes whole into the next text; by itself a text may begin with a token more.
    assert all(length - 3 <= count <= length + 2 for count in counts[:-1]), counts
    assert "".join(texts) == "\n\n".join(DOCUMENTS * 5)
    assert "\ufffd" not in "".join(texts)


def test_room_is_left_for_what_the_tokenizer_adds() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 257)])
    texts = list(sequences(["abcdefghij"], tokenizer, 4))
    assert texts == ["abc", "def", "ghi", "j"]
    assert [len(tokenizer(text)["input_ids"]) for text in texts] == [4, 4, 4, 2]


def test_no_room() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 257)])
    with pytest.raises(InputError, match=r"maximum length 1: no room beside the special tokens; give more"):
        list(sequences(["a"], tokenizer, 1))
