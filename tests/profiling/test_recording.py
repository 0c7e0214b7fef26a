"""One pass over text: what recorders are shown, in which order, what does not run, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from test_profiler import TWO_ROWS, WORDS, assert_same, count_calls, hooks
from torch import Tensor

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.modeling.write import Write
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.profiler import NeuronSums, profile_neurons
from clas_models.profiling.recorder import SITES, Batch, Recorder
from clas_models.profiling.recording import record


class Keeper(Recorder):
    """Keeps everything, by language, sample, site and layer; and the order of the calls."""

    def __init__(self, sites: Mapping[str, Iterable[int]]) -> None:
        self.wanted = sites
        self.kept: dict[tuple[str, int, str, int], Tensor] = {}
        self.last: dict[tuple[str, int, str, int], Tensor] = {}
        self.calls: list[Any] = []

    def sites(self, num_layers: int) -> Mapping[str, Iterable[int]]:
        return self.wanted

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self.calls.append("begin")

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        self.calls.append((site, layer))
        batch = self.batch
        assert values.shape[:2] == (len(batch.ids), max(batch.lengths))
        for row, length in enumerate(batch.lengths):
            assert not values[row, length:].any()
        rows = batch.of_tokens(values).split(batch.lengths)
        for sample, row, last in zip(batch.samples, rows, batch.of_last_tokens(values), strict=True):
            self.kept[batch.language, sample, site, layer] = row.clone()
            self.last[batch.language, sample, site, layer] = last

    def end(self) -> None:
        self.calls.append("end")


class MeanStates(Recorder):
    """The mean of a layer's output at the last token of the rows, by language."""

    def __init__(self, layer: int) -> None:
        self.layer = layer
        self.totals: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def sites(self, num_layers: int) -> Mapping[str, Iterable[int]]:
        return {"residual": [self.layer]}

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        code = self.batch.language
        total = self.batch.of_last_tokens(values).double().sum(0)
        self.totals[code] = self.totals.get(code, 0) + total
        self.rows[code] = self.rows.get(code, 0) + len(values)

    def mean(self, language: str) -> Tensor:
        return self.totals[language] / self.rows[language]


def naive_sites(model: Any, ids: list[int], **arguments: Any) -> dict[tuple[str, int], Tensor]:
    """The sites of every layer for one row alone, by hooks: `[tokens, width]`."""
    seen: dict[tuple[str, int], Tensor] = {}

    def output(name: tuple[str, int], module: Any, args: Any, out: Tensor) -> None:
        seen[name] = out[0].clone()

    def first_input(name: tuple[str, int], module: Any, args: Any) -> None:
        seen[name] = args[0][0].clone()

    handles = []
    for index, layer in enumerate(model.model.layers):
        handles.append(layer.mlp.gate_proj.register_forward_hook(partial(output, ("gate", index))))
        handles.append(layer.mlp.act_fn.register_forward_hook(partial(output, ("activated", index))))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(partial(first_input, ("neurons", index))))
        handles.append(layer.register_forward_hook(partial(output, ("residual", index))))
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]), **arguments)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_site_is_what_naive_hooks_see(family: Any, tokenizer: Any, batch_size: int) -> None:
    model = tiny_plain(family, num_hidden_layers=3).double()
    keeper = Keeper(dict.fromkeys(SITES, range(3)))
    corpus = ParallelCorpus("some", ("en", "zh"), WORDS.rows[:8])
    record(model, tokenizer, corpus, [keeper], batch_size=batch_size)
    for language in corpus.languages:
        for sample, row in enumerate(corpus.rows):
            for (site, layer), expected in naive_sites(model, tokenizer(row[language])["input_ids"]).items():
                place = (language, sample, site, layer)
                torch.testing.assert_close(keeper.kept[place], expected, rtol=1e-10, atol=1e-12, msg=str(place))
                torch.testing.assert_close(keeper.last[place], expected[-1], rtol=1e-10, atol=1e-12)
    assert len(keeper.kept) == 2 * 8 * 4 * 3


def test_recorders_of_one_pass_see_what_each_sees_alone(family: Any, tokenizer: Any) -> None:
    model = tiny_plain(family)
    sums, states, beside = NeuronSums(model, WORDS.languages, [0, 2]), MeanStates(4), MeanStates(4)
    together = sums.profile(record(model, tokenizer, WORDS, [sums, states]))
    alone = profile_neurons(model, tokenizer, WORDS, layers=[0, 2])
    assert_same(together, alone)
    assert (together.provenance, together.layers) == (alone.provenance, (0, 2))
    record(model, tokenizer, WORDS, [beside])
    for language in WORDS.languages:
        assert torch.equal(states.mean(language), beside.mean(language))
        last = [naive_sites(model, tokenizer(row[language])["input_ids"])["residual", 4][-1] for row in WORDS.rows]
        torch.testing.assert_close(states.mean(language), torch.stack(last).double().mean(0), rtol=1e-4, atol=1e-5)


def test_calls_come_in_the_order_of_the_model(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"])
    keeper, other = Keeper({"residual": [1], "gate": [2, 1]}), Keeper({"neurons": [0]})
    record(model, tokenizer, TWO_ROWS, [keeper, other], batch_size=1, only=["de"])
    assert keeper.calls == ["begin", ("gate", 1), ("residual", 1), ("gate", 2), "end"] * 2
    assert other.calls == ["begin", ("neurons", 0), "end"] * 2


def test_a_second_pass_goes_on_where_the_first_ended(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"])
    states = MeanStates(0)
    for only in (["en"], ["de"]):
        record(model, tokenizer, TWO_ROWS, [states], only=only)
    assert states.rows == {"en": 2, "de": 2}


@pytest.mark.parametrize(
    ("site", "ran", "not_run"),
    [
        ("gate", "mlp.gate_proj", "mlp.act_fn"),
        ("activated", "mlp.gate_proj", "mlp.up_proj"),
        ("neurons", "mlp.up_proj", "mlp.down_proj"),
        ("residual", "mlp.down_proj", None),
    ],
)
def test_nothing_runs_after_the_last_site(family: Any, tokenizer: Any, site: str, ran: str, not_run: str) -> None:
    model = tiny_plain(family)
    calls = count_calls(model)
    record(model, tokenizer, TWO_ROWS, [Keeper({site: [0, 2]})])  # two passes
    assert calls[f"model.layers.2.{ran}"] == 2
    assert calls[f"model.layers.2.{not_run}"] == 0
    assert calls["model.layers.1"] == 2
    assert calls["model.layers.3.self_attn"] == calls["model.norm"] == calls["lm_head"] == 0


def test_a_steered_model_that_is_told_the_language(family: Any, tokenizer: Any) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    wanted = {"neurons": range(6), "residual": range(6)}
    base, told = Keeper(wanted), Keeper(wanted)
    record(plain, tokenizer, TWO_ROWS, [base])
    record(steered, tokenizer, TWO_ROWS, [told], forward_arguments=lambda batch: {"language": batch.language})
    for place, values in told.kept.items():
        language, _, _, layer = place
        # The first bridge layer is 2.
        assert torch.equal(values, base.kept[place]) == (language == "en" or layer < 2), place


def test_a_model_that_writes_is_recorded_behind_what_it_writes(family: Any, tokenizer: Any) -> None:
    masks = torch.zeros(4, 6, 48, dtype=torch.bool)
    masks[1, 4, :20] = True  # German
    model, keeper = tiny_steered(family, bridge_layers=[]), Keeper({"activated": [3, 4], "neurons": [4, 5]})
    base = Keeper(keeper.wanted)
    language: Any = lambda batch: {"language": batch.language}  # noqa: E731
    record(model, tokenizer, TWO_ROWS, [base], forward_arguments=language)
    with model.intervening(Write(masks, torch.full(masks.shape, 0.75))):
        record(model, tokenizer, TWO_ROWS, [keeper], forward_arguments=language)
    for place, values in keeper.kept.items():
        code, _, site, layer = place
        expected = base.kept[place].clone()
        if (code, site, layer) == ("de", "activated", 4):
            expected[:, :20] = 0.75
        changed = code == "de" and (site, layer) in (("neurons", 4), ("neurons", 5))
        assert torch.equal(values, expected) != changed, place


def test_a_model_with_vectors_is_recorded_behind_them(family: Any, tokenizer: Any) -> None:
    model, keeper = tiny_steered(family, vector_layers=[1, 3], vector_positions="all"), Keeper({"residual": range(6)})
    for layer in (1, 3):
        model.model.layers[layer].add.vectors[1:].normal_()
    record(model, tokenizer, TWO_ROWS, [keeper], forward_arguments=lambda batch: {"language": batch.language})
    for (code, sample, site, layer), values in keeper.kept.items():
        ids = tokenizer(TWO_ROWS.rows[sample][code])["input_ids"]
        expected = naive_sites(model, ids, language=code)[site, layer]
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)


def test_a_recording_says_what_was_read(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"])
    recording = record(model, tokenizer, TWO_ROWS, [MeanStates(0)], fingerprint="f00d", max_length=5)
    assert (recording.languages, recording.tokens.tolist()) == (("en", "de"), [5 + 4, 5 + 5])
    assert (recording.num_model_layers, recording.provenance.fingerprint) == (6, "f00d")


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ({"logits": [0]}, "site 'logits' of layer 0: the sites are gate, activated, neurons, residual"),
        ({"gate": [6]}, "site 'gate' of layer 6: .*the layers 0 to 5"),
        ({"gate": [-1]}, "layer -1"),
        ({"gate": []}, "nothing would be recorded"),
    ],
)
def test_sites_that_do_not_exist(tokenizer: Any, sites: dict[str, list[int]], message: str) -> None:
    model = tiny_plain(FAMILIES["llama"])
    with pytest.raises(InputError, match=message):
        record(model, tokenizer, TWO_ROWS, [Keeper(sites)])
    assert hooks(model) == 0


def test_a_recorder_that_fails_leaves_no_hooks(tokenizer: Any) -> None:
    class Failing(MeanStates):
        def end(self) -> None:
            raise ArithmeticError

    model = tiny_plain(FAMILIES["llama"])
    with pytest.raises(ArithmeticError):
        record(model, tokenizer, TWO_ROWS, [Failing(0)])
    assert hooks(model) == 0
