"""What deeper layers of a decoder are fed beside the input embeddings.

Qwen3-VL and its kin add features of the picture to the hidden states after early layers
(``deepstack_visual_embeds``, for the positions in ``visual_pos_masks``); Gemma 3n and 4 look every
token up in a second table, with a part for each layer (``per_layer_inputs``). Both have one value a
token. Flattened and put behind a token's embedding they make one vector of all that the decoder is
fed for it, so that whatever replaces, averages or differentiates embeddings does so with them too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn

__all__ = ["SideInputs", "side_inputs"]

_DEEPSTACK: Final = "deepstack_visual_embeds"
_VISUAL: Final = "visual_pos_masks"
_PER_LAYER: Final = "per_layer_inputs"


@dataclass(frozen=True, slots=True)
class SideInputs:
    """How the vector that a decoder is fed for each token divides into its inputs.

    Attributes
    ----------
    width:
        Of the input embedding, which comes first.
    shapes:
        The shape of each side input for one token, in the order in which they follow.
    """

    width: int
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @contextlib.contextmanager
    def feeding(
        self, model: Any, decoder: nn.Module, tokens: torch.Tensor, known: frozenset[str]
    ) -> Iterator[dict[str, Any]]:
        """Feed the decoder ``tokens`` in the one forward pass inside the block.

        Parameters
        ----------
        model, decoder:
            The model, and its decoder.
        tokens:
            ``[rows, N, width of all inputs]``, in what the decoder computes in.
        known:
            Names of the arguments that ``model.forward`` declares.

        Yields
        ------
        dict
            Arguments of the model's forward pass. What it does not declare reaches the decoder by
            a hook.
        """
        sizes = [self.width, *(math.prod(shape) for shape in self.shapes.values())]
        embeddings, *rest = torch.split(tokens, sizes, dim=-1)
        side = {
            name: part.reshape(*part.shape[:-1], *shape)
            for part, (name, shape) in zip(rest, self.shapes.items(), strict=True)
        }
        arguments = {"inputs_embeds": embeddings}
        arguments |= {name: value for name, value in side.items() if name in known}
        hooked = _of_decoder({name: value for name, value in side.items() if name not in known})

        def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            return args, kwargs | hooked

        if not hooked:
            yield arguments
            return
        handle = decoder.register_forward_pre_hook(before, with_kwargs=True)
        try:
            yield arguments
        finally:
            handle.remove()


def side_inputs(
    decoder: nn.Module, call: Mapping[str, Any], ids: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the side inputs of a decoder's call, ``[1, N, …]`` each.

    Parameters
    ----------
    decoder, call:
        The decoder, and the arguments of a call for one row.
    ids:
        The row's token ids, ``[1, N]``.
    """
    found: dict[str, torch.Tensor] = {}
    if call.get(_DEEPSTACK) is not None:
        where = call[_VISUAL]
        layers = torch.stack(list(call[_DEEPSTACK]), dim=1).detach()
        dense = layers.new_zeros(*where.shape, *layers.shape[1:])
        dense[where] = layers.to(dense.device)
        found[_DEEPSTACK] = dense
    per_layer = call.get(_PER_LAYER)
    looked_up = getattr(decoder, "hidden_size_per_layer_input", None)
    if per_layer is None and looked_up:
        with torch.no_grad():  # the decoder was given the ids, and would look them up itself
            per_layer = decoder.get_per_layer_inputs(ids)  # type: ignore[operator]
    if per_layer is not None:
        found[_PER_LAYER] = per_layer.detach()
    return found


def _of_decoder(side: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return side inputs as the decoder's own arguments."""
    arguments: dict[str, Any] = dict(side)
    dense = arguments.get(_DEEPSTACK)
    if dense is not None:  # zeros at all other positions add nothing
        arguments[_VISUAL] = torch.ones(dense.shape[:2], dtype=torch.bool, device=dense.device)
        arguments[_DEEPSTACK] = list(dense.flatten(0, 1).unbind(1))
    return arguments
