"""`language="auto"` in a model: each row is steered as if its language had been named, once for the whole sequence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from detector_helpers import BEGIN, CHINESE, ENGLISH, FRENCH, GERMAN, NEUTRAL, PAD, STRANGE, rows, with_detector
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, DynamicCache, pipeline

NEW = 5
CONTENTS = [[ENGLISH, 1, 2, 3, 4], [GERMAN] * 3, [1, CHINESE, CHINESE, 2, 3, CHINESE], [FRENCH] * 4, []]
LANGUAGES = ["en", "de", "zh", "fr", "en"]
SOME = slice(0, 4)  # without the empty row, which attention cannot take


def generate(model: Any, tokens: Any = None, **options: Any) -> Any:
    return model.generate(tokens, min_new_tokens=NEW, max_new_tokens=NEW, **{"do_sample": False, **options})


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("left", [False, True])
def test_mixed_batch_equals_rows_alone_with_their_language_named(family: Any, left: bool) -> None:
    model = with_detector(family).double()
    ids, mask = rows(*CONTENTS[SOME], left=left)
    mixed = model(ids, attention_mask=mask).logits
    for row, (content, language) in enumerate(zip(CONTENTS[SOME], LANGUAGES, strict=False)):
        alone = model(torch.tensor([content]), language=language).logits[0]
        place = slice(-len(content), None) if left else slice(0, len(content))
        # The angles of positions are float32 in every model, so another position costs a few bits.
        torch.testing.assert_close(mixed[row, place], alone, rtol=0, atol=1e-4 if left else 1e-9)
        assert torch.equal(mixed[row], model(ids, attention_mask=mask, language=LANGUAGES[SOME]).logits[row])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_anchor_rows_are_the_plain_models_bit_for_bit(family: Any, dtype: torch.dtype) -> None:
    ids, mask = rows(*CONTENTS[SOME])
    plain = tiny_plain(family).to(dtype)(ids, attention_mask=mask).logits
    auto = with_detector(family).to(dtype)(ids, attention_mask=mask).logits
    assert [torch.equal(a, b) for a, b in zip(auto, plain, strict=True)] == [True, False, False, False]


def test_an_explicit_language_wins(family: Any) -> None:
    model, (ids, _) = with_detector(family), rows([GERMAN] * 9)
    expected = {code: tiny_steered(family)(ids, language=code).logits for code in ("en", "de", "zh")}
    for code, logits in expected.items():
        assert torch.equal(model(ids, language=code).logits, logits)
        assert torch.equal(model(ids, language=[code]).logits, logits)
        assert torch.equal(model(ids, language=torch.tensor([model.config.languages.index(code)])).logits, logits)
    assert torch.equal(model(ids).logits, expected["de"])
    model.config.language = "zh"
    assert torch.equal(model(ids).logits, expected["zh"])
    assert torch.equal(model(ids, language="auto").logits, expected["de"])


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
@pytest.mark.parametrize("left", [True, False])
def test_generation_keeps_what_the_prompt_decided(family: Any, options: dict[str, Any], left: bool) -> None:
    """Whatever is generated: with the language named, the same tokens come out."""
    model = with_detector(family)
    ids, mask = rows(*CONTENTS[SOME], left=left)
    auto = generate(model, ids, attention_mask=mask, **options)
    named = generate(model, ids, attention_mask=mask, language=LANGUAGES[SOME], **options)
    assert torch.equal(auto, named)
    assert not torch.equal(auto, generate(model, ids, attention_mask=mask, language="en", **options))
    assert torch.equal(auto[0], generate(tiny_plain(family), ids, attention_mask=mask, **options)[0])


def test_generation_without_a_mask_and_with_keywords(family: Any) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS[SOME], left=True)
    expected = generate(model, ids, attention_mask=mask, language=LANGUAGES[SOME])
    assert torch.equal(generate(model, ids), expected)  # generate() finds the padding by itself
    assert torch.equal(generate(model, input_ids=ids, attention_mask=mask, language="auto"), expected)


def test_returned_samples_follow_their_prompt(family: Any) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS[SOME], left=True)

    def sample(language: Any) -> Any:
        torch.manual_seed(3)
        options = {"do_sample": True, "top_k": 0, "num_return_sequences": 3, "attention_mask": mask}
        return generate(model, ids, language=language, **options)

    assert torch.equal(sample("auto"), sample(LANGUAGES[SOME]))
    assert not torch.equal(sample("auto"), sample("en"))


def test_generation_from_nothing_is_the_anchor(family: Any) -> None:
    plain, model = tiny_plain(family), with_detector(family)
    assert torch.equal(generate(model), generate(plain))
    assert torch.equal(generate(model, torch.tensor([[BEGIN]])), generate(plain, torch.tensor([[BEGIN]])))


@pytest.mark.parametrize("first", [[GERMAN] * 4, [ENGLISH] * 4], ids=["de", "en"])
@pytest.mark.parametrize("given", [True, False], ids=["cache of the caller", "cache that was returned"])
def test_continued_chat_keeps_the_first_decision(family: Any, first: list[int], given: bool) -> None:
    """The second turn is in a third language, which a look at the whole chat would find."""
    model, language = with_detector(family), "de" if first[0] == GERMAN else "en"
    prompt, turn = torch.tensor([first]), torch.tensor([[CHINESE] * 8])

    def chat(language: str) -> Any:
        cache = DynamicCache() if given else None
        options = {"language": language, "return_dict_in_generate": True}
        reply = generate(model, prompt, past_key_values=cache, **options)
        whole = torch.cat([reply.sequences, turn], dim=1)
        kept = cache if given else reply.past_key_values
        return generate(model, whole, past_key_values=kept, language=language)

    assert torch.equal(chat("auto"), chat(language))
    assert not torch.equal(chat("auto"), chat("zh"))


def test_a_cache_that_was_emptied_is_decided_anew(family: Any) -> None:
    model, cache = with_detector(family), DynamicCache()
    generate(model, torch.tensor([[GERMAN] * 4]), past_key_values=cache)
    cache.crop(0)
    prompt = torch.tensor([[CHINESE] * 4])
    assert torch.equal(generate(model, prompt, past_key_values=DynamicCache()), generate(model, prompt, language="zh"))


def test_what_cannot_be_decided_is_an_error_that_names_the_remedy(family: Any) -> None:
    model, (ids, _) = with_detector(family), rows([GERMAN] * 9)
    embeddings = model.get_input_embeddings()(ids)
    with pytest.raises(ValueError, match=r"inputs_embeds alone; pass language="):
        model(inputs_embeds=embeddings)
    with pytest.raises(ValueError, match=r"inputs_embeds alone; pass language="):
        generate(model, inputs_embeds=embeddings)
    cache = model(ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match=r"cached step without its prompt; pass language="):
        model(ids[:, :1], past_key_values=cache)
    expected = model(ids[:, :1], past_key_values=copy.deepcopy(cache), language="de").logits
    assert torch.equal(model(ids[:, :1], past_key_values=cache, language="de").logits, expected)
    assert model(inputs_embeds=embeddings, language="de").logits.shape == (1, 9, 260)


def test_ids_outside_the_vocabulary_are_an_error(family: Any) -> None:
    model = with_detector(family)
    for bad in (-1, 260):
        ids = torch.tensor([[GERMAN, bad]])
        for call in (model, model.generate, model.detect_language):
            with pytest.raises(IndexError, match=rf"{bad} is outside"):
                call(ids)


def test_without_a_detector_auto_is_refused_and_all_else_works(family: Any) -> None:
    model, (ids, _) = tiny_steered(family), rows([GERMAN] * 9)
    assert model.base_model.language_detector is None
    assert model(ids, language="de").logits.shape == (1, 9, 260)
    for call in (lambda: model(ids, language="auto"), lambda: generate(model, ids, language="auto")):
        with pytest.raises(ValueError, match="no language detector"):
            call()
    with pytest.raises(ValueError, match="no language detector"):
        model.detect_language(ids)


def test_detect_language_names_what_it_would_do(family: Any) -> None:
    model = with_detector(family)
    ids, mask = rows(*CONTENTS, [STRANGE] * 3)
    found = model.detect_language(ids, mask)
    assert [row.code for row in found] == [*LANGUAGES, "other"]
    assert [row.language_id for row in found] == [0, 1, 2, 4, 0, 4]
    for row in found:
        assert list(row.confidences) == ["en", "de", "zh", "fr", "other"]
        assert sum(row.confidences.values()) == pytest.approx(1)
        assert row.confidence == row.confidences[row.code] == max(row.confidences.values())
    assert model.base_model.detect_language(ids, mask) == found


def test_a_floor_can_be_given_when_loading(family: Any, tmp_path: Path) -> None:
    with_detector(family, detector_temperature=4.0).save_pretrained(tmp_path)
    ids, mask = rows([GERMAN] * 2, [GERMAN] * 9)
    free = family.causal_lm.from_pretrained(tmp_path)
    assert [row.code for row in free.detect_language(ids, mask)] == ["de", "de"]
    careful = family.causal_lm.from_pretrained(tmp_path, detector_floor=0.6)
    assert [row.code for row in careful.detect_language(ids, mask)] == ["en", "de"]
    assert torch.equal(
        careful(ids, attention_mask=mask).logits[0], free(ids, attention_mask=mask, language="en").logits[0]
    )
    careful.save_pretrained(tmp_path / "careful")
    again = family.causal_lm.from_pretrained(tmp_path / "careful")
    assert again.config.detector_floor == 0.6
    with pytest.raises(ValueError, match="detector_floor: 2 is no confidence"):
        family.causal_lm.from_pretrained(tmp_path, detector_floor=2)


@pytest.mark.slow
def test_compiled_model_decides_in_its_graph(family: Any) -> None:
    model = with_detector(family)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for contents in (CONTENTS[SOME], [[CHINESE] * 3, [ENGLISH] * 5, [GERMAN] * 4, [NEUTRAL] * 3]):
        ids, mask = rows(*contents)
        expected = model(ids, attention_mask=mask, use_cache=False).logits
        assert torch.equal(compiled(ids, attention_mask=mask, use_cache=False).logits, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_save_and_reload(family: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS[SOME])
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    assert again.config.language == "auto"
    found = again(ids, attention_mask=mask).logits
    assert torch.equal(found, again(ids, attention_mask=mask, language=LANGUAGES[SOME]).logits)
    if dtype == torch.float32:
        assert torch.equal(found, model(ids, attention_mask=mask).logits)
    for name, table in model.model.language_detector.named_buffers():
        found = getattr(again.model.language_detector, name)
        assert found.dtype == table.dtype
        assert torch.equal(found, table)
    decoder = AutoModel.from_pretrained(tmp_path, dtype=dtype)
    assert decoder.detect_language(ids, mask) == model.detect_language(ids, mask)
    named = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype, language="de")
    assert torch.equal(named(ids).logits, again(ids, language="de").logits)


def test_other_heads_decide_too(family: Any, tmp_path: Path) -> None:
    with_detector(family).save_pretrained(tmp_path)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).eval()
    ids, mask = rows(*CONTENTS[SOME])
    auto = classifier(ids, attention_mask=mask).logits
    assert torch.equal(auto, classifier(ids, attention_mask=mask, language=LANGUAGES[SOME]).logits)
    assert not torch.equal(auto, classifier(ids, attention_mask=mask, language="en").logits)


def test_a_detector_that_is_missing_is_refused_on_load(family: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="language detector"):
        AutoModelForCausalLM.from_pretrained(tmp_path, language="auto")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "detector_languages": ["de"], "language": "auto"}))
    with pytest.raises(ValueError, match=r"no 'model.language_detector.evidence'; clas-convert adds a detector"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_resized_embeddings_take_the_detector_with_them(family: Any, tmp_path: Path) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS[SOME])
    expected = model.detect_language(ids, mask)
    model.resize_token_embeddings(270)
    assert model.detect_language(ids, mask) == expected
    assert [row.code for row in model.detect_language(torch.full((1, 9), 269))] == ["en"]
    model.save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).detect_language(ids, mask) == expected


def test_more_languages_than_the_detector_knows(family: Any) -> None:
    """What the detector says is mapped by code: Hindi is profiled and never found, French is found and not profiled."""
    model = with_detector(family, languages=["hi", "en", "zh"], alpha=1.0)
    found = model.detect_language(*rows(*CONTENTS))
    assert [(row.code, row.language_id) for row in found] == [("en", 1), ("de", 3), ("zh", 2), ("fr", 3), ("en", 1)]


def test_pipeline_needs_no_language(family: Any, tokenizer: Any) -> None:
    model = with_detector(family)
    model.generation_config.pad_token_id = PAD
    text = tokenizer.decode([GERMAN] * 4)
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    options = {"max_new_tokens": NEW, "do_sample": False, "return_full_text": False}
    assert generator(text, **options) == generator(text, language="de", **options)
    assert generator(text, **options) != generator(text, language="en", **options)


def test_what_was_detected_is_told_in_a_line(family: Any) -> None:
    model = with_detector(family)
    (german,) = model.detect_language(torch.tensor([[GERMAN] * 9]))
    assert repr(german) == "DetectedLanguage('de' 1.00, then 'en' 0.00)"
