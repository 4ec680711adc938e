"""How the benchmark of units labels tokens and counts purity."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnitrace.sources.token_map import GridTokens, TimeTokens
from tests.helpers.random_geometries import media_part
from units import candidates, cut, cut_all, labels_of, parse, purity


def test_purity_is_the_share_of_the_most_frequent_label() -> None:
    assert purity([0, 0, 1, 1], np.array([5, 5, 7, 7])) == 1
    assert purity([0, 1, 1, 1, 2, 2], np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(4 / 6)


def test_tokens_carry_the_thing_that_holds_their_middle() -> None:
    image = GridTokens(media_part("image"), range(6), 2, 3, 30, 20)
    items = [SimpleNamespace(box=(0, 0, 10, 10)), SimpleNamespace(box=(12, 8, 29, 20))]
    assert labels_of(SimpleNamespace(items=items), image) == [1, 0, 0, 0, 2, 2]
    sound = TimeTokens(
        media_part("audio"), "audio", range(4), [(i, i + 1.0) for i in range(4)], 4.0
    )
    events = (SimpleNamespace(start=0.4, end=1.4), SimpleNamespace(start=1.6, end=3.0))
    assert labels_of(SimpleNamespace(events=events), sound) == [1, 0, 2, 0]
    video = SimpleNamespace(appearances=events)
    assert labels_of(video, sound) == [1, 0, 2, 0]


def test_what_is_compared_has_as_many_units() -> None:
    sound = TimeTokens(
        media_part("audio"), "audio", range(100), [(i / 25, (i + 1) / 25) for i in range(100)], 4.0
    )
    features = np.random.default_rng(0).normal(size=(100, 4))
    found = {
        name: len(set(units.tolist())) for name, units in candidates(sound, lambda _: features)
    }
    assert found["changes, as many as bins"] == found["bins"] == 4
    assert found["bins, as many as changes"] == found["changes"]


def test_samples_are_cut_in_every_way_and_stay_in_their_order(
    reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("units.load", lambda: reference.adapter)
    found = cut_all(parse([]), 2)
    assert {medium for medium, _ in found} == {"image", "audio", "video"}
    first, second = (pickle.loads(pickle.dumps(cut(reference.adapter, n))) for n in (0, 1))
    assert list(found) == list(dict(first))
    for key, rows in found.items():
        assert rows == [row for name, row in (*first, *second) if name == key]
        assert all(units >= 1 and 0 <= pure <= 1 for units, pure, _ in rows)
