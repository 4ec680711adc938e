"""Requests of a ``ray.data`` dataset, traced by actors that hold a tracer each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import ray.data

from omnitrace.errors import InputError
from omnitrace.runs import RequestWorker, Run, entries_of_rows
from omnitrace_ray.cluster import share_of

if TYPE_CHECKING:
    from omnitrace import Tracer

__all__ = ["RESULTS", "TraceRows", "trace_dataset"]

RESULTS: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string()),
        pa.field("error", pa.string()),
    ]
)
"""A row for each request: where its trace is, or why there is none."""


def trace_dataset(
    dataset: ray.data.Dataset,
    load: Callable[[], Tracer],
    run: Run,
    *,
    actors: int | None = None,
    gpus: float | None = None,
    cpus: float | None = None,
    batch_size: int = 1,
    media_root: str | Path | None = None,
    **options: Any,
) -> ray.data.Dataset:
    """Return the results of tracing the requests of a dataset; nothing runs until they are read.

    An actor is given the next requests when it has finished its last ones, and reading waits for
    the actors: whatever the size of the dataset, little of it is in memory. A request whose actor
    dies is tried again, and given up as ``run`` says.

    Parameters
    ----------
    dataset:
        Its rows are requests: ``id``, ``messages``, and where needed ``response``, ``images``, …,
        as :func:`omnitrace.runs.open_requests` reads them.
    load:
        Makes the tracer in each actor; it is pickled.
    run:
        Where traces are written, and what is there already; the folder must be one that all actors
        reach, as an :class:`~omnitrace_ray.FsspecFolder` is.
    actors, gpus, cpus:
        As for :class:`~omnitrace_ray.RayExecutor`; leave a core for what reads the dataset.
    batch_size:
        How many requests an actor is given, and its model runs, at once.
    media_root:
        Where relative paths of media start, and what media must lie in.
    options:
        As for :func:`omnitrace.runs.run_requests`.

    Returns
    -------
    Dataset
        With the schema :data:`RESULTS`, in any order.

    Raises
    ------
    InputError
        If no machine of the cluster has room for an actor.
    """
    share = share_of(actors, gpus, cpus, others=1.0)  # a core reads what the actors are given
    root = None if media_root is None else Path(media_root).absolute()
    # Blocks are what actors are given, and what is read again when one dies.
    return dataset.repartition(target_num_rows_per_block=batch_size).map_batches(
        TraceRows,
        fn_constructor_args=(load, run, {"batch_size": batch_size, **options}, root),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ray.data.ActorPoolStrategy(size=share.actors, max_tasks_in_flight_per_actor=2),
        num_cpus=share.cpus,
        num_gpus=share.gpus,
    )


class TraceRows:
    """A class for ``Dataset.map_batches`` (``batch_format="pyarrow"``) that traces its rows.

    :func:`trace_dataset` uses it; take it yourself to choose the pipeline's other arguments.

    Parameters
    ----------
    load, run:
        As for :func:`trace_dataset`.
    options:
        As for :func:`omnitrace.runs.run_requests`.
    media_root:
        As for :func:`trace_dataset`.
    """

    def __init__(
        self,
        load: Callable[[], Tracer],
        run: Run,
        options: Mapping[str, Any] | None = None,
        media_root: Path | None = None,
    ) -> None:
        self._work = RequestWorker(load, run, options)
        self._run = run
        self._root = media_root

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Trace the requests of some rows, one result a row."""
        if "id" not in batch.column_names or batch["id"].null_count:
            columns = ", ".join(batch.column_names)
            raise InputError(
                f"the dataset has rows without an id (its columns: {columns})",
                legal="an id for each request: traces are named after it",
            )
        entries = entries_of_rows(batch.to_pylist(), media_root=self._root)
        rows = [
            (name, self._place(name, path, error), None if error is None else str(error))
            for name, path, error in self._work(entries)
        ]
        named = [dict(zip(RESULTS.names, row, strict=True)) for row in rows]
        return pa.Table.from_pylist(named, schema=RESULTS)

    def _place(self, name: str, path: str | Path | None, error: Exception | None) -> str | None:
        """Return where a trace is; one that was there already too."""
        if path is not None or error is not None:
            return None if path is None else str(path)
        found = self._run.path_of(name)
        return f"{self._run.folder}/{found}" if self._run.folder.exists(found) else None
