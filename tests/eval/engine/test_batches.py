"""The plan: every prompt once, what shares a beginning together, the same plan whatever is done already."""

import pytest

from clas_models.errors import InputError
from eval.engine.batches import plan_batches, shared_length, whole_batches

from .support import mixed_prompts, question_prompts, random_tokens


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_every_prompt_is_in_one_batch(batch_size: int) -> None:
    prompts = mixed_prompts()
    plan = plan_batches(prompts, batch_size)
    assert sorted(index for batch in plan for index in batch) == list(range(len(prompts)))
    assert all(1 <= len(batch) <= batch_size for batch in plan)
    assert plan == plan_batches([tuple(prompt) for prompt in prompts], batch_size)


def test_the_questions_of_a_paragraph_stay_together() -> None:
    assert plan_batches(question_prompts(3, 4), 8) == [[8, 9, 10, 11, 4, 5, 6, 7], [0, 1, 2, 3]]


def test_a_batch_is_not_filled_with_a_part_of_a_group() -> None:
    assert plan_batches(question_prompts(3, 4), 6) == [[8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]


def test_a_group_larger_than_a_batch_is_parted() -> None:
    assert plan_batches(question_prompts(2, 5), 2) == [[9], [7, 8], [5, 6], [4], [2, 3], [0, 1]]


def test_an_instruction_that_all_share_does_not_hold_prompts_together() -> None:
    instruction = random_tokens(60, 0)
    prompts = [instruction + random_tokens(length, 1 + length) for length in (5, 20, 9, 30)]
    assert plan_batches(prompts, 2) == [[3, 1], [2, 0]]


def test_a_premise_after_the_instruction_holds_its_hypotheses_together() -> None:
    instruction = random_tokens(40, 0)
    premises = [instruction + random_tokens(10, 1), instruction + random_tokens(12, 2)]
    prompts = [premise + random_tokens(length, length) for premise in premises for length in (3, 9, 4)]
    assert plan_batches(prompts, 3) == [[3, 4, 5], [0, 1, 2]]


def test_a_short_common_beginning_counts_for_nothing() -> None:
    prompts = [random_tokens(31, 0) + [token] * length for token, length in ((1, 4), (2, 1), (3, 9))]
    assert plan_batches([*prompts, [5]], 1) == [[2], [0], [1], [3]]


def test_no_prompts_make_no_batches() -> None:
    assert plan_batches([], 4) == []


def test_whole_batches_counts_only_finished_ones() -> None:
    plan = [[4, 5, 6], [1], [0, 2, 3]]
    assert [whole_batches(plan, done) for done in range(9)] == [0, 0, 0, 1, 2, 2, 2, 3, 3]


def test_shared_length_ends_with_the_shorter_prompt() -> None:
    assert shared_length([1, 2, 3], [1, 2]) == 2
    assert shared_length([1, 2, 3], [1, 4, 3]) == 1
    assert shared_length([], [1]) == 0


def test_a_prompt_without_tokens_is_named() -> None:
    with pytest.raises(InputError, match="prompt 1: it has no tokens"):
        plan_batches([[1], []], 2)


def test_a_batch_holds_at_least_one() -> None:
    with pytest.raises(InputError, match="batch size: 0 is not positive"):
        plan_batches([[1]], 0)
