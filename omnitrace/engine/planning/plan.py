"""Plan a request: its tokens, the memory that it takes and what each signal costs.

The processor runs on the real media, so that tokens are counted and not estimated. Of the model
only the configuration is read: it is built without weights, and its bytes are computed from the
shapes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from omnitrace._utils.process_memory import resident
from omnitrace.engine.planning.advice import advice
from omnitrace.engine.planning.costs import cost_of_signal
from omnitrace.engine.planning.machine import available_bytes
from omnitrace.engine.planning.memory import Sizes, generating
from omnitrace.engine.planning.result import Plan, PlannedSource
from omnitrace.engine.planning.speed import Speed
from omnitrace.engine.prepare import encoded_request
from omnitrace.engine.setup import chosen_signals
from omnitrace.errors import ModelError, PluginError
from omnitrace.media import MediaLimits
from omnitrace.models.base import LoadOptions, ModelAdapter
from omnitrace.models.encoded_request import EncodedRequest
from omnitrace.models.generation import DEFAULT_NEW_TOKENS
from omnitrace.models.loading import checkpoint_size, load_adapter
from omnitrace.models.memory import largest_weight, weight_bytes
from omnitrace.plugins.registry import registry
from omnitrace.signals.base import LiveSpanSignal, Signal
from omnitrace.signals.resolution import Resolved, resolve
from omnitrace.signals.verified.options import Verify
from omnitrace.sources.messages import Asked, Conversation, read_messages
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.parts import Part, TextPart
from omnitrace.sources.token_map import GridTokens

__all__ = ["every_signal", "plan"]

_SPAN_TOKENS: Final = 20  # of a usual sentence; how many spans there will be is not known ahead


def plan(
    messages: Asked,
    *,
    model: str,
    signals: Sequence[str | Signal | None] = (None,),
    verify: Verify | bool | None = None,
    max_new_tokens: int = DEFAULT_NEW_TOKENS,
    dtype: torch.dtype | str | None = None,
    device: str = "cpu",
    memory: int | None = None,
    sources: SourceOptions | None = None,
    limits: MediaLimits | None = None,
    media_root: str | Path | None = None,
    block: int = 16,
    trust_remote_code: bool = False,
    measure: bool = False,
) -> Plan:
    """Say what a request will cost, before any weight is loaded.

    Parameters
    ----------
    messages, media_root, sources, limits, block, verify:
        As for a :class:`~omnitrace.Tracer`. Sources must be cut by what needs no model: "grid" and
        "bins", not "ward".
    model, dtype, trust_remote_code:
        As for ``Tracer.from_pretrained``.
    signals:
        Signals to compare; None is what a tracer does where no signal is named: value-attention,
        verified.
    max_new_tokens:
        Longest response, in tokens. A response that ends earlier costs less.
    device:
        Where the model will run. It need not exist here if ``memory`` is given.
    memory:
        Bytes that may be used; by default what is free on the device, where it can be asked.
    measure:
        Whether the model is loaded after all, to measure how fast it reads and writes, so that the
        plan has seconds.

    Raises
    ------
    InputError, MediaError
        If the request cannot be used.
    ModelError
        If there is no such model.
    PluginError
        If a signal is unknown.
    """
    chosen = [_chosen(signal, verify) for signal in signals]
    load = LoadOptions(dtype=dtype, trust_remote_code=trust_remote_code, weights=False)
    adapter = load_adapter(model, load)
    sources = sources or SourceOptions()
    request = _request(adapter, messages, sources, limits, media_root)
    sizes = _sizes(adapter, request, max_new_tokens, block)
    weights = _weights(model, adapter, load)
    on_cpu = torch.device("cpu" if device == "auto" else device).type == "cpu"
    process = (resident() or 0) if on_cpu else 0
    loading = _loading(model, adapter, load) if on_cpu else 0
    speed = Speed.measured(model, load, request, device) if measure else None
    costs = [cost_of_signal(resolved, check, sizes) for resolved, check in chosen]
    if speed is not None:
        costs = [speed.timed(each, sizes) for each in costs]
    made = Plan(
        model=adapter.source,
        dtype=str(adapter.model.dtype).removeprefix("torch."),
        device=device,
        sources=_sources(request),
        prompt_tokens=sizes.prompt,
        max_new_tokens=max_new_tokens,
        context_limit=adapter.max_context,
        weights=weights,
        cache=sizes.cache(sizes.context),
        process=process,
        loading=loading,
        generating=generating(sizes),
        signals=tuple(costs),
        available=memory if memory is not None else available_bytes(device, process),
    )
    return dataclasses.replace(made, advice=advice(made))


def _chosen(
    signal: str | Signal | None, verify: Verify | bool | None
) -> tuple[Resolved, Verify | None]:
    """Return the signals, and how their supports are verified.

    Where several signals are compared, one that measures by itself is not verified besides.
    """
    if verify and signal is not None:
        span = resolve(signal).span
        if span is not None and not isinstance(span, LiveSpanSignal):
            verify = None
    return chosen_signals(signal, verify)


def _request(
    adapter: ModelAdapter,
    messages: Asked,
    sources: SourceOptions,
    limits: MediaLimits | None,
    media_root: str | Path | None,
) -> EncodedRequest:
    conversation = (
        messages
        if isinstance(messages, Conversation)
        else read_messages(
            messages,
            options=sources,
            limits=limits or MediaLimits(),
            media_root=None if media_root is None else Path(media_root),
        )
    )
    return encoded_request(adapter, conversation, sources, weights=False)


def _sizes(adapter: ModelAdapter, request: EncodedRequest, new: int, block: int) -> Sizes:
    units = request.layout.units
    return Sizes(
        model=adapter.model,
        itemsize=adapter.model.dtype.itemsize,
        prompt=request.prompt_length,
        new=new,
        sources=len({position for unit in units for position in unit.positions}),
        units=len(units),
        spans=max(1, round(new / _SPAN_TOKENS)),
        modalities=frozenset(unit.modality for unit in units),
        inputs=sum(each.nbytes for each in request.encoded.inputs.values()),
        block=block,
    )


def _weights(name: str, adapter: ModelAdapter, options: LoadOptions) -> int:
    """Return the bytes of the weights: by their shapes, or of a quantised one by its files."""
    config = adapter.model.config
    quantised = getattr(config, "quantization_config", None)
    if quantised is None or name.endswith(".gguf"):  # those are dequantised as they are loaded
        return weight_bytes(adapter.model)
    size = checkpoint_size(name, options)
    if size is None:
        raise ModelError(
            f"the size of the quantised weights of {name!r} is not known",
            legal="a local folder, or a hub id with a network",
        )
    return size


def _loading(name: str, adapter: ModelAdapter, options: LoadOptions) -> int:
    """Return what loading takes beside the weights: a GGUF file is read whole, and dequantised."""
    if not name.endswith(".gguf"):
        return 0
    return (checkpoint_size(name, options) or 0) + largest_weight(adapter.model)


def _sources(request: EncodedRequest) -> tuple[PlannedSource, ...]:
    tokens: Counter[tuple[int, int]] = Counter()
    parts: dict[tuple[int, int], Part] = {}
    for each in request.encoded.geometry:
        place = each.part.message, each.part.part
        parts[place] = each.part
        overviews = each.overviews if isinstance(each, GridTokens) else ()
        tokens[place] += len(each.positions) + sum(len(view.positions) for view in overviews)
    units = Counter((unit.locator.message, unit.locator.part) for unit in request.layout.units)
    return tuple(
        PlannedSource(
            message=place[0],
            part=place[1],
            modality="text" if isinstance(part, TextPart) else part.modality,
            name=_name(part),
            tokens=tokens[place],
            units=units[place],
        )
        for place, part in sorted(parts.items(), key=lambda item: item[0])
    )


def _name(part: Part) -> str:
    """Return what a user calls a part: its file, its id, or how its text begins."""
    if isinstance(part, TextPart):
        line = " ".join(part.text.split())
        return part.source_id or (line if len(line) <= 40 else line[:39] + "…")
    return str(part.source_id or getattr(part.media, "name", "") or "")


def every_signal() -> list[str | Signal | None]:
    """Return what a tracer does by default, and every installed signal that can be made."""
    found: list[str | Signal | None] = [None]
    for name, entry in registry().signals.items():
        try:
            entry.make()
        except PluginError:
            continue
        found.append(name)
    return found
