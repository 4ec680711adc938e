"""Where the tokens of audio and video lie in time: one rule for each way of cutting them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from omnitrace.errors import MediaError, ModelError
from omnitrace.models.places.base import Medium, Place
from omnitrace.sources.token_map import TimeTokens
from omnitrace.sources.unitizers.user_defined import name_of

_Interval: TypeAlias = tuple[float, float]

__all__ = ["chunks", "every", "frames", "frames_but_last", "steps"]


def steps(medium: Medium) -> TimeTokens:
    """Temporal patches of several frames, each with the same number of tokens."""
    size = medium.processor.video_processor.temporal_patch_size
    count = medium.sizes("video_grid_thw")[0]
    return _stretches(medium, medium.positions, count, size)


def chunks(medium: Medium) -> TimeTokens:
    """Temporal patches of several frames, each with a time of its own; the last may be shorter."""
    size = medium.processor.video_processor.temporal_patch_size
    return _stretches(medium, medium.positions, math.ceil(len(medium.video.times) / size), size)


def frames(medium: Medium) -> TimeTokens:
    """Frames, each with the same number of tokens."""
    return _stretches(medium, medium.positions, len(medium.video.times), 1)


def frames_but_last(medium: Medium) -> TimeTokens:
    """Frames, each with the same number of tokens, and one more token at the end."""
    return _stretches(medium, medium.positions[:-1], len(medium.video.times), 1)


def _stretches(medium: Medium, positions: Sequence[int], count: int, size: int) -> TimeTokens:
    """Give equal numbers of tokens to ``count`` stretches of ``size`` sampled frames each."""
    video = medium.video
    if not count or len(positions) % count:
        raise ModelError(
            f"{type(medium.processor).__name__} gives {name_of(medium.part)} {len(positions)} "
            f"tokens for {count} steps in time",
            legal="equally many for each step",
            fix="check that processor and model are of the same release, and report this",
        )
    each = len(positions) // count
    firsts = [float(video.times[min(i * size, len(video.times) - 1)]) for i in range(count)]
    # A frame that is shown for long is sampled again: until the next one it is the same.
    ends = [next((t for t in firsts[i:] if t > firsts[i]), video.end) for i in range(count)]
    held = [
        tuple(int(frame) for frame in video.frame_indices[i * size : (i + 1) * size])
        for i in range(count)
    ]
    return TimeTokens(
        medium.part,
        "video",
        list(positions),
        [(firsts[i], ends[i]) for i in range(count) for _ in range(each)],
        video.end,
        [held[i] for i in range(count) for _ in range(each)],
    )


def every(
    milliseconds: int,
    *,
    chunk: int | None = None,
    of: int | None = None,
    early: int = 0,
    one_window: bool = False,
) -> Place:
    """Return the rule of tokens of equal length.

    Parameters
    ----------
    milliseconds:
        What a token lasts.
    chunk, of:
        Every ``chunk`` milliseconds become ``of`` tokens, the last of which may be shorter.
    early:
        How many milliseconds before its number says a token begins, and ends: what strided
        convolutions and a tower that looks back only make of it, found by clicks
        (:func:`omnitrace.testing.causal_maps.audio_places`).
    one_window:
        The feature extractor takes one window and cuts off what is longer, without a word.
    """

    def rule(medium: Medium) -> TimeTokens:
        audio, seconds = medium.audio, milliseconds / 1000
        if one_window:
            _check_length(medium, medium.processor.feature_extractor)
        intervals = [
            _interval(index, milliseconds, chunk, of, early)
            for index in range(len(medium.positions))
        ]
        # What begins behind the end is the processor's own padding, and shows nothing.
        inside = sum(start < audio.duration for start, _ in intervals)
        if not inside:
            raise MediaError(
                f"{name_of(medium.part)} ({audio.name}) lasts {audio.duration:.3f} s, too short "
                "to become a token",
                legal=f"at least {seconds:g} s",
            )
        _check_covered(medium, intervals[-1][1], seconds)
        return TimeTokens(
            medium.part,
            "audio",
            list(medium.positions[:inside]),
            [
                (audio.start + start, audio.start + min(end, audio.duration))
                for start, end in intervals[:inside]
            ],
            audio.end,
        )

    return rule


def _interval(
    index: int, milliseconds: int, chunk: int | None, of: int | None, early: int
) -> _Interval:
    """Return the seconds of a token; what its chunk does not have goes to no token of it."""
    whole, inside = divmod(index, of) if of else (0, index)
    first = whole * (chunk or 0)
    start = first + max(0, inside * milliseconds - early)
    end = first + (inside + 1) * milliseconds - early
    if chunk is not None:
        end = min(end, first + chunk)
    return start / 1000, end / 1000


def _check_length(medium: Medium, extractor: Any) -> None:
    audio = medium.audio
    longest = extractor.n_samples / extractor.sampling_rate
    if len(audio.samples) > extractor.n_samples:
        raise MediaError(
            f"{name_of(medium.part)} ({audio.name}) lasts {audio.duration:.1f} s, longer than "
            f"the {longest:g} s that the model takes",
            legal=f"at most {longest:g} s",
            fix="cut the audio, or load the processor with a longer chunk_length",
        )


def _check_covered(medium: Medium, reached: float, seconds: float) -> None:
    """Refuse audio of which the processor has left out the end."""
    audio = medium.audio
    if reached < audio.duration - 2 * seconds:
        raise MediaError(
            f"{name_of(medium.part)} ({audio.name}) lasts {audio.duration:.1f} s, and the model "
            f"takes only the first {reached:g} s of it",
            legal=f"at most {reached:g} s",
            fix="cut the audio",
        )
