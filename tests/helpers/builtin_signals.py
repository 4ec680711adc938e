"""The built-in token signals."""

from __future__ import annotations

from typing import Final

from omnitrace import builtin
from omnitrace.plugins.registry import build_registry
from omnitrace.signals.base import TokenSignal

_ENTRIES: Final = build_registry({"omnitrace": builtin}).signals

BUILTIN_TOKEN_SIGNALS: Final = [
    name for name, entry in _ENTRIES.items() if isinstance(entry.make(), TokenSignal)
]
