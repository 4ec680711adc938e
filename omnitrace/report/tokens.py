"""What the viewer shows of single tokens, and where the signal of each span lies, cut short.

Both are the signal itself, which is more than the supports: a picture of where the model looked.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from omnitrace.trace.trace import Trace

__all__ = ["span_signals", "token_columns"]

_TOP: Final = 5  # units of a token
_MOST: Final = 64  # units of a span
_LEAST: Final = 0.02  # of the mass of a span's first unit


def token_columns(trace: Trace, units: np.ndarray) -> dict[str, list[Any]]:
    """Return what is known of each token, a list for each thing.

    Parameters
    ----------
    trace:
        The trace.
    units:
        float64 ``[tokens, units]`` in [0, 1]: the share of each token's signal on each unit.

    Returns
    -------
    dict
        ``text``, the shares ``grounding``, ``instruction``, ``template`` and ``generated``, and
        ``top``: up to five pairs of a unit's index and its share, flattened, the largest first.
    """
    tokens = trace.tokens
    return {
        "text": [trace.text[token.start : token.end] for token in tokens],
        "grounding": [_short(token.grounding) for token in tokens],
        "instruction": [_short(token.instruction_mass) for token in tokens],
        "template": [_short(token.template_mass) for token in tokens],
        "generated": [_short(token.generated_mass) for token in tokens],
        "top": [_largest(row, _TOP) for row in units],
    }


def span_signals(trace: Trace, units: np.ndarray) -> list[list[float]]:
    """Return for each span the units with most of its signal: pairs of index and share, flattened.

    Parameters
    ----------
    trace, units:
        As for :func:`token_columns`.
    """
    found = []
    for span in trace.spans:
        rows = units[span.token_start : span.token_end]
        mean = rows.mean(axis=0) if len(rows) else np.zeros(units.shape[1])
        found.append(_largest(mean, _MOST, _LEAST))
    return found


def _largest(row: np.ndarray, most: int, least: float = 0.0) -> list[float]:
    if not row.size or row.max() <= 0:
        return []
    order = np.argsort(-row, kind="stable")[:most]
    chosen = [int(i) for i in order if row[i] > least * row[order[0]]]
    return [value for i in chosen for value in (i, _short(float(row[i])))]


def _short(value: float) -> float:
    return float(f"{value:.3g}")
