"""Profiles of tiny models against a naive reference, and what a pass runs, reports, refuses and leaves behind."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import DATA, byte_tokenizer, tiny_plain, tiny_steered
from naive_reference import NaiveReference, naive_reference
from real_models import smollm2
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling import profiler
from clas_models.profiling.categories import STATISTICS, categorize
from clas_models.profiling.corpora import ParallelCorpus, load_corpus
from clas_models.profiling.neuron_profile import COUNTS, HALVES, SUMS, NeuronProfile
from clas_models.profiling.profiler import profile_neurons

LAYERS = 4
# With this seed no output of gate_proj or up_proj over WORDS is within 2e-5 of zero, in either family: rounding, which
# depends on the batch and the processor, cannot turn a sign, so that counts have to be equal.
MODEL = {"seed": 3, "num_hidden_layers": LAYERS, "intermediate_size": 24}


def words(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows of random letters in three scripts, 1 to 12 bytes a text."""
    generator = random.Random(seed)
    letters = {"en": ("abcdefghij klmnop", 12), "de": ("aeiouäöüß nrst", 12), "zh": ("一二三四五六七八九十", 4)}
    return [
        {
            code: "".join(generator.choices(alphabet, k=generator.randint(1, longest)))
            for code, (alphabet, longest) in letters.items()
        }
        for _ in range(count)
    ]


WORDS = ParallelCorpus("words", ("en", "de", "zh"), words(36))
TWO_ROWS = ParallelCorpus(
    "two", ("en", "de"), [{"en": "an apple", "de": "ein Apfel"}, {"en": "pear", "de": "eine süße Birne"}]
)


@pytest.fixture
def model(family: Any) -> Any:
    return tiny_plain(family, **MODEL)


@pytest.fixture
def llama() -> Any:
    return tiny_plain(FAMILIES["llama"], **MODEL)


@functools.cache
def reference(family: str) -> NaiveReference:
    return naive_reference(tiny_plain(FAMILIES[family], **MODEL), byte_tokenizer(), WORDS)


def distance(profile: NeuronProfile, expected: NaiveReference) -> dict[str, float]:
    """The largest difference of each sum, relative to what its terms add up to without their signs.

    A signed sum may be arbitrarily near 0, while the rounding errors of its terms are not.
    """
    scale = {"sum": expected.profile.sum_abs, "gate_sum": expected.gate_sum_abs, "act_sum": expected.act_sum_abs}
    differences = {}
    for name in SUMS:
        right = getattr(expected.profile, name)
        differences[name] = float(((getattr(profile, name) - right).abs() / scale.get(name, right)).max())
    return differences


def assert_matches(profile: NeuronProfile, expected: NaiveReference, tolerance: float) -> None:
    assert torch.equal(profile.tokens, expected.profile.tokens)
    for name in COUNTS:
        assert torch.equal(getattr(profile, name), getattr(expected.profile, name)), name
    for name, difference in distance(profile, expected).items():
        assert difference <= tolerance, name
    for statistic in STATISTICS:
        categories = categorize(profile, statistic).categories
        assert torch.equal(categories, categorize(expected.profile, statistic).categories), statistic


def assert_same(profile: NeuronProfile, expected: NeuronProfile) -> None:
    for name in ("tokens", *SUMS, *COUNTS):
        assert torch.equal(getattr(profile, name), getattr(expected, name)), name


def without_length(corpus: ParallelCorpus) -> ParallelCorpus:
    """The same rows as something that only can be iterated."""

    class Rows:
        def __iter__(self) -> Iterator[dict[str, str]]:
            return iter(corpus.rows)

    return replace(corpus, rows=Rows())


# -- halves --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_first_half_is_the_profile_of_the_first_rows(llama: Any, tokenizer: Any, batch_size: int) -> None:
    whole = profile_neurons(llama, tokenizer, WORDS, batch_size=batch_size)
    first = profile_neurons(llama, tokenizer, replace(WORDS, rows=WORDS.rows[:18]), batch_size=batch_size)
    assert whole.has_halves
    assert torch.equal(whole.total("half_tokens"), first.tokens)
    assert torch.equal(whole.total("half_positive"), first.positive)
    for name in ("sum", "sum_abs"):
        scale = first.sum_abs.clamp(min=1e-9)
        assert ((whole.total(f"half_{name}") - getattr(first, name)).abs() / scale).max() <= 1e-5, name


def test_telling_halves_apart_changes_no_bit_of_the_whole(llama: Any, tokenizer: Any) -> None:
    with_halves = profile_neurons(llama, tokenizer, WORDS)
    without = profile_neurons(llama, tokenizer, without_length(WORDS))
    assert not without.has_halves
    assert not set(HALVES) & set(without.tensors)
    assert_same(with_halves, without)


def test_one_sample_has_no_halves(llama: Any, tokenizer: Any) -> None:
    assert not profile_neurons(llama, tokenizer, replace(WORDS, rows=WORDS.rows[:1])).has_halves
    assert profile_neurons(llama, tokenizer, replace(WORDS, rows=WORDS.rows[:2])).has_halves


# -- equal to the reference ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_equals_the_naive_reference(
    family: Any, model: Any, tokenizer: Any, batch_size: int, padding_side: str
) -> None:
    tokenizer.padding_side = padding_side
    profile = profile_neurons(model, tokenizer, WORDS, batch_size=batch_size)
    assert profile.languages == ("en", "de", "zh")
    assert (profile.layers, profile.num_model_layers, profile.num_neurons) == (tuple(range(LAYERS)), LAYERS, 24)
    assert_matches(profile, reference(family.base_config.model_type), 1e-5)


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_the_order_of_the_rows_does_not_matter(family: Any, model: Any, tokenizer: Any, order: str) -> None:
    rows = list(reversed(WORDS.rows)) if order == "reversed" else random.Random(1).sample(WORDS.rows, len(WORDS.rows))
    profile = profile_neurons(model, tokenizer, replace(WORDS, rows=rows), batch_size=5)
    assert_matches(profile, reference(family.base_config.model_type), 1e-5)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_is_exact_in_float64(model: Any, tokenizer: Any, batch_size: int) -> None:
    model.double()
    expected = naive_reference(model, tokenizer, WORDS)
    assert_matches(profile_neurons(model, tokenizer, WORDS, batch_size=batch_size), expected, 1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models(model: Any, tokenizer: Any, dtype: torch.dtype) -> None:
    # Batches of another size may round every activation of such a model another way, by 2^-9 of its size in bfloat16,
    # and layers pass that on; sums over many tokens stay close, and nearly all signs are the same.
    model.to(dtype)
    expected = naive_reference(model, tokenizer, WORDS)
    profile = profile_neurons(model, tokenizer, WORDS)
    assert profile.provenance.dtype == str(dtype).removeprefix("torch.")
    assert profile.sum.dtype == torch.float64
    assert torch.equal(profile.tokens, expected.profile.tokens)
    assert max(distance(profile, expected).values()) < 0.05
    for name in COUNTS:
        turned = (getattr(profile, name) - getattr(expected.profile, name)).abs().sum()
        assert turned <= 0.002 * profile.tokens.sum() * LAYERS * 24, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_that_of_the_model_and_not_of_the_sums(
    model: Any, tokenizer: Any, dtype: torch.dtype
) -> None:
    # One row at a time is what the reference does, so that the activations are the same.  Among 400 tokens, bfloat16
    # could not even count: it knows no whole number between 256 and 258.
    model.to(dtype)
    rows = [{"en": "a long row " * 40, "de": "eine lange Zeile " * 24}]
    corpus = ParallelCorpus("long", ("en", "de"), rows)
    profile = profile_neurons(model, tokenizer, corpus, batch_size=1)
    assert profile.positive.max() > 256
    assert_matches(profile, naive_reference(model, tokenizer, corpus), 1e-6)


@pytest.mark.parametrize("hidden_act", ["gelu_pytorch_tanh", "sigmoid"])
def test_other_nonlinearities(family: Any, tokenizer: Any, hidden_act: str) -> None:
    # At a padded position, the sigmoid of 0 is 0.5.
    model = tiny_plain(family, **MODEL, hidden_act=hidden_act)
    profile = profile_neurons(model, tokenizer, WORDS, batch_size=8)
    assert max(distance(profile, naive_reference(model, tokenizer, WORDS)).values()) <= 1e-5


@pytest.mark.parametrize("block", [1, 24 * 7, 24 * 1000])  # a token, seven, and more than a batch has
def test_blocks_do_not_change_the_sums(
    family: Any, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(profiler, "BLOCK", block)
    profile = profile_neurons(model, tokenizer, WORDS, batch_size=8)
    assert_matches(profile, reference(family.base_config.model_type), 1e-5)


def test_a_model_without_a_head_gives_the_same(model: Any, tokenizer: Any) -> None:
    assert_same(profile_neurons(model.model, tokenizer, WORDS), profile_neurons(model, tokenizer, WORDS))


def test_a_steered_model_is_profiled_as_it_steers(family: Any, tokenizer: Any) -> None:
    steered, base = tiny_steered(family), profile_neurons(tiny_plain(family), tokenizer, TWO_ROWS)
    profile = profile_neurons(steered, tokenizer, TWO_ROWS)
    assert distance(profile, naive_reference(steered, tokenizer, TWO_ROWS))["sum"] < 1e-5
    assert torch.equal(profile.sum[:, :2], base.sum[:, :2])  # before the bridge layers
    assert not torch.allclose(profile.sum[:, 2:4], base.sum[:, 2:4])
    assert_same(profile_neurons(tiny_steered(family, alpha=0.0), tokenizer, TWO_ROWS), base)


def test_special_tokens_of_the_tokenizer_count(llama: Any, tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 257)])
    profile = profile_neurons(llama, tokenizer, TWO_ROWS)
    assert profile.tokens.tolist() == [1 + 8 + 1 + 4, 1 + 9 + 1 + 17]
    assert_matches(profile, naive_reference(llama, tokenizer, TWO_ROWS), 1e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_no_padding_token_touches_the_rows(llama: Any, tokenizer: Any, batch_size: int) -> None:
    # An attention mask takes weight from a padded position, but NaN times nothing is NaN.
    unused = torch.ones(llama.config.vocab_size, dtype=torch.bool)
    for row in TWO_ROWS.rows:
        unused[tokenizer(" ".join(row.values()))["input_ids"]] = False
    expected = naive_reference(llama, tokenizer, TWO_ROWS)
    with torch.no_grad():
        llama.model.embed_tokens.weight[unused] = torch.nan
    assert_matches(profile_neurons(llama, tokenizer, TWO_ROWS, batch_size=batch_size), expected, 1e-5)


def test_equal_on_every_run(llama: Any, tokenizer: Any) -> None:
    first, second = (profile_neurons(llama, tokenizer, WORDS) for _ in range(2))
    assert_same(first, second)
    assert first.provenance == second.provenance


# -- settings ------------------------------------------------------------------------------------------------------


def test_max_length_cuts_each_row(llama: Any, tokenizer: Any) -> None:
    profile = profile_neurons(llama, tokenizer, TWO_ROWS, max_length=5)
    assert profile.tokens.tolist() == [5 + 4, 5 + 5]
    assert profile.provenance.max_length == 5
    assert_matches(profile, naive_reference(llama, tokenizer, TWO_ROWS, max_length=5), 1e-5)
    by_hand = [{"en": "an ap", "de": "ein A"}, {"en": "pear", "de": "eine "}]
    assert_same(profile, profile_neurons(llama, tokenizer, replace(TWO_ROWS, rows=by_hand)))


@pytest.mark.parametrize("layers", [[2], [3, 1], [0, 1, 2, 3]])
def test_layers_give_the_same_numbers_as_the_whole_model(model: Any, tokenizer: Any, layers: list[int]) -> None:
    full = profile_neurons(model, tokenizer, TWO_ROWS)
    profile = profile_neurons(model, tokenizer, TWO_ROWS, layers=layers)
    assert (profile.layers, profile.num_model_layers) == (tuple(sorted(layers)), LAYERS)
    for name in (*SUMS, *COUNTS):
        assert torch.equal(getattr(profile, name), getattr(full, name)[:, sorted(layers)]), name
    assert profile.provenance == full.provenance


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 0}, "maximum length 0"),
        ({"max_length": -3}, "maximum length -3"),
        ({"batch_size": 0}, "batch size 0"),
        ({"layers": []}, "at least one"),
        ({"layers": [1, LAYERS]}, r"layers \[1, 4\]: layers are 0 to 3"),
        ({"layers": [-1]}, r"layers \[-1\]: layers are 0 to 3"),
    ],
)
def test_refuses_settings_out_of_range(llama: Any, tokenizer: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_neurons(llama, tokenizer, TWO_ROWS, **settings)


def test_provenance(llama: Any, tokenizer: Any) -> None:
    llama.config.name_or_path = "somewhere/tiny"
    provenance = profile_neurons(llama, tokenizer, WORDS, fingerprint="f00d", max_length=64).provenance
    assert (provenance.model, provenance.model_type, provenance.fingerprint) == ("somewhere/tiny", "llama", "f00d")
    assert (provenance.corpus, provenance.samples, provenance.max_length) == (("words",), 36, 64)
    assert provenance.dtype == "float32"
    assert set(provenance.versions) == {"python", "torch", "transformers"}


def test_the_digest_is_that_of_the_tokens(llama: Any, tokenizer: Any) -> None:
    def digest(corpus: ParallelCorpus, **settings: Any) -> tuple[str, ...]:
        return profile_neurons(llama, tokenizer, corpus, **settings).provenance.digests

    (whole,) = digest(TWO_ROWS)
    assert digest(replace(TWO_ROWS, name="other"), batch_size=1, layers=[0]) == (whole,)
    moved = [{"en": "an applepear", "de": "ein Apfel"}, {"en": "", "de": "eine süße Birne"}]
    swapped = [{"en": row["de"], "de": row["en"]} for row in TWO_ROWS.rows]
    corpora = [
        TWO_ROWS,
        *(replace(TWO_ROWS, rows=rows) for rows in (moved, swapped, TWO_ROWS.rows[:1], TWO_ROWS.rows * 2)),
        ParallelCorpus("two", ("en", "nl"), [{"en": row["en"], "nl": row["de"]} for row in TWO_ROWS.rows]),
    ]
    digests = [digest(TWO_ROWS, max_length=5), *map(digest, corpora)]
    assert len(set(digests)) == len(digests)


# -- what runs, and what stays -------------------------------------------------------------------------------------


def count_calls(model: Any) -> Counter[str]:
    """How often each module has finished its forward pass, from now on."""
    calls: Counter[str] = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def test_nothing_runs_after_the_last_neurons(model: Any, tokenizer: Any) -> None:
    calls = count_calls(model)
    profile_neurons(model, tokenizer, TWO_ROWS, batch_size=1)  # four passes
    for name in ("lm_head", "model.norm", "model.layers.3.mlp.down_proj", "model.layers.3", "model", ""):
        assert calls[name] == 0, name
    for name in ("model.layers.2", "model.layers.3.self_attn", "model.layers.3.mlp.gate_proj"):
        assert calls[name] == 4, name


def test_nothing_runs_after_the_last_chosen_layer(model: Any, tokenizer: Any) -> None:
    calls = count_calls(model)
    profile_neurons(model, tokenizer, TWO_ROWS, layers=[0, 2])  # two passes
    assert calls["model.layers.1"] == 2
    assert calls["model.layers.2.mlp.gate_proj"] == 2
    assert calls["model.layers.2.mlp.down_proj"] == 0
    assert not [name for name in calls if name.startswith("model.layers.3")]
    assert calls["model.norm"] == calls["lm_head"] == 0


def hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_leaves_the_model_as_it_was(model: Any, tokenizer: Any, tokens: torch.Tensor) -> None:
    before = model(tokens, labels=tokens, output_hidden_states=True)  # for which transformers sets hooks of its own
    hooks_before = hooks(model)
    profile = profile_neurons(model, tokenizer, TWO_ROWS)
    assert hooks(model) == hooks_before
    after = model(tokens, labels=tokens, output_hidden_states=True)
    assert torch.equal(after.logits, before.logits)
    assert len(after.hidden_states) == len(before.hidden_states) == LAYERS + 1
    after.loss.backward()  # inference mode has left nothing behind that training trips over
    assert not profile.sum.is_inference()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_removes_its_hooks_after_an_exception(llama: Any, tokenizer: Any, error: type[BaseException]) -> None:
    seen = []

    def stop(*_: Any) -> None:
        seen.append(hooks(llama))
        raise error

    with pytest.raises(error):
        profile_neurons(llama, tokenizer, TWO_ROWS, progress=stop)
    assert seen == [3 * LAYERS]
    assert hooks(llama) == 0


def test_removes_its_hooks_when_the_corpus_fails(llama: Any, tokenizer: Any) -> None:
    broken = ParallelCorpus("broken", ("en", "de"), [{"en": "one", "de": "eins"}, {"en": "two"}])
    with pytest.raises(KeyError):
        profile_neurons(llama, tokenizer, broken)
    assert hooks(llama) == 0


# -- windows, batches, memory --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GeneratedRows:
    """Rows that exist only while they are read."""

    count: int

    def __iter__(self) -> Iterator[dict[str, str]]:
        return ({"en": f"number {n:05} of many", "de": f"Nummer {n:05} von vielen"} for n in range(self.count))


def test_languages_profiled_apart_add_up_to_the_same_bits(model: Any, tokenizer: Any) -> None:
    whole = profile_neurons(model, tokenizer, WORDS)
    parts = [profile_neurons(model, tokenizer, WORDS, only=only) for only in (("de",), (), ("zh", "en"))]
    for part in parts:
        assert part.provenance == whole.provenance
        assert torch.equal(part.tokens, whole.tokens)
    for name, expected in whole.tensors.items():
        assert torch.equal(sum(part.tensors[name] for part in parts), expected)
    assert not parts[1].sum.any()
    assert parts[0].sum[1].any()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_progress_reports_every_row_and_token_once(llama: Any, tokenizer: Any, batch_size: int) -> None:
    reports: list[tuple[str, int, int]] = []
    corpus = ParallelCorpus("generated", ("en", "de"), GeneratedRows(70))  # with batches of 1, three windows
    profile = profile_neurons(
        llama, tokenizer, corpus, batch_size=batch_size, layers=[0], progress=lambda *report: reports.append(report)
    )
    assert all(1 <= rows <= batch_size for _, rows, _ in reports)
    assert [language for language, _, _ in reports] == sorted((report[0] for report in reports), reverse=True)
    for language, tokens in (("en", 70 * len("number 00000 of many")), ("de", 70 * len("Nummer 00000 von vielen"))):
        assert sum(rows for code, rows, _ in reports if code == language) == 70
        assert sum(count for code, _, count in reports if code == language) == tokens
        assert profile.tokens[profile.languages.index(language)] == tokens


def test_rows_of_similar_length_share_a_batch(llama: Any, tokenizer: Any) -> None:
    rows = [{"en": "a" * length, "de": "b"} for length in (1, 20, 2, 19, 3, 18)]
    reports: list[tuple[str, int, int]] = []
    corpus = ParallelCorpus("mixed", ("en", "de"), rows)
    profile_neurons(llama, tokenizer, corpus, batch_size=3, progress=lambda *report: reports.append(report))
    assert reports[:2] == [("en", 3, 20 + 19 + 18), ("en", 3, 3 + 2 + 1)]


MEMORY = """
import resource, sys, tracemalloc
sys.path[:0] = sys.argv[1:]
import torch
from conftest import byte_tokenizer, tiny_plain
from test_profiler import FAMILIES, GeneratedRows, ParallelCorpus, profile_neurons

torch.set_num_threads(1)
model = tiny_plain(FAMILIES["llama"], num_hidden_layers=2, intermediate_size=128)
for count in (200, 200, 4000):
    corpus = ParallelCorpus("generated", ("en", "de"), GeneratedRows(count))
    tracemalloc.start()
    profile_neurons(model, byte_tokenizer(), corpus, batch_size=6)
    print(tracemalloc.get_traced_memory()[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    tracemalloc.stop()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_memory_does_not_grow_with_the_samples() -> None:
    # In a process of its own, whose peak no other test has set.  All activations of 4000 rows would be 300 MB, their
    # tokens 2 MB, and the largest window is full with 200 rows.
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", MEMORY, *folders], capture_output=True, text=True, check=True)
    _, (few_objects, few_kib), (many_objects, many_kib) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert many_objects < few_objects + 200_000 + 8000 * 160  # of each line a hash is kept, up to a limit
    assert many_kib < few_kib + 32 * 1024


# -- what cannot be profiled ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("projection", ["gate_proj", "up_proj"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_activations_that_are_not_finite_name_the_layer(
    llama: Any, tokenizer: Any, projection: str, value: float
) -> None:
    with torch.no_grad():
        getattr(llama.model.layers[2].mlp, projection).weight[5, 7] = value
    with pytest.raises(InputError, match=r"layer 2: .* not finite .* in language 'en'"):
        profile_neurons(llama, tokenizer, TWO_ROWS)
    with pytest.raises(InputError, match="layer 2: "):  # its index in the model, not its place among the profiled
        profile_neurons(llama, tokenizer, TWO_ROWS, layers=[1, 2])
    assert hooks(llama) == 0
    assert profile_neurons(llama, tokenizer, TWO_ROWS, layers=[0, 1]).layers == (0, 1)


def test_activations_that_are_not_finite_name_the_language(llama: Any, tokenizer: Any) -> None:
    only_german = tokenizer("ü")["input_ids"]
    with torch.no_grad():
        llama.model.embed_tokens.weight[only_german] = torch.nan
    with pytest.raises(InputError, match=r"layer 0: .* in language 'de'"):
        profile_neurons(llama, tokenizer, TWO_ROWS)


@pytest.mark.parametrize("text", ["", "<s></s>", "<unk>"])
def test_refuses_a_language_without_a_usable_token(llama: Any, tokenizer: Any, text: str) -> None:
    corpus = ParallelCorpus("runes", ("en", "non"), [{"en": "a stone", "non": text}, {"en": "a ship", "non": text}])
    with pytest.raises(InputError, match=r"language 'non': no usable token in corpus 'runes'"):
        profile_neurons(llama, tokenizer, corpus)


def test_a_row_without_tokens_is_no_hindrance(llama: Any, tokenizer: Any) -> None:
    gap = replace(TWO_ROWS, rows=[TWO_ROWS.rows[0], {"en": "", "de": ""}, TWO_ROWS.rows[1]])
    profile = profile_neurons(llama, tokenizer, gap)
    assert_same(profile, profile_neurons(llama, tokenizer, TWO_ROWS))
    assert profile.provenance.samples == 3


# -- a real model --------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_real_model_equals_the_naive_reference(batch_size: int) -> None:
    model, tokenizer, corpus = real_input()
    profile = profile_neurons(model, tokenizer, corpus, max_length=96, batch_size=batch_size)
    expected = real_reference()
    assert torch.equal(profile.tokens, expected.profile.tokens)
    # With one thread a matmul of several rows rounds another way than with two: 1.7e-5 of sum_sq, seen on x86.
    assert max(distance(profile, expected).values()) <= 5e-5
    # A matmul of several rows may round another way than that of one, by some 1e-6 of an activation's usual size, and
    # of ten million activations a few lie that near to zero.  (Seen on x86: one in 16 million.)
    activations = int(profile.tokens.sum()) * len(profile.layers) * profile.num_neurons
    for name in COUNTS:
        turned = int((getattr(profile, name) - getattr(expected.profile, name)).abs().sum())
        assert turned <= activations / 100_000, name
    # No mean is that near to zero: the nearest is 2e-5 of its mean_abs away.
    assert torch.equal(categorize(profile).categories, categorize(expected.profile).categories)


@functools.cache
def real_input() -> tuple[Any, Any, ParallelCorpus]:
    """SmolLM2-135M and two samples of XQuAD in three languages, the second cut short so that batches are padded."""
    if not (DATA / "xquad").is_dir():
        pytest.skip(f"the files of XQuAD are not in {DATA / 'xquad'}")
    folder = smollm2()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    corpus = load_corpus("xquad", languages=["en", "de", "zh"], samples=2, data_dir=DATA)
    long, short = corpus.rows
    corpus = replace(corpus, rows=[long, {code: text[:20] for code, text in short.items()}])
    return model, AutoTokenizer.from_pretrained(folder), corpus


@functools.cache
def real_reference() -> NaiveReference:
    return naive_reference(*real_input(), max_length=96)
