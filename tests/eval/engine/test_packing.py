"""A pack is the tree of its prompts: each beginning once, each token after exactly those before it in its prompt."""

import torch

from eval.engine.packing import Pack, pack_prompts

from .support import mixed_prompts, question_prompts, random_tokens


def beginnings(prompts: list[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(prompt[: end + 1]) for prompt in prompts for end in range(len(prompt))}


def text_up_to(pack: Pack, token: int, visible: torch.Tensor) -> tuple[int, ...]:
    """The tokens that one attends to, by their positions."""
    seen = visible[token].nonzero()[:, 0]
    in_order = seen[pack.position_ids[seen].argsort()]
    assert pack.position_ids[in_order].tolist() == list(range(len(in_order)))
    return tuple(pack.ids[in_order].tolist())


def test_every_beginning_stands_once_and_sees_itself_alone() -> None:
    prompts = mixed_prompts()
    (pack,) = pack_prompts(prompts)
    assert len(pack.ids) == len(beginnings(prompts)) < sum(map(len, prompts))
    seen = [text_up_to(pack, token, pack.visible()) for token in range(len(pack.ids))]
    assert set(seen) == beginnings(prompts)


def test_a_path_spells_its_prompt() -> None:
    prompts = mixed_prompts()
    (pack,) = pack_prompts(prompts)
    assert sorted(pack.rows) == list(range(len(prompts)))
    for row, path, last in zip(pack.rows, pack.paths, pack.last, strict=True):
        assert pack.ids[path].tolist() == prompts[row]
        assert path[-1] == last


def test_a_window_hides_what_is_too_far_back_in_the_own_prompt() -> None:
    (pack,) = pack_prompts(question_prompts(2, 2))
    visible, windowed = pack.visible(), pack.visible(window=5)
    for token in range(len(pack.ids)):
        assert text_up_to(pack, token, visible)[-5:] == tuple(
            pack.ids[sorted(windowed[token].nonzero()[:, 0].tolist(), key=pack.position_ids.__getitem__)].tolist()
        )


def test_packs_are_bounded_and_hold_every_prompt_once() -> None:
    prompts = [random_tokens(length, length) for length in (30, 12, 25, 70, 8, 31)]
    packs = pack_prompts(prompts, limit=50)
    assert sorted(row for pack in packs for row in pack.rows) == list(range(6))
    assert all(len(pack.ids) <= 50 or len(pack.rows) == 1 for pack in packs)


def test_a_prompt_that_mostly_repeats_joins_beyond_the_limit_but_not_beyond_twice_of_it() -> None:
    text = random_tokens(40, 0)
    prompts = [[*text, token, *random_tokens(9, token)] for token in range(12)]
    packs = pack_prompts(prompts, limit=60)
    assert [len(pack.ids) for pack in packs] == [120, 80]


def test_one_text_and_its_beginnings_need_no_mask() -> None:
    text = random_tokens(20, 0)
    assert all(pack.is_one_text for pack in pack_prompts([text, text[:4], text]))
    assert not pack_prompts([text, [*text[:4], 300]])[0].is_one_text


def test_no_prompts_make_no_pack() -> None:
    assert pack_prompts([]) == []


def test_prompts_share_a_token_only_where_vectors_act_alike_on_it() -> None:
    prompts = mixed_prompts()
    acting = [[place == len(prompt) - 1 for place in range(len(prompt))] for prompt in prompts]
    (pack,) = pack_prompts(prompts, limit=10_000, acting=acting)
    assert pack.acting is not None
    for row, path in zip(pack.rows, pack.paths, strict=True):
        assert pack.ids[path].tolist() == prompts[row]
        assert pack.acting[path].tolist() == acting[row]
    assert int(pack.acting.sum()) == len({tuple(prompt) for prompt in prompts})
    visible = pack.visible()
    assert {text_up_to(pack, token, visible) for token in range(len(pack.ids))} == beginnings(prompts)
    assert pack_prompts(prompts)[0].acting is None
