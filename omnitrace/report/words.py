"""What a trace says of a span, in words that a reader understands without its figures."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from omnitrace.types import Span, Support, Verdict

__all__ = [
    "STRONG_NATS",
    "Strength",
    "strength_of",
    "strength_words",
    "verdict_words",
    "why_unsupported",
]

# How firmly a source supports a span.
Strength: TypeAlias = Literal["strong", "weak"]

#: The effect, in nats, from which on a source is strong: the span is ten times as likely with it.
STRONG_NATS: Final = math.log(10)
#: The share of the votes from which on a source is strong, where no effect is known.
_STRONG_SHARE: Final = 0.5

_WORDS: Final[dict[Verdict, str]] = {
    "supported": "supported",
    "no-source": "no source",
    "against-sources": "against the sources",
}


def strength_of(support: Support) -> Strength:
    """Say how firmly a source supports its span: by its effect, or by its share of the votes."""
    if support.effect is not None:
        return "strong" if support.effect >= STRONG_NATS else "weak"
    return "strong" if support.share >= _STRONG_SHARE else "weak"


def strength_words(span: Span) -> str:
    """Return how firmly a span is supported: by its strongest source, or why by none."""
    if span.supports:
        strong = any(strength_of(support) == "strong" for support in span.supports)
        return "strong" if strong else "weak"
    return "against the sources" if span.verdict == "against-sources" else "no source found"


def verdict_words(span: Span) -> str:
    """Return what is found of a span, in a few words."""
    if span.verdict is None:
        return "ungrounded" if span.ungrounded else "not verified"
    return _WORDS[span.verdict]


def why_unsupported(span: Span) -> str:
    """Return a sentence on why a span has no supports."""
    effect = span.sources_effect
    if span.verdict is None or effect is None:
        return "no source supports this"
    if span.verdict == "against-sources":
        return f"without the sources it is {-effect:.1f} nats more likely"
    change = round(effect, 1) + 0.0  # never "-0.0"
    return f"no source accounts for it (hiding all of them changes it by {change:+.1f} nats)"
