"""What a token signal promises, each promise with what finds out whether it is kept."""

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
    breach_of_scores,
    chosen_layers,
)
from omnitrace.signals.describe import DESCRIBES_ITSELF, breach_of_description
from omnitrace.testing.contract import Promise, promises
from omnitrace.testing.harness import TOKENS, Failing, SignalBench
from omnitrace.testing.padding import padded_difference
from omnitrace.testing.state import model_change, model_state

__all__ = [
    "TOKEN_PROMISES",
    "chooses_layers",
    "description_breach",
    "restored",
    "tokens_breach",
]

# Of the largest score: more than the rounding of float32 in another order of summation.
_SAME: Final = 1e-4
_IDENTICAL: Final = 1e-6


def description_breach(bench: SignalBench) -> str | None:
    """Look at what a signal says of itself; the same for token and span signals."""
    name = bench.signal.name
    if isinstance(bench.asked, str) and name != bench.asked:
        return f"is registered as {bench.asked!r} and calls itself {name!r}"
    return breach_of_description(bench.signal)


def _describes_itself(bench: SignalBench) -> str | None:
    found = description_breach(bench)
    if found is None and "forwards" in bench.signal.needs:
        return "needs 'forwards', which only span signals can have"
    try:
        gradient_target(bench.signal.needs)
    except PluginError as error:
        return f"has needs that exclude each other: {error.found}"
    return found


def chooses_layers(bench: SignalBench) -> str | None:
    """Ask for layers twice; the same for token and live span signals.

    A signal that was made for one model may refuse the layers of another.
    """
    for available in (range(4), [1, 5, 9]):  # of the second model other layers have no softmax
        try:
            chosen_layers(bench.signal, available, subject=bench.subject)
        except InputError:
            if not isinstance(bench.signal, ModelBound):
                raise
    return None


def _returns(bench: SignalBench) -> str | None:
    error = bench.failure
    if error is not None and error.contract == RETURNS:
        return error.found.removeprefix(f"{bench.subject} ")
    return None


def _float32(bench: SignalBench) -> str | None:
    for block in bench.blocks:
        if not isinstance(block.scores, torch.Tensor):
            return f"returned a {type(block.scores).__name__}"
        if block.scores.dtype != torch.float32:
            return f"returned a tensor of {block.scores.dtype}"
    return None


def _of_blocks(contract: str) -> Callable[[SignalBench], str | None]:
    def breach(bench: SignalBench) -> str | None:
        for block in bench.blocks:
            found = breach_of_scores(block.scores, block.rows, block.context, first=block.first)
            if found is not None and found.contract == contract:
                return found.found
        return None

    return breach


def _shape(bench: SignalBench) -> str | None:
    return _of_blocks(SHAPE)(bench)


def _finite(bench: SignalBench) -> str | None:
    return _of_blocks(FINITE)(bench)


def _not_negative(bench: SignalBench) -> str | None:
    return _of_blocks(NON_NEGATIVE)(bench)


def _zero_ahead(bench: SignalBench) -> str | None:
    return _of_blocks(CAUSAL)(bench)


def _deterministic(bench: SignalBench) -> str | None:
    again = bench.trace().scores
    return _difference(bench.scores, again, "a second time", tolerance=_IDENTICAL)


def _later_tokens(bench: SignalBench) -> str | None:
    for count in (1, 5):
        part = bench.trace(tokens=count).scores
        width = bench.prompt_length + count
        whole = bench.scores[:count, :width]
        found = _difference(whole, part, f"in an answer of {count} tokens instead of {TOKENS}")
        if found is not None:
            return found
    return None


def _block_size(bench: SignalBench) -> str | None:
    for block in (1, 5):
        found = bench.trace(block=block).scores
        difference = _difference(bench.scores, found, f"read {block} at a time instead of 16")
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


def _greedy_tokens(bench: SignalBench) -> str | None:
    return tokens_breach(bench.untraced(sampled=False), bench.trace(block=1).token_ids)


def _sampled_tokens(bench: SignalBench) -> str | None:
    written = bench.trace(block=1, sampled=True).token_ids
    return tokens_breach(bench.untraced(sampled=True), written)


def tokens_breach(expected: tuple[int, ...], written: tuple[int, ...]) -> str | None:
    """Compare the tokens of the untraced model with the traced one's."""
    if written == expected:
        return None
    return f"made the model write the tokens {list(written)} instead of {list(expected)}"


def _padding(bench: SignalBench) -> str | None:
    return padded_difference(bench.signal, tolerance=_SAME)


def restored(bench: SignalBench) -> str | None:
    """Trace once more, then compare model and torch with what they were at first."""
    if bench.failure is None:
        bench.trace()
    change = bench.change()
    return None if change is None else f"left its mark: {change}"


def _restored_after_error(bench: SignalBench) -> str | None:
    model = bench.model
    frozen = next(model.parameters())
    before = frozen.requires_grad, model.training
    model.train()
    frozen.requires_grad_(False)
    state = model_state(model)
    try:
        bench.trace(block=1, signal=Failing(bench.signal))
        return "raised, and no error came of it"
    except ConformanceError:
        change = model_change(model, state)
    finally:
        frozen.requires_grad_(before[0])
        model.train(before[1])
    return None if change is None else f"raised, and left its mark: {change}"


TOKEN_PROMISES: Final[tuple[Promise[SignalBench], ...]] = promises(
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
