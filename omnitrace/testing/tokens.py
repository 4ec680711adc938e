"""The contract of a token signal: each requirement, with the function that checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from omnitrace.errors import ConformanceError, InputError, PluginError
from omnitrace.signals.base import ModelBound, gradient_target
from omnitrace.signals.contract import (
    CAUSAL,
    FINITE,
    LAYERS,
    NON_NEGATIVE,
    RETURNS,
    SHAPE,
    chosen_layers,
    violation_of_scores,
)
from omnitrace.signals.describe import DESCRIBES_ITSELF, violation_of_description
from omnitrace.testing.contract import Requirement, requirements
from omnitrace.testing.harness import TOKENS, Failing, SignalHarness
from omnitrace.testing.padding import padded_difference
from omnitrace.testing.state import model_change, model_state

__all__ = [
    "TOKEN_REQUIREMENTS",
    "chooses_layers",
    "description_violation",
    "restored",
    "tokens_violation",
]

# Of the largest score: more than the rounding of float32 in another order of summation.
_SAME: Final = 1e-4
_IDENTICAL: Final = 1e-6


def description_violation(harness: SignalHarness) -> str | None:
    """Check what a signal says of itself; the same for token and span signals."""
    name = harness.signal.name
    if isinstance(harness.asked, str) and name != harness.asked:
        return f"is registered as {harness.asked!r} and calls itself {name!r}"
    return violation_of_description(harness.signal)


def _describes_itself(harness: SignalHarness) -> str | None:
    found = description_violation(harness)
    if found is None and "forwards" in harness.signal.needs:
        return "needs 'forwards', which only span signals can have"
    try:
        gradient_target(harness.signal.needs)
    except PluginError as error:
        return f"has needs that exclude each other: {error.found}"
    return found


def chooses_layers(harness: SignalHarness) -> str | None:
    """Ask for layers twice; the same for token and live span signals.

    A signal that was made for one model may refuse the layers of another.
    """
    for available in (range(4), [1, 5, 9]):  # of the second model other layers have no softmax
        try:
            chosen_layers(harness.signal, available, subject=harness.subject)
        except InputError:
            if not isinstance(harness.signal, ModelBound):
                raise
    return None


def _returns(harness: SignalHarness) -> str | None:
    error = harness.failure
    if error is not None and error.contract == RETURNS:
        return error.found.removeprefix(f"{harness.subject} ")
    return None


def _float32(harness: SignalHarness) -> str | None:
    for block in harness.blocks:
        if not isinstance(block.scores, torch.Tensor):
            return f"returned a {type(block.scores).__name__}"
        if block.scores.dtype != torch.float32:
            return f"returned a tensor of {block.scores.dtype}"
    return None


def _of_blocks(contract: str) -> Callable[[SignalHarness], str | None]:
    def violation(harness: SignalHarness) -> str | None:
        for block in harness.blocks:
            found = violation_of_scores(block.scores, block.rows, block.context, first=block.first)
            if found is not None and found.contract == contract:
                return found.found
        return None

    return violation


def _shape(harness: SignalHarness) -> str | None:
    return _of_blocks(SHAPE)(harness)


def _finite(harness: SignalHarness) -> str | None:
    return _of_blocks(FINITE)(harness)


def _not_negative(harness: SignalHarness) -> str | None:
    return _of_blocks(NON_NEGATIVE)(harness)


def _zero_ahead(harness: SignalHarness) -> str | None:
    return _of_blocks(CAUSAL)(harness)


def _deterministic(harness: SignalHarness) -> str | None:
    again = harness.trace().scores
    return _difference(harness.scores, again, "a second time", tolerance=_IDENTICAL)


def _later_tokens(harness: SignalHarness) -> str | None:
    for count in (1, 5):
        part = harness.trace(tokens=count).scores
        width = harness.prompt_length + count
        whole = harness.scores[:count, :width]
        found = _difference(whole, part, f"in a response of {count} tokens instead of {TOKENS}")
        if found is not None:
            return found
    return None


def _block_size(harness: SignalHarness) -> str | None:
    for block in (1, 5):
        found = harness.trace(block=block).scores
        difference = _difference(harness.scores, found, f"read {block} at a time instead of 16")
        if difference is not None:
            return difference
    return None


def _difference(
    expected: np.ndarray, found: np.ndarray, when: str, *, tolerance: float = _SAME
) -> str | None:
    apart = np.abs(expected - found)
    if float(apart.max()) <= tolerance * float(expected.max()):
        return None
    token, position = np.unravel_index(int(apart.argmax()), apart.shape)
    return (
        f"gave generated token {token} the score {expected[token, position]:g} at context position "
        f"{position}, and {when} {found[token, position]:g}"
    )


def _greedy_tokens(harness: SignalHarness) -> str | None:
    return tokens_violation(harness.untraced(sampled=False), harness.trace(block=1).token_ids)


def _sampled_tokens(harness: SignalHarness) -> str | None:
    written = harness.trace(block=1, sampled=True).token_ids
    return tokens_violation(harness.untraced(sampled=True), written)


def tokens_violation(expected: tuple[int, ...], written: tuple[int, ...]) -> str | None:
    """Compare the tokens of the untraced model with the traced one's."""
    if written == expected:
        return None
    return f"made the model write the tokens {list(written)} instead of {list(expected)}"


def _padding(harness: SignalHarness) -> str | None:
    return padded_difference(harness.signal, tolerance=_SAME)


def restored(harness: SignalHarness) -> str | None:
    """Trace once more, then compare model and torch with what they were at first."""
    if harness.failure is None:
        harness.trace()
    change = harness.change()
    return None if change is None else f"left something changed: {change}"


def _restored_after_error(harness: SignalHarness) -> str | None:
    model = harness.model
    frozen = next(model.parameters())
    before = frozen.requires_grad, model.training
    model.train()
    frozen.requires_grad_(False)
    state = model_state(model)
    try:
        harness.trace(block=1, signal=Failing(harness.signal))
        return "raised, and no error came of it"
    except ConformanceError:
        change = model_change(model, state)
    finally:
        frozen.requires_grad_(before[0])
        model.train(before[1])
    return None if change is None else f"raised, and left something changed: {change}"


TOKEN_REQUIREMENTS: Final[tuple[Requirement[SignalHarness], ...]] = requirements(
    {
        DESCRIBES_ITSELF: _describes_itself,
        LAYERS: chooses_layers,
        RETURNS: _returns,
        "scores are a float32 tensor": _float32,
        SHAPE: _shape,
        FINITE: _finite,
        NON_NEGATIVE: _not_negative,
        CAUSAL: _zero_ahead,
        "the model and torch's settings stay as they were": restored,
        "the model stays as it was also if the signal raises": _restored_after_error,
        "greedy decoding writes the untraced model's tokens": _greedy_tokens,
        "seeded sampling writes the untraced model's tokens": _sampled_tokens,
        "the same request gives the same scores": _deterministic,
        "later tokens change no earlier score": _later_tokens,
        "scores do not depend on how many tokens are read at once": _block_size,
        "neither padding nor another sequence of the batch changes a score": _padding,
    }
)
