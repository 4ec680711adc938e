"""How many positions the layers of a model have seen so far."""

from __future__ import annotations

from omnitrace.capture.attention_hooks import AttentionCall

__all__ = ["ContextCount"]


class ContextCount:
    """Counts positions once for all captured layers, at the one that is called first.

    A layer with the keys of an earlier one (Gemma 4) may be called for the end of a prompt alone:
    its queries do not count what the layers before it have read.

    Parameters
    ----------
    use_cache:
        Whether the model decodes with a key-value cache.
    dynamic:
        Whether the cache holds no more than what was read.

    Attributes
    ----------
    new, seen:
        Positions that the latest forward pass brought; these and all before.
    """

    def __init__(self, *, use_cache: bool = True, dynamic: bool = True) -> None:
        self._use_cache = use_cache
        self._dynamic = dynamic
        self._first: int | None = None
        self.new = 0
        self.seen = 0

    def begin(self, tap: object, call: AttentionCall) -> bool:
        """Return whether a call begins a forward pass; if so, count the positions of the pass.

        It does if it is of the layer that was called first of all, known by its ``tap``.
        """
        if self._first is None:
            self._first = id(tap)
        if id(tap) != self._first:
            return False
        before = self.seen if self._use_cache else 0
        self.new = call.query.shape[2]
        if self._dynamic and getattr(call.module, "is_kv_shared_layer", False):
            window = call.options.get("sliding_window")
            kept = before if window is None else min(before, window - 1)
            self.new = call.key.shape[2] - kept
        self.seen = before + self.new
        return True
