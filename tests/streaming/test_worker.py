"""The worker beside the decoding loop: order, bounds, errors, and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from omnitrace.streaming.worker import Backlog, Stopped, Worker


def no_worker_is_left() -> bool:
    return all(thread.name != "omnitrace-worker" for thread in threading.enumerate())


def gated(done: list[int]) -> tuple[Callable[[int], None], threading.Event, threading.Event]:
    """Return work that stands still until it is let go, and says when it has begun."""
    begun, go = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert go.wait(30)
        done.append(item)

    return work, begun, go


def test_everything_is_done_in_order_before_the_block_is_left() -> None:
    done: list[int] = []
    backlog = Backlog()
    with Worker(done.append, 3, backlog) as worker:
        for item in range(200):
            worker.put(item)
    assert done == list(range(200))
    assert backlog.blocks == 200
    assert 1 <= backlog.longest <= 3
    assert no_worker_is_left()


def test_putting_waits_only_while_the_queue_is_full() -> None:
    done: list[int] = []
    work, begun, go = gated(done)
    backlog = Backlog()
    with Worker(work, 2, backlog) as worker:
        worker.put(0)
        assert begun.wait(30)
        worker.put(1)
        worker.put(2)
        assert backlog.waits == 0  # one is at work, two wait: there was room for all
        late = threading.Thread(target=worker.put, args=(3,))
        late.start()
        late.join(0.2)
        assert late.is_alive(), "the queue is full"
        go.set()
        late.join(30)
        assert not late.is_alive()
    assert done == [0, 1, 2, 3]
    assert (backlog.waits, backlog.longest) == (1, 2)
    assert backlog.seconds > 0


def test_an_error_is_raised_at_the_next_item() -> None:
    failed = threading.Event()

    def work(item: int) -> None:
        failed.set()
        raise ValueError(f"item {item}")

    worker = Worker(work, 1)

    def put_until_it_fails() -> None:
        with worker:
            worker.put(7)
            assert failed.wait(30)
            for _ in range(3):  # at the latest when the queue is full
                worker.put(8)

    with pytest.raises(ValueError, match="item 7"):
        put_until_it_fails()
    assert no_worker_is_left()


def test_an_error_on_the_last_item_is_raised_when_the_block_is_left() -> None:
    def work(item: int) -> None:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 7"), Worker(work, 1) as worker:
        worker.put(7)


def test_an_error_wakes_who_waits_for_room() -> None:
    begun, go = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert go.wait(30)
        raise ValueError("broken")

    def put_too_much() -> None:
        with Worker(work, 1) as worker:
            worker.put(0)
            assert begun.wait(30)
            worker.put(1)
            threading.Timer(0.1, go.set).start()
            worker.put(2)

    with pytest.raises(ValueError, match="broken"):
        put_too_much()


def broken_off(error: Exception) -> list[int]:
    """Return what was done of two items when the loop ends with ``error`` on the first."""
    done: list[int] = []
    work, begun, go = gated(done)

    def loop() -> None:
        with Worker(work, 2) as worker:
            worker.put(0)
            worker.put(1)
            assert begun.wait(30)
            threading.Timer(0.1, go.set).start()
            raise error

    with pytest.raises(type(error)):
        loop()
    assert no_worker_is_left()
    return done


def test_a_stopped_loop_takes_nothing_new_up() -> None:
    assert broken_off(Stopped()) == [0]


def test_what_was_written_before_an_error_of_the_loop_is_worked_on() -> None:
    assert broken_off(RuntimeError("the model")) == [0, 1]


def test_the_worker_has_the_loops_torch_modes_but_no_gradients() -> None:
    seen: list[tuple[bool, bool, bool]] = []

    def work(item: int) -> None:
        seen.append(
            (
                torch.is_inference_mode_enabled(),
                torch.is_autocast_enabled("cpu"),
                torch.is_grad_enabled(),
            )
        )

    modes = torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)
    with modes[0], modes[1], Worker(work, 1) as worker:
        worker.put(0)
    with torch.enable_grad(), Worker(work, 1) as worker:
        worker.put(0)
    assert seen == [(True, True, False), (False, False, False)]
