"""Tasks of lm-evaluation-harness that ask as `python -m eval` asks; the YAML files beside name the class.

A class and not YAML alone, because a prompt is cut to its maximum length with the model's tokenizer, and its chat
markup counts: the harness tells a task whether there is any only when the prompt is made.
"""

import logging
from collections.abc import Mapping
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from clas_models.errors import InputError

from ..tasks import ExampleSource, Kind, Task, task_of
from ..templates import find_templates
from .examples import example_of, table_of
from .prompt_text import PromptText, load_harness_tokenizer
from .settings import HarnessSettings

_LOG = logging.getLogger(__name__)


class ProtocolTask(ConfigurableTask):
    """One language of a task of `python -m eval`: its examples, its prompts.

    Args:
        config: the YAML file, whose `dataset_kwargs` name the task, `protocol`, and the language; and in `metadata`
            what the user says (see `settings.py`).

    Raises InputError: something of that, or the data, cannot be used.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        named = config["dataset_kwargs"]
        self.protocol: Task = task_of(named["protocol"])
        self.language: str = named["language"]
        self._prompts: dict[bool, PromptText] = {}
        super().__init__(config={name: value for name, value in config.items() if name != "class"})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Read the examples, with the loader of `python -m eval`, from local files or the Hub."""
        language = self.language
        self.settings = HarnessSettings.of(self.config.metadata or {}, self.config.task, language)
        source = ExampleSource(self.settings.data_dir, say=_LOG.warning)
        examples = self.protocol.load([language], source)[language]
        templates = find_templates(self.protocol.template, self.settings.templates)
        self.dataset = {self.config.validation_split: table_of(examples, self.protocol, language, templates)}

    def fewshot_context(
        self,
        doc: Mapping[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        **others: Any,
    ) -> str:
        """The prompt of one row, cut, with chat markup if the harness was told so.

        Raises InputError: it is too long, or the user wants what the protocol has not.
        """
        if num_fewshot or system_instruction:
            raise InputError(
                f"{self.config.task}: its prompts have neither examples nor a system instruction; leave out "
                f"{'--num_fewshot' if num_fewshot else '--system_instruction'}"
            )
        return self._prompt_text(apply_chat_template).of(example_of(doc, self.protocol))

    def construct_requests(self, doc: Mapping[str, Any], ctx: str, **kwargs: Any) -> list[Instance] | Instance:
        """What the model is asked: a generation, or the likelihood of each choice."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        if self.protocol.kind is Kind.CHOICE:
            text = self._prompt_text(bool(kwargs.get("apply_chat_template")))
            for request in requests:
                request.arguments = text.split(*request.arguments)
        return requests

    def _prompt_text(self, chat: bool) -> PromptText:
        if chat not in self._prompts:
            tokenizer = load_harness_tokenizer(self.settings.tokenizer)
            self._prompts[chat] = PromptText(tokenizer, self.protocol, self.language, self.settings, chat)
        return self._prompts[chat]
