"""A plugin that is really installed, as far as Python can tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnitrace.plugins.registry import registry

_CODE = """\
from omnitrace import InputError, NotSupportedError, hookimpl
from omnitrace.signals.attention import AttentionMean
from omnitrace.signals.base import Effect, SpanSignal


class Late(AttentionMean):
    \"\"\"Works for a while.\"\"\"

    scored = 0

    def score(self, rows):
        scores = super().score(rows)
        self.scored += len(scores)
        return scores if self.scored <= 3 else self.late(scores)


class LateError(Late):
    name = "late-error"

    def late(self, scores):
        raise ValueError("no more of this")


class LateNegative(Late):
    name = "late-negative"

    def late(self, scores):
        return scores - 1


class LateNaN(Late):
    name = "late-nan"

    def late(self, scores):
        return scores * float("nan")


class LateShape(Late):
    name = "late-shape"

    def late(self, scores):
        return scores.T


class LateRefusal(Late):
    name = "late-refusal"

    def late(self, scores):
        raise NotSupportedError("I do not care for this one")


class Spans(SpanSignal):
    def effects(self, scorer, spans):
        return self.found(scorer, spans)


class SpanNaN(Spans):
    name = "span-nan"

    def found(self, scorer, spans):
        return [dict.fromkeys(scorer.units, Effect(float("nan"))) for _ in spans]


class SpanTooDear(Spans):
    name = "span-too-dear"

    def found(self, scorer, spans):
        raise InputError("that would take too long")


class NoLayers(AttentionMean):
    name = "no-layers"

    def layers(self, available):
        return []


class NeedsMore(AttentionMean):
    name = "needs-more"

    def __init__(self, size):
        self.size = size


def fails():
    raise ImportError("no module named 'secret'")


@hookimpl
def register_signals(register):
    late = (LateError, LateNegative, LateNaN, LateShape, LateRefusal)
    for signal in (*late, SpanNaN, SpanTooDear, NoLayers, NeedsMore):
        register(signal.name, signal, summary="broken on purpose")
    register("fails-to-be-made", fails)
    register("no-signal", dict)
"""


@pytest.fixture
def bad_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package of broken signals, and return the folder it is in."""
    info = tmp_path / "bad_signals-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-signals\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omnitrace]\nbad = bad_signals\n")
    (tmp_path / "bad_signals.py").write_text(_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    registry.cache_clear()
    yield tmp_path
    sys.modules.pop("bad_signals", None)
    registry.cache_clear()
