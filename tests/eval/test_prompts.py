"""Prompts: chat markup, special tokens written out in an example, the cut to the maximum length, choices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from conftest import DATA, byte_tokenizer
from real_models import CACHE
from tokenizers import normalizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clas_models.errors import InputError
from eval.prompts import Prompt, PromptBuilder, choice_ids
from eval.scoring import CONTINUATION, LIKELIHOOD, as_scored
from eval.tasks import Example, ExampleSource, Task, task_of
from eval.templates import Template, Templates, find_templates

XNLI, XQUAD, BELEBELE, PERPLEXITY = (task_of(name) for name in ("xnli", "xquad", "belebele", "perplexity"))
BELEBELE_TEXTS, XQUAD_LIKELIHOOD = as_scored(BELEBELE, CONTINUATION), as_scored(XQUAD, LIKELIHOOD)
CHAT = "{% for message in messages %}<s>{{ message.role }}:{{ message.content }}</s>{% endfor %}"
CHAT += "{% if add_generation_prompt %}<s>reply:{% endif %}"
PAIR = Example("7", {"premise": "It rains.", "hypothesis": "It is wet."}, (1,))
BOS, EOS = 257, 258


@pytest.fixture
def chat() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.fixture
def plain() -> PreTrainedTokenizerFast:
    """Without a chat template, but with a token that it puts before every text."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def builder(tokenizer: Any, task: Task, **options: Any) -> PromptBuilder:
    templates = find_templates(task.template) if task.template else None
    return PromptBuilder(tokenizer, templates, task, **options)


def text_of(task: Task, example: Example) -> str:
    return find_templates(task.template).of("en").fill(example.fields).text


def question(context: str, text: str = "Who?") -> Example:
    return Example("q", {"context": context, "question": text}, ("x",))


def error(tokenizer: Any, task: Task, example: Example, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        builder(tokenizer, task, **options).build(example, "de")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def choice_question(**fields: str) -> Example:
    answers = {"a": "one ", "b": "two\nlines", "c": "</s>", "d": "vier"}
    return Example("7", {"passage": "He counts.", "question": "How many?", **answers, **fields}, (1,))


# ---- what stands around the text


def test_chat_prompt_is_one_message_and_the_beginning_of_the_reply(chat: PreTrainedTokenizerFast) -> None:
    prompt = builder(chat, XNLI).build(PAIR, "en")
    message = [{"role": "user", "content": text_of(XNLI, PAIR)}]
    ids = chat.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    assert prompt == Prompt(tuple(ids), 0, 0)
    assert chat.decode(prompt.ids).endswith("Answer:</s><s>reply:")


def test_plain_prompt_has_the_tokenizers_own_special_tokens(plain: PreTrainedTokenizerFast) -> None:
    prompt = builder(plain, XQUAD, chat_template=False).build(question("He did."), "en")
    text = text_of(XQUAD, question("He did."))
    assert prompt.ids[0] == BOS
    assert plain.decode(prompt.ids[1:]) == text
    # the answer of a choice begins a line
    assert (
        plain.decode(builder(plain, XNLI, chat_template=False).build(PAIR, "en").ids[1:]) == text_of(XNLI, PAIR) + "\n"
    )


def test_the_template_of_the_examples_language_is_taken(chat: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (tmp_path / "xnli.de.txt").write_text("Regnet es? {premise} {hypothesis}", encoding="utf-8")
    prompts = PromptBuilder(chat, find_templates("xnli", tmp_path), XNLI)
    assert "user:Regnet es? It rains. It is wet." in chat.decode(prompts.build(PAIR, "de").ids)
    assert "Regnet" not in chat.decode(prompts.build(PAIR, "en").ids)


def test_a_tokenizer_without_a_chat_template_is_refused(plain: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="has no chat template: pass --no-chat-template"):
        builder(plain, XNLI)
    with pytest.raises(InputError, match="has no chat template"):
        choice_ids(plain, XNLI)
    builder(plain, PERPLEXITY)  # which needs none


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no user') }}", "fails (no user)"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "does not write a message once"),
        ("nothing", "does not write a message once"),
    ],
)
def test_chat_templates_that_cannot_be_used(plain: PreTrainedTokenizerFast, template: str, said: str) -> None:
    plain.chat_template = template
    with pytest.raises(InputError) as caught:
        builder(plain, XNLI)
    assert said in str(caught.value)


def test_a_chat_template_that_writes_the_date_writes_always_the_same(chat: PreTrainedTokenizerFast) -> None:
    chat.chat_template = "{{ date_string or strftime_now('%d %b %Y') }} {{ messages[0].content }}"
    assert chat.decode(builder(chat, XNLI).build(PAIR, "en").ids).startswith("26 Jul 2024 ")


# ---- special tokens written out


@pytest.mark.parametrize("chat_template", [True, False])
def test_special_tokens_in_an_example_stay_text(chat: PreTrainedTokenizerFast, chat_template: bool) -> None:
    def build(premise: str) -> Prompt:
        example = replace(PAIR, fields={"premise": premise, "hypothesis": "It is wet."})
        return builder(chat, XNLI, chat_template=chat_template).build(example, "en")

    harmless, written = build("A#B"), build("A</s><s>user:B")
    assert [id_ for id_ in written.ids if id_ >= 256] == [id_ for id_ in harmless.ids if id_ >= 256]
    # byte for byte what stands there
    assert chat.decode(written.ids) == chat.decode(harmless.ids).replace("A#B", "A</s><s>user:B")
    # where a tokenizer splits nothing, the same text does become special tokens
    assert EOS in chat("A</s><s>user:B")["input_ids"]


def test_special_tokens_in_a_template_are_special(chat: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("<s>{premise}</s>{hypothesis}", encoding="utf-8")
    fields = {"premise": "</s>", "hypothesis": "h"}
    prompt = PromptBuilder(chat, find_templates("xnli", path), XNLI, chat_template=False).build(
        replace(PAIR, fields=fields), "en"
    )
    assert prompt.ids == (BOS, *chat("<")["input_ids"], *chat("/s>")["input_ids"], EOS, *chat("h\n")["input_ids"])


def test_special_tokens_in_a_text_alone_stay_text(plain: PreTrainedTokenizerFast) -> None:
    prompt = builder(plain, PERPLEXITY).build(Example("1", {"text": "a</s>"}, ()), "en")
    assert prompt.ids[0] == BOS
    assert len(prompt.ids) == 6
    assert EOS not in prompt.ids


# ---- the maximum length


def test_the_end_of_the_context_is_cut_and_counted(chat: PreTrainedTokenizerFast) -> None:
    context = "Anna wrote it in 1990. " * 30
    whole = builder(chat, XQUAD, max_length=10_000).build(question(context), "en")
    for max_length in (len(whole.ids) - 1, 400):
        prompt = builder(chat, XQUAD, max_length=max_length).build(question(context), "en")
        # a byte is a token here, so that nothing is left to spare
        assert len(prompt.ids) == max_length
        assert prompt.cut == len(whole.ids) - max_length
        expected = chat.decode(whole.ids).replace(context, context[: -prompt.cut])
        assert chat.decode(prompt.ids) == expected
    assert builder(chat, XQUAD, max_length=len(whole.ids)).build(question(context), "en") == whole


@pytest.mark.parametrize("spare", range(4))
def test_no_character_is_cut_in_half(chat: PreTrainedTokenizerFast, spare: int) -> None:
    empty = len(builder(chat, XQUAD).build(question(""), "th").ids)
    prompt = builder(chat, XQUAD, max_length=empty + 9 + spare).build(question("ประเทศไทย"), "th")
    # three bytes a character
    assert len(prompt.ids) == empty + 9 + 3 * (spare // 3)
    assert "Context: " + "ประเทศไทย"[: 3 + spare // 3] + "\n" in chat.decode(prompt.ids)
    assert prompt.cut == 27 - (len(prompt.ids) - empty)


def test_a_passage_is_cut_but_no_answer(chat: PreTrainedTokenizerFast) -> None:
    fields = {"passage": "p" * 600, "question": "q" * 20, **{name: f"answer {name}" for name in "abcd"}}
    prompt = builder(chat, BELEBELE).build(Example("1", fields, (0,)), "en")
    text = chat.decode(prompt.ids)
    assert len(prompt.ids) == 512
    assert text.count("p" * (600 - prompt.cut)) == 1
    assert "q" * 20 + "\nA: answer a\nB: answer b\nC: answer c\nD: answer d\n" in text


def test_prompts_that_cannot_be_cut_enough(chat: PreTrainedTokenizerFast) -> None:
    long = replace(PAIR, fields={"premise": "p" * 600, "hypothesis": "h"})
    assert "xnli, de, example 7: the prompt has " in error(chat, XNLI, long)
    assert "nothing of it may be cut, the maximum length is 512" in error(chat, XNLI, long)
    said = error(chat, XQUAD, question("c" * 600, "q" * 600))
    assert "xquad, de, example q: the prompt has " in said
    assert "without its context" in said
    length = len(builder(chat, XQUAD).build(question(""), "de").ids)
    assert builder(chat, XQUAD, max_length=length).build(question("c"), "de").cut == 1
    assert "without its context" in error(chat, XQUAD, question("c"), max_length=length - 1)
    with pytest.raises(InputError, match="maximum length is 0"):
        builder(chat, XQUAD, max_length=0)


def test_a_text_alone_is_cut_and_its_bytes_are_those_that_are_read(plain: PreTrainedTokenizerFast) -> None:
    prompts = builder(plain, PERPLEXITY, max_length=6)
    assert prompts.build(Example("1", {"text": "für"}, ()), "de") == Prompt((BOS, *plain("für")["input_ids"][1:]), 0, 4)
    cut = prompts.build(Example("1", {"text": "grün für"}, ()), "de")
    assert plain.decode(cut.ids[1:]) == "grün"
    assert (cut.cut, cut.bytes) == (5, 5)


# ---- choices


def test_choices_are_the_tokens_that_follow_a_prompt(chat: PreTrainedTokenizerFast) -> None:
    digits = tuple(chat(digit)["input_ids"][0] for digit in "012")
    assert choice_ids(chat, XNLI) == choice_ids(chat, XNLI, chat_template=False) == digits
    assert len(set(choice_ids(chat, BELEBELE))) == 4


@pytest.mark.parametrize("choices", [("0", "10"), ("0", "0"), ("yes", "no")])
def test_choices_that_are_not_single_tokens(chat: PreTrainedTokenizerFast, choices: tuple[str, ...]) -> None:
    with pytest.raises(
        InputError, match=f"xnli: the answer '{choices[-1] if choices[0] == '0' else 'yes'}' is not one"
    ):
        choice_ids(chat, replace(XNLI, choices=choices))


# ---- real tokenizers


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xquad").is_dir(), reason=f"XQuAD is not at {DATA / 'xquad'}")
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"])
def test_real_tokenizers(name: str) -> None:
    if not (CACHE / name / "tokenizer.json").is_file():
        pytest.skip(f"{name} has not been fetched to {CACHE}")
    tokenizer = AutoTokenizer.from_pretrained(CACHE / name)
    templates: Templates = find_templates("xquad")
    prompts = PromptBuilder(tokenizer, templates, XQUAD)
    whole = PromptBuilder(tokenizer, templates, XQUAD, max_length=10_000)
    cut = 0
    for language, examples in XQUAD.load(None, ExampleSource(DATA, samples=12)).items():
        for example in examples:
            prompt = prompts.build(example, language)
            message = [{"role": "user", "content": templates.of(language).fill(example.fields).text}]
            ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
            assert whole.build(example, language).ids == tuple(ids)
            assert prompt.cut == len(ids) - len(prompt.ids)
            # a character of any of these scripts is at most four tokens
            assert len(prompt.ids) in (range(509, 513) if prompt.cut else range(513))
            text = tokenizer.decode(prompt.ids)
            assert "\ufffd" not in text
            # Qwen's tokenizer composes characters
            assert normalize("NFC", f"Question: {example.fields['question']}\nAnswer:") in normalize("NFC", text)
            cut += prompt.cut > 0
    assert cut > 0
    for task, letters in ((XNLI, "012"), (BELEBELE, "ABCD")):
        for chat_template in (True, False):
            assert tokenizer.decode(choice_ids(tokenizer, task, chat_template)) == letters


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"])
def test_real_chat_markup_in_an_example_stays_text(name: str) -> None:
    if not (CACHE / name / "tokenizer.json").is_file():
        pytest.skip(f"{name} has not been fetched to {CACHE}")
    tokenizer = AutoTokenizer.from_pretrained(CACHE / name)
    prompts = builder(tokenizer, XQUAD)
    marker = tokenizer.convert_tokens_to_ids("<|im_end|>")
    plain = prompts.build(question("A message ends so."), "en").ids
    written = prompts.build(question("A message ends with <|im_end|> so."), "en").ids
    assert written.count(marker) == plain.count(marker) > 0
    assert "ends with <|im_end|> so." in tokenizer.decode(written)


# ---- continuations


@pytest.mark.parametrize("with_chat", [True, False])
def test_a_choice_goes_on_where_the_prompt_ends(
    chat: PreTrainedTokenizerFast, plain: PreTrainedTokenizerFast, with_chat: bool
) -> None:
    tokenizer = chat if with_chat else plain
    example = choice_question()
    prompt = builder(tokenizer, BELEBELE_TEXTS, chat_template=with_chat).build(example, "en")
    assert prompt.ids == builder(tokenizer, BELEBELE, chat_template=with_chat).build(example, "en").ids
    assert [tokenizer.decode(each) for each in prompt.continuations] == ["one", "two\nlines", "</s>", "vier"]
    assert tokenizer.decode(prompt.ids).endswith("Answer:</s><s>reply:" if with_chat else "Answer:\n")
    assert EOS not in prompt.continuations[2], "a special token written out in a choice is text"
    assert builder(tokenizer, BELEBELE, chat_template=with_chat).build(example, "en").continuations == ()


def test_a_prompt_leaves_room_for_its_longest_choice(chat: PreTrainedTokenizerFast) -> None:
    example = choice_question(passage="p" * 600, b="b" * 50)
    prompt = builder(chat, BELEBELE_TEXTS).build(example, "en")
    assert len(prompt.ids) + max(map(len, prompt.continuations)) == 512
    assert len(builder(chat, BELEBELE).build(example, "en").ids) == 512
    assert "the maximum length is 40" in error(chat, BELEBELE_TEXTS, example, max_length=40)


def test_a_choice_that_changes_the_tokens_of_the_prompt_is_refused(plain: PreTrainedTokenizerFast) -> None:
    steps = [normalizers.Replace("\none", "x"), normalizers.NFC()]
    plain.backend_tokenizer.normalizer = normalizers.Sequence(steps)
    said = error(plain, BELEBELE_TEXTS, choice_question(), chat_template=False)
    assert "belebele, de, example 7: with the choice A after it the prompt has other tokens" in said


@pytest.mark.parametrize(
    ("with_chat", "template", "expected"),
    [
        (True, "{question} Answer:", "x</s>"),
        (False, "{question} Answer:", " x</s>"),  # it goes on in the line
        (False, "{question}答案：", "x</s>"),
    ],
)
def test_the_right_answer_goes_on_as_the_model_would_write_it(
    chat: PreTrainedTokenizerFast, plain: PreTrainedTokenizerFast, with_chat: bool, template: str, expected: str
) -> None:
    tokenizer = chat if with_chat else plain
    templates = Templates(Template.parse(template, "here"), {})
    example = replace(question("He did."), gold=("x</s> ", "y"))
    prompt = PromptBuilder(tokenizer, templates, XQUAD_LIKELIHOOD, chat_template=with_chat).build(example, "zh")
    assert prompt.ids == PromptBuilder(tokenizer, templates, XQUAD, chat_template=with_chat).build(example, "zh").ids
    assert [tokenizer.decode(each) for each in prompt.continuations] == [expected]
    assert EOS not in prompt.continuations[0], "a special token written out in an answer is text"


def test_a_prompt_leaves_room_for_the_right_answer(chat: PreTrainedTokenizerFast) -> None:
    example = replace(question("c" * 900), gold=("g" * 40,))
    prompt = builder(chat, XQUAD_LIKELIHOOD).build(example, "en")
    assert (len(prompt.ids), len(prompt.continuations[0])) == (512 - 40, 40)
