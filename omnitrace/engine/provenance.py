"""Where the trace of a request comes from: enough to reproduce it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from omnitrace._utils.paths import base_of_path, without_paths
from omnitrace.engine.setup import Setup
from omnitrace.signals.base import Signal
from omnitrace.trace.provenance import Provenance

__all__ = ["provenance_of"]

_PACKAGES: Final = (
    "omnitrace-attribution",
    "torch",
    "transformers",
    "numpy",
    "spacy",
    "sentencex",
)


def provenance_of(
    setup: Setup,
    *,
    layers: Sequence[int],
    generation: Mapping[str, Any],
    seed: int | None,
    segmentation: Mapping[str, Any],
    timings: Mapping[str, float],
    finished: bool,
) -> Provenance:
    """Collect the provenance of a trace, without the folders of this machine.

    Parameters
    ----------
    setup:
        Model, signals and options.
    layers:
        Decoder layers whose rows were read, at least one.
    generation, seed, timings, finished:
        As the trace's :class:`~omnitrace.trace.trace.Provenance` has them.
    segmentation:
        What the segmenter says of itself; how sources were cut is added.
    """
    adapter = setup.adapter
    config = json.dumps(adapter.model.config.to_dict(), sort_keys=True, default=str)
    attention = setup.layers[layers[0]].config._attn_implementation  # type: ignore[union-attr]
    return Provenance(
        model=base_of_path(str(adapter.source)),
        adapter=adapter.name,
        revision=adapter.revision,
        config_digest=hashlib.sha256(config.encode()).hexdigest(),
        processor=type(adapter.processor).__name__,
        attention=str(attention),
        dtype=str(adapter.model.dtype).removeprefix("torch."),
        signal=_signal_record(setup, layers),
        generation=generation,
        seed=seed,
        salience=setup.salience.name,
        segmentation={
            "unit": setup.span_unit,
            "language": setup.sources.language,
            "sources": without_paths(setup.sources.record()),
            **segmentation,
        },
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        timings={name: round(seconds, 6) for name, seconds in timings.items()},
        finished=finished,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _signal_record(setup: Setup, layers: Sequence[int]) -> dict[str, Any]:
    """Describe what chose the supports; beside a span signal, also what scored the tokens."""
    token, span = setup.signals.token, setup.signals.span
    chosen: Signal = token if span is None else span
    return {
        "name": chosen.name,
        "parameters": without_paths(chosen.parameters),
        **({} if span is None else {"token_signal": token.name}),
        "layers": list(layers),
    }
