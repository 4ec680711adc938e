"""How unitizers are named, given parameters, recorded, and refused."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import PIL.Image
import pytest

from omnitrace import builtin
from omnitrace.errors import ConformanceError, InputError, NotSupportedError, PluginError
from omnitrace.media import load_image
from omnitrace.plugins import registry as manager
from omnitrace.plugins.hookspecs import RegisterUnitizer, hookimpl
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import GridTokens
from omnitrace.sources.unitizers.base import ImageUnitizer, no_features, spelled
from omnitrace.sources.unitizers.change_points import Changes
from omnitrace.sources.unitizers.image import Grid, Whole, image_units
from omnitrace.sources.unitizers.slic import Slic
from omnitrace.sources.unitizers.time import Bins
from omnitrace.sources.unitizers.ward import Ward
from tests.helpers.random_geometries import media_part

BUILTINS = manager.build_registry({"omnitrace": builtin}).unitizers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ward", Ward()),
        ("ward:regions=40", Ward(regions=40)),
        ("ward:regions=null,explained=0.5", Ward(explained=0.5)),
        ({"name": "ward", "parameters": {"regions": 40, "explained": 0.9}}, Ward(regions=40)),
        ({"name": "whole"}, Whole()),
        (Ward(regions=3), Ward(regions=3)),
        ("grid:rows=2,columns=3", Grid(2, 3)),
    ],
)
def test_an_image_unitizer_is_named_or_given(value: Any, expected: ImageUnitizer):
    options = SourceOptions(image=value)
    assert options.image_unitizer == expected
    assert options.record()["image"] == {
        "name": expected.name,
        "parameters": dict(expected.parameters),
    }
    written = spelled(options.record()["image"])
    assert isinstance(written, str)
    assert "null" not in written
    assert SourceOptions(image=written).image_unitizer == expected


def test_the_defaults_and_the_older_options():
    options = SourceOptions(image_grid=(2, 3), audio_bin=0.5, video_bin=2.0)
    assert options.image_unitizer == Grid(2, 3)
    assert options.time_unitizer("audio") == Bins(0.5)
    assert options.time_unitizer("video") == Bins(2.0)
    mixed = SourceOptions(audio="changes:segments=4", video="bins:seconds=3")
    assert mixed.time_unitizer("audio") == Changes(segments=4)
    assert mixed.time_unitizer("video") == Bins(3)


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions(),
        SourceOptions(image="ward:regions=9", audio="changes", video="changes:explained=0.5"),
        SourceOptions(image_grid=(2, 3), audio_bin=0.5, text="whole", system=True),
        SourceOptions(image=Slic(), use_audio_in_video=False, video_fps=1.0, language="de"),
    ],
)
def test_a_record_gives_the_options_back(options: SourceOptions):
    again = SourceOptions.from_record(options.record(), options.language)
    assert again.record() == options.record()
    assert again.image_unitizer == options.image_unitizer
    assert again.language == options.language


def test_a_record_of_something_else_is_refused():
    with pytest.raises(InputError, match="'colour'"):
        SourceOptions.from_record({**SourceOptions().record(), "colour": 1})


def test_a_unitizer_is_made_once(monkeypatch: pytest.MonkeyPatch):
    """It may hold a model of its own."""
    options = SourceOptions(image="ward")
    assert options.image_unitizer is options.image_unitizer
    assert options == SourceOptions(image="ward")
    assert "_made" not in repr(options)
    assert dataclasses.replace(options, text="whole").image_unitizer == Ward()


@pytest.mark.parametrize(
    ("option", "value", "said", "legal"),
    [
        ("image", "wrad", "SourceOptions.image is 'wrad'", "'ward'"),
        ("image", "bins", "SourceOptions.image is 'bins'", "'ward'"),
        ("audio", "grid", "SourceOptions.audio is 'grid'", "'changes'"),
        ("image", "ward:size=3", "unexpected keyword argument 'size'", "regions, explained"),
        ("image", "ward:regions", "'ward:regions'", "name:parameter=value"),
        ("image", "ward:regions=many", "'many'", "integer"),
        ("image", "whole:x=1", "'x'", "no parameters"),
        ("image", {"nom": "ward"}, "SourceOptions.image is {'nom': 'ward'}", "ImageUnitizer"),
        ("image", Bins(), "SourceOptions.image is Bins", "ImageUnitizer"),
        ("image", "grid:rows=2", "rows 2 and columns None", "both"),
        ("video", "bins:seconds=0", "seconds of the unitizer 'bins' is 0", "positive"),
    ],
)
def test_mistakes_are_named(option: str, value: Any, said: str, legal: str):
    with pytest.raises(InputError) as caught:
        SourceOptions(**{option: value})
    assert said in str(caught.value)
    assert legal in caught.value.legal


def test_a_grid_needs_a_grid():
    with pytest.raises(InputError, match="image_grid is \\(2, 2\\) and image is 'ward'"):
        SourceOptions(image="ward", image_grid=(2, 2))


@pytest.mark.parametrize("entry", BUILTINS.values(), ids=lambda entry: entry.name)
def test_the_factory_of_a_builtin_has_the_defaults_of_its_class(entry: manager.Entry):
    made = entry.make()
    assert made == type(made)()
    assert made.name == entry.name
    assert entry.make(**made.parameters) == made
    assert entry.summary


class Halves(ImageUnitizer):
    """Left and right."""

    name = "halves"

    def cut(self, tokens: GridTokens, features: Any) -> np.ndarray:
        column = np.arange(tokens.rows * tokens.columns) % tokens.columns
        return 7 - (column < tokens.columns / 2)


def test_a_unitizer_of_ones_own_needs_no_registration():
    tokens = GridTokens(media_part("image"), range(5, 17), 3, 4, 40, 30)
    options = SourceOptions(image=Halves())
    left, right = image_units(tokens, options.image_unitizer)
    assert left.locator.cells == (0, 1, 4, 5, 8, 9)  # type: ignore[union-attr]
    assert right.locator.box == (20, 0, 40, 30)  # type: ignore[union-attr]
    assert options.record()["image"] == {"name": "halves", "parameters": {}}


@pytest.mark.parametrize("labels", [np.zeros(11, int), np.zeros((3, 4), int), np.zeros(12)])
def test_labels_that_are_not_one_integer_a_token_are_refused(labels: np.ndarray):
    class Broken(Halves):
        def cut(self, tokens: GridTokens, features: Any) -> np.ndarray:
            return labels

    tokens = GridTokens(media_part("image"), range(12), 3, 4, 40, 30)
    with pytest.raises(ConformanceError, match="the unitizer 'halves'"):
        image_units(tokens, Broken())


class Plugin:
    @hookimpl
    def register_unitizers(self, register: RegisterUnitizer) -> None:
        register("halves", Halves, modalities=("image",), summary="left and right")
        register("wrong", dict, modalities=("image",))  # type: ignore[arg-type]
        register("fails", lambda: 1 / 0, modalities=("image",))  # type: ignore[arg-type,return-value]


def test_a_plugin_adds_a_unitizer(monkeypatch: pytest.MonkeyPatch):
    found = manager.build_registry({"omnitrace": builtin, "p": Plugin()})
    monkeypatch.setattr(manager, "registry", lambda: found)
    assert isinstance(SourceOptions(image="halves").image_unitizer, Halves)
    with pytest.raises(PluginError, match="'wrong' of 'p' made a dict"):
        SourceOptions(image="wrong")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        SourceOptions(image="fails")
    with pytest.raises(PluginError, match="'halves' of 'q' is already registered by 'p'"):
        manager.build_registry({"p": Plugin(), "q": Plugin()})


@pytest.mark.parametrize("modalities", [(), "image", ("text",), ("image", "smell")])
def test_the_modalities_of_a_unitizer_are_checked(modalities: Any):
    class Odd:
        @hookimpl
        def register_unitizers(self, register: RegisterUnitizer) -> None:
            register("odd", Halves, modalities=modalities)

    with pytest.warns(RuntimeWarning, match="the unitizer 'odd' is registered for"):
        assert not manager.build_registry({"p": Odd()}).unitizers


def painted() -> GridTokens:
    """Four colours in unequal quarters of an image of 20 × 20 tokens."""
    pixels = np.zeros((560, 560, 3), dtype=np.uint8)
    pixels[:200, :300], pixels[:200, 300:] = (220, 30, 30), (30, 220, 30)
    pixels[200:, :300], pixels[200:, 300:] = (30, 30, 220), (220, 220, 30)
    part = dataclasses.replace(media_part("image"), media=load_image(PIL.Image.fromarray(pixels)))
    return GridTokens(part, range(400), 20, 20, 560, 560)


def test_slic_follows_colours():
    tokens = painted()
    (labels,) = {tuple(Slic(regions=30).cut(tokens, no_features).tolist()) for _ in range(2)}
    drafts = image_units(tokens, Slic(regions=30))
    assert len(drafts) == len(set(labels))
    assert 8 <= len(drafts) <= 40
    small = np.asarray(tokens.part.media.pixels)[14::28, 14::28].reshape(400, 3)  # type: ignore[union-attr]
    inner = [
        cell
        for cell in range(400)
        if divmod(cell, 20)[0] not in (7,) and divmod(cell, 20)[1] not in (10,)
    ]
    for region in set(labels):  # no region holds two colours, but for cells that themselves do
        cells = [cell for cell in inner if labels[cell] == region]
        assert len({tuple(small[cell]) for cell in cells}) <= 1
    few = GridTokens(tokens.part, range(12), 3, 4, 560, 560)
    assert len(image_units(few, Slic())) == 12


def test_slic_without_scikit_image_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(NotSupportedError, match="scikit-image") as caught:
        image_units(painted(), SourceOptions(image="slic").image_unitizer)
    assert caught.value.fix == "pip install scikit-image"
