"""Which units show what bears a value: hand-made cases, and a slow reference that counts pixels."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from omnitrace.evaluation.labels.matching import named_units
from omnitrace.evaluation.labels.schema import ImageSource, TextSource, TimeSource
from omnitrace.evaluation.labels.visibility import shown_shares, shown_units
from omnitrace.types import ImageRegion, SourceUnit, TextRange, TimeRange

SIDE = 10  # pixels of a cell


def cells(rows: int = 2, columns: int = 3) -> list[SourceUnit]:
    found = []
    for cell in range(rows * columns):
        x, y = cell % columns * SIDE, cell // columns * SIDE
        region = ImageRegion(0, 0, (x, y, x + SIDE, y + SIDE), (rows, columns), (cell,))
        found.append(SourceUnit(f"cell-{cell}", "image", region, ()))
    return found


def seconds(count: int = 6, modality: str = "video") -> list[SourceUnit]:
    return [
        SourceUnit(f"{modality}-{k}", modality, TimeRange(0, 0, float(k), k + 1.0), ())  # type: ignore[arg-type]
        for k in range(count)
    ]


def image(box: tuple[float, ...], *shows: tuple[float, ...]) -> ImageSource:
    return ImageSource(message=0, part=0, box=box, shows=shows or None)  # type: ignore[arg-type]


def time(start: float, end: float, *shows: tuple[float, float], stream: str | None = None):
    return TimeSource(message=0, part=0, start=start, end=end, stream=stream, shows=shows or None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (image((1, 1, 9, 9)), {"cell-0"}),
        (image((6, 1, 14, 9)), {"cell-0", "cell-1"}),  # on the border of two
        (image((6, 6, 14, 14)), {"cell-0", "cell-1", "cell-3", "cell-4"}),  # on a corner
        (image((2, 2, 10.5, 9)), {"cell-0"}),  # a seventeenth of it
        (image((2, 2, 10.9, 9)), {"cell-0", "cell-1"}),  # a tenth of it
        # Its box touches four cells, what it covers two: a cross, of which a corner is empty.
        (image((5, 5, 14, 14), (5, 5, 14, 9)), {"cell-0", "cell-1"}),
        # Larger than a cell: a tenth of the cell is enough.
        (image((0, 0, 21, 20)), {"cell-0", "cell-1", "cell-2", "cell-3", "cell-4", "cell-5"}),
        (ImageSource(message=0, part=0), {f"cell-{k}" for k in range(6)}),
    ],
)
def test_cells_that_show_an_object(source: ImageSource, expected: set[str]) -> None:
    assert shown_units(source, cells()) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (time(2, 3), {2}),
        (time(2, 3, (1.4, 4.2)), {1, 2, 3, 4}),  # the colour stands for 2.8 seconds
        (time(2, 3, (1.95, 4.05)), {2, 3}),  # a twentieth of the second is not enough
        (time(1.2, 1.7), {1}),
        (time(1.8, 2.2), {1, 2}),
        (time(0.2, 0.5, (0.2, 0.5), (3.0, 3.4)), {0, 3}),  # it is said twice
        (time(5.5, 9), {5}),
    ],
)
def test_seconds_that_show_or_play_an_event(source: TimeSource, expected: set[int]) -> None:
    assert shown_units(source, seconds()) == {f"video-{k}" for k in expected}


def test_sound_and_pictures_are_not_each_other() -> None:
    units = [*seconds(), *seconds(modality="audio")]
    assert shown_units(time(1, 2, stream="audio"), units) == {"audio-1"}
    assert shown_units(time(1, 2, stream="video"), units) == {"video-1"}
    assert shown_units(time(1, 2), units) == {"audio-1", "video-1"}


def test_a_text_is_shown_by_the_units_that_name_it() -> None:
    units = [
        SourceUnit(f"text-{k}", "text", TextRange(0, 0, 10 * k, 10 * k + 10), ()) for k in range(3)
    ]
    source = TextSource(message=0, part=0, start=8, end=19)
    assert shown_units(source, units) == named_units(source, units) == {"text-1"}
    assert shown_shares(source, units) == {}


def test_shares_by_hand() -> None:
    assert shown_shares(image((7, 0, 12, 4)), cells()) == {"cell-0": 3 / 5, "cell-1": 2 / 5}
    found = shown_shares(time(2, 3, (1.5, 4.0)), seconds())
    assert found == pytest.approx({"video-1": 0.2, "video-2": 0.4, "video-3": 0.4})
    assert shown_shares(image((40, 40, 50, 50)), cells()) == {}


Strip = tuple[int, int, int, int]


@st.composite
def strips(draw: st.DrawFn) -> list[Strip]:
    """Bands one below the other, as what an object covers is written."""
    top = draw(st.integers(0, 8))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        left = draw(st.integers(0, 24))
        height = draw(st.integers(1, 4))
        found.append((left, top, draw(st.integers(left + 1, 30)), top + height))
        top += height
    return found


def pixels(box: Strip) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


@given(strips())
def test_cells_equal_a_slow_reference_that_counts_pixels(shows: list[Strip]) -> None:
    hull = (
        min(box[0] for box in shows),
        shows[0][1],
        max(box[2] for box in shows),
        shows[-1][3],
    )
    source = image(hull, *shows)
    covered = set().union(*map(pixels, shows))
    units = cells(rows=3)
    held = {}
    for unit in units:
        assert isinstance(unit.locator, ImageRegion)
        held[unit.id] = len(covered & pixels(unit.locator.box))  # type: ignore[arg-type]
    enough = Fraction(min(SIDE**2, len(covered)), 10)
    showing = {name for name, count in held.items() if count >= enough}
    assert shown_units(source, units) == showing | named_units(source, units)
    shares = shown_shares(source, units)
    assert shares == pytest.approx({n: c / len(covered) for n, c in held.items() if c})
    assert sum(shares.values()) == pytest.approx(1)


hundredths = st.integers(0, 600)


@given(hundredths, st.integers(1, 300), st.integers(-250, 250), st.integers(1, 300))
def test_what_names_the_evidence_shows_it(start: int, lasts: int, before: int, longer: int) -> None:
    """And the shares of what lies within the medium add up to one."""
    end = start + lasts
    whole = (max(0, start + min(before, 0)) / 100, (end + longer) / 100)
    source = time(start / 100, end / 100, whole)
    units = seconds(12)
    assert named_units(source, units) <= shown_units(source, units)
    assert sum(shown_shares(source, units).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image((0, 0, 5, 5), (0, 0, 3, 3), (2, 2, 5, 5)), "of 'shows' overlap"),
        (lambda: image((0, 0, 5, 5), (0, 3, 3, 3)), "is not 0 ≤ x0 < x1"),
        (lambda: time(1, 2, (0.5, 1.5), (1, 2)), "of 'shows' overlap"),
        (lambda: time(1, 2, (2, 2)), "the range 2 to 2 s is empty"),
        (lambda: TimeSource(message=0, part=0, start=1, end=2, shows=()), "at least 1 item"),
    ],
)
def test_regions_that_cannot_be_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValidationError, match=message):
        make()
