"""Random traces for property tests, and what it means for two traces to be the same."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from omnitrace.attribution.selection import SelectionConfig
from omnitrace.trace.provenance import Provenance
from omnitrace.trace.trace import Trace
from omnitrace.types import (
    Effect,
    ImageRegion,
    MediaRecord,
    PositionKind,
    Span,
    TextRange,
    TimeRange,
    TokenTrace,
)
from tests.helpers.sample_traces import LayoutMaker

COMPARED = (
    "messages",
    "text",
    "token_ids",
    "prompt_ids",
    "units",
    "tokens",
    "spans",
    "config",
    "provenance",
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(0, 1e9)
shares = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
in_tmp_path = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(left: Trace, right: Trace, *, media: bool = True) -> bool:
    """Compare all that a file keeps, to the last bit."""
    for name in ("scores", "salience"):
        a, b = getattr(left, name), getattr(right, name)
        if a.dtype != b.dtype or a.tobytes() != b.tobytes() or a.shape != b.shape:
            return False
    for name in ("kinds", "unit_index"):
        if not np.array_equal(getattr(left.layout, name), getattr(right.layout, name)):
            return False
    originals = [[m.read and m.read() for m in trace.media] for trace in (left, right)]
    if media and originals[0] != originals[1]:
        return False
    return left.media == right.media and all(
        repr(getattr(left, name)) == repr(getattr(right, name)) for name in COMPARED
    )


@st.composite
def configs(draw: st.DrawFn) -> SelectionConfig:
    unit = st.floats(0, 1)
    return SelectionConfig(
        assign=draw(st.sampled_from(["unit-sum", "token-max", "unit-mean"])),
        gate=draw(st.booleans()),
        compete=draw(st.sampled_from(["joint", "per-modality"])),
        runs=draw(st.booleans()),
        alpha=draw(unit),
        gamma=draw(st.floats(0, 4)),
        coverage=draw(st.floats(0.01, 1)),
        p_min=draw(unit),
        effect_min=draw(unit),
        min_grounding=draw(unit),
        max_supports=draw(st.none() | st.integers(1, 3)),
    )


@st.composite
def records(draw: st.DrawFn, modality: str, part: int) -> MediaRecord:
    data = draw(st.none() | st.binary(max_size=30))
    return MediaRecord(
        message=1,
        part=part,
        modality=modality,  # type: ignore[arg-type]
        name=draw(st.sampled_from(["", "a b.png", "ü.wav"])),
        sha256=hashlib.sha256(data or b"").hexdigest(),
        size=draw(st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9))),
        duration=draw(st.none() | seconds),
        frame_times=tuple(draw(st.lists(seconds, max_size=3))),
        previews=tuple(draw(st.lists(st.binary(max_size=9), max_size=2))),
        preview_times=tuple(draw(st.lists(seconds, max_size=2))),
        waveform=tuple(draw(st.lists(shares, max_size=4))),
        read=None if data is None else lambda: data,
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Any trace that is valid by its types, however odd."""
    maker = LayoutMaker()
    source, text = draw(texts), draw(texts)
    kinds = draw(st.lists(st.sampled_from(["image", "audio", "video"]), max_size=3))
    for _ in range(draw(st.integers(0, 3))):
        maker.fill(draw(st.integers(0, 3)), draw(st.sampled_from(list(PositionKind)[:3])))
        start = draw(st.integers(0, len(source)))
        end = draw(st.integers(start, len(source)))
        maker.unit("text", TextRange(1, 0, start, end), draw(st.integers(0, 3)), preview=source)
    for part, kind in enumerate(kinds, start=1):
        if kind == "image":
            x0, x1 = sorted(draw(st.tuples(seconds, seconds)))
            y0, y1 = sorted(draw(st.tuples(seconds, seconds)))
            box = (x0, y0, x1, y1)
            maker.unit("image", ImageRegion(1, part, box, (1, 2), (0,)), draw(st.integers(0, 3)))
        else:
            locator = TimeRange(1, part, *sorted(draw(st.tuples(seconds, seconds))), (3,))
            maker.unit(kind, locator, draw(st.integers(0, 3)), source_id=draw(texts))
    layout = maker.finish()
    count, prompt = draw(st.integers(0, 5)), layout.prompt_length
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=count, max_size=count)))
    ids = draw(st.lists(st.integers(0, 2**31), min_size=count + prompt, max_size=count + prompt))
    scores = np.zeros((count, prompt + count), dtype=np.float32)
    for t in range(count):
        seen = st.floats(0, 2.0**90, width=32)
        scores[t, : prompt + t] = draw(st.lists(seen, min_size=prompt + t, max_size=prompt + t))
    trace = Trace(
        messages=(
            {"role": "system", "content": draw(texts), "extra": draw(values)},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": source, "x": draw(values)},
                    *({"type": kind, "media": i} for i, kind in enumerate(kinds)),
                ],
            },
        ),
        text=text,
        token_ids=tuple(ids[:count]),
        prompt_ids=tuple(ids[count:]),
        layout=layout,
        scores=scores,
        tokens=tuple(
            TokenTrace(i, ids[i], text[a:b], a, b, None, 0.0, 0.0, 0.0, 0.0, 0.0)
            for i, (a, b) in enumerate(zip(cuts, [*cuts, len(text)][1:], strict=False))
        ),
        spans=tuple(
            Span(i, text[a:], a, len(text), 0, 0, 0.0, (), True) for i, a in enumerate(cuts[:2])
        ),
        salience=np.array(draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))),
        media=tuple(draw(records(kind, i)) for i, kind in enumerate(kinds, start=1)),
        config=SelectionConfig(),
        provenance=Provenance(
            model=draw(texts),
            adapter="",
            signal=draw(st.dictionaries(texts, values, max_size=2)),
            seed=draw(st.none() | st.integers(0, 2**64)),
            timings=draw(st.dictionaries(texts, numbers, max_size=2)),
            finished=draw(st.booleans()),
        ),
    ).reselect(draw(configs()))
    bound = st.none() | numbers
    effects = {unit.id: Effect(draw(numbers), draw(bound), draw(bound)) for unit in layout.units}
    spans = tuple(
        dataclasses.replace(
            span, effects=effects, section=draw(st.sampled_from(["thought", "answer"]))
        )
        for span in trace.spans
    )
    return dataclasses.replace(trace, spans=spans)
