"""PEFT adapters: the factors of each language as an IA3 vector in front of `down_proj`, for the untouched base model.

The files are written as PEFT writes them, without needing it; it loads, switches and merges them.

Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"
(arXiv 2205.05638), section 3.3: l_ff rescales the inner activations of the feed-forward network.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...atomic import atomic_file, fsync_path
from ...errors import InputError
from ..copying import write_json
from ..export_record import ADAPTER_CONFIG
from ..loading import on_disk
from ..model_card import PLACEHOLDER, short_name
from ..progress import Progress
from ..source import Source
from ..weights import fingerprint, read_shards
from .cards import export_card
from .comparison import Difference, difference, sample_tokens, steered_logits
from .folded import plain_config
from .form import Export, Form
from .scaling import Scaling, profiled_languages, refuse_vectors

WEIGHTS_NAME = "adapter_model.safetensors"
_FINGERPRINT = "base_fingerprint"
_TOLERANCE = 1e-4  # of the largest logit; the factors are the steered model's own


def check_base(adapter: Path, base: Path) -> None:
    """Whether the adapter of one language, a folder, is for this base model; PEFT itself looks at shapes only.

    `base` is the folder of a plain or steered checkpoint, in the precision that was steered.

    Raises InputError: it is for other weights, or was not written here.
    """
    path = Path(adapter) / WEIGHTS_NAME
    try:
        with safe_open(path, "pt") as file:
            wanted = (file.metadata() or {}).get(_FINGERPRINT)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not an adapter that can be read ({error}); make it again") from error
    if wanted is None:
        raise InputError(f"{path}: does not say which base model it is for; make it again with --format ia3")
    if fingerprint(read_shards(Path(base))) != wanted:
        raise InputError(
            f"{adapter}: an adapter for another base model than {base}, whose weights differ (in another precision "
            "they do, too); give the model that it was made for, or make it again"
        )


def _check(source: Source, config: Any) -> None:
    refuse_vectors(source, config)
    if not config.bridge_layers:
        raise InputError(f"{source.name}: has no bridge layers, so there is nothing to scale; convert it with some")


def named_or_all(codes: tuple[str, ...], config: Any) -> tuple[str, ...]:
    """The languages that the user names, or all that the checkpoint steers. Raises InputError: there are none."""
    codes = codes or profiled_languages(config)
    if not codes:
        raise InputError(
            "the checkpoint names no language beside its anchor; convert the model again with more --languages"
        )
    return codes


def _write(export: Export, folder: Path, progress: Progress) -> None:
    for scaling in export.scalings:
        place = folder / scaling.language
        place.mkdir()
        write_json(place / ADAPTER_CONFIG, _adapter_config(export, scaling))
        tensors = {f"base_model.model.model.{_target(i)}.ia3_l": f[None] for i, f in scaling.factors.items()}
        with atomic_file(place / WEIGHTS_NAME) as partial:
            save_file(tensors, partial, metadata={"format": "pt", _FINGERPRINT: export.record.fingerprint})
        fsync_path(place)
    progress.say(f"adapters: {' '.join(scaling.language for scaling in export.scalings)}")


def _target(layer: int) -> str:
    return f"layers.{layer}.mlp.down_proj"


def _adapter_config(export: Export, scaling: Scaling) -> dict[str, Any]:
    """The fields of PEFT's `IA3Config` that all its versions know."""
    targets = [_target(layer) for layer in scaling.factors]
    return {
        "peft_type": "IA3",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": export.base,
        "revision": None,
        "target_modules": targets,
        "feedforward_modules": targets,
        "fan_in_fan_out": False,
        "init_ia3_weights": True,
        "modules_to_save": None,
        "inference_mode": True,
    }


class _ScaledInput(nn.Module):
    """`down_proj` behind a factor for each row and neuron, in PEFT's arithmetic: a product in the factors' float32."""

    def __init__(self, down_proj: nn.Module, factors: Tensor) -> None:
        super().__init__()
        self.down_proj = down_proj
        self.factors = factors[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj((x.to(self.factors.dtype) * self.factors).to(x.dtype))


def _compare(export: Export, folder: Path) -> Difference:
    """A row of the batch is a language, and the base model is the steered checkpoint read as a plain one."""
    source = export.source
    steered = steered_logits(source, export.config, export.scalings)
    adapters = [load_file(folder / scaling.language / WEIGHTS_NAME) for scaling in export.scalings]
    tokens = sample_tokens(export.config.vocab_size).expand(len(adapters), -1)
    config = source.family.base_config.from_dict(plain_config(source))
    loaded = on_disk(source.folder, may_be_left=source.may_be_left, config=config, dtype=torch.float32)
    with loaded as model, torch.inference_mode():
        for layer in export.record.bridge_layers:
            mlp = model.model.layers[layer].mlp
            factors = [adapter[f"base_model.model.model.{_target(layer)}.ia3_l"] for adapter in adapters]
            mlp.down_proj = _ScaledInput(mlp.down_proj, torch.cat(factors))
        result = difference(steered, model(tokens, use_cache=False).logits)
    result.check(_TOLERANCE, folder)
    return result


def _card(export: Export, measured: Difference) -> str:
    name = short_name(export.source)
    introduction = (
        f"IA3 adapters for the base model of `{name}`, a model with cross-lingual activation steering (CLAS): a folder "
        f"for each language ({' '.join(export.record.languages)}). With one of them active all input is steered as "
        "that language; without, the base model is untouched. Languages with the same alpha have the same adapter, and "
        "one with alpha 0 changes nothing."
    )
    usage = _loading(export, PLACEHOLDER, export.record.base_model)
    for code in export.record.languages[1:2]:
        usage.append(f'model.load_adapter("{PLACEHOLDER}", subfolder="{code}", adapter_name="{code}")')
        usage.append(f'model.set_adapter("{code}")')
    usage += ["with model.disable_adapter():  # the base model", "    ..."]
    usage.append("plain = model.merge_and_unload()  # the active language folded into the weights")
    title = f"{name} as IA3 adapters"
    return export_card(export, measured, title=title, introduction=introduction, usage=usage, library_name="peft")


def _usage(export: Export, folder: str) -> list[str]:
    return _loading(export, folder, export.base)


def _loading(export: Export, folder: str, base: str | None) -> list[str]:
    code = export.record.languages[0]
    return [
        "from peft import PeftModel; from transformers import AutoModelForCausalLM",
        f'base = AutoModelForCausalLM.from_pretrained("{base or "BASE_MODEL"}")',
        f'model = PeftModel.from_pretrained(base, "{folder}", subfolder="{code}", adapter_name="{code}")',
    ]


IA3 = Form(languages=named_or_all, check=_check, write=_write, compare=_compare, card=_card, usage=_usage)
