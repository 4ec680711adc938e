"""The name of the cache among a model's arguments, which versions of transformers differ in."""

from __future__ import annotations

from typing import Any

import pytest

from omnitrace.capture.cache_argument import CACHE_NAMES, cache_argument, given_cache
from tests.helpers.tiny_models import tiny


class _Older:
    def forward(self, input_ids: Any, past_key_values: Any = None) -> None: ...


class _Newer:
    def forward(self, input_ids: Any, cache: Any = None) -> None: ...


class _Wrapper:
    def forward(self, *args: Any, **kwargs: Any) -> None: ...


def test_the_model_is_asked_and_not_the_version() -> None:
    assert cache_argument(_Older()) == "past_key_values"
    assert cache_argument(_Newer()) == "cache"
    assert cache_argument(_Wrapper()) == "past_key_values"  # a name that every version takes
    assert cache_argument(tiny("llama")) in CACHE_NAMES


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_cache_is_found_under_either_name(name: str) -> None:
    other = next(each for each in CACHE_NAMES if each != name)
    assert given_cache({name: "it", other: None}) == "it"
    assert given_cache({}) is None
