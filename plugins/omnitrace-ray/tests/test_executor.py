"""Work on processes of Ray: every item has its result, whatever becomes of the processes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omnitrace_ray import RayExecutor

from omnitrace.errors import InputError, ModelError

pytestmark = pytest.mark.usefixtures("local_ray")


def doubler() -> Callable[[int], tuple[int, int]]:
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""  # no GPU was asked for
    return lambda item: (2 * item, os.getpid())


def test_items_are_read_as_they_are_needed_and_every_one_has_its_result() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(12):
            read.append(number)
            yield number

    results = RayExecutor(actors=2, cpus=0.5).map(doubler, items())
    first = next(results)
    assert len(read) <= 4
    found = [first, *results]
    assert sorted(result for result, _ in found) == [2 * number for number in range(12)]
    assert os.getpid() not in {process for _, process in found}


def test_no_items_start_no_process() -> None:
    assert list(RayExecutor().map(doubler, [])) == []


def careful(folder: Path) -> Callable[[int], str]:
    """Make a worker that notes what it begins, and refuses what was begun twice."""

    def work(item: int) -> str:
        begun = folder / str(item)
        with begun.open("a") as file:
            file.write("x")
        if begun.stat().st_size > 2:
            return f"{item} was given up"
        if item == 3:
            os._exit(1)
        return f"{item} is done"

    return work


def test_an_item_that_kills_its_process_is_handed_out_until_the_worker_gives_it_up(
    tmp_path: Path,
) -> None:
    found = set(RayExecutor(actors=1).map(functools.partial(careful, tmp_path), range(5)))
    assert found == {"0 is done", "1 is done", "2 is done", "3 was given up", "4 is done"}


def refuses() -> Callable[[int], int]:
    raise InputError("the model is broken", fix="take another")


def dies() -> Callable[[int], int]:
    os._exit(1)


def test_what_a_worker_cannot_be_made_of_is_raised_and_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omnitrace_ray.executor._DEATHS", 1)
    with pytest.raises(InputError, match=r"the model is broken\. Fix: take another"):
        list(RayExecutor(actors=1).map(refuses, [1]))
    with pytest.raises(ModelError, match="die while they load the model"):
        list(RayExecutor(actors=1).map(dies, [1]))


def test_more_than_a_machine_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"GPUs for each actor: 1, more than any.*up to 0\."):
        list(RayExecutor(gpus=1).map(doubler, [1]))
