"""A batch in which some rows' languages are named and others are left to the detector or to the configuration.

Whatever a list says of a row, the row is steered as if it had been alone with that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import tiny_steered
from detector_helpers import CHINESE, ENGLISH, FRENCH, GERMAN, rows, with_detector

NEW = 5
CONTENTS = [[GERMAN] * 4, [CHINESE] * 4, [GERMAN] * 4, [ENGLISH, 1, 2, GERMAN], [FRENCH] * 4]
# What a server is asked, what that is where config.language is "auto", and where it is "zh".
ASKED = ["hi", "auto", None, "AUTO", "ger"]
WITH_AUTO = ["hi", "zh", "de", "en", "de"]
WITH_CHINESE = ["hi", "zh", "zh", "en", "de"]


def generate(model: Any, ids: Any, **options: Any) -> Any:
    return model.generate(ids, min_new_tokens=NEW, max_new_tokens=NEW, **{"do_sample": False, **options})


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("default", "named"), [("auto", WITH_AUTO), ("zh", WITH_CHINESE)])
def test_forward(family: Any, default: str, named: list[str]) -> None:
    model, (ids, mask) = with_detector(family, language=default), rows(*CONTENTS)
    asked = model(ids, attention_mask=mask, language=ASKED).logits
    assert torch.equal(asked, model(ids, attention_mask=mask, language=named).logits)
    assert torch.equal(asked, model(ids, attention_mask=mask, language=tuple(ASKED)).logits)
    others = [model(ids, attention_mask=mask, language=code).logits for code in ("auto", "en", "de")]
    assert not any(torch.equal(asked, other) for other in others)


@pytest.mark.parametrize("head", ["sequence_classification", "token_classification", "question_answering"])
def test_heads(family: Any, head: str) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS)
    other = getattr(family, head)(model.config).eval()
    other.model.load_state_dict(model.model.state_dict())
    asked, named, english = (other(ids, attention_mask=mask, language=which)[0] for which in (ASKED, WITH_AUTO, "en"))
    assert torch.equal(asked, named)
    assert not torch.equal(asked, english)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}], ids=["greedy", "beams", "returned"]
)
def test_generation(family: Any, options: dict[str, int], left: bool) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS, left=left)
    asked = generate(model, ids, attention_mask=mask, language=ASKED, **options)
    assert torch.equal(asked, generate(model, ids, attention_mask=mask, language=WITH_AUTO, **options))
    assert not torch.equal(asked, generate(model, ids, attention_mask=mask, language="en", **options))


def test_a_request_of_a_server_names_them_in_its_generation_configuration(family: Any) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS, left=True)
    model.generation_config.language = ASKED
    asked = generate(model, ids, attention_mask=mask)
    model.generation_config.language = "zh"
    assert torch.equal(asked, generate(model, ids, attention_mask=mask, language=WITH_AUTO))
    filled = generate(model, ids, attention_mask=mask, language=ASKED)
    assert torch.equal(filled, generate(model, ids, attention_mask=mask, language=WITH_CHINESE))


def test_a_continued_chat_keeps_what_each_row_was(family: Any) -> None:
    """The second turn is in a third language, which a look at the whole chat would find."""
    model = with_detector(family)
    ids = torch.tensor([[GERMAN] * 4, [GERMAN] * 4])
    first = generate(model, ids, language=["zh", "auto"], return_dict_in_generate=True)
    turn = torch.cat([first.sequences, torch.tensor([[FRENCH] * 8] * 2)], dim=1)
    continued = generate(model, turn, language=["zh", "auto"], past_key_values=first.past_key_values)
    again = generate(model, ids, language=["zh", "de"], return_dict_in_generate=True)
    named = generate(model, turn, language=["zh", "de"], past_key_values=again.past_key_values)
    assert torch.equal(continued, named)
    assert not torch.equal(continued, generate(model, turn, language=["zh", "auto"]))


def test_without_a_detector_a_row_may_be_left_to_the_configuration_only(family: Any) -> None:
    ids, mask = rows(*CONTENTS)
    model = tiny_steered(family, language="de")
    logits = model(ids, attention_mask=mask, language=["hi", None, None, "en", "zh"]).logits
    assert torch.equal(logits, model(ids, attention_mask=mask, language=["hi", "de", "de", "en", "zh"]).logits)
    unnamed = tiny_steered(family, language=None)
    logits = unnamed(ids, attention_mask=mask, language=["hi", None, "de", "en", "zh"]).logits
    assert torch.equal(logits, unnamed(ids, attention_mask=mask, language=torch.tensor([3, 4, 1, 0, 2])).logits)
    for run in (model, model.generate):
        with pytest.raises(ValueError, match="the checkpoint has no language detector"):
            run(ids, attention_mask=mask, language=ASKED)


def test_one_entry_a_row_and_each_a_language(family: Any) -> None:
    model, (ids, mask) = with_detector(family), rows(*CONTENTS)
    for run in (model, model.generate):
        with pytest.raises(ValueError, match="language: 2 entries for a batch of 5 rows"):
            run(ids, attention_mask=mask, language=["auto", "de"])
        with pytest.raises(ValueError, match=r"language\[1\]: 'Germn' is not a language code \(did you mean 'de'"):
            run(ids, attention_mask=mask, language=["auto", "Germn", "de", "de", "de"])


def test_a_row_cannot_be_recognised_where_rows_are_shared(family: Any) -> None:
    model = with_detector(family)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    with pytest.raises(ValueError, match="several sequences share a row"):
        model(torch.tensor([[GERMAN] * 6]), position_ids=positions, language=["auto"])


@pytest.mark.slow
def test_a_compiled_graph_has_them_too(family: Any) -> None:
    model, (ids, _) = with_detector(family), rows(*CONTENTS)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(ids, language=ASKED).logits, model(ids, language=WITH_AUTO).logits)
