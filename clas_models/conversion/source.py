"""What the user names as MODEL, checked before anything is computed: a Hub id, a folder, or a GGUF file.

Gives a `Source`: a folder with a configuration of a supported family and whole safetensors weights.  Loading a model
from it is left to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig

from ..errors import InputError
from ..json_data import parse_json
from ..modeling.configuration_clas import OLD_FIELDS, STEERING_FIELDS
from ..modeling.families import family_of
from ..modeling.family import Family
from ..modeling.tensor_names import is_added, vectors_name
from ..modeling.vectors import check_vectors
from ..profiling.fitted_strengths import FittedStrengths
from ..profiling.language_vectors import LanguageVectors
from ..profiling.neuron_profile import NeuronProfile, Provenance
from ..profiling.neuron_quantiles import NeuronQuantiles
from . import gguf_source
from .hub_models import download_model, is_hub_id
from .kinds import check_config, refuse_pointer, refuse_pointers, refuse_without_config
from .tensor_check import unused_tensors
from .weights import Shard, fingerprint, read_shards, read_tensor

PROFILE_NAME = "neuron_profile.safetensors"
QUANTILES_NAME = "neuron_quantiles.safetensors"
VECTORS_NAME = "steering_vectors.safetensors"
STRENGTHS_NAME = "fitted_strengths.safetensors"


@dataclass(frozen=True)
class Source:
    """A checkpoint to convert.

    `name` is what the user called it, `raw_config` its `config.json` as it stands, `from_hub` whether the folder is the
    Hub's own cache, whose files never change, `unused` the tensors that its model has no use for and that travel along.
    """

    name: str
    folder: Path
    family: Family
    raw_config: dict[str, Any]
    config: PreTrainedConfig
    shards: tuple[Shard, ...]
    from_hub: bool
    unused: tuple[str, ...] = ()

    @property
    def is_steered(self) -> bool:
        return self.raw_config["model_type"] == self.family.model_type

    @property
    def dtype(self) -> str | None:
        """The precision of the weights, as the configuration gives it."""
        found = self.raw_config.get("dtype") or self.raw_config.get("torch_dtype")
        return None if found is None else str(found).removeprefix("torch.")

    @property
    def has_vectors(self) -> bool:
        """Whether it is steered by vectors, whatever their strength."""
        return self.is_steered and bool(self.config.vector_layers)

    @property
    def base_fields(self) -> dict[str, Any]:
        """`config.json` without the fields of steering, in this version and in older ones."""
        dropped = {*STEERING_FIELDS, *OLD_FIELDS, "auto_map"}
        return {name: value for name, value in self.raw_config.items() if name not in dropped}

    def may_be_left(self, tensor: str) -> bool:
        """Whether the plain model has no use for a tensor: one that steering added, or one that is unused anyway."""
        return is_added(tensor) or tensor in self.unused

    @property
    def profile_path(self) -> Path | None:
        """The profile that a steered checkpoint carries."""
        return self._carried(PROFILE_NAME)

    @property
    def quantiles_path(self) -> Path | None:
        """The percentiles of activations that a steered checkpoint carries, where it was asked for them."""
        return self._carried(QUANTILES_NAME)

    @property
    def vectors_path(self) -> Path | None:
        """The vectors of all layers that a steered checkpoint carries, whichever of them it adds."""
        return self._carried(VECTORS_NAME)

    @property
    def strengths_path(self) -> Path | None:
        """The fitted strengths that a steered checkpoint carries, with how they were fitted."""
        return self._carried(STRENGTHS_NAME)

    def _carried(self, name: str) -> Path | None:
        path = self.folder / name
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
            try:
                check_vectors(layer, table, config)
            except ValueError as error:
                raise InputError(f"{self.folder}: {vectors_name(layer)!r}: {error}; convert it again") from error
        return vectors


def open_source(model: str, scratch: Path, dtype: str = "auto", *, quiet: bool = False) -> Source:
    """Find and check the model that a user names: a folder, a GGUF file, or a Hub id.

    The weights of a GGUF file are written to `scratch` as safetensors, in the precision `dtype`, and kept for the next
    attempt; `quiet` shows no bar then.

    Raises InputError: it is none of these, not a supported family, another kind of model, or damaged.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _from_folder(path, model, from_hub=False)
    if path.is_file() and gguf_source.is_gguf(path):
        return _from_folder(gguf_source.dequantize(path, scratch, dtype, quiet=quiet), model, from_hub=False)
    if path.is_file():
        refuse_pointer(path)
    if path.exists():
        raise InputError(f"{model}: a file, but not GGUF; give the folder of a checkpoint, a .gguf file or a Hub id")
    check_name(model)
    return _from_folder(download_model(model, _check_first), model, from_hub=True)


def check_name(model: str) -> None:
    """Raises InputError for what is neither a folder or file nor has the form of a Hub id."""
    if not Path(model).expanduser().exists() and not is_hub_id(model):
        raise InputError(f"{model}: no such folder or file, and not a Hub id of the form owner/name")


def _from_folder(folder: Path, name: str, *, from_hub: bool) -> Source:
    refuse_pointers(folder)
    raw = read_config(folder)
    family = check_config(name, folder, raw)
    config_class = family.config if raw["model_type"] == family.model_type else family.base_config
    shards = read_shards(folder)
    layers, tensors = raw.get("num_hidden_layers"), sum(len(shard.tensors) for shard in shards)
    if isinstance(layers, int) and layers > tensors:  # some configurations make a list of so many entries
        raise InputError(f"{folder / 'config.json'}: num_hidden_layers is {layers}, the weights are {tensors} tensors")
    try:
        config = config_class.from_dict(dict(raw))
    except Exception as error:  # whatever the configuration class finds wrong with a user's file
        raise InputError(f"{folder / 'config.json'}: not a usable configuration: {error}") from error
    _check_generation(folder / "generation_config.json")
    source = Source(name, folder, family, raw, config, shards, from_hub)
    plain = family.base_config.from_dict({**source.base_fields, "model_type": family.base})
    return replace(source, unused=unused_tensors(name, plain, source.shards))


def _check_first(folder: Path, name: str) -> None:
    """What a download of weights must not be wasted on."""
    check_config(name, folder, read_config(folder, name))


def read_config(folder: Path, name: str = "") -> dict[str, Any]:
    """The folder's `config.json` as a dictionary; `name` is what the user calls the folder.

    Raises InputError: it is missing, or not a JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        refuse_without_config(folder, name or str(folder))
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a JSON {type(raw).__name__}, expected an object")
    return raw


def check_profile_fits(profile: NeuronProfile, source: Source, place: Path) -> None:
    """Raises InputError: the profile, whose file is `place`, is of another model than the source."""
    _check_fits(
        source,
        f"{place}: a profile",
        profile.provenance,
        ("number of layers", profile.num_model_layers, source.num_layers),
        ("number of neurons in a layer", profile.num_neurons, source.num_neurons),
        remedy="convert it again, with --corpus",
    )


def check_quantiles_fit(quantiles: NeuronQuantiles, source: Source, place: Path) -> None:
    """Raises InputError: the quantiles, whose file is `place`, are of another model than the source."""
    _check_fits(
        source,
        f"{place}: quantiles",
        quantiles.provenance,
        ("number of layers", quantiles.num_model_layers, source.num_layers),
        ("number of neurons in a layer", quantiles.num_neurons, source.num_neurons),
        remedy="make them again, by converting this model with --quantiles",
    )


def check_strengths_fit(strengths: FittedStrengths, source: Source, place: Path) -> None:
    """Raises InputError: the strengths, whose file is `place`, are of another model than the source, or for other
    languages.
    """
    _check_fits(
        source,
        f"{place}: strengths",
        strengths.provenance,
        ("number of layers", strengths.num_model_layers, source.num_layers),
        ("number of neurons in a layer", strengths.num_neurons, source.num_neurons),
        remedy="fit them again, on this model",
    )
    if source.is_steered:
        own = (tuple(source.config.languages), source.config.anchor_language)
        if own != (strengths.languages, strengths.anchor):
            raise InputError(
                f"{place}: strengths for {', '.join(strengths.languages)} (anchor {strengths.anchor}), and "
                f"{source.name} has {', '.join(own[0])} (anchor {own[1]}); fit them again, on this checkpoint"
            )


def check_vectors_fit(vectors: LanguageVectors, source: Source, place: Path) -> None:
    """Raises InputError: the vectors, whose file is `place`, are of another model than the source."""
    _check_fits(
        source,
        f"{place}: vectors",
        vectors.provenance,
        ("number of layers", vectors.num_model_layers, source.num_layers),
        ("hidden size", vectors.hidden_size, int(source.config.hidden_size)),
        remedy="measure them again, on this model",
    )


def _check_fits(source: Source, what: str, theirs: Provenance, *sizes: tuple[str, int, int], remedy: str) -> None:
    try:
        base = family_of(theirs.model_type).base
    except ValueError:
        base = theirs.model_type
    for name, found, expected in (
        ("model type", base, source.family.base),
        *sizes,
        # What was made outside of a conversion may not know its weights.
        ("fingerprint of the weights", theirs.fingerprint or source.fingerprint, source.fingerprint),
    ):
        if found != expected:
            raise InputError(
                f"{what} of another model ({theirs.model}): its {name} is {found}, that of {source.name} {expected}; "
                f"{remedy}"
            )


def _check_generation(path: Path) -> None:
    """A file that goes into what is made, where a model could not be loaded with a damaged one."""
    try:
        if path.is_file():
            GenerationConfig.from_pretrained(path.parent)
    except Exception as error:  # whatever its reader finds wrong with a user's file
        raise InputError(f"{path}: not a generation configuration ({error}); download it again") from error
