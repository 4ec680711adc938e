"""How a run becomes the provenance of its trace."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from omnitrace.trace.trace import Provenance

if TYPE_CHECKING:
    from omnitrace.engine.session import Run
    from omnitrace.signals.base import Signal

__all__ = ["provenance_of"]

_PACKAGES: Final = (
    "omnitrace-attribution",
    "torch",
    "transformers",
    "numpy",
    "spacy",
    "sentencex",
)


def provenance_of(run: Run) -> Provenance:
    """Say where the trace of a finished run comes from: enough to make it again."""
    tracer = run.tracer
    adapter = tracer.adapter
    digest = hashlib.sha256(
        json.dumps(adapter.model.config.to_dict(), sort_keys=True, default=str).encode()
    ).hexdigest()
    return Provenance(
        model=adapter.source,
        adapter=adapter.name,
        revision=adapter.revision,
        config_digest=digest,
        processor=type(adapter.processor).__name__,
        attention=str(run.modules[0].config._attn_implementation),  # type: ignore[union-attr]
        dtype=str(adapter.model.dtype).removeprefix("torch."),
        signal=_signal_record(run),
        generation=run.generation,
        seed=run.seed,
        salience=tracer.salience.name,
        segmentation={
            "unit": tracer.span_unit,
            "language": tracer.sources.language,
            "sources": tracer.sources.record(),
            **run.engine.segmenter.record(),
        },
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        timings={name: round(seconds, 6) for name, seconds in run.timings.items()},
        finished=run.finished(run.engine.ids),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _signal_record(run: Run) -> dict[str, Any]:
    """Describe what chose the supports; beside a span signal, also what scored the tokens."""
    token, span = run.tracer.signal, run.tracer.span_signal
    chosen: Signal = token if span is None else span
    return {
        "name": chosen.name,
        "parameters": dict(chosen.parameters),
        **({} if span is None else {"token_signal": token.name}),
        "layers": list(run.layers),
    }
