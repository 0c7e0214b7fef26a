"""A causal language model, or a classifier, in two halves: the layers below the first steered one, and the rest.

Nothing in the lower half depends on the strengths or the language, so it runs once where the upper half runs under
many conditions; and conditions that begin to differ at different layers go as far together as they can (`advance`).
The layers, the norm, the rotary embedding and the masks are the model's own, called as its forward calls them: the
halves together are that forward, bit for bit.  No hooks, nothing is patched, nothing stays on the model.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.modeling.language import language_id
from clas_models.modeling.positions import ALL, GENERATED

from .packing import PACK_TOKENS, Pack, pack_prompts

FULL, SLIDING = "full_attention", "sliding_attention"
MASKS = {FULL: create_causal_mask, SLIDING: create_sliding_window_causal_mask}
SDPA, EAGER = "sdpa", "eager"

Seen: TypeAlias = Callable[[int, Tensor], None]
"""Told of every layer that runs: its index, and its output `[batch, tokens, hidden]`."""


@dataclass(frozen=True)
class LowerState:
    """What the upper layers need from the lower ones.

    Attributes:
        hidden: `[batch, tokens, hidden]`, the output of the last lower layer.
        position_ids: int64 `[batch or 1, tokens]`.
        position_embeddings: cosine and sine, `[batch or 1, tokens, head]` each.
        masks: by kind of attention, as the model's layers take them; None is plain causal attention.
        cache: keys and values, those of these tokens included in the lower layers; None where none are kept.
        layer: how many layers have run.
    """

    hidden: Tensor
    position_ids: Tensor
    position_embeddings: tuple[Tensor, Tensor]
    masks: Mapping[str, Tensor | None]
    cache: Cache | None
    layer: int = 0

    def branch(self) -> Self:
        """The same state with a cache that grows on its own.

        No tensor is copied: a `DynamicCache` never writes into the ones that it has.
        """
        if self.cache is None:
            return self
        cache = copy(self.cache)
        cache.layers = [copy(layer) for layer in self.cache.layers]
        return replace(self, cache=cache)


class SplitDecoder:
    """The decoder and the head of a model, steered or plain; in a plain one no layer is an upper one.

    Args:
        model: a causal language model of a supported family, in eval mode.
        or_classifier: whether it may be a sequence classification, whose logits are those of labels.

    Raises InputError: the model's family, its attention implementation or a kind of attention is not supported, or the
    model is in training mode.
    """

    def __init__(self, model: Any, *, or_classifier: bool = False) -> None:
        _check(model, or_classifier)
        self.model = model
        self.config = model.config
        self.decoder = model.model
        self.is_classifier = _is_classifier(model)
        self.output: Any = model.score if self.is_classifier else model.lm_head
        self.layers = list(self.decoder.layers[: self.config.num_hidden_layers])
        self.layer_types = _layer_types(self.config)
        self.is_steered = hasattr(model, "rules")
        # The first layer whose output depends on the strengths, or on the language.
        self.first_upper = min((layer for rule in self.rules for layer in rule.layers), default=len(self.layers))
        # The vectors of each layer that has some; in the order of the layers.
        added = {index: getattr(layer, "add", None) for index, layer in enumerate(self.layers)}
        self.adds: dict[int, Any] = {index: add for index, add in added.items() if add is not None}
        self.vector_positions: str = self.config.vector_positions if self.adds else ALL

    @property
    def rules(self) -> tuple[Any, ...]:
        """What is in force on the model."""
        return tuple(self.model.rules) if self.is_steered else ()

    @property
    def device(self) -> torch.device:
        return self.model.device

    def language_id(self, language: str | None) -> int:
        """The id of a code, or of a language without a name; a plain model does not ask for it.

        Raises TypeError or ValueError: `language` is not a language code.
        """
        if not self.is_steered:
            return 0
        return len(self.config.languages) if language is None else language_id(language, self.config.languages)

    def packs(
        self, texts: Sequence[Sequence[int]], prompt_lengths: Sequence[int] | None = None, limit: int = PACK_TOKENS
    ) -> list[Pack]:
        """The texts of a batch, packed, with the tokens that vectors act on.

        Args:
            texts: token ids of prompts, or of prompts and what follows them.
            prompt_lengths: of each text, how many of its tokens are the prompt; all of them if not given.
            limit: as for `pack_prompts`.
        """
        if self.vector_positions == ALL:
            return pack_prompts(texts, limit)
        ends = [len(text) - 1 for text in texts] if prompt_lengths is None else [end - 1 for end in prompt_lengths]
        after = self.vector_positions == GENERATED
        acting = [
            [place == end or (after and place > end) for place in range(len(text))]
            for text, end in zip(texts, ends, strict=True)
        ]
        return pack_prompts(texts, limit, acting=acting)

    def positions(self, pack: Pack) -> Tensor | None:
        """bool `[1, tokens]`: the tokens of a pack that vectors act on; None are all."""
        return None if pack.acting is None else pack.acting[None].to(self.device)

    def step_positions(self, rows: int) -> Tensor | None:
        """bool `[rows, 1]`: whether vectors act on a token that was generated; None is everywhere."""
        if self.vector_positions == ALL:
            return None
        return torch.full((rows, 1), self.vector_positions == GENERATED, device=self.device)

    def new_cache(self) -> Cache:
        """An empty cache as `generate` makes it."""
        return DynamicCache(config=self.config)

    def lower(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | Mapping[str, Tensor] | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        seen: Seen | None = None,
    ) -> LowerState:
        """Run the embedding and the layers below the first steered one.

        Args:
            input_ids: int64 `[batch, tokens]`.
            attention_mask: `[batch, cached + tokens]`, 0 or False where a token is padding; or finished masks by kind
                of attention, see `pack_masks`.
            cache: keys and values of what precedes the tokens; the lower layers add theirs to it.
            position_ids: int64 `[batch or 1, tokens]`; by default those that follow the cached tokens, as in the
                model's forward.
            seen: is shown what each layer gives.
        """
        hidden = self.decoder.embed_tokens(input_ids)
        if position_ids is None:
            past = cache.get_seq_length() if cache is not None else 0
            position_ids = (torch.arange(hidden.shape[1], device=hidden.device) + past).unsqueeze(0)
        masks: Mapping[str, Any]
        if isinstance(attention_mask, Mapping):
            masks = attention_mask
        else:
            texts = {"inputs_embeds": hidden, "attention_mask": attention_mask, "position_ids": position_ids}
            masks = {
                kind: MASKS[kind](config=self.config, past_key_values=cache, **texts) for kind in set(self.layer_types)
            }
        embeddings = self.decoder.rotary_emb(hidden, position_ids=position_ids)
        state = LowerState(hidden, position_ids, embeddings, masks, cache)
        return replace(state, hidden=self._run(state, range(self.first_upper), seen=seen), layer=self.first_upper)

    def advance(self, state: LowerState, layer: int, language: str | None, seen: Seen | None = None) -> LowerState:
        """Run more layers, up to `layer` and without it; of vectors none may act in them with the strengths in force.

        Adds to the state's cache; a state that is there already comes back.  A vector that follows the last of these
        layers may come into force afterwards: `upper` adds it.  `seen` as for `lower`.
        """
        if layer <= state.layer:
            return state
        hidden = self._run(state, range(state.layer, layer), seen=seen, **self._steering(state, language, None))
        return replace(state, hidden=hidden, layer=layer)

    def upper(
        self, state: LowerState, language: str, positions: Tensor | None = None, seen: Seen | None = None
    ) -> Tensor:
        """Run the rest of the layers and the final norm, with the strengths that are in force on the model.

        Adds to the upper layers of the state's cache, so that it is complete afterwards: with a cache, take a
        `branch` of the state for every run but the last.

        Args:
            language: the code of all rows' language; a plain model does not ask for it.
            positions: bool `[batch, tokens]`, the tokens that vectors act on; None are all.
            seen: is shown what each layer gives; and of the last lower one again, where a vector follows it.

        Returns:
            `[batch, tokens, hidden]`, what `model.model` returns as the last hidden state.

        Raises TypeError, ValueError: `language` is not a language code.
        """
        steering = self._steering(state, language, positions)
        if (add := self.adds.get(state.layer - 1)) is not None:
            state = replace(state, hidden=add(state.hidden, **steering))
            if seen is not None:
                seen(state.layer - 1, state.hidden)
        return self.decoder.norm(self._run(state, range(state.layer, len(self.layers)), seen=seen, **steering))

    def _steering(self, state: LowerState, language: str | None, positions: Tensor | None) -> dict[str, Tensor | None]:
        if not self.is_steered:
            return {}
        ids = torch.full((len(state.hidden),), self.language_id(language), dtype=torch.long, device=self.device)
        return {"language_ids": ids, "positions": positions}

    @property
    def outputs(self) -> int:
        """How many logits a token has: one for each of the vocabulary, or of a classifier's labels."""
        return int(self.output.out_features)

    def head(self, hidden: Tensor, ids: Tensor | None = None) -> Tensor:
        """Logits `[..., outputs]` of hidden states `[..., hidden]`, or `[..., ids]` of some outputs only."""
        if ids is None:
            return self.output(hidden)
        weight, bias = self.output.weight, self.output.bias
        return F.linear(hidden, weight[ids], None if bias is None else bias[ids])

    def head_at(self, hidden: Tensor, places: Tensor, ids: Tensor) -> Tensor:
        """Logits `[places, ids]` of some tokens of a pack, whose hidden states are `[1, tokens, hidden]`.

        A classifier's head goes over all tokens, as in its forward: how many there are decides the last bits.
        """
        places = places.to(hidden.device)
        return self.output(hidden)[0, places][:, ids] if self.is_classifier else self.head(hidden[0, places], ids)

    def lower_pack(self, pack: Pack, cache: Cache | None = None, seen: Seen | None = None) -> LowerState:
        """`lower` of a pack, a batch of one row; an empty `cache` takes its keys and values.

        Sliding layers need the whole pack in the cache, so give a `DynamicCache()` and not a `new_cache`.
        """
        ids, positions = pack.ids[None].to(self.device), pack.position_ids[None].to(self.device)
        return self.lower(ids, self.pack_masks(pack), cache, positions, seen)

    def pack_masks(self, pack: Pack) -> dict[str, Tensor] | None:
        """Masks `[1, 1, tokens, tokens]` of a pack by kind of attention; None where causality is all there is."""
        if pack.is_one_text:
            return None
        return {kind: self.attention_mask(visible) for kind, visible in self.visible(pack).items()}

    def visible(self, pack: Pack) -> dict[str, Tensor]:
        """bool `[tokens, tokens]` by kind of attention: which tokens of a pack see which."""
        windows = {FULL: None, SLIDING: getattr(self.config, "sliding_window", None)}
        return {kind: pack.visible(windows[kind]) for kind in set(self.layer_types)}

    def attention_mask(self, visible: Tensor) -> Tensor:
        """What the layers take for bool `[tokens, keys]`: `[1, 1, tokens, keys]` in the form of the implementation."""
        mask = visible[None, None].to(self.device)
        if self.config._attn_implementation == SDPA:
            return mask
        zero = torch.zeros((), dtype=self.model.dtype, device=self.device)
        return torch.where(mask, zero, torch.finfo(self.model.dtype).min)

    def _run(self, state: LowerState, layers: range, seen: Seen | None = None, **steering: Tensor | None) -> Tensor:
        hidden = state.hidden
        for index in layers:
            hidden = self.layers[index](
                hidden,
                attention_mask=state.masks[self.layer_types[index]],
                position_embeddings=state.position_embeddings,
                position_ids=state.position_ids,
                past_key_values=state.cache,
                use_cache=state.cache is not None,
                **steering,
            )
            if seen is not None:
                seen(index, hidden)
        return hidden


def _layer_types(config: Any) -> list[str]:
    """The kind of attention of every layer; a family without `layer_types` has one kind, as its cache assumes."""
    kind = FULL if getattr(config, "sliding_window", None) is None else SLIDING
    return list(getattr(config, "layer_types", None) or [kind] * config.num_hidden_layers)


def _is_classifier(model: Any) -> bool:
    kinds: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(model.config), ())
    return isinstance(model, kinds)


def _check(model: Any, or_classifier: bool) -> None:
    supported = [name for family in FAMILIES.values() for name in (family.base, family.model_type)]
    kind = model.config.model_type
    if kind not in supported or not (hasattr(model, "lm_head") or (or_classifier and _is_classifier(model))):
        raise InputError(
            f"model: {type(model).__name__} of type {kind!r} is not supported; give a causal language model of type "
            f"{', '.join(supported)}"
        )
    attention = model.config._attn_implementation
    if attention not in (SDPA, EAGER):
        raise InputError(
            f"attn_implementation: {attention!r} cannot run prompts with a shared beginning; load the model with "
            f'attn_implementation="{SDPA}"'
        )
    for layer_type in _layer_types(model.config):
        if layer_type not in MASKS:
            raise InputError(f"layer_types: {layer_type!r} is not supported; allowed are {FULL} and {SLIDING}")
    if model.training:
        raise InputError("model: it is in training mode, where results are random; call model.eval() first")
