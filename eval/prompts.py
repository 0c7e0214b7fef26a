"""From an example to token ids: the template, the chat markup around it, and the cut to the maximum length.

What a template is, is the business of `templates`; what a model does with the ids that of `engine`.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from unicodedata import east_asian_width

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from clas_models.errors import InputError

from .tasks.task import Example, Kind, Task
from .templates import Filled, Template, Templates

# The chat templates of Llama 3 write a date into every prompt, some of them today's.  This is the one that those
# without a clock write; with it a run gives the same numbers on any day.
_DATE = "26 Jul 2024"
_WIDE = ("W", "F")  # of Unicode: ideographs, and punctuation as wide as they are
_CONTENT = "\ue000content\ue000"
_TEXT_ALONE = Template.parse("{text}", "the text alone")


@dataclass(frozen=True)
class Prompt:
    """What a model reads.

    Attributes:
        ids: the tokens.
        cut: how many tokens fewer they are than without the maximum length.
        bytes: bytes in UTF-8 of the text that the ids stand for, for a perplexity; 0 otherwise.
        text: what the ids were made of, chat markup included, for a program that makes them itself; without the
            tokens that the tokenizer adds of its own.
        continuations: the tokens of each of `Task.continuations` after `ids`; none where the task has none.
    """

    ids: tuple[int, ...]
    cut: int = 0
    bytes: int = 0
    text: str = field(default="", compare=False)
    continuations: tuple[tuple[int, ...], ...] = ()


class PromptBuilder:
    """Prompts of one task for one tokenizer.

    With a chat template a prompt is one user message and the beginning of the reply; without, it is the text between
    the special tokens that the tokenizer adds of its own.  There, the answer of a choice begins a line of its own, so
    that its token is the same as in a reply; a classification head answers at the end of the text.  For a perplexity it
    is the example's text alone.  A text that is read after a prompt has the tokens that it has when the model goes on
    with it there.

    A special token written out in an example, such as `<|im_end|>` in a paragraph about chat models, stays text; in a
    template it is the token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        templates: Templates | None,
        task: Task,
        max_length: int = 512,
        chat_template: bool = True,
    ) -> None:
        """
        Args:
            tokenizer: a fast one.
            templates: of the task, see `find_templates`; None for a perplexity, which has none.
            task: whose examples will come; with its `continuations`, where it has them.
            max_length: the most tokens of a prompt, with its longest continuation where there are any; tokens that a
                model adds to it do not count.
            chat_template: whether to use the tokenizer's; of no effect on a perplexity.

        Raises InputError: a tokenizer without a chat template although one is asked for, one that cannot be used, or a
        maximum length below 1.
        """
        if max_length < 1:
            raise InputError(f"maximum length is {max_length}: give 1 or more")
        self._tokenizer = tokenizer
        self._templates = templates or Templates(_TEXT_ALONE, {})
        self._task = task
        self.max_length = max_length
        self._chat = chat_template and task.kind is not Kind.PERPLEXITY
        self._before, self._after = _markup(tokenizer, task, self._chat)
        self._special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}

    def build(self, example: Example, language: str) -> Prompt:
        """The prompt of one example, with the template of its language.

        A prompt of more than the maximum length loses the end of the field `task.cut`, as few characters as need be,
        and nothing else.

        Raises InputError: the prompt is too long and the task has no such field, or is too long without it altogether;
            or a continuation changes the prompt's tokens.
        """
        fill = self._templates.of(language).fill
        whole = fill(example.fields)
        ids = self._ids(whole)
        texts = self._task.continuations(example) if self._task.continuations else {}
        continuations = tuple(self._continuation(whole, ids, example, language, *each) for each in texts.items())
        room = self.max_length - max(map(len, continuations), default=0)
        if len(ids) <= room:
            return self._prompt(ids, 0, whole, continuations)
        cut = self._task.cut
        if cut is None:
            raise self._too_long(example, language, len(ids), "nothing of it may be cut")
        shorten = partial(_shortened, example.fields, cut)
        # A character more is a token more or none, but for the rare word that is fewer tokens when it is whole.
        too_many = bisect_right(
            range(len(example.fields[cut])), room, key=lambda length: len(self._ids(fill(shorten(length))))
        )
        if too_many == 0:
            shortest = len(self._ids(fill(shorten(0))))
            raise self._too_long(example, language, shortest, f"that is without its {cut}")
        filled = fill(shorten(too_many - 1))
        shortened = self._ids(filled)
        return self._prompt(shortened, len(ids) - len(shortened), filled, continuations)

    def answer(self, text: str) -> tuple[int, ...]:
        """The tokens of an answer's text right after a prompt, whichever that is.

        A special token written out in it stays text.  Where the tokenizer joins the text with the prompt's end, the
        tokens are those of the text alone.
        """
        text = text.strip()
        prompt = self._tokenizer(self._after, add_special_tokens=False)["input_ids"]
        ids = self._tokenizer(self._after + text, add_special_tokens=False)["input_ids"]
        answered = ids[len(prompt) :]
        if ids[: len(prompt)] != prompt or self._special.intersection(answered):
            answered = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return tuple(answered)

    def _prompt(self, ids: list[int], cut: int, filled: Filled, continuations: tuple[tuple[int, ...], ...]) -> Prompt:
        # A perplexity's template is the text alone, without markup.
        counted = filled.text if self._task.kind is Kind.PERPLEXITY else ""
        text = self._before + filled.text + self._after
        return Prompt(tuple(ids), cut, len(counted.encode()), text, continuations)

    def _continuation(
        self, filled: Filled, ids: list[int], example: Example, language: str, name: str, text: str
    ) -> tuple[int, ...]:
        """The tokens of a text after a prompt."""
        continued = self._ids(filled, self._gap(filled) + text.strip())
        if continued[: len(ids)] != ids or len(continued) == len(ids):
            raise InputError(
                f"{self._task.name}, {language}, example {example.key}: with {name} after it the prompt has other "
                f"tokens to the tokenizer of {self._tokenizer.name_or_path}; leave out --scoring"
            )
        return tuple(continued[len(ids) :])

    def _gap(self, filled: Filled) -> str:
        """What stands between a prompt and its answer: the space of a text that goes on in its line, as in `Answer: 7`.

        Chat markup and the line of a choice bring what stands there; after a wide character, as in `答案：7`, is none.
        """
        if self._chat or self._after:
            return ""
        return "" if east_asian_width(filled.text[-1]) in _WIDE else " "

    def _ids(self, filled: Filled, more: str = "") -> list[int]:
        """The tokens of a prompt, and of what comes after it."""
        text = filled.text + self._after + more
        encoded = self._tokenizer(self._before + text, add_special_tokens=not self._chat, return_offsets_mapping=True)
        offset = len(self._before)
        fields = (*filled.fields, (len(text) - len(more), len(text)))
        ids: list[int] = []
        for id_, span in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            # A token that the tokenizer adds of its own spans no character, so it overlaps no field.
            start, end = span[0] - offset, span[1] - offset
            if id_ in self._special and any(first < end and start < last for first, last in fields):
                written = text[start:end]
                ids += self._tokenizer(written, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            else:
                ids.append(id_)
        return ids

    def _too_long(self, example: Example, language: str, tokens: int, why: str) -> InputError:
        return InputError(
            f"{self._task.name}, {language}, example {example.key}: the prompt has {tokens} tokens and {why}, "
            f"the maximum length is {self.max_length}; raise --max-length or shorten the template"
        )


def choice_ids(tokenizer: PreTrainedTokenizerBase, task: Task, chat_template: bool = True) -> tuple[int, ...]:
    """The token of every choice where the answer begins, right after a prompt of `PromptBuilder`.

    Args:
        tokenizer: the one of the prompts.
        task: one of choices.
        chat_template: as for the prompts.

    Returns:
        One id a choice, in the order of `task.choices`, all different.

    Raises InputError: a choice that is not one token there, or shares it with another; or as `PromptBuilder`.
    """
    _, after = _markup(tokenizer, task, chat_template)
    prompt = list(tokenizer(after, add_special_tokens=False)["input_ids"])
    ids: list[int] = []
    for choice in task.choices:
        answered = list(tokenizer(after + choice, add_special_tokens=False)["input_ids"])
        if answered[:-1] != prompt or answered[-1] in ids:
            raise InputError(
                f"{task.name}: the answer {choice!r} is not one token of its own to the tokenizer of "
                f"{tokenizer.name_or_path}; this task needs another model"
            )
        ids.append(answered[-1])
    return tuple(ids)


def _shortened(fields: Mapping[str, str], field: str, length: int) -> dict[str, str]:
    return {**fields, field: fields[field][:length]}


def _markup(tokenizer: PreTrainedTokenizerBase, task: Task, chat: bool) -> tuple[str, str]:
    """What stands before and after a template's text."""
    if not chat:
        return "", "\n" if task.kind is Kind.CHOICE and not task.by_head else ""
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer of {name} has no chat template: pass --no-chat-template")
    message = [{"role": "user", "content": _CONTENT}]
    try:
        rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, date_string=_DATE)
    except (TemplateError, ValueError) as error:
        fault = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"the chat template of {name} fails ({fault}): pass --no-chat-template") from error
    before, *rest = str(rendered).split(_CONTENT)
    if len(rest) != 1:
        raise InputError(f"the chat template of {name} does not write a message once: pass --no-chat-template")
    return before, rest[0]
