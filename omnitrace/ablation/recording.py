"""One pass over prompt and response as they are: what the decoder is fed, and how far it looks."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import DynamicCache

from omnitrace.ablation.kept_row import KeptRow, empty_cache, kept_row
from omnitrace.capture.attention_hooks import attention_modules, tapped
from omnitrace.capture.cache_argument import cache_argument
from omnitrace.capture.prompt_record import PromptRecord
from omnitrace.capture.visibility import AttentionReach
from omnitrace.errors import ModelError
from omnitrace.models.base import ModelAdapter
from omnitrace.models.forward import (
    DecoderInputs,
    carries_states,
    decoder_inputs,
    forward_parameters,
    last_logits,
    undisturbed,
)

__all__ = ["Recording", "record"]

# Inputs with one entry a token that carry no media content.
_PER_TOKEN: Final = ("attention_mask", "token_type_ids", "mm_token_type_ids")
# In which steps and passes differ by rounding errors that no threshold notices.
_EXACT: Final = (torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a pass over prompt and response has shown.

    Attributes
    ----------
    adapter:
        The model.
    fed:
        What the decoder is fed.
    per_token:
        Other inputs with one value a token, ``[1, N]`` each, by their names.
    reach:
        How far the layers look.
    recurrent:
        Whether layers carry what they have read in a state.
    tokens:
        ``T``, the tokens of the response.
    kept:
        The keys and values of all that was read, where they were to be kept and can be.
    """

    adapter: ModelAdapter
    fed: DecoderInputs
    per_token: Mapping[str, torch.Tensor]
    reach: AttentionReach
    recurrent: bool
    tokens: int
    kept: KeptRow | None

    def feeding(self, tokens: torch.Tensor) -> contextlib.AbstractContextManager[dict[str, Any]]:
        """Feed the decoder ``tokens``, ``[rows, n, d]``, in the forward pass inside the block.

        The context yields arguments of the model's forward pass.
        """
        return _feeding(self.adapter, self.fed, tokens)

    def run(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return logits ``[rows, T, vocabulary]`` for embeddings ``[rows, N, d]``."""
        return _run(self.adapter, self.fed, self.per_token, embeddings, self.tokens)


def record(
    adapter: ModelAdapter,
    inputs: Mapping[str, torch.Tensor],
    options: Mapping[str, Any],
    tokens: int,
    *,
    memory: int,
    keep: bool = False,
    prompt: PromptRecord | None = None,
) -> tuple[Recording, torch.Tensor]:
    """Run the model as it is: note what its decoder is fed, and how far it looks.

    Also return the logits that the response is predicted from, float32 ``[1, T, vocabulary]``.

    Parameters
    ----------
    adapter, inputs, options:
        The model, its inputs (batch 1), and the other arguments of its forward pass.
    tokens:
        ``T``, the tokens of the response.
    memory:
        The bytes that passes may take, of which what is kept may take a part.
    keep:
        Whether keys and values are kept.
    prompt:
        What was left of reading the prompt; where that is enough, only the response is run, and
        keys and values are kept, too.

    Raises
    ------
    ModelError
        If the model cannot be run on embeddings.
    """
    if "inputs_embeds" not in forward_parameters(adapter.model):
        raise ModelError(
            f"{type(adapter.model).__name__} cannot be run on embeddings",
            legal="models whose forward() takes inputs_embeds",
        )
    asked = _Asked(adapter, inputs, options, tokens)
    with undisturbed(adapter.model):
        cache = None
        if keep or prompt is not None:
            dtype = adapter.model.dtype
            cache = empty_cache(adapter.model, asked.length, dtype, memory)
        # One query alone is given no mask, which says how far it looks.
        if cache is not None and tokens > 1 and adapter.model.dtype in _EXACT:
            prompt = prompt or _read(asked, cache)
            if prompt is not None:
                found = _continued(asked, prompt)
                if found is not None:
                    return found
        return _whole(asked, cache)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What :func:`record` is asked to run."""

    adapter: ModelAdapter
    inputs: Mapping[str, torch.Tensor]
    options: Mapping[str, Any]
    tokens: int

    @property
    def length(self) -> int:
        """The tokens of prompt and response that are read."""
        return int(self.inputs["input_ids"].shape[1])

    @property
    def per_token(self) -> dict[str, torch.Tensor]:
        """Inputs with one value a token."""
        return {name: self.inputs[name] for name in _PER_TOKEN if name in self.inputs}

    def tapped(self, reach: AttentionReach) -> contextlib.AbstractContextManager[None]:
        """Note in ``reach`` how far layers look inside the block."""
        modules = attention_modules(self.adapter.decoder)
        return tapped(self.adapter.model, modules, [reach] * len(modules))

    def recording(
        self, fed: DecoderInputs, reach: AttentionReach, cache: DynamicCache | None
    ) -> Recording:
        """Return what the pass has shown."""
        recurrent = carries_states(self.adapter.model, len(reach.modules))
        kept = None
        if cache is not None and _goes_on(reach, recurrent):
            kept = kept_row(cache, self.length)
        fed = dataclasses.replace(fed, logits=None)  # by far the largest of it
        return Recording(self.adapter, fed, self.per_token, reach, recurrent, self.tokens, kept)


def _goes_on(reach: AttentionReach, recurrent: bool) -> bool:
    """Say whether keys and values of a beginning are all that what follows needs of it."""
    return reach.full and reach.causal and not recurrent


def _read(asked: _Asked, cache: DynamicCache) -> PromptRecord | None:
    """Read a prompt of text as generation does.

    What is measured of a response is then the same to the bit, whether it was just written or not.
    """
    inputs, model = asked.inputs, asked.adapter.model
    if any(value.shape != (1, asked.length) for value in inputs.values()):
        return None  # media would have to be encoded twice
    end = asked.length - asked.tokens + 1
    prompt = PromptRecord(end, attention_modules(asked.adapter.decoder))
    first = {name: value[:, :end] for name, value in inputs.items()}
    arguments = {**asked.options, cache_argument(model): copy.deepcopy(cache)}
    with (
        torch.no_grad(),
        tapped(model, prompt.modules, prompt.taps((), ())),
        prompt.attached(model, ()),
        last_logits(model, 1) as more,
    ):
        model(**first, **arguments, **{**more, "use_cache": True})
    return prompt


def _whole(asked: _Asked, cache: DynamicCache | None) -> tuple[Recording, torch.Tensor]:
    """Run all of it, and keep the keys and values in a cache, if one is given."""
    reach = AttentionReach()
    with asked.tapped(reach):
        fed = decoder_inputs(
            asked.adapter, asked.inputs, asked.options, tokens=asked.tokens, cache=cache
        )
    assert fed.logits is not None
    return asked.recording(fed, reach, cache), fed.logits


def _continued(asked: _Asked, prompt: PromptRecord) -> tuple[Recording, torch.Tensor] | None:
    """Run the response behind the prompt that was read, or return None where that is not exact."""
    adapter, reach, start = asked.adapter, prompt.reach, asked.length - asked.tokens
    read = kept_row(prompt.take(), start)
    recurrent = carries_states(adapter.model, len(reach.modules))
    if read is None or not _goes_on(reach, recurrent):
        return None
    fed = decoder_inputs(adapter, asked.inputs, asked.options)
    cache = read.first(start)
    with torch.no_grad(), asked.tapped(reach):
        logits = _run(adapter, fed, asked.per_token, fed.tokens, asked.tokens, cache).float()
    made = asked.recording(fed, reach, cache)
    return None if made.kept is None else (made, logits)


def _feeding(
    adapter: ModelAdapter, fed: DecoderInputs, tokens: torch.Tensor
) -> contextlib.AbstractContextManager[dict[str, Any]]:
    tokens = tokens.to(fed.tokens.device, fed.dtype)
    known = forward_parameters(adapter.model)
    return fed.side.feeding(adapter.model, adapter.decoder, tokens, known)


def _run(
    adapter: ModelAdapter,
    fed: DecoderInputs,
    per_token: Mapping[str, torch.Tensor],
    embeddings: torch.Tensor,
    tokens: int,
    cache: Any = None,
) -> torch.Tensor:
    """Return the last logits for embeddings ``[rows, N, d]`` whose beginning may be cached."""
    model, count = adapter.model, len(embeddings)
    start = 0 if cache is None else cache.get_seq_length()
    arguments: dict[str, Any] = {
        name: value.expand(count, -1)[:, 0 if name == "attention_mask" else start :]
        for name, value in per_token.items()
    }
    if cache is not None:
        arguments |= {cache_argument(model): cache}
    positions = fed.positions
    if positions is not None:  # else the model counts them by itself, now as then
        # [1, N], or [axes, 1, N] where the rotary embedding is multimodal
        shape = (*positions.shape[:-2], count, positions.shape[-1])
        arguments["position_ids"] = positions.expand(shape)[..., start:]
    with last_logits(model, tokens) as more, _feeding(adapter, fed, embeddings[:, start:]) as given:
        more["use_cache"] = cache is not None
        output = model(**given, **arguments, **more)
    logits: torch.Tensor = output.logits[:, -tokens:]
    return logits
