"""A training by the Trainer: what moves, that it goes on where it was stopped, and that it ends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.finetuning.neuron_lora import check_masked
from clas_models.finetuning.training import Collator, Trained, TrainingExample, train, training_model

from .training_helpers import ANSWERS, EXAMPLES, LABELS, PAD, Silent, neurons, quick_settings, saved_base

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # gradient checkpointing will get another name


def run(source: Any, folder: Path, *changes: str, labels: Any = LABELS, bar: Any = None) -> tuple[Any, Trained]:
    settings = quick_settings(*changes)
    model = training_model(source, labels, settings, neurons(), PAD)
    examples = EXAMPLES if labels else ANSWERS
    told = bar or Silent()
    return model, train(model, examples, Collator(PAD, 0), settings, neurons(), folder, told, on_cpu=True)


def adapter(model: Any) -> dict[str, Any]:
    return {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}


@pytest.fixture
def source(tmp_path: Path) -> Any:
    return saved_base(tmp_path / "base", FAMILIES["qwen2"])


@pytest.mark.parametrize("labels", [LABELS, ()], ids=["head", "generative"])
def test_it_learns_and_nothing_moves_outside(family: Any, labels: Any, tmp_path: Path) -> None:
    source = saved_base(tmp_path / "base", family)
    model, trained = run(source, tmp_path / "states", "epochs=12", "save_steps=99", labels=labels)
    assert trained.losses[-1][1] < trained.losses[0][1] / 2
    check_masked(dict(model.named_parameters()), neurons())
    moved = adapter(model)
    assert all(bool(each.any()) for name, each in moved.items() if "lora_B" in name)
    frozen = {name: each for name, each in model.named_parameters() if not each.requires_grad}
    fresh = training_model(source, labels, quick_settings(), neurons(), PAD)
    assert all(torch.equal(each, fresh.get_parameter(name)) for name, each in frozen.items())


def test_it_goes_on_where_it_was_stopped(source: Any, tmp_path: Path) -> None:
    whole, _ = run(source, tmp_path / "whole")

    class Stop(Silent):
        def step(self, loss: float | None) -> None:
            super().step(loss)
            if self.seen == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "parts", bar=Stop())
    half_written = tmp_path / "parts" / "checkpoint-8"
    half_written.mkdir()
    (half_written / "trainer_state.json").write_text('{"epoch": ')
    bar = Silent()
    resumed, trained = run(source, tmp_path / "parts", bar=bar)
    assert (bar.done, bar.steps, bar.seen, trained.steps) == (6, 12, 6, 12)
    expected = adapter(whole)
    assert all(torch.equal(each, expected[name]) for name, each in adapter(resumed).items())


def test_the_seed_decides_the_head_and_the_order(source: Any, tmp_path: Path) -> None:
    first, again, other = (
        adapter(run(source, tmp_path / str(number), f"seed={seed}")[0]) for number, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "score" in name)


def test_recomputed_activations_change_nothing(source: Any, tmp_path: Path) -> None:
    kept, recomputed = (run(source, tmp_path / text, f"checkpointing={text}")[0] for text in ("false", "true"))
    expected = adapter(kept)
    for name, each in adapter(recomputed).items():
        torch.testing.assert_close(each, expected[name], rtol=1e-4, atol=1e-6)


def test_mixed_precision_trains_float32(source: Any, tmp_path: Path) -> None:
    model, trained = run(source, tmp_path / "states", "precision=bf16", "epochs=12", "save_steps=99")
    assert all(each.dtype == torch.float32 for each in adapter(model).values()), "the head among them"
    frozen = [each for each in model.parameters() if not each.requires_grad]
    assert {each.dtype for each in frozen} >= {torch.bfloat16}
    assert trained.losses[-1][1] < trained.losses[0][1]
    check_masked(dict(model.named_parameters()), neurons())


def test_a_base_that_lacks_a_weight_is_no_base(source: Any) -> None:
    path = next(iter(source.folder.glob("*.safetensors")))
    tensors = load_file(path)
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, path, {"format": "pt"})
    for labels in (LABELS, ()):
        with pytest.raises(InputError, match=r"no tensor 'model\.layers\.2\.mlp\.up_proj\.weight'"):
            training_model(source, labels, quick_settings(), neurons(), PAD)


def test_a_training_that_diverges_says_so(source: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no longer finite: lower learning_rate"):
        run(source, tmp_path / "states", "learning_rate=1e30", "max_grad_norm=1e30")


def test_a_batch_is_padded_behind_its_rows() -> None:
    batch = Collator(PAD, 2)([ANSWERS[0], TrainingExample((1, 2), (-100, 2))])
    assert batch["input_ids"].tolist() == [[40, 41, 42, 50, 51], [1, 2, PAD, PAD, PAD]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert batch["labels"].tolist()[1] == [-100, 2, -100, -100, -100]
    assert batch["language"].tolist() == [2, 2]
    assert Collator(PAD)(EXAMPLES[:3])["labels"].tolist() == [0, 1, 2]


def test_padding_changes_no_loss(source: Any) -> None:
    """The head reads the last token of each row, whatever stands behind it."""
    model = training_model(source, LABELS, quick_settings(), neurons(), PAD).eval()
    together = Collator(PAD, 0)(EXAMPLES)
    with torch.no_grad():
        logits = model(**together).logits
        for row, example in enumerate(EXAMPLES):
            alone = model(**Collator(PAD, 0)([example])).logits[0]
            torch.testing.assert_close(logits[row], alone, rtol=1e-4, atol=1e-5)


def test_weights_in_four_bits_stay_as_they_are(source: Any, tmp_path: Path) -> None:
    """The paper's way (appendix B.3); the head is no weight that is quantised."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model, trained = run(source, tmp_path / "states", "load_in_4bit=true", "epochs=12", "save_steps=99")
    quantised = [name for name, each in model.named_modules() if isinstance(each, bitsandbytes.nn.Linear4bit)]
    assert any("down_proj" in name for name in quantised)
    assert not any("score" in name for name in quantised)
    assert trained.losses[-1][1] < trained.losses[0][1]
    check_masked(dict(model.named_parameters()), neurons())
    model.save_pretrained(tmp_path / "adapter")
    whole = AutoModelForSequenceClassification.from_pretrained(source.folder, num_labels=3)
    merged = peft.PeftModel.from_pretrained(whole, tmp_path / "adapter").merge_and_unload()
    with torch.no_grad():
        assert merged(**Collator(PAD, 0)([EXAMPLES[0]])).logits.isfinite().all()
