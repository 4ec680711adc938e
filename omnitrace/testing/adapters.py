"""The contract of a model adapter: each requirement, with the function that checks it."""

from __future__ import annotations

import contextlib
from typing import Final, get_args

import numpy as np

from omnitrace.capture.probe import probe
from omnitrace.errors import InputError, NotSupportedError, OmnitraceError
from omnitrace.models.base import ModelAdapter
from omnitrace.sources.token_map import TextTokens
from omnitrace.testing.contract import Requirement, requirements
from omnitrace.testing.harness import SEED, settings
from omnitrace.testing.maps import MAP_REQUIREMENTS, NEW_TOKENS, AdapterRequest
from omnitrace.testing.requests import request
from omnitrace.testing.state import model_change, model_state
from omnitrace.testing.tokens import tokens_violation
from omnitrace.tracer import Tracer
from omnitrace.types import Modality

__all__ = ["ADAPTER_REQUIREMENTS", "AdapterHarness"]

_DESCRIBES: Final = "an adapter has a name, a model with generate(), a tokenizer, a decoder"


class AdapterHarness(AdapterRequest):
    """An adapter, and its results for a small request.

    Parameters
    ----------
    adapter:
        With its model, however small and untrained.
    modalities:
        What the model takes.
    """

    def __init__(self, adapter: ModelAdapter, modalities: tuple[Modality, ...] = ("text",)) -> None:
        unknown = sorted(set(modalities) - set(get_args(Modality)))
        if unknown or not modalities:
            raise InputError(f"modalities are {modalities!r}", legal=", ".join(get_args(Modality)))
        super().__init__(adapter, request(modalities))
        with contextlib.suppress(Exception):  # what fails here is found by its requirement
            self.untraced(sampled=False)  # the first pass of some towers adds attributes to them
        self._before = model_state(adapter.model)

    def traced(self, *, sampled: bool) -> tuple[int, ...]:
        """Return the tokens that the model writes while it is traced."""
        tracer = Tracer(adapter=self.adapter, signal="attention-mean", block=1)
        return tracer.trace(
            self.messages, seed=SEED, **settings(self.adapter, NEW_TOKENS, sampled)
        ).token_ids

    def change(self) -> str | None:
        """Say what of the model has changed since the harness was made."""
        return model_change(self.adapter.model, self._before)


def _describes_itself(harness: AdapterHarness) -> str | None:
    name = getattr(harness.adapter, "name", None)
    if not isinstance(name, str) or not name:
        return f"has the name {name!r}"
    for what in ("model", "tokenizer", "decoder", "max_context"):
        try:
            found = getattr(harness.adapter, what)
        except Exception as error:  # a plugin may raise anything
            return f"has no {what}: {type(error).__name__}: {error}"
        if found is None and what != "max_context":
            return f"has no {what}"
    if not callable(getattr(harness.adapter.model, "generate", None)):
        return f"has a model without generate(): {type(harness.adapter.model).__name__}"
    return None


def _layers_captured(harness: AdapterHarness) -> str | None:
    try:
        layers = probe(harness.adapter.model, harness.adapter.decoder, what=harness.adapter.source)
    except OmnitraceError as error:
        return f"has a decoder whose attention cannot be captured: {error.found}"
    indices = [index for index, _ in layers]
    if not indices or indices != sorted(set(indices)):
        return f"has a decoder whose layers are {indices}"
    return None


def _greedy_tokens(harness: AdapterHarness) -> str | None:
    return tokens_violation(harness.untraced(sampled=False), harness.traced(sampled=False))


def _sampled_tokens(harness: AdapterHarness) -> str | None:
    return tokens_violation(harness.untraced(sampled=True), harness.traced(sampled=True))


def _features(harness: AdapterHarness) -> str | None:
    for tokens in harness.encoded.geometry:
        if isinstance(tokens, TextTokens):
            continue
        try:
            given = [harness.adapter.features(harness.encoded, tokens) for _ in range(2)]
        except NotSupportedError:
            continue
        except Exception as error:  # a plugin may raise anything
            return f"raised {type(error).__name__} where features were asked for: {error}"
        kind, found = tokens.part.modality, given[0]
        if not isinstance(found, np.ndarray) or found.dtype != np.float32:
            return f"gave features of {kind} as {getattr(found, 'dtype', type(found).__name__)}"
        if found.ndim != 2 or len(found) != len(tokens.positions):
            return f"gave {len(tokens.positions)} tokens of {kind} features {list(found.shape)}"
        if not np.isfinite(found).all():
            return f"gave features of {kind} that are not finite"
        if not np.array_equal(given[0], given[1]):
            return f"gave other features of {kind} the second time"
    return None


def _restored(harness: AdapterHarness) -> str | None:
    harness.traced(sampled=False)
    change = harness.change()
    return None if change is None else f"left something changed: {change}"


ADAPTER_REQUIREMENTS: Final[tuple[Requirement[AdapterHarness], ...]] = (
    *requirements(
        {
            _DESCRIBES: _describes_itself,
        }
    ),
    *MAP_REQUIREMENTS,
    *requirements(
        {
            "the decoder's attention can be captured": _layers_captured,
            "greedy decoding writes the untraced model's tokens": _greedy_tokens,
            "seeded sampling writes the untraced model's tokens": _sampled_tokens,
            "features(), where there are any, are finite float32 [tokens, dimensions]": _features,
            "the model stays as it was": _restored,
        }
    ),
)
