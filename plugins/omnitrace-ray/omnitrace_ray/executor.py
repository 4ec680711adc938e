"""Work handed to processes of Ray, one item at a time, until every item has its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from omnitrace.errors import ModelError
from omnitrace_ray.cluster import Share, connected, options_of, share_of

__all__ = ["RayExecutor"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_END: Final = object()
#: Processes that may end, one after another, before any of them has loaded its model.
_DEATHS: Final = 3
#: Seconds until processes that were killed are taken as gone.
_PATIENCE: Final = 5.0


class RayExecutor:
    """Runs work in processes ("actors") of Ray, on this machine or on a cluster.

    Each process makes its worker once, for instance loads a model, and gets one item after
    another, when it has finished the last: nothing piles up, and items are read as they are
    needed. A process that dies is replaced, and its item handed out again; how often an item may
    kill its process is the worker's to count.

    Parameters
    ----------
    actors:
        How many processes; by default as many as the cluster's GPUs allow, one without GPUs.
    gpus:
        Of each process, also a part of one (0.5: two processes share a GPU); by default 1 where
        there are GPUs.
    cpus:
        Cores of each process; by default one beside a GPU, else an equal part of the machine's.
    address:
        Of the cluster, as for ``ray.init``. None: the one that runs here or that ``RAY_ADDRESS``
        names, or a Ray of this machine alone for as long as the work takes.
    """

    def __init__(
        self,
        *,
        actors: int | None = None,
        gpus: float | None = None,
        cpus: float | None = None,
        address: str | None = None,
    ) -> None:
        self._asked = (actors, gpus, cpus)
        self._address = address

    def map(
        self, make_worker: Callable[[], Callable[[_T], _R]], items: Iterable[_T]
    ) -> Generator[_R, None, None]:
        """Yield the result of each item, in the order in which they are ready.

        Parameters
        ----------
        make_worker:
            Makes, in each process, what turns an item into a result; all three are pickled.
        items:
            Read one by one.

        Raises
        ------
        InputError
            If no machine has room for a process.
        ModelError
            If process after process ends while it makes its worker.
        Exception
            What ``make_worker`` or a worker raises.
        """
        with connected(self._address):
            pool = _Pool(make_worker, share_of(*self._asked))
            try:
                yield from pool.results(iter(items))
            finally:
                pool.close()


@ray.remote
class _Process:
    """One process: its worker is made once."""

    def start(self, make_worker: Callable[[], Callable[[Any], Any]]) -> None:
        if not ray.get_gpu_ids():  # Ray hides none where none was asked for
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._worker = make_worker()

    def work(self, item: Any) -> Any:
        return self._worker(item)


class _Pool:
    """The processes of one run, and which item each has."""

    def __init__(self, make_worker: Callable[[], Callable[[Any], Any]], share: Share) -> None:
        self._make_worker = ray.put(make_worker)
        self._share = share
        # By the result that is waited for: the process, and its item; _END while it starts.
        self._busy: dict[Any, tuple[Any, Any]] = {}
        self._returned: list[Any] = []  # by processes that died
        self._deaths = 0

    def results(self, items: Iterator[Any]) -> Iterator[Any]:
        first = next(items, _END)
        if first is _END:
            return
        self._returned.append(first)
        for _ in range(self._share.actors):
            self._start()
        while self._busy:
            (ready,), _ = ray.wait([*self._busy], num_returns=1)
            process, item = self._busy.pop(ready)
            try:
                result = ray.get(ready)
            except RayTaskError as error:
                raise error.cause from error
            except RayError as error:  # the process, its machine or its memory is gone
                ray.kill(process)
                self._replace(item, error)
                continue
            self._deaths = 0
            following = self._returned.pop() if self._returned else next(items, _END)
            if following is not _END:
                self._busy[process.work.remote(following)] = (process, following)
            else:
                ray.kill(process)
            if item is not _END:
                yield result
            if following is _END and all(each is _END for _, each in self._busy.values()):
                return  # processes that would start for nothing

    def close(self) -> None:
        for process, _ in self._busy.values():
            ray.kill(process)
        if self._busy:
            ray.wait([*self._busy], num_returns=len(self._busy), timeout=_PATIENCE)
        self._busy.clear()

    def _start(self) -> None:
        # Ray's own restarts would repeat an item whatever became of it, and a start for ever.
        process = _Process.options(max_restarts=0, **options_of(self._share)).remote()
        self._busy[process.start.remote(self._make_worker)] = (process, _END)

    def _replace(self, item: Any, error: RayError) -> None:
        """Start a process in place of one that died, and keep its item for the next."""
        if item is not _END:
            self._returned.append(item)
        else:
            self._deaths += 1
            if self._deaths >= _DEATHS:
                raise ModelError(
                    "the processes that are to run the requests die while they load the model: "
                    f"{error}",
                    legal="memory for the model in each process",
                    fix="take fewer actors, or a larger machine",
                ) from error
        self._start()
