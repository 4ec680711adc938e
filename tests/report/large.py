"""The view of a trace that is larger than any model of ours could make in a test."""

from __future__ import annotations

from typing import Any

from omnitrace.report.view import trace_view
from tests.helpers.sample_traces import text_trace

TOKENS = 20_000
UNITS = 2_000
WORDS = 20  # tokens of a statement
DOCUMENTS = 100


def large_view() -> dict[str, Any]:
    """Return a view of 20,000 tokens in 1,000 statements, and 2,000 units in 100 documents."""
    small = trace_view(text_trace(["A fact."], "Which?", "A fact."))
    part, asked = small["parts"]
    units, parts, spans = [], [], []
    for d in range(DOCUMENTS):
        pieces = []
        for _ in range(UNITS // DOCUMENTS):
            i = len(units)
            quote = f"Passage {i} says that the value of thing number {i} is {i * 7 % 1000}."
            units.append({**small["units"][0], "id": f"text-{i}", "part": d, "quote": quote})
            pieces += [[quote, [i]], [" ", []]]
        parts.append({**part, "index": d, "name": f"document {d}", "pieces": pieces})
    for s in range(TOKENS // WORDS):
        support = {**small["spans"][0]["supports"][0], "unit": s * 2 % UNITS, "share": 1.0}
        units[support["unit"]]["number"] = s + 1
        words = [f"word{s * WORDS + k} " for k in range(WORDS)]
        spans.append(
            {
                **small["spans"][0],
                "before": "" if s % 5 else "\n\n",
                "text": "".join(words).strip() + ".",
                "tokens": [s * WORDS, (s + 1) * WORDS],
                "supports": [support],
                "signal": [value for k in range(32) for value in ((s + k) % UNITS, 0.01)],
            }
        )
    tokens = {
        name: [0.25] * TOKENS for name in ("grounding", "instruction", "template", "generated")
    }
    return {
        **small,
        "units": units,
        "parts": [*parts, {**asked, "index": DOCUMENTS}],
        "spans": spans,
        "rest": "",
        "tokens": {
            **tokens,
            "text": [f" word{t}" for t in range(TOKENS)],
            "top": [[t % UNITS, 0.1, (t + 7) % UNITS, 0.05] for t in range(TOKENS)],
        },
    }
