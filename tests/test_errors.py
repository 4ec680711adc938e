"""Errors travel between processes as they are."""

from __future__ import annotations

import pickle

import pytest

from omnitrace.errors import ConformanceError, InputError, OmnitraceError


@pytest.mark.parametrize(
    "error",
    [
        InputError("the number is 7", legal="1 to 5", fix="take 5"),
        ConformanceError("the signal 'x'", "finite scores", "gave NaN"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: OmnitraceError) -> None:
    error.text = "What the model wrote."
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert vars(there) == vars(error)
