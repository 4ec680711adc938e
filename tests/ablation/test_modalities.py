"""Ablation of all modalities, on the reference model: on the decoder and at the input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitrace import InputError, SourceOptions, Trace, Tracer
from omnitrace.ablation import Effects, leave_one_out, measure, random_masks
from omnitrace.ablation.input_operators import Blur, Drop, Freeze, Grey, Silence
from omnitrace.ablation.mask_sequences import changed_request
from omnitrace.ablation.operators import choose_operators
from omnitrace.engine.rescore import scorer_of
from omnitrace.media import LoadedVideo
from omnitrace.media.audio import SAMPLE_RATE
from omnitrace.reference.files import write_sample
from omnitrace.reference.world import Sample, held_out_seed, make_sample
from omnitrace.sources.messages import read_messages
from omnitrace.sources.parts import MediaPart, TextPart
from omnitrace.types import Modality
from tests.helpers import naive_ablation as naive
from tests.helpers.reference_categories import ONE_SOURCE

ORDER: tuple[Modality, ...] = ("video", "text", "audio", "image")
OPERATORS = {"text": Drop(), "image": Grey(), "audio": Silence(), "video": Freeze()}
INPUT = {modality: operator.name for modality, operator in OPERATORS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    seed = held_out_seed(1242)  # a short video, and a question about each modality
    drawn = make_sample(seed, questions=4, order=ORDER, categories=ONE_SOURCE, long=False)
    return drawn, write_sample(drawn, tmp_path_factory.mktemp("ablated"))


@pytest.fixture(scope="module")
def messages(folder: tuple[Sample, Path]) -> Any:
    return json.loads(folder[1].read_text())["messages"]


@pytest.fixture(scope="module")
def trace(reference: Tracer, folder: tuple[Sample, Path], messages: Any) -> Trace:
    return reference.trace(messages, media_root=folder[1].parent)


def test_effects_of_all_modalities_equal_a_loop(reference: Tracer, trace: Trace) -> None:
    made = reference.scorer_of(trace)
    assert made.positions.shape[0] in (3, 4)
    masks = np.concatenate(
        [leave_one_out(len(trace.units))[::4], random_masks(len(trace.units), 8, seed=0)]
    )
    found = reference.effects(trace, masks)
    np.testing.assert_allclose(found.tokens, naive.by_attention(made, masks), atol=1e-4)
    assert found.run_tokens < 0.75 * found.naive_tokens
    assert set(found.operators) == {"text", "image", "audio", "video"}
    meant = reference.effects(trace, masks, operator="mean")
    np.testing.assert_allclose(meant.tokens, naive.by_mean(made, masks), atol=1e-4)
    made.reach.full = False
    hidden = measure(made, trace.spans, masks)
    np.testing.assert_allclose(hidden.tokens, found.tokens, atol=1e-4)


def test_a_kept_row_changes_no_effect_of_any_modality(reference: Tracer, trace: Trace) -> None:
    made = scorer_of(reference.setup, trace, keep=True)
    assert made.kept is not None
    masks = np.concatenate(
        [leave_one_out(len(trace.units))[::4], random_masks(len(trace.units), 8, seed=0)]
    )
    found = measure(made, trace.spans, masks)
    np.testing.assert_allclose(found.tokens, naive.by_attention(made, masks), atol=1e-4)
    assert found.run_tokens < measure(reference.scorer_of(trace), trace.spans, masks).run_tokens
    meant = measure(made, trace.spans, masks, operator="mean")
    np.testing.assert_allclose(meant.tokens, naive.by_mean(made, masks), atol=1e-4)


def test_what_the_statements_rest_on_has_the_largest_effect(
    reference: Tracer, trace: Trace, folder: tuple[Sample, Path]
) -> None:
    asked = [each.category.partition("-")[0] for each in folder[0].statements]
    assert len(asked) == len(trace.spans)
    kinds = ["text", "image", "audio", "video"]
    assert sorted(asked) == sorted(kinds)
    without = np.array([[unit.modality != kind for unit in trace.units] for kind in kinds])
    found = reference.effects(trace, without)
    own = [found.drops[kinds.index(each), span] for span, each in enumerate(asked)]
    assert min(own) > 1.0
    # Whatever else was ablated with the units of another modality mattered less on average.
    assert np.mean(own) > 2 * (found.drops.sum() - np.sum(own)) / (found.drops.size - len(own))


def by_input(reference: Tracer, trace: Trace, messages: Any, root: Path, mask: np.ndarray) -> Any:
    """Change the files' contents by hand, and run the model on what its processor makes of them."""
    conversation = read_messages(
        messages, options=reference.setup.sources, limits=reference.setup.limits, media_root=root
    )
    gone = [unit for unit, kept in zip(trace.units, mask, strict=True) if not kept]
    parts = []
    for part in conversation.parts:
        for modality, operator in OPERATORS.items():  # a video has units of pictures and of sound
            there = [u for u in gone if u.modality == modality and u.locator.part == part.part]
            part = operator.edit(part, there) if there else part
        parts.append(part)
    encoded = reference.adapter.encode(
        type(conversation)(conversation.roles, tuple(parts)), reference.setup.sources
    )
    ids = torch.tensor([trace.token_ids[:-1]])
    inputs = dict(encoded.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = reference.adapter.model(**inputs, **encoded.generate_options).logits
    return naive.of_response(logits, trace.token_ids).numpy()


def test_effects_at_the_input_equal_a_loop(
    reference: Tracer, trace: Trace, messages: Any, folder: tuple[Sample, Path]
) -> None:
    masks = np.concatenate(
        [leave_one_out(len(trace.units))[::3], random_masks(len(trace.units), 2, seed=0)]
    )
    root = folder[1].parent
    found = reference.effects(trace, masks, operator=INPUT)  # type: ignore[arg-type]
    expected = np.stack([by_input(reference, trace, messages, root, mask) for mask in masks])
    np.testing.assert_allclose(found.tokens, expected, atol=1e-4)
    assert found.operators == INPUT
    assert found.run_tokens < found.naive_tokens
    again = reference.effects(trace, masks[:3], operator=INPUT, messages=messages, media_root=root)  # type: ignore[arg-type]
    np.testing.assert_allclose(again.tokens, found.tokens[:3], atol=1e-4)
    # Where nothing is ablated by a modality's operator, no operator need be given for it.
    video = [unit.modality == "video" for unit in trace.units]
    keep = np.array([[not each for each in video]])
    alone = reference.effects(trace, keep, operator={"video": "freeze"})
    assert float(np.abs(alone.drops).max()) > 0.01


def test_pictures_and_sound_of_one_video_are_both_ablated(
    reference: Tracer, tmp_path: Path
) -> None:
    drawn = make_sample(
        held_out_seed(1317), questions=1, order=("video",), long=False, sounding=True
    )
    path = write_sample(drawn, tmp_path)
    messages = json.loads(path.read_text())["messages"]
    trace = reference.trace(messages, media_root=tmp_path)
    kinds = np.array([unit.modality for unit in trace.units])
    assert set(kinds) == {"audio", "video"}
    first = [
        np.arange(len(kinds)) != np.flatnonzero(kinds == kind)[0] for kind in ("video", "audio")
    ]
    both = first[0] & first[1]

    made = reference.scorer_of(trace, messages=messages, media_root=tmp_path)
    chosen = choose_operators(made, INPUT, both[None])  # type: ignore[arg-type]
    (before,) = made.rewriting.request.conversation.media()  # type: ignore[union-attr]
    (after,) = changed_request(made, both, chosen).conversation.media()
    video, changed = before.media, after.media
    assert isinstance(video, LoadedVideo)
    assert isinstance(changed, LoadedVideo)
    assert (changed.frames != video.frames).any()
    sound, silenced = video.audio.samples, changed.audio.samples  # type: ignore[union-attr]
    assert sound[:SAMPLE_RATE].any()
    assert not silenced[:SAMPLE_RATE].any()
    assert (sound[SAMPLE_RATE:] == silenced[SAMPLE_RATE:]).all()

    masks = np.stack([*first, both, *random_masks(len(kinds), 2, seed=0)])
    found = measure(made, trace.spans, masks, operator=INPUT)  # type: ignore[arg-type]
    expected = np.stack([by_input(reference, trace, messages, tmp_path, mask) for mask in masks])
    np.testing.assert_allclose(found.tokens, expected, atol=1e-4)


def test_portions_of_a_small_memory_give_the_same(reference: Tracer, trace: Trace) -> None:
    made = reference.scorer_of(trace)
    masks = random_masks(len(trace.units), 4, seed=3)
    whole = measure(made, trace.spans, masks, operator=INPUT)  # type: ignore[arg-type]
    made.memory = 8 * made.embeddings.numel() * 2
    assert_same(measure(made, trace.spans, masks, operator=INPUT), whole)  # type: ignore[arg-type]


def assert_same(found: Effects, expected: Effects) -> None:
    np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-4)
    np.testing.assert_allclose(found.full, expected.full, atol=1e-4)


def test_an_operator_that_does_not_fit_a_modality_is_refused(
    reference: Tracer, trace: Trace
) -> None:
    masks = leave_one_out(len(trace.units))
    with pytest.raises(InputError, match=r"'silence' acts on audio.*video unit.*'freeze'"):
        reference.effects(trace, masks, operator="silence")


def test_another_request_or_forgotten_media_are_refused(
    reference: Tracer, trace: Trace, tmp_path: Path
) -> None:
    masks = leave_one_out(len(trace.units))
    other = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}]
    with pytest.raises(InputError, match=r"units that are not the .* of the trace"):
        reference.effects(trace, masks, messages=other)
    trace.save(tmp_path / "t.omnitrace")
    with pytest.raises(InputError, match=r"the video .* is not in the trace.*pass the request"):
        reference.effects(Trace.load(tmp_path / "t.omnitrace"), masks)


def part_of(messages: Any, root: Path, reference: Tracer, modality: str) -> Any:
    parts = read_messages(
        messages, options=reference.setup.sources, limits=reference.setup.limits, media_root=root
    ).parts
    return next(
        p for p in parts if (p.modality if isinstance(p, MediaPart) else "text") == modality
    )


def test_input_operators_change_the_unit_and_nothing_else(
    reference: Tracer, trace: Trace, messages: Any, folder: tuple[Sample, Path]
) -> None:
    def part(modality: str) -> Any:
        return part_of(messages, folder[1].parent, reference, modality)

    def units(modality: str) -> Any:
        return [unit for unit in trace.units if unit.modality == modality]

    text, first = part("text"), units("text")[0]
    assert isinstance(text, TextPart)
    place = first.locator
    edited = Drop().edit(text, [first])
    assert edited.text == text.text[: place.start] + text.text[place.end :]  # type: ignore[union-attr]
    everything = Drop().edit(text, units("text"))
    assert not everything.text.strip()  # type: ignore[union-attr]

    image, region = part("image"), units("image")[0]
    x0, y0, x1, y1 = (round(each) for each in region.locator.box)
    before = np.asarray(image.media.pixels)
    for operator in (Grey(), Blur()):
        after = np.asarray(operator.edit(image, [region]).media.pixels)  # type: ignore[union-attr]
        inside = np.zeros(before.shape[:2], dtype=bool)
        inside[y0:y1, x0:x1] = True
        assert (after[~inside] == before[~inside]).all()
        assert (after[inside] != before[inside]).any()
        assert after[inside].std() < before[inside].std()
    assert (np.asarray(image.media.pixels) == before).all()

    audio, second = part("audio"), units("audio")[1]
    silent = Silence().edit(audio, [second]).media.samples  # type: ignore[union-attr]
    a, b = (round(each * 16_000) for each in (second.locator.start, second.locator.end))
    assert not silent[a:b].any()
    assert (np.delete(silent, np.s_[a:b]) == np.delete(audio.media.samples, np.s_[a:b])).all()

    video, two = part("video"), units("video")[:2]
    frames = Freeze().edit(video, two).media.frames  # type: ignore[union-attr]
    lost = {frame for unit in two for frame in unit.locator.frames}
    kept = [i for i, frame in enumerate(video.media.frame_indices) if frame not in lost]
    assert (frames[: kept[0]] == video.media.frames[kept[0]]).all()
    assert (frames[kept] == video.media.frames[kept]).all()
    assert (Freeze().edit(video, units("video")).media.frames == 128).all()  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"radius is 0"):
        Blur(0)


def test_a_trace_is_measured_as_it_was_cut(
    reference: Tracer, folder: tuple[Sample, Path], messages: Any
) -> None:
    """The tracer that measures has other options; regions and stretches come back all the same."""
    sources = SourceOptions(image="ward:regions=3", audio="changes:segments=2")
    cutting = Tracer(adapter=reference.adapter, sources=sources)
    trace = cutting.trace(messages, media_root=folder[1].parent, max_new_tokens=4)
    made = reference.scorer_of(trace)
    assert list(made.units) == [unit.id for unit in trace.units]
    assert reference.setup.sources == SourceOptions()
    assert sum(unit.modality == "image" for unit in trace.units) == 3
