"""What verification found of a span, in words."""

from __future__ import annotations

from typing import Final

from omnitrace.types import Span, Verdict

__all__ = ["verdict_words", "why_unsupported"]

_WORDS: Final[dict[Verdict, str]] = {
    "supported": "supported",
    "no-source": "no source",
    "against-sources": "against the sources",
}


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
    return f"no source accounts for it (hiding all of them changes it by {effect:+.1f} nats)"
