"""Run a model on given inputs and leave it exactly as it was."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from omnitrace.capture.attention_hooks import tapped
from omnitrace.capture.cache_argument import cache_argument
from omnitrace.capture.exclusive import evaluated, model_lock
from omnitrace.capture.parameters import frozen
from omnitrace.errors import ModelError, NotSupportedError
from omnitrace.models.side_inputs import SideInputs, side_inputs

if TYPE_CHECKING:
    from omnitrace.models.base import ModelAdapter

__all__ = [
    "DecoderInputs",
    "carries_states",
    "decoder_inputs",
    "forward_parameters",
    "kept_logits",
    "last_logits",
    "undisturbed",
]


@dataclass(frozen=True, slots=True)
class DecoderInputs:
    """What a model's decoder is fed for one request, with every medium in its place.

    ``tokens`` is ``[1, N, d]`` in at least float32 and ``dtype`` what they were: the input
    embeddings, and behind them what ``side`` says. ``positions`` is ``[1, N]``, ``[axes, 1, N]``
    where the rotary embedding is multimodal, or None where the decoder counts by itself. ``logits``
    is float32 ``[1, tokens, vocabulary]`` where the model was run to its end.
    """

    tokens: torch.Tensor
    side: SideInputs
    positions: torch.Tensor | None
    dtype: torch.dtype
    logits: torch.Tensor | None

    @property
    def embeddings(self) -> torch.Tensor:
        """The input embeddings alone, ``[1, N, width]``."""
        return self.tokens[..., : self.side.width]


class _SeenError(Exception):
    """Ends a pass before the decoder, once its inputs are known."""


def decoder_inputs(
    adapter: ModelAdapter,
    inputs: Mapping[str, torch.Tensor],
    options: Mapping[str, Any],
    *,
    tokens: int | None = None,
    cache: Any = None,
) -> DecoderInputs:
    """Show what the decoder is fed for ``inputs``; call it inside :func:`undisturbed`.

    Parameters
    ----------
    adapter, inputs, options:
        The model, its inputs (batch 1), and the other arguments of its forward pass.
    tokens:
        How many of the last logits are needed; with None the decoder does not run at all.
    cache:
        An empty cache that the pass fills, or None.

    Raises
    ------
    ModelError
        If the decoder does not run exactly once in a pass.
    NotSupportedError
        If the decoder puts the media in their places by itself, and has no layer that shows it.
    """
    model = adapter.model
    calls: list[dict[str, Any]] = []
    names = list(inspect.signature(adapter.decoder.forward).parameters)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(dict(zip(names, args, strict=False)) | kwargs)
        if tokens is None and not _places_media(calls[0]):
            raise _SeenError

    placed: list[torch.Tensor] = []

    def first_layer(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        placed.append(args[0] if args else kwargs["hidden_states"])
        if tokens is None:
            raise _SeenError

    output: Any = None
    hooks = [(adapter.decoder, before)]
    if layers := getattr(adapter.decoder, "layers", None):
        hooks.append((layers[0], first_layer))
    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module, hook in hooks]
    try:
        with (
            torch.no_grad(),
            last_logits(model, tokens or 1) as more,
            contextlib.suppress(_SeenError),
        ):
            if cache is not None:
                more |= {cache_argument(model): cache, "use_cache": True}
            output = model(**inputs, **options, **more)
    finally:
        for handle in handles:
            handle.remove()
    if len(calls) != 1:
        raise ModelError(f"{type(model).__name__} ran its decoder {len(calls)} times in one pass")
    embeddings = calls[0].get("inputs_embeds")
    if _places_media(calls[0]):
        embeddings = _as_placed(model, placed)
    if embeddings is None:
        with torch.no_grad():
            embeddings = model.get_input_embeddings()(inputs["input_ids"])
    side = side_inputs(adapter.decoder, calls[0], inputs["input_ids"])
    exact = torch.promote_types(embeddings.dtype, torch.float32)
    parts = [embeddings.detach(), *(value.flatten(2) for value in side.values())]
    return DecoderInputs(
        torch.cat([part.to(embeddings.device, exact) for part in parts], dim=-1),
        SideInputs(
            embeddings.shape[-1], {name: tuple(value.shape[2:]) for name, value in side.items()}
        ),
        calls[0].get("position_ids"),
        embeddings.dtype,
        None if tokens is None else output.logits[:, -tokens:].float(),
    )


# What a decoder of text is given that is no number of a position, mask or cache.
_MEDIA: Final = ("pixel", "audio", "image", "video", "input_features")


def _places_media(call: Mapping[str, Any]) -> bool:
    """Whether a decoder is given ids and media, and puts these in their places by itself."""
    return call.get("inputs_embeds") is None and any(
        isinstance(value, torch.Tensor) and any(kind in name for kind in _MEDIA)
        for name, value in call.items()
    )


def _as_placed(model: Any, placed: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return what the decoder's first layer was given: the embeddings, with the media among them.

    Where a decoder does more to them, a scorer finds that the model's own pass differs.
    """
    if not placed:
        raise NotSupportedError(
            f"the decoder of {type(model).__name__} puts the media in their places by itself, and "
            "has no layers in which that is seen, so units cannot be ablated",
            legal="models that give their decoder the embeddings of all tokens",
            fix="trace with a signal of attention and verify=False",
        )
    return placed[0]


def forward_parameters(model: Any) -> frozenset[str]:
    """Return the names of the arguments that ``model.forward`` declares."""
    return frozenset(inspect.signature(model.forward).parameters)


def carries_states(model: Any, softmax_layers: int) -> bool:
    """Return whether layers carry what they have read in a state, as recurrent ones do.

    Such a state (of linear attention, Mamba, a short convolution) is written in place and cannot be
    forked, no mask hides a token from it, and no row of attention shows what it holds.

    Parameters
    ----------
    model:
        The model.
    softmax_layers:
        How many of its layers have softmax attention. A layer may have it beside a state.
    """
    config = model.config.get_text_config(decoder=True)
    depth = getattr(config, "num_hidden_layers", softmax_layers)
    return softmax_layers < depth or any(
        getattr(module, "_is_stateful", False) for module in (model, model.get_decoder())
    )


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Run ``model`` inside in evaluation mode and with frozen parameters, then undo all of it.

    Mode of every module, ``requires_grad`` of every parameter and any ``rope_deltas`` are as they
    were, also after an error; no other run comes between. Inference mode is off inside.
    """
    with (
        model_lock(model).held(),
        torch.inference_mode(False),
        tapped(model, (), ()),
        frozen(model),
        evaluated(model),
    ):
        yield


def kept_logits(model: Any, tokens: int) -> int | torch.Tensor:
    """Return the ``logits_to_keep`` for the last ``tokens`` logits of a pass.

    Given a number, a model whose last layers share the keys of earlier ones (Gemma 4) runs these
    layers for as many tokens only, and their attention shows nothing of the others. Given places,
    it runs them whole.
    """
    shared = getattr(model.config.get_text_config(decoder=True), "num_kv_shared_layers", None)
    return torch.arange(-tokens, 0) if shared else tokens


@contextlib.contextmanager
def last_logits(model: Any, tokens: int) -> Iterator[dict[str, Any]]:
    """Yield arguments for forward passes inside that compute only the last ``tokens`` logits.

    A model without ``logits_to_keep`` would compute all of them, the largest tensor of a pass; a
    hook then shortens what its head is given.
    """
    arguments: dict[str, Any] = {"use_cache": False, "return_dict": True}
    head = model.get_output_embeddings()
    if "logits_to_keep" in forward_parameters(model):
        yield arguments | {"logits_to_keep": kept_logits(model, tokens)}
        return
    if head is None:
        yield arguments
        return

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, -tokens:], *args[1:]) if args else args

    handle = head.register_forward_pre_hook(before)
    try:
        yield arguments
    finally:
        handle.remove()
