"""The cache of keys and values among a model's arguments: ``cache`` since ``transformers`` 5.24.

Before, and in models with code of their own, it is ``past_key_values``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CACHE_NAMES", "cache_argument", "given_cache"]

CACHE_NAMES: Final = ("cache", "past_key_values")


def cache_argument(model: Any) -> str:
    """Return the name under which ``model.forward`` takes a cache."""
    taken = inspect.signature(model.forward).parameters
    return next((name for name in CACHE_NAMES if name in taken), CACHE_NAMES[-1])


def given_cache(arguments: Mapping[str, Any]) -> Any:
    """Return the cache that a model is called with, or None."""
    found = (arguments.get(name) for name in CACHE_NAMES)
    return next((cache for cache in found if cache is not None), None)
