"""Change points: stretches of audio and video within which the model's own encoder sees one thing.

Ward clustering with the order of time as neighbourhood: only stretches that follow each other are
joined, so every group is one stretch. The boundaries are the change points that explain most of the
variance of the features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from omnitrace.errors import InputError
from omnitrace.sources.unitizers.base import (
    FeatureSource,
    TimeUnitizer,
    check_count,
    check_positive,
    check_share,
)
from omnitrace.sources.unitizers.ward import count_for, ward_tree

if TYPE_CHECKING:
    from omnitrace.sources.token_map import TimeTokens

__all__ = ["Changes"]


@dataclass(frozen=True)
class Changes(TimeUnitizer):
    """Stretches between the changes that the model's own audio or vision tower captures.

    One more pass of the tower gives the features. Pictures and sound that are cut together count
    alike.

    Parameters
    ----------
    segments:
        Number of stretches, at most one for each moment that has tokens of its own. None chooses by
        the medium: the fewest that explain the share ``explained`` of the variance of the features,
        but on average none longer than ``longest`` nor shorter than ``shortest`` seconds.
    explained:
        That share, in (0, 1].
    shortest, longest:
        Bounds on the mean length of a stretch, in seconds.
    """

    segments: int | None = None
    explained: float = 0.9
    shortest: float = 0.5
    longest: float = 4.0

    name: ClassVar[str] = "changes"

    def __post_init__(self) -> None:
        check_count(self.name, self.segments, "segments")
        check_share(self.name, self.explained)
        check_positive(self.name, self.shortest, "shortest")
        check_positive(self.name, self.longest, "longest")
        if self.shortest > self.longest:
            raise InputError(
                f"the unitizer 'changes' has shortest {self.shortest} and longest {self.longest}",
                legal="shortest at most longest",
            )

    def cut(self, streams: Sequence[TimeTokens], features: FeatureSource) -> list[np.ndarray]:
        """Return int ``[tokens]`` for each stream: the number of the stretch, in order of time."""
        moments = [_Moments.of(stream) for stream in streams]
        # The stream with the finest steps gives the steps, the others what they have at that time.
        steps = max(moments, key=lambda each: len(each.middles))
        count = len(steps.middles)
        first = min(start for stream in streams for start, _ in stream.intervals)
        fewest, most = self._bounds(max(stream.duration for stream in streams) - first)
        if count <= (self.segments or fewest):
            labels = np.arange(count)
        else:
            seen = [
                _scaled(each.features(features(stream))[each.at(steps.middles)])
                for each, stream in zip(moments, streams, strict=True)
            ]
            tree = ward_tree(np.hstack(seen), count)
            labels = tree.cut(self.segments or count_for(tree, self.explained, fewest, most))
            labels = np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])
        return [
            (labels if each is steps else labels[steps.at(each.middles)])[each.of_token]
            for each in moments
        ]

    def _bounds(self, duration: float) -> tuple[int, int]:
        fewest = max(1, math.ceil(duration / self.longest))
        return fewest, max(fewest, math.ceil(duration / self.shortest))


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """The steps of a stream, each with tokens of its own.

    ``of_token`` is int ``[tokens]``, the moment of each token; ``starts`` and ``middles`` are float
    ``[moments]`` in seconds, ascending.
    """

    of_token: np.ndarray
    starts: np.ndarray
    middles: np.ndarray

    @classmethod
    def of(cls, stream: TimeTokens) -> _Moments:
        intervals = np.asarray(stream.intervals, dtype=np.float64).reshape(-1, 2)
        found, of_token = np.unique(intervals, axis=0, return_inverse=True)
        return cls(of_token.reshape(-1), found[:, 0], found.mean(axis=1))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Return int ``[seconds]``: the moment that each point of time lies in or is nearest."""
        found = np.searchsorted(self.starts, seconds, side="right") - 1
        return np.clip(found, 0, len(self.starts) - 1)

    def features(self, of_tokens: np.ndarray) -> np.ndarray:
        """Return float ``[moments, dimensions]``.

        A moment's tokens (the places of a picture) stand side by side, so that what changes in one
        place is a change. A moment that is shown for several steps has their mean.
        """
        rows = of_tokens[np.argsort(self.of_token, kind="stable")]
        counts = np.bincount(self.of_token)
        places = int(np.gcd.reduce(counts))
        ends = np.cumsum(counts)
        return np.stack(
            [
                rows[end - size : end].reshape(-1, places, rows.shape[1]).mean(axis=0).reshape(-1)
                for end, size in zip(ends, counts, strict=True)
            ]
        )


def _scaled(features: np.ndarray) -> np.ndarray:
    """Give a stream the mean 0 and the total variance 1, so that all streams count alike."""
    centred: np.ndarray = features - features.mean(axis=0)
    scale = float(np.linalg.norm(centred))
    return centred / scale if scale > 0 else centred
