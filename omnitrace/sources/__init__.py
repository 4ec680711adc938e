"""Requests and their source units: what can be cited, and how finely it is cut.

>>> from omnitrace.sources import SourceOptions, Ward
>>> options = SourceOptions(image=Ward(regions=40), audio="bins:seconds=0.5")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.media import LoadedAudio, LoadedImage, LoadedVideo
    from omnitrace.plugins.hookspecs import RegisterUnitizer
    from omnitrace.sources.messages import Conversation, read_messages
    from omnitrace.sources.options import SourceOptions
    from omnitrace.sources.parts import MediaPart, Part, TextPart
    from omnitrace.sources.regions import outline, pixel_mask
    from omnitrace.sources.request_files import RequestEntry, RequestProblem, read_requests
    from omnitrace.sources.response_files import ResponseFile
    from omnitrace.sources.responses.given import GivenResponse, Response
    from omnitrace.sources.responses.reading import read_response
    from omnitrace.sources.token_map import (
        Geometry,
        GridTokens,
        Overview,
        TextTokens,
        TimeTokens,
        UnitDraft,
    )
    from omnitrace.sources.unitizers.base import (
        FeatureSource,
        ImageUnitizer,
        TimeUnitizer,
        Unitizer,
        no_features,
    )
    from omnitrace.sources.unitizers.change_points import Changes
    from omnitrace.sources.unitizers.image import Grid, Whole
    from omnitrace.sources.unitizers.slic import Slic
    from omnitrace.sources.unitizers.speech import Speech
    from omnitrace.sources.unitizers.time import Bins
    from omnitrace.sources.unitizers.ward import Ward
    from omnitrace.types import OpenRoot

__all__ = [
    "Bins",
    "Changes",
    "Conversation",
    "FeatureSource",
    "Geometry",
    "GivenResponse",
    "Grid",
    "GridTokens",
    "ImageUnitizer",
    "LoadedAudio",
    "LoadedImage",
    "LoadedVideo",
    "MediaPart",
    "OpenRoot",
    "Overview",
    "Part",
    "RegisterUnitizer",
    "RequestEntry",
    "RequestProblem",
    "Response",
    "ResponseFile",
    "Slic",
    "SourceOptions",
    "Speech",
    "TextPart",
    "TextTokens",
    "TimeTokens",
    "TimeUnitizer",
    "UnitDraft",
    "Unitizer",
    "Ward",
    "Whole",
    "no_features",
    "outline",
    "pixel_mask",
    "read_messages",
    "read_requests",
    "read_response",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.types": ["OpenRoot"],
        "omnitrace.media": ["LoadedAudio", "LoadedImage", "LoadedVideo"],
        "omnitrace.plugins.hookspecs": ["RegisterUnitizer"],
        "omnitrace.sources.messages": ["Conversation", "read_messages"],
        "omnitrace.sources.options": ["SourceOptions"],
        "omnitrace.sources.parts": ["MediaPart", "Part", "TextPart"],
        "omnitrace.sources.regions": ["outline", "pixel_mask"],
        "omnitrace.sources.request_files": ["RequestEntry", "RequestProblem", "read_requests"],
        "omnitrace.sources.response_files": ["ResponseFile"],
        "omnitrace.sources.responses.given": ["GivenResponse", "Response"],
        "omnitrace.sources.responses.reading": ["read_response"],
        "omnitrace.sources.token_map": [
            "Geometry",
            "GridTokens",
            "Overview",
            "TextTokens",
            "TimeTokens",
            "UnitDraft",
        ],
        "omnitrace.sources.unitizers.base": [
            "FeatureSource",
            "ImageUnitizer",
            "TimeUnitizer",
            "Unitizer",
            "no_features",
        ],
        "omnitrace.sources.unitizers.change_points": ["Changes"],
        "omnitrace.sources.unitizers.image": ["Grid", "Whole"],
        "omnitrace.sources.unitizers.slic": ["Slic"],
        "omnitrace.sources.unitizers.speech": ["Speech"],
        "omnitrace.sources.unitizers.time": ["Bins"],
        "omnitrace.sources.unitizers.ward": ["Ward"],
    },
)
