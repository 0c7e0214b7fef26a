"""The detector alone: what counts as evidence, what does not, and what it can never depend on."""

from __future__ import annotations

import copy

import pytest
import torch
from detector_helpers import (
    BEGIN,
    CHINESE,
    ENGLISH,
    FRENCH,
    GERMAN,
    NAME,
    NEUTRAL,
    PAD,
    PIECE,
    SHOUT,
    STRANGE,
    rows,
    small_detector,
)

EN, DE, ZH, OTHER = 0, 1, 2, 4


def ids_of(*contents: list[int]) -> list[int]:
    """The detector's answer to several rows in one padded batch."""
    width = max(map(len, contents))
    return small_detector()(*rows(*contents, width=width)).language_ids.tolist()


def test_each_language_is_recognised_from_two_words() -> None:
    found = ids_of([GERMAN] * 2, [CHINESE] * 2, [ENGLISH] * 2, [FRENCH] * 2, [STRANGE] * 2)
    assert found == [DE, ZH, EN, OTHER, OTHER]


def test_thin_evidence_is_the_anchor() -> None:
    assert ids_of([], [NEUTRAL] * 8, [GERMAN], [NEUTRAL, CHINESE, NEUTRAL], [BEGIN] * 4) == [EN] * 5


def test_a_batch_without_tokens_is_the_anchor() -> None:
    assert small_detector()(torch.zeros(3, 0, dtype=torch.long)).language_ids.tolist() == [EN] * 3


def test_neutral_tokens_carry_no_weight() -> None:
    alone, among = small_detector()(*rows([GERMAN] * 3)), small_detector()(*rows([NEUTRAL, *[GERMAN, NEUTRAL] * 3]))
    assert torch.equal(alone.evidence, among.evidence)
    assert torch.equal(alone.threshold, among.threshold)


def test_content_decides_and_not_the_wrapper_around_it() -> None:
    wrapper = [ENGLISH] * 40
    assert ids_of([*wrapper, *[GERMAN] * 6, *wrapper], [*wrapper, *[CHINESE] * 6], wrapper) == [DE, ZH, EN]


def test_long_anchor_text_needs_more_evidence() -> None:
    decision = small_detector()(*rows([ENGLISH] * 9, [ENGLISH] * 4, [NEUTRAL] * 9))
    assert decision.threshold.tolist() == [9.0, 8.0, 6.0]


def test_names_in_a_row_count_once_and_little() -> None:
    decision = small_detector()(*rows([NAME] * 4, [NAME, ENGLISH, NAME], [GERMAN] * 4))
    assert decision.evidence[:, 0].tolist() == [1.5, 1.5, 16.0]
    assert decision.language_ids.tolist() == [EN, EN, DE]


def test_words_in_capitals_are_names_only_where_they_stand_alone() -> None:
    """A text that is written in capitals is a text; an acronym among other words is a name."""
    decision = small_detector()(*rows([SHOUT] * 4, [ENGLISH, SHOUT, ENGLISH], [SHOUT, ENGLISH, SHOUT]))
    assert decision.evidence[:, 0].tolist() == [1.5 + 3 * 4, 1.5, 1.5]
    assert decision.language_ids.tolist() == [DE, EN, EN]


def test_a_language_that_was_not_profiled_must_be_ahead_by_its_handicap() -> None:
    """French is known, but not profiled; it still keeps a row from being the anchor's."""
    contents = [FRENCH] * 3 + [GERMAN] * 2, [FRENCH] * 5 + [GERMAN] * 2, [FRENCH] * 2, [STRANGE] * 2
    ids, mask = rows(*contents)
    assert small_detector()(ids, mask).language_ids.tolist() == [OTHER] * 4
    found = small_detector(handicap=6.0)(ids, mask)
    assert found.language_ids.tolist() == [DE, OTHER, OTHER, OTHER]
    assert torch.equal(found.evidence.amax(1), small_detector()(ids, mask).evidence.amax(1))


def test_below_the_floor_a_row_is_the_anchors() -> None:
    ids, mask = rows([GERMAN] * 2, [GERMAN] * 9, [STRANGE] * 2, [ENGLISH] * 2)
    free = small_detector(temperature=4.0)(ids, mask)
    sure = free.confidences.gather(1, free.names[:, None]).squeeze(1)
    assert free.language_ids.tolist() == [DE, DE, OTHER, EN]
    assert sure[0] < 0.6 < sure[1]
    assert sure[2] < 0.6
    held = small_detector(temperature=4.0, floor=0.6)(ids, mask)
    assert held.language_ids.tolist() == [EN, DE, EN, EN]
    assert held.names.tolist() == [0, 1, 0, 0]
    assert torch.equal(held.confidences, free.confidences)


def test_a_higher_temperature_makes_less_sure_and_changes_no_answer() -> None:
    ids, mask = rows([GERMAN] * 3, [CHINESE] * 4, [ENGLISH] * 3, [STRANGE] * 3)
    hot, cold = small_detector(temperature=3.0)(ids, mask), small_detector()(ids, mask)
    assert torch.equal(hot.language_ids, cold.language_ids)
    assert (hot.confidences.amax(1) < cold.confidences.amax(1)).all()
    assert hot.confidences.shape == (4, 1 + 3 + 1), "the anchor, three languages, all others"
    assert torch.allclose(hot.confidences.sum(1), torch.ones(4))


def test_one_word_counts_for_no_more_than_a_word_however_many_pieces_it_has() -> None:
    decision = small_detector()(*rows([GERMAN, PIECE, PIECE, PIECE], [GERMAN, PIECE], [GERMAN] * 2))
    assert decision.evidence[:, 0].tolist() == [5.0, 5.0, 8.0]


def test_the_best_stretch_counts_and_not_the_last_one() -> None:
    assert ids_of([GERMAN] * 4 + [CHINESE] * 2, [CHINESE] * 2 + [GERMAN] * 4) == [DE, DE]


@pytest.mark.parametrize("left", [False, True])
def test_padding_is_not_seen(left: bool) -> None:
    contents = [[GERMAN] * 3, [PIECE, GERMAN, CHINESE], [NAME, PIECE], [ENGLISH, GERMAN]]
    expected = [small_detector()(torch.tensor([row])) for row in contents]
    for width, value in ((4, PAD), (30, PAD), (30, GERMAN), (30, PIECE)):
        ids, mask = rows(*contents, width=width, left=left)
        found = small_detector()(torch.where(mask.bool(), ids, value), mask)
        for row, decision in enumerate(expected):
            assert torch.equal(found.evidence[row], decision.evidence[0])
            assert torch.equal(found.threshold[row], decision.threshold[0])


def test_padding_with_a_token_that_is_no_text_needs_no_mask() -> None:
    ids, mask = rows([GERMAN] * 3, [PIECE, GERMAN], left=True)
    assert torch.equal(small_detector()(ids).evidence, small_detector()(ids, mask).evidence)


def test_rows_do_not_depend_on_each_other() -> None:
    contents = [[GERMAN] * 3, [CHINESE] * 9, [ENGLISH, NAME, GERMAN]]
    together = small_detector()(*rows(*contents))
    for row, content in enumerate(contents):
        assert torch.equal(together.evidence[row], small_detector()(torch.tensor([content])).evidence[0])


@pytest.mark.parametrize("bad", [-1, 260, 2**40])
def test_ids_outside_the_vocabulary_are_an_error(bad: int) -> None:
    with pytest.raises(IndexError, match=rf"input_ids: {bad} is outside the detector's 260 tokens"):
        small_detector()(torch.tensor([[GERMAN, bad]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_cast_does_not_touch_the_tables(dtype: torch.dtype) -> None:
    detector, batch = small_detector(), rows([GERMAN] * 3, [ENGLISH, NAME])
    cast = copy.deepcopy(detector).to(dtype)
    assert {name: table.dtype for name, table in cast.named_buffers()} == {
        "evidence": torch.int8,
        "kinds": torch.uint8,
        "limits": torch.int32,
    }
    assert torch.equal(cast(*batch).evidence, detector(*batch).evidence)


def test_another_anchor() -> None:
    """Against German: its own words are what the table calls 'de', which has no column of its own then."""
    detector = small_detector(languages=["fr", "it", "zh"], anchor="it")
    assert detector(*rows([CHINESE] * 2, [FRENCH] * 2, [GERMAN] * 2, [ENGLISH] * 2)).language_ids.tolist() == [
        2,
        0,
        3,
        1,
    ]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_to_one_graph(backend: str) -> None:
    detector, batch = small_detector(), rows([GERMAN] * 3, [ENGLISH] * 4, [STRANGE] * 5, [])
    compiled = torch.compile(detector, fullgraph=True, backend=backend)
    for found, expected in zip(compiled(*batch), detector(*batch), strict=True):
        assert torch.equal(found, expected)


def test_new_tokens_of_a_resized_embedding_say_nothing() -> None:
    detector, batch = small_detector(), rows([GERMAN] * 3, [ENGLISH] * 4)
    expected = detector(*batch).evidence
    detector.resize(300)
    assert torch.equal(detector(*batch).evidence, expected)
    assert detector(torch.full((1, 8), 299)).language_ids.tolist() == [EN]
    detector.resize(260)
    assert torch.equal(detector(*batch).evidence, expected)
