"""The text that the harness gets becomes the tokens of `eval.prompts` under the harness's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, byte_tokenizer, tiny_plain
from lm_eval.models.huggingface import HFLM
from real_models import REAL_MODELS
from run_helpers import CHAT
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clas_models import FAMILIES
from clas_models.errors import InputError
from eval.lm_eval_tasks.prompt_text import PromptText, load_harness_tokenizer
from eval.lm_eval_tasks.settings import HarnessSettings
from eval.prompts import PromptBuilder, choice_ids
from eval.tasks import Example, ExampleSource, task_of
from eval.templates import find_templates

XNLI, XQUAD = task_of("xnli"), task_of("xquad")
PAIR = Example("7", {"premise": "Es regnet.", "hypothesis": "Es ist nass."}, (1,))


def settings(**metadata: Any) -> HarnessSettings:
    return HarnessSettings.of({"pretrained": "MODEL", **metadata}, "clas_xnli_de", "de")


def test_a_language_with_a_script_is_told_as_it_is_or_not_at_all() -> None:
    for told, task in (("zh-Hant", "zh-Hant"), ("zho_Hant", "zh-Hant"), ("zh-Hant", "zh"), ("de-AT", "de")):
        HarnessSettings.of({"pretrained": "MODEL", "language": told}, f"clas_belebele_{task}", task)
    with pytest.raises(InputError, match="would steer its zh-Hant prompts as zh"):
        HarnessSettings.of({"pretrained": "MODEL", "language": "zh"}, "clas_belebele_zh-Hant", "zh-Hant")


def tokenizer_with_bos(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """It puts a token before every text, as Llama's do."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 257)])
    tokenizer.chat_template = chat_template
    return tokenizer


def tokenizer_with_line_ends() -> PreTrainedTokenizerFast:
    """A colon and the line's end after it are one token, as in Qwen2's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: number for number, symbol in enumerate([*alphabet, ":Ċ", "</s>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[(":", "Ċ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def harness_of(tokenizer: Any, **options: Any) -> HFLM:
    """The harness's model class, of which only the tokenizer matters here."""
    return HFLM(pretrained=tiny_plain(FAMILIES["llama"]), tokenizer=tokenizer, **options)


def split_ids(harness: HFLM, context: str, continuation: str) -> list[int]:
    """What the harness's model reads, and the last token that it is asked for."""
    first, second = harness._encode_pair(context, continuation)
    return [*first, *second]


def test_a_choice_follows_the_tokens_of_the_prompt() -> None:
    tokenizer = tokenizer_with_line_ends()
    harness = harness_of(tokenizer)
    text = PromptText(tokenizer, XNLI, "de", settings(), chat=False)
    prompt = text.of(PAIR)
    ids = list(PromptBuilder(tokenizer, find_templates("xnli"), XNLI, chat_template=False).build(PAIR, "de").ids)
    for choice, token in zip(XNLI.choices, choice_ids(tokenizer, XNLI, False), strict=True):
        assert split_ids(harness, *text.split(prompt, choice)) == [*ids, token]
        assert split_ids(harness, prompt, choice) != [*ids, token]  # the harness alone loses the line's end


@pytest.mark.parametrize("chat", [True, False])
def test_tokens_that_the_tokenizer_adds(chat: bool) -> None:
    tokenizer = tokenizer_with_bos(CHAT)
    text = PromptText(tokenizer, XQUAD, "de", settings(), chat)
    example = Example("q", {"context": "Es regnet.", "question": "Was?"}, ("es",))
    ids = PromptBuilder(tokenizer, find_templates("xquad"), XQUAD, chat_template=chat).build(example, "de").ids
    read, _ = harness_of(tokenizer).tok_batch_encode([text.of(example)])
    assert tuple(read[0].tolist()) == ids
    assert ids[:2] == (257, tokenizer("A")["input_ids"][1])  # once


def test_a_token_too_many_is_refused_with_the_remedy() -> None:
    tokenizer = tokenizer_with_bos("user: {{ messages[0].content }}\nreply:")
    with pytest.raises(InputError, match=r"MODEL: the harness would .*; add add_bos_token=False to --model_args"):
        PromptText(tokenizer, XNLI, "de", settings(), chat=True).of(PAIR)
    told = settings(add_bos_token=False)
    prompt = PromptText(tokenizer, XNLI, "de", told, chat=True).of(PAIR)
    ids = PromptBuilder(tokenizer, find_templates("xnli"), XNLI).build(PAIR, "de").ids
    assert tuple(harness_of(tokenizer, add_bos_token=False).tok_encode(prompt)) == ids
    with pytest.raises(InputError, match="; leave add_bos_token= out of --model_args"):
        PromptText(tokenizer, XNLI, "de", told, chat=False).of(PAIR)


def test_a_special_token_written_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    text = PromptText(byte_tokenizer(), XNLI, "de", settings(), chat=False)
    text.of(PAIR)
    assert not caplog.messages
    text.of(Example("8", {"premise": "Es </s> regnet.", "hypothesis": "Es ist nass."}, (1,)))
    assert [message.split(":")[0] for message in caplog.messages] == ["8"]


def test_settings_are_checked(tmp_path: Path) -> None:
    assert settings(tokenizer="OTHER").tokenizer == "OTHER"
    assert settings(data_dir="~/data").data_dir == Path.home() / "data"
    assert [settings(language=code).tokenizer for code in ("de", "DE_at", "auto", None)] == ["MODEL"] * 4
    with pytest.raises(InputError, match="clas_xnli_de: max_prompt_length is 'all': give a whole number"):
        settings(max_prompt_length="all")
    with pytest.raises(InputError, match="clas_xnli_de: the prompts need the model's tokenizer; name the model"):
        HarnessSettings.of({}, "clas_xnli_de", "de")
    with pytest.raises(InputError, match=f"{tmp_path}: its tokenizer cannot be loaded"):
        load_harness_tokenizer(str(tmp_path))


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(REAL_MODELS))
@pytest.mark.parametrize("chat", [True, False])
def test_real_tokenizers_on_real_data(name: str, chat: bool) -> None:
    if not (DATA / "xnli").is_dir():
        pytest.skip("the data sets are not there")
    tokenizer = AutoTokenizer.from_pretrained(REAL_MODELS[name]())
    harness = harness_of(tokenizer)
    for language in ("de", "hi", "zh"):
        for task in (XNLI, XQUAD):
            text = PromptText(tokenizer, task, language, settings(), chat)
            prompts = PromptBuilder(tokenizer, find_templates(task.template), task, chat_template=chat)
            for example in task.load([language], ExampleSource(DATA, samples=10))[language]:
                prompt, ids = text.of(example), prompts.build(example, language).ids
                if task is XQUAD:
                    assert tuple(harness.tok_batch_encode([prompt])[0][0].tolist()) == ids
                else:
                    expected = [(*ids, token) for token in choice_ids(tokenizer, task, chat)]
                    found = [tuple(split_ids(harness, *text.split(prompt, choice))) for choice in task.choices]
                    assert found == expected
