"""What one decoder layer shows of a few generated tokens: the input of every signal."""

from __future__ import annotations

from collections.abc import Callable

import torch

from omnitrace.errors import PluginError

__all__ = ["LayerRows"]


class LayerRows:
    """What one decoder layer shows of a few consecutive generated tokens.

    Row r belongs to the query that predicts the r-th of these tokens. ``weights`` is its softmax
    over the context; entries after that query are zero. A row sums to 1, or to less where the model
    has attention sinks outside the context.

    Parameters
    ----------
    layer:
        Index of the decoder layer.
    weights:
        Returns the rows; with True, in memory that the next layer may reuse.
    gradients, value_norms:
        Return what the properties of these names describe, where the signal asked for it.
    """

    __slots__ = ("_gradients", "_value_norms", "_weights", "layer")

    def __init__(
        self,
        layer: int,
        weights: Callable[[bool], torch.Tensor],
        *,
        gradients: Callable[[], torch.Tensor] | None = None,
        value_norms: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        self.layer = layer
        self._weights = weights
        self._gradients = gradients
        self._value_norms = value_norms

    @property
    def weights(self) -> torch.Tensor:
        """The rows, float32 ``[heads, rows, context]``, computed at each access."""
        return self._weights(False)

    def mean(self) -> torch.Tensor:
        """Return ``weights.mean(0)``, float32 ``[rows, context]``, in less time and memory."""
        return self._weights(True).mean(dim=0)

    @property
    def gradients(self) -> torch.Tensor:
        """Derivative of the token's score by ``weights``, float32 ``[heads, rows, context]``.

        The score is the logit or the log-probability of the token that was written, before any
        logits processor, as the signal's needs say.
        """
        return _asked_for(self._gradients, "gradients", "'logit-gradients' or 'logprob-gradients'")

    @property
    def value_norms(self) -> torch.Tensor:
        """Length of what each position adds to the residual stream at full attention.

        float32 ``[heads, context]``: the Euclidean norm of ``W_O^h v``, the head's value vector
        after its part of the output projection (Kobayashi et al. 2020, section 3).
        """
        return _asked_for(self._value_norms, "value norms", "'values'")


def _asked_for(read: Callable[[], torch.Tensor] | None, what: str, need: str) -> torch.Tensor:
    if read is None:
        raise PluginError(
            f"the signal reads {what} that were not captured", fix=f"add {need} to its needs"
        )
    return read()
