"""`pipeline("text-generation")` and streamers with a steered checkpoint."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from integration_helpers import save_plain, save_steered
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer, pipeline

from clas_models.modeling.language_detector import DetectorLimits

PROMPTS = ["Guten Tag!", "Wie geht es dir heute?", "Ja."]
CHAT = [{"role": "user", "content": "Guten Tag!"}]
NEW = 8


@pytest.fixture
def folder(family: Any, tmp_path: Path) -> Path:
    return save_steered(tmp_path / "steered", family)


def answers(pipe: Any, prompts: list[Any], **options: Any) -> list[str]:
    """What a pipeline adds to the prompts."""
    results = pipe(prompts, max_new_tokens=NEW, do_sample=False, return_full_text=False, **options)
    return [result["generated_text"] for (result,) in results]


def expected(folder: Path, prompts: list[Any], **language: Any) -> list[str]:
    """What the model says to each prompt alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = []
    for prompt in prompts:
        if not isinstance(prompt, str):
            prompt = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        texts.append(tokenizer.decode(model.generate(ids, max_new_tokens=NEW, **language)[0, ids.shape[1] :]))
    return texts


@pytest.mark.parametrize("prompts", [PROMPTS, [CHAT, CHAT * 3]], ids=["texts", "chats"])
def test_a_pipeline_takes_a_language(family: Any, folder: Path, prompts: list[Any], tmp_path: Path) -> None:
    pipe = pipeline("text-generation", model=str(folder))
    german, english = answers(pipe, prompts, language="de"), answers(pipe, prompts, language="en")
    assert german == expected(folder, prompts, language="de")
    assert english == expected(save_plain(tmp_path / "plain", family), prompts)
    assert german != english
    assert answers(pipe, prompts, language="de", batch_size=2) == german


def test_the_language_of_the_checkpoint_is_the_default(folder: Path) -> None:
    pipe = pipeline("text-generation", model=str(folder), model_kwargs={"language": "de"})
    assert answers(pipe, PROMPTS) == expected(folder, PROMPTS, language="de")
    assert answers(pipe, PROMPTS, language="en") == expected(folder, PROMPTS, language="en")


def test_the_detector_decides_for_every_prompt_of_a_batch(family: Any, tmp_path: Path) -> None:
    folder = save_steered(tmp_path, family, detector_languages=["de", "zh"], language="auto")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    evidence = torch.full((260, 4), -1.0)
    evidence[tokenizer("!").input_ids, 0] = 7.0  # the German tend to shout
    invisible = torch.arange(260) >= 256
    model.model.language_detector.fill(
        evidence,
        starts_word=~invisible,
        name_like=invisible & False,
        shouts=invisible & False,
        invisible=invisible,
        limits=DetectorLimits(7, 1, 1, 5, 0),
    )
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    german, english = expected(folder, PROMPTS, language="de"), expected(folder, PROMPTS, language="en")
    assert answers(pipe, PROMPTS, batch_size=3) == [german[0], *english[1:]]
    assert german[0] != english[0]


def test_streamers_of_several_threads_follow_their_languages(folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(PROMPTS[0], return_tensors="pt")
    streamers = {code: TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60) for code in ("de", "en", "zh")}
    threads = [
        Thread(target=model.generate, kwargs={**inputs, "max_new_tokens": NEW, "language": code, "streamer": streamer})
        for code, streamer in streamers.items()
    ]
    for thread in threads:
        thread.start()
    said = {code: list(streamer) for code, streamer in streamers.items()}
    for thread in threads:
        thread.join()
    for code, pieces in said.items():
        assert "".join(pieces) == expected(folder, PROMPTS[:1], language=code)[0]
    assert said["de"] != said["en"]
