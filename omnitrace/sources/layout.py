"""From the geometry of a prompt to its layout: units with ids, and a kind for every position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from omnitrace.errors import InputError
from omnitrace.sources.options import SourceOptions
from omnitrace.sources.token_map import Geometry, GridTokens, TextTokens, TimeTokens, UnitDraft
from omnitrace.sources.unitizers.base import FeatureSource, no_features
from omnitrace.sources.unitizers.image import image_units
from omnitrace.sources.unitizers.speech import Transcribed
from omnitrace.sources.unitizers.text import text_units
from omnitrace.sources.unitizers.time import time_units
from omnitrace.types import Layout, PositionKind, SourceUnit

__all__ = ["build_layout"]


def _drafts(
    geometry: Sequence[Geometry], options: SourceOptions, features: FeatureSource
) -> list[UnitDraft]:
    drafts: list[UnitDraft] = []
    # A video's pictures and its sound are two streams of one part and may share their units.
    streams: dict[tuple[int, int], list[TimeTokens]] = {}
    for tokens in geometry:
        if not tokens.part.is_source:
            continue
        if isinstance(tokens, TextTokens):
            drafts += text_units(tokens, options.text, language=options.language)
        elif isinstance(tokens, GridTokens):
            drafts += image_units(tokens, options.image_unitizer, features)
        else:
            streams.setdefault((tokens.part.message, tokens.part.part), []).append(tokens)
    for group in streams.values():
        part = group[0].part
        unitizer = (
            options.time_unitizer(part.modality)
            if part.transcript is None
            else Transcribed(part.transcript)
        )
        # The user's own seconds are one unit each, of pictures and sound.
        joined = options.audio_in_video == "joined" or part.units is not None
        if len(group) > 1 and joined:
            drafts += time_units(group, unitizer, features, modality="video")
        else:
            for stream in group:
                # Of pictures and sound apart, the sound is where somebody speaks.
                speaks = len(group) == 1 or stream.modality == "audio"
                drafts += time_units([stream], unitizer, features, with_words=speaks)
    # In prompt order; interleaved streams of a video keep the order of their first tokens.
    return sorted(drafts, key=lambda draft: (draft.positions[0], draft.modality))


def _ids(drafts: Sequence[UnitDraft]) -> list[str]:
    """Name units: the user's own id, else the part's source id, else modality and number."""
    per_source = Counter(d.source_id for d in drafts if d.own_id is None and d.source_id)
    count: Counter[str] = Counter()
    names = []
    for draft in drafts:
        if draft.own_id is not None:
            names.append(draft.own_id)
        elif draft.source_id:
            count[f"source {draft.source_id}"] += 1
            number = count[f"source {draft.source_id}"]
            single = per_source[draft.source_id] == 1
            names.append(draft.source_id if single else f"{draft.source_id}#{number}")
        else:
            count[draft.modality] += 1
            names.append(f"{draft.modality}-{count[draft.modality]}")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(
            f"two source units have the id {twice[0]!r}",
            legal="ids that are unique in the request",
            fix="give the parts or units other ids",
        )
    return names


def build_layout(
    prompt_length: int,
    geometry: Sequence[Geometry],
    options: SourceOptions,
    features: FeatureSource = no_features,
) -> Layout:
    """Build the map from prompt positions to source units.

    Parameters
    ----------
    prompt_length:
        Number of prompt tokens.
    geometry:
        The tokens of every part of the request; positions of no part are template.
    options:
        How sources are cut.
    features:
        Gives unitizers that ask for it the features of a medium's tokens, as
        :meth:`~omnitrace.models.base.ModelAdapter.features` does; each call is a pass of a tower.

    Raises
    ------
    InputError
        If the user's own units are malformed, overlap, or share an id.
    NotSupportedError
        If a unitizer needs features and there are none.
    ConformanceError
        If a unitizer does not give each token one unit.
    """
    kinds = np.full(prompt_length, PositionKind.TEMPLATE, dtype=np.uint8)
    unit_index = np.full(prompt_length, -1, dtype=np.int32)
    for tokens in geometry:
        media_source = tokens.part.is_source and not isinstance(tokens, TextTokens)
        own = tokens.all_positions() if isinstance(tokens, GridTokens) else list(tokens.positions)
        kinds[own] = PositionKind.SOURCE if media_source else PositionKind.INSTRUCTION
    drafts = _drafts(geometry, options, features)
    units = []
    for index, (draft, name) in enumerate(zip(drafts, _ids(drafts), strict=True)):
        positions = list(draft.positions)
        kinds[positions] = PositionKind.SOURCE
        unit_index[positions] = index
        units.append(
            SourceUnit(
                id=name,
                modality=draft.modality,
                locator=draft.locator,
                positions=draft.positions,
                preview=draft.preview,
                source_id=draft.source_id,
                transcript=draft.transcript,
                speaker=draft.speaker,
            )
        )
    kinds.setflags(write=False)
    unit_index.setflags(write=False)
    return Layout(kinds, unit_index, tuple(units))
