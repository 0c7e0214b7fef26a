"""What the user names as MODEL, checked before anything is computed: a Hub id, a folder, or a GGUF file.

Gives a `Source`: a folder with a configuration of a supported family and whole safetensors weights.  Loading a model
from it is left to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedConfig

from ..errors import InputError
from ..json_data import parse_json
from ..modeling.configuration_clas import OLD_FIELDS, STEERING_FIELDS
from ..modeling.families import family_of
from ..modeling.family import Family
from ..modeling.tensor_names import is_added, is_mask, vectors_name
from ..profiling.neuron_profile import NeuronProfile
from . import gguf_source
from .export_record import refuse_adapter
from .hub_models import download_model, is_hub_id
from .weights import Shard, current_names, fingerprint, read_shards, read_tensor

PROFILE_NAME = "neuron_profile.safetensors"


@dataclass(frozen=True)
class Source:
    """A checkpoint to convert.

    `name` is what the user called it, `raw_config` its `config.json` as it stands, `from_hub` whether the folder is the
    Hub's own cache, whose files never change.
    """

    name: str
    folder: Path
    family: Family
    raw_config: dict[str, Any]
    config: PreTrainedConfig
    shards: tuple[Shard, ...]
    from_hub: bool

    @property
    def is_steered(self) -> bool:
        return self.raw_config["model_type"] == self.family.model_type

    @property
    def has_vectors(self) -> bool:
        """Whether it is steered by vectors, whatever their strength."""
        return self.is_steered and bool(self.config.vector_layers)

    @property
    def base_fields(self) -> dict[str, Any]:
        """`config.json` without the fields of steering, in this version and in older ones."""
        dropped = {*STEERING_FIELDS, *OLD_FIELDS, "auto_map"}
        return {name: value for name, value in self.raw_config.items() if name not in dropped}

    @property
    def profile_path(self) -> Path | None:
        """The profile that a steered checkpoint carries."""
        path = self.folder / PROFILE_NAME
        return path if self.is_steered and path.is_file() else None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.shards)

    @property
    def num_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def num_neurons(self) -> int:
        return int(self.config.intermediate_size)

    def carried_vectors(self, languages: Sequence[str], anchor: str) -> dict[int, Tensor]:
        """The vectors of a steered source by layer, floating `[languages, hidden]`, which new masks leave as they are.

        There are none where the source has none, and where the languages or the anchor are others than the source's: a
        row belongs to a language, and says how it differs from the anchor.

        Raises InputError: a tensor is missing, of another shape, or damaged.
        """
        config = self.config
        if not self.has_vectors or config.languages != list(languages) or config.anchor_language != anchor:
            return {}
        shape = (len(languages), config.hidden_size)
        vectors = {layer: read_tensor(self.shards, vectors_name(layer), shape=shape) for layer in config.vector_layers}
        for layer, table in vectors.items():
            if not (table.is_floating_point() and bool(table.isfinite().all())):
                raise InputError(f"{self.folder}: {vectors_name(layer)!r} are not finite numbers; convert it again")
        return vectors


def open_source(model: str, scratch: Path, dtype: str = "auto", *, quiet: bool = False) -> Source:
    """Find and check the model that a user names: a folder, a GGUF file, or a Hub id.

    The weights of a GGUF file are written to `scratch` as safetensors, in the precision `dtype`, and kept for the next
    attempt; `quiet` shows no bar then.

    Raises InputError: it is none of these, not a supported family, or damaged.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _from_folder(path, model, from_hub=False)
    if path.is_file() and gguf_source.is_gguf(path):
        return _from_folder(gguf_source.dequantize(path, scratch, dtype, quiet=quiet), model, from_hub=False)
    if path.exists():
        raise InputError(f"{model}: a file, but not GGUF; give the folder of a checkpoint, a .gguf file or a Hub id")
    check_name(model)
    return _from_folder(download_model(model), model, from_hub=True)


def check_name(model: str) -> None:
    """Raises InputError for what is neither a folder or file nor has the form of a Hub id."""
    if not Path(model).expanduser().exists() and not is_hub_id(model):
        raise InputError(f"{model}: no such folder or file, and not a Hub id of the form owner/name")


def _from_folder(folder: Path, name: str, *, from_hub: bool) -> Source:
    raw = read_config(folder)
    try:
        family = family_of(raw.get("model_type"))
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from error
    config_class = family.config if raw["model_type"] == family.model_type else family.base_config
    shards = read_shards(folder)
    layers, tensors = raw.get("num_hidden_layers"), sum(len(shard.tensors) for shard in shards)
    if isinstance(layers, int) and layers > tensors:  # some configurations make a list of so many entries
        raise InputError(f"{folder / 'config.json'}: num_hidden_layers is {layers}, the weights are {tensors} tensors")
    try:
        config = config_class.from_dict(dict(raw))
    except Exception as error:  # whatever the configuration class finds wrong with a user's file
        raise InputError(f"{folder / 'config.json'}: not a usable configuration: {error}") from error
    source = Source(name, folder, family, raw, config, shards, from_hub)
    _check_tensors(source)
    _check_generation(folder / "generation_config.json")
    return source


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json` as a dictionary. Raises InputError: it is missing, or not a JSON object."""
    path = folder / "config.json"
    if not path.is_file():
        refuse_adapter(folder)
        raise InputError(f"{folder}: no config.json, so not a Transformers checkpoint")
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a JSON {type(raw).__name__}, expected an object")
    return raw


def check_profile_fits(profile: NeuronProfile, source: Source, place: Path) -> None:
    """Raises InputError: the profile, whose file is `place`, is of another model than the source."""
    theirs = profile.provenance
    try:
        base = family_of(theirs.model_type).base
    except ValueError:
        base = theirs.model_type
    for what, found, expected in (
        ("model type", base, source.family.base),
        ("number of layers", profile.num_model_layers, source.num_layers),
        ("number of neurons in a layer", profile.num_neurons, source.num_neurons),
        # One that was made outside of a conversion may not know its weights.
        ("fingerprint of the weights", theirs.fingerprint or source.fingerprint, source.fingerprint),
    ):
        if found != expected:
            raise InputError(
                f"{place}: a profile of another model ({theirs.model}): its {what} is {found}, that of {source.name} "
                f"{expected}; convert it again, with --corpus"
            )


def _check_generation(path: Path) -> None:
    """A file that goes into what is made, where a model could not be loaded with a damaged one."""
    try:
        if path.is_file():
            GenerationConfig.from_pretrained(path.parent)
    except Exception as error:  # whatever its reader finds wrong with a user's file
        raise InputError(f"{path}: not a generation configuration ({error}); download it again") from error


def _check_tensors(source: Source) -> None:
    """The weights are those of a causal language model of this configuration: each tensor, in its shape, and no other.

    What steering added may be missing or damaged, because it can be made anew; the masks that are there must fit.
    """
    place = source.folder
    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(source.config)
    except Exception as error:  # whatever the model's classes find wrong with a user's file
        raise InputError(f"{place / 'config.json'}: no model can be made with it: {error}") from error
    found = current_names(source.shards)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in expected.items():
        if name not in found:
            if not is_added(name) and name not in model.all_tied_weights_keys:
                raise InputError(
                    f"{place}: no tensor {name!r} in its weights; download it again; only causal language models "
                    "can be converted"
                )
        elif (is_mask(name) or not is_added(name)) and (has := found[name][0].tensors[found[name][1]].shape) != shape:
            raise InputError(
                f"{place}: tensor {name!r} has the shape {list(has)}, but the configuration says {list(shape)}"
            )
    for name in found:
        if name not in expected and not is_added(name) and not name.endswith("rotary_emb.inv_freq"):
            raise InputError(f"{place}: tensor {name!r} has no place in the model that its configuration describes")
