"""The towers of Qwen2.5-Omni, run over one medium, give what the decoder is given of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omnitrace import SourceOptions, Tracer
from omnitrace.errors import ModelError, NotSupportedError
from omnitrace.models.base import Encoded
from omnitrace.models.causal_lm import CausalLMAdapter
from omnitrace.sources.layout import build_layout
from omnitrace.sources.regions import outline, pixel_mask
from omnitrace.sources.token_map import GridTokens, TextTokens
from omnitrace.sources.unitizers.image import image_units
from omnitrace.sources.unitizers.ward import Ward
from omnitrace.types import ImageRegion, TimeRange
from tests.helpers import qwen_omni as omni

ADAPTER = omni.small()


def embedded(encoded: Encoded) -> torch.Tensor:
    """Return what the decoder is fed when the whole request runs: [prompt, hidden]."""
    seen: list[torch.Tensor] = []

    def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["inputs_embeds"][0])

    hook = ADAPTER.decoder.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            ADAPTER.model(**encoded.inputs, **encoded.generate_options, use_cache=False)
    finally:
        hook.remove()
    return seen[0]


def media(encoded: Encoded) -> list[Any]:
    return [tokens for tokens in encoded.geometry if not isinstance(tokens, TextTokens)]


def test_features_are_the_embeddings_of_the_tokens():
    """Two of each, so that their rows differ; and one video with its sound."""
    content = [
        omni.image(120, 90),
        omni.audio(omni.noise(1.3)),
        omni.image(200, 150, seed=1),
        omni.audio(omni.noise(2.1, seed=1)),
        "What?",
    ]
    for more in ([omni.video(6, 2.0)], [omni.video(8, 2.0, sound=4.0)]):
        encoded = omni.encode(ADAPTER, *more, *content)
        expected = embedded(encoded)
        for tokens in media(encoded):
            found = ADAPTER.features(encoded, tokens)
            assert found.dtype == np.float32
            assert found.shape == (len(tokens.positions), expected.shape[1])
            own = expected[list(tokens.positions)].numpy()
            np.testing.assert_allclose(found, own, atol=1e-5)


def test_the_pass_leaves_the_model_as_it_was():
    encoded = omni.encode(ADAPTER, omni.image(120, 90), "What?")
    (tokens,) = media(encoded)
    model = ADAPTER.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inner = model if "rope_deltas" in vars(model) else model.model  # it has them since 5.21
    visual = next(each for name, each in model.named_modules() if name.endswith("visual"))
    deltas, random = inner.rope_deltas, torch.get_rng_state()
    first = ADAPTER.features(encoded, tokens)
    model.train()
    try:
        second = ADAPTER.features(encoded, tokens)
        assert model.training
        assert visual.training
    finally:
        model.eval()
    assert np.array_equal(first, second)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert inner.rope_deltas is deltas
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(p.grad is not None for p in model.parameters())


def test_features_that_are_no_numbers_are_refused():
    encoded = omni.encode(ADAPTER, omni.image(120, 90), "What?")
    (tokens,) = media(encoded)
    broken = torch.full_like(encoded.inputs["pixel_values"], float("nan"))
    encoded = dataclasses.replace(encoded, inputs={**encoded.inputs, "pixel_values": broken})
    with pytest.raises(ModelError, match="not finite") as caught:
        ADAPTER.features(encoded, tokens)
    assert "dtype" in caught.value.fix


def test_an_adapter_without_towers_says_what_there_is_instead():
    tokens = GridTokens(omni.conversation(omni.image(56, 56)).media()[0], range(4), 2, 2, 56, 56)
    adapter = CausalLMAdapter.__new__(CausalLMAdapter)
    with pytest.raises(NotSupportedError, match="'causal_lm' gives no features of image") as caught:
        adapter.features(Encoded({}, (), ()), tokens)
    assert "'grid'" in caught.value.legal
    assert caught.value.fix


def test_a_request_is_cut_by_what_its_towers_see():
    content = [omni.image(224, 224), omni.audio(omni.noise(6.0)), omni.video(16, 2.0), "What?"]
    options = SourceOptions(image="ward", audio="changes:segments=5", video="changes")
    encoded = ADAPTER.encode(omni.conversation(*content), options)
    layouts = [
        build_layout(
            len(encoded.prompt_ids),
            encoded.geometry,
            options,
            lambda tokens: ADAPTER.features(encoded, tokens),
        )
        for _ in range(2)
    ]
    assert layouts[0].units == layouts[1].units
    image, audio, video = media(encoded)
    for tokens, kind in ((image, "image"), (audio, "audio"), (video, "video")):
        units = [unit for unit in layouts[0].units if unit.modality == kind]
        owned = sorted(position for unit in units for position in unit.positions)
        assert owned == list(tokens.positions)
        place = ImageRegion if kind == "image" else TimeRange
        assert all(isinstance(unit.locator, place) for unit in units)
    assert 16 <= sum(unit.modality == "image" for unit in layouts[0].units) <= 64
    assert sum(unit.modality == "audio" for unit in layouts[0].units) == 5


def test_sound_and_pictures_of_a_video_are_cut_together():
    options = SourceOptions(video="changes:segments=3", audio_in_video="joined")
    encoded = ADAPTER.encode(omni.conversation(omni.video(16, 2.0, sound=8.0), "What?"), options)
    layout = build_layout(
        len(encoded.prompt_ids),
        encoded.geometry,
        options,
        lambda tokens: ADAPTER.features(encoded, tokens),
    )
    assert [unit.id for unit in layout.units] == ["video-1", "video-2", "video-3"]
    seen, sound = (set(tokens.positions) for tokens in media(encoded))
    for unit in layout.units:
        assert seen & set(unit.positions)
        assert sound & set(unit.positions)


def test_a_tracer_cuts_by_the_options_and_remembers_them():
    options = SourceOptions(image="ward:regions=7", audio="changes")
    tracer = Tracer(adapter=ADAPTER, sources=options)
    pixels = np.random.default_rng(0).integers(0, 256, (168, 168, 3), dtype=np.uint8)
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": pixels}, {"type": "text", "text": "What?"}],
        }
    ]
    trace = tracer.trace(messages, max_new_tokens=3)
    assert len(trace.units) == 7
    assert trace.provenance.segmentation["sources"] == options.record()
    plain = Tracer(adapter=ADAPTER).trace(messages, max_new_tokens=3)
    assert plain.token_ids == trace.token_ids  # the extra pass changes nothing
    assert np.array_equal(plain.scores, trace.scores)


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 500), st.integers(20, 500), st.integers(0, 9))
def test_regions_of_an_image_agree_with_the_processors_own_grid(width: int, height: int, seed: int):
    """Mask, box, outline and pixels, for the grid that the real processor makes of a size."""
    assume(max(width, height) <= 20 * min(width, height))
    encoded = omni.encode(ADAPTER, omni.image(width, height), "What?")
    (tokens,) = media(encoded)
    merge = ADAPTER.processor.image_processor.merge_size
    _, rows, columns = (encoded.inputs["image_grid_thw"][0] // merge).tolist()
    features = np.random.default_rng(seed).normal(size=(rows * columns, 4))
    drafts = image_units(tokens, Ward(regions=5), lambda _: features)
    covered = np.zeros((height, width), dtype=int)
    for draft in drafts:
        region = draft.locator
        assert isinstance(region, ImageRegion)
        assert region.grid == (rows, columns)
        covered += pixel_mask(region.cells, region.grid, (width, height))
        rings = outline(region.cells, region.grid, (width, height))
        points = np.array([point for ring in rings for point in ring])
        assert (*points.min(axis=0), *points.max(axis=0)) == region.box
        # What the ring encloses is as large as the tokens of the region together.
        shoelace = sum(
            x0 * y1 - x1 * y0
            for ring in rings
            for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True)
        )
        share = len(draft.positions) / (rows * columns)
        assert shoelace / 2 == pytest.approx(width * height * share)
    assert (covered == 1).all()
