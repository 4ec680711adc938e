"""The main job on real files: the reference model answers, and the evidence is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import EndEvent, SourceOptions, Span, SpanEvent, Trace, Tracer
from omnitrace.cli.demo.samples import check_statement
from omnitrace.media import MediaLimits
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, Statement, held_out_seed, make_sample
from omnitrace.sources.messages import read_messages

ORDERS = [
    ("text", "image", "audio", "video"),
    ("video", "audio", "image", "text"),
    ("audio", "text", "video", "image"),
    ("image", "video"),
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Sample, Path]]:
    drawn = [
        make_sample(held_out_seed(500 + i), questions=4, order=order, long=False)  # type: ignore[arg-type]
        for i, order in enumerate(ORDERS)
    ]
    return [
        (sample, write_sample(sample, tmp_path_factory.mktemp(f"sample{i}")))
        for i, sample in enumerate(drawn)
    ]


@pytest.fixture(scope="module")
def traced(
    reference: Tracer, samples: list[tuple[Sample, Path]]
) -> list[tuple[Sample, Path, Trace]]:
    return [
        (sample, path, reference.trace(messages(path), media_root=path.parent))
        for sample, path in samples
    ]


def messages(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(path.read_text())["messages"]
    return loaded


def untraced(tracer: Tracer, path: Path, **kwargs: Any) -> tuple[int, ...]:
    conversation = read_messages(
        messages(path), options=SourceOptions(), limits=MediaLimits(), media_root=path.parent
    )
    encoded = tracer.adapter.encode(conversation, SourceOptions())
    ids = tracer.adapter.model.generate(**encoded.inputs, **encoded.generate_options, **kwargs)
    return tuple(ids[0, len(encoded.prompt_ids) :].tolist())


def pairs(traced: list[tuple[Sample, Path, Trace]]) -> Iterator[tuple[Statement, Span, Trace]]:
    for sample, _, trace in traced:
        for statement, span in zip(sample.statements, trace.spans, strict=True):
            yield statement, span, trace


def test_the_answers_are_right(traced: list[tuple[Sample, Path, Trace]]) -> None:
    results = [statement.text == span.text for statement, span, _ in pairs(traced)]
    assert len(results) == 16
    assert all(trace.provenance.finished for _, _, trace in traced)
    assert sum(results) >= 14


def test_the_strongest_supports_are_the_evidence(traced: list[tuple[Sample, Path, Trace]]) -> None:
    hits = [
        check_statement(statement, span, trace.units).named
        for statement, span, trace in pairs(traced)
        if statement.sources
    ]
    assert len(hits) >= 12
    # About half (docs/explanation/reference-world.md says why not more); a random unit would hit
    # one or two.
    assert sum(hits) >= 0.35 * len(hits), hits


def test_greedy_ids_are_those_of_the_untraced_model(
    reference: Tracer, traced: list[tuple[Sample, Path, Trace]]
) -> None:
    for _, path, trace in traced:
        assert untraced(reference, path, max_new_tokens=256, do_sample=False) == trace.token_ids


def test_sampled_ids_are_those_of_the_untraced_model(
    reference: Tracer, samples: list[tuple[Sample, Path]]
) -> None:
    settings = {"do_sample": True, "temperature": 2.0, "top_k": 0, "max_new_tokens": 30}
    for _, path in samples[:2]:
        torch.manual_seed(5)
        expected = untraced(reference, path, **settings)
        trace = reference.trace(messages(path), media_root=path.parent, seed=5, **settings)  # type: ignore[arg-type]
        assert trace.token_ids == expected


def test_streaming_gives_the_same_spans(
    reference: Tracer, traced: list[tuple[Sample, Path, Trace]]
) -> None:
    _, path, trace = traced[0]
    events = list(reference.stream(messages(path), media_root=path.parent))
    assert isinstance(events[-1], EndEvent)
    np.testing.assert_allclose(events[-1].trace.scores, trace.scores, atol=1e-6)
    spans = [event.span for event in events if isinstance(event, SpanEvent)]
    assert [span.text for span in spans] == [span.text for span in trace.spans]
    assert [[s.unit for s in span.supports] for span in spans] == [
        [s.unit for s in span.supports] for span in trace.spans
    ]


def test_saved_traces_reselect_to_the_same_supports(
    traced: list[tuple[Sample, Path, Trace]], tmp_path: Path
) -> None:
    for sample, _, trace in traced:
        loaded = Trace.load(trace.save(tmp_path / f"{sample.id}.omnitrace"))
        assert loaded.spans == trace.spans
        assert loaded.reselect(trace.config).spans == trace.spans


def test_media_are_described_and_kept_only_on_request(
    traced: list[tuple[Sample, Path, Trace]], tmp_path: Path
) -> None:
    _, path, trace = traced[0]
    assert [record.modality for record in trace.media] == ["image", "audio", "video"]
    video = (path.parent / "video-3.mp4").read_bytes()
    small = trace.save(tmp_path / "small").rglob("*")
    assert not any(file.is_file() and file.read_bytes() == video for file in small)
    full = trace.save(tmp_path / "full", media=True).rglob("*")
    assert any(file.is_file() and file.read_bytes() == video for file in full)


def test_the_users_own_units_are_cited(reference: Tracer) -> None:
    note = "The lamp weighs seven grams. The cup costs nine coins."
    content = [
        {
            "type": "text",
            "text": note,
            "units": [{"start": 0, "end": 28, "id": "A"}, {"start": 29, "end": 54, "id": "B"}],
        },
        {"type": "text", "text": "What does the cup cost?"},
    ]
    trace = reference.trace([{"role": "user", "content": content}])
    assert trace.text == "The cup costs nine coins."
    assert trace.spans[0].supports[0].unit.id == "B"
