"""Prompts as the harness takes them, which is text: the same tokens as `prompts.py` makes.

The harness makes the token ids itself, in ways that are its own; what of that would make others is refused or told
here.
"""

import logging
from typing import Any

from transformers import AutoTokenizer

from clas_models.errors import InputError

from ..prompts import Prompt, PromptBuilder, choice_ids
from ..tasks import Example, Kind, Task
from ..templates import find_templates
from .settings import HarnessSettings

_LENGTH = 512  # tokens of a prompt, where a user says nothing
_LOG = logging.getLogger(__name__)


def load_harness_tokenizer(name: str) -> Any:
    """Raises InputError: there is none, or it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, RuntimeError) as error:
        fault = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name}: its tokenizer cannot be loaded ({fault}); name a checkpoint") from error


class PromptText:
    """Prompts of one task as text.

    Args:
        tokenizer: the one that the harness will use.
        task: whose examples will come.
        language: of these examples.
        settings: of the task.
        chat: whether the harness was told to apply the chat template.

    Raises InputError: templates or tokenizer cannot be used for the task.
    """

    def __init__(self, tokenizer: Any, task: Task, language: str, settings: HarnessSettings, chat: bool) -> None:
        limit = _LENGTH if settings.max_prompt_length is None else settings.max_prompt_length
        templates = find_templates(task.template, settings.templates)
        self._builder = PromptBuilder(tokenizer, templates, task, limit, chat)
        if task.kind is Kind.CHOICE:
            choice_ids(tokenizer, task, chat)  # refuses a choice of several tokens
        self._tokenizer = tokenizer
        self._language = language
        self._settings = settings
        self._chat = chat

    def of(self, example: Example) -> str:
        """The whole prompt of an example, chat markup included.

        Raises InputError: the example is too long, or the harness would add or leave out special tokens.
        """
        prompt = self._builder.build(example, self._language)
        self._check_tokens(prompt, example)
        return prompt.text

    def split(self, prompt: str, choice: str) -> tuple[str, str]:
        """The prompt and a choice after it as the harness takes them: a context and its continuation.

        The harness makes the tokens of the whole and of the context, and takes what is more of the first for the
        continuation.  Where the context ends within a token of the whole, as `Answer:` does where `:` and the line's
        end are one, it would put tokens together that no prompt has.  So the context ends where it is whole tokens,
        as late as it can; what the continuation begins with is the same for all choices.
        """
        whole = self._ids(prompt + choice)
        for end in range(len(prompt.rstrip()), 0, -1):
            context = prompt[:end]
            ids = self._ids(context)
            if not context[-1].isspace() and ids == whole[: len(ids)]:
                return context, prompt[end:] + choice
        return prompt, choice

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=not self._chat)["input_ids"])

    def _check_tokens(self, prompt: Prompt, example: Example) -> None:
        expected = list(prompt.ids)
        if self._ids(prompt.text) != expected:
            _LOG.warning(
                "%s: a special token is written out in it; `python -m eval` takes it as text, the harness as the token",
                example.key,
            )
            return
        # As `lm_eval.models.huggingface.HFLM.tok_encode` makes them.
        add, bos = self._settings.add_bos_token, self._tokenizer.bos_token
        if add is None:
            add = not (bos and prompt.text.startswith(bos))
        if list(self._tokenizer(prompt.text, add_special_tokens=bool(add))["input_ids"]) != expected:
            remedy = "add add_bos_token=False to" if self._chat else "leave add_bos_token= out of"
            raise InputError(
                f"{self._settings.tokenizer}: the harness would read other special tokens at the beginning of a prompt "
                f"than `python -m eval`; {remedy} --model_args"
            )
