"""The built-in signals that fit any model: all but the estimator, which is trained for one."""

from __future__ import annotations

from typing import Final

from omnitrace.plugins import builtin
from omnitrace.plugins.manager import build_registry

_ENTRIES: Final = build_registry({"omnitrace": builtin}).signals

BUILTIN_TOKEN_SIGNALS: Final = [name for name in _ENTRIES if name != "estimator"]
