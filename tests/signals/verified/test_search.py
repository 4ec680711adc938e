"""The search on responses whose log-probabilities are given by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.signals.verified import search
from omnitrace.signals.verified.measured import Measured
from omnitrace.signals.verified.options import Verify
from omnitrace.types import Span, SpanEffects, TextRange

#: Log-probabilities of the response's tokens, from the set of units that are kept.
Rule = Callable[[frozenset[int]], Sequence[float]]


class Told(Measured):
    """Measures by a rule, and counts masks."""

    rule: Rule
    masks: list[frozenset[int]]

    def run(self, masks: Iterable[np.ndarray]) -> None:
        """Keep what the rule says."""
        self._full = np.array(self.rule(frozenset(range(self.count))))
        for mask in masks:
            if not self.knows(mask):
                kept = frozenset(np.flatnonzero(mask).tolist())
                self.masks.append(kept)
                self._values[mask.tobytes()] = np.array(self.rule(kept))


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SpanEffects]:
    return lambda *args, **options: found_by(monkeypatch, *args, **options)


def found_by(
    monkeypatch: pytest.MonkeyPatch,
    rule: Rule,
    homes: Sequence[int],
    ranking: Sequence[float] | None = None,
    modality: str = "text",
    **options: Any,
) -> SpanEffects:
    """Search a response of one span; ``homes`` are the parts that units are of."""
    tokens = len(rule(frozenset()))
    units = [
        SimpleNamespace(
            locator=TextRange(0, part, 3 * k, 3 * k + 3), modality=modality, positions=(3 * k,)
        )
        for k, part in enumerate(homes)
    ]
    scorer: Any = SimpleNamespace(
        units=tuple(map(str, range(len(homes)))),
        source_units=units,
        embeddings=np.zeros((1, 3 * len(homes) + tokens, 1)),
        tokens=tokens,
    )
    monkeypatch.setattr(search, "Measured", Told)
    monkeypatch.setattr(Told, "rule", staticmethod(rule), raising=False)
    monkeypatch.setattr(Told, "masks", [], raising=False)
    span = Span(0, "", 0, 1, 0, tokens, 0.5, (), True)
    ranked = np.array([[1.0] * len(homes) if ranking is None else ranking])
    (found,) = search.Search(scorer, [span], ranked, Verify(**options)).run()
    return found


def kinds(found: SpanEffects) -> dict[int, str]:
    """Return the kind of each supporting unit."""
    return {int(unit): each.kind for unit, each in found.items() if each.kind is not None}


Find = Callable[..., SpanEffects]


def test_one_unit_that_says_it_is_necessary(find: Find) -> None:
    found = find(lambda kept: [0.0, 0.0 if 2 in kept else -6.0], [0, 0, 1, 1])
    assert kinds(found) == {2: "necessary"}
    assert found["2"].value == pytest.approx(5.5)  # less the floor
    assert found.total == pytest.approx(6.0)


def test_two_that_say_the_same_are_both_sufficient(find: Find) -> None:
    found = find(lambda kept: [0.0 if kept & {0, 3} else -6.0], [0, 0, 1, 1])
    assert kinds(found) == {0: "sufficient", 3: "sufficient"}
    assert found["0"].value >= 1


def test_units_of_different_words_are_all_found(find: Find) -> None:
    found = find(lambda kept: [-5.0 * (0 not in kept), -3.0 * (3 not in kept)], [0, 0, 1, 1])
    assert kinds(found) == {0: "necessary", 3: "necessary"}
    assert list(found)[:2] == ["0", "3"]


def test_units_that_act_only_together_are_found(find: Find) -> None:
    """Neither gives anything back alone."""
    rule: Rule = lambda kept: [0.0 if {1, 2} <= kept else -6.0]  # noqa: E731
    assert kinds(find(rule, [0, 1, 1, 2], [0.1, 1.0, 0.2, 0.1])) == {1: "necessary", 2: "necessary"}
    # Of two documents they are missed all the same, if the signal looks at them.
    assert kinds(find(rule, [0, 1, 2, 3], [0.1, 1.0, 0.9, 0.1])) == {1: "necessary", 2: "necessary"}


def test_what_helps_beside_another_and_is_not_missed_is_no_source(find: Find) -> None:
    """Shown alone, a unit says less than among others, whichever they are."""

    def rule(kept: frozenset[int]) -> list[float]:
        if 1 not in kept:
            return [-9.0]
        return [-4.0 if kept == {1} else 0.0]

    assert kinds(find(rule, [0, 0, 0, 1])) == {1: "necessary"}


def test_a_second_medium_counts_where_a_second_text_may_only_change_the_wording(
    find: Find,
) -> None:
    """In "… is red and … is red" the first one makes the second likely, less than its own unit."""

    def rule(kept: frozenset[int]) -> list[float]:
        second = 0.0 if kept & {1, 2} else -1.5 if 0 in kept else -4.2
        return [0.0 if 0 in kept else -9.0, second]

    homes, ranking = [0, 1, 1, 2], [1.0, 0.8, 0.2, 0.1]
    assert kinds(find(rule, homes, ranking, modality="video")) == {0: "necessary", 1: "shared"}
    assert kinds(find(rule, homes, ranking)) == {0: "necessary"}


def test_a_medium_that_gives_back_all_is_a_source_though_the_rest_lets_guess_it(find: Find) -> None:
    """Of a text that much would be chance: any document of the subject makes its words likelier."""

    def rule(kept: frozenset[int]) -> list[float]:
        return [0.0 if 0 in kept else -1.2 if len(kept) > 1 else -7.0]

    image, text = (find(rule, [0, 1, 2, 3], modality=each) for each in ("image", "text"))
    assert text["0"].value == pytest.approx(0.7)
    assert image["0"].value == pytest.approx(np.sqrt(0.7 * 6.5))
    assert kinds(image) == kinds(text) == {0: "sufficient"}


def test_what_is_likelier_with_a_unit_and_does_not_need_it_has_no_source(find: Find) -> None:
    """Alone, a unit of the same topic gives back half; without it nothing is lost."""

    def rule(kept: frozenset[int]) -> list[float]:
        if len(kept) > 1:
            return [0.0]
        return [-2.0 if kept & {0, 1} else -4.0]

    assert kinds(find(rule, [0, 1, 2, 3])) == {}


def test_small_changes_of_many_words_are_no_source(find: Find) -> None:
    assert kinds(find(lambda kept: [-0.1 * (4 - len(kept))] * 30, [0, 1, 2, 3])) == {}


def test_a_span_that_needs_no_source_costs_one_mask(find: Find) -> None:
    found = find(lambda kept: [0.0 if kept else 2.0], [0, 1])
    assert (dict(found), found.total) == ({}, pytest.approx(-2.0))
    assert Told.masks == [frozenset()]


def test_many_units_are_halved(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "fits", lambda self, masks, share: len(list(masks)) <= 8)
    count = 256
    ranking = [1.0] * count
    ranking[200] = 0.01
    found = find(lambda kept: [0.0 if 200 in kept else -6.0], list(range(count)), ranking)
    assert kinds(found) == {200: "necessary"}
    assert len(Told.masks) < 40


def test_what_is_dear_to_try_alone_is_tried_in_groups(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass for each group; the signal says which unit of the group it is."""
    monkeypatch.setattr(Told, "fits", lambda self, masks, share: False)
    monkeypatch.setattr(Told, "left", lambda self, share: 0.0)
    ranking = [0.1] * 40
    ranking[7] = ranking[30] = 1.0
    rule: Rule = lambda kept: [-6.0 * (7 not in kept), -4.0 * (30 not in kept)]  # noqa: E731
    found = find(rule, list(range(40)), ranking)
    assert kinds(found) == {7: "necessary", 30: "necessary"}
    assert len(Told.masks) == 1 + 4 + 2  # no source, groups, and one left out for each part


def test_halving_ends_where_the_budget_refuses_what_seemed_to_fit(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning that masks share is counted only when they run."""
    run = Told.run
    monkeypatch.setattr(Told, "fits", lambda self, masks, share: len(list(masks)) == 2)
    monkeypatch.setattr(Told, "left", lambda self, share: 0.0)
    monkeypatch.setattr(
        Told, "run", lambda self, masks: run(self, [m for m in masks if m.sum() != 5])
    )
    ranking = [1.0 if k == 7 else 0.1 for k in range(40)]
    found = find(lambda kept: [-6.0 * (7 not in kept)], list(range(40)), ranking)
    assert kinds(found) == {7: "necessary"}


@given(st.lists(st.floats(0.0, 8.0), min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_unit_of_the_largest_effect_is_named_first(effects: list[float]) -> None:
    """Each unit has words of its own."""
    with pytest.MonkeyPatch.context() as patch:
        found = found_by(
            patch,
            lambda kept: [0.0 if k in kept else -each for k, each in enumerate(effects)],
            list(range(len(effects))),
        )
    named = [unit for unit, each in found.items() if each.kind is not None]
    if max(effects) >= 1.5:
        assert effects[int(named[0])] == pytest.approx(max(effects))
    assert all(effects[int(unit)] > 0.5 for unit in named)
