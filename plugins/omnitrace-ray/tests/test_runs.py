"""Runs on Ray: the folder of the plain loop to the bit, whatever dies on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
import ray.data
from omnitrace_ray import RESULTS, FsspecFolder, RayExecutor, TraceRows, trace_dataset
from ray import cloudpickle

from omnitrace import Tracer
from omnitrace.errors import GivenUpError, InputError
from omnitrace.runs import (
    RequestFailed,
    RequestSaved,
    Run,
    asked_of,
    open_run,
    run_elsewhere,
    run_requests,
)
from omnitrace.sources import RequestEntry
from omnitrace.trace.trace import Trace

pytestmark = pytest.mark.usefixtures("local_ray")

GENERATION = {"block": 8, "max_new_tokens": 12}  # as the command line has it
OPTIONS = {"live": True, **GENERATION}
COUNT = 6

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def load() -> Tracer:
    """Return a tracer that a request kills."""
    tracer = Tracer.from_pretrained("reference", signal="attention-mean")
    read = tracer.adapter.encode  # called for each request

    def deadly(conversation: Any, *args: Any, **options: Any) -> Any:
        if any("poison" in getattr(part, "text", "") for part in conversation.parts):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(conversation, *args, **options)

    tracer.adapter.encode = deadly  # type: ignore[method-assign]
    return tracer


def messages(number: int, drink: str) -> list[dict[str, Any]]:
    texts = [
        f"The cup weighs {number} grams. The {drink} is red. The key is in the kitchen.",
        "What does the cup weigh?",
    ]
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]


def entries(*, poisoned: int | None = None) -> list[RequestEntry]:
    drinks = ["poison" if number == poisoned else "tea" for number in range(COUNT)]
    return [RequestEntry(f"r{i}", messages(i, drinks[i]), Path()) for i in range(COUNT)]


@pytest.fixture(scope="module")
def plain(tracer: Tracer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an unbroken run in one process."""
    folder = tmp_path_factory.mktemp("plain")
    run = opened(tracer, folder)
    assert [*run_requests(tracer, entries(), run, **OPTIONS)]
    assert run.summary().done == COUNT
    return folder


def opened(tracer: Tracer, folder: Any, **options: Any) -> Run:
    return open_run(folder, asked_of(tracer.setup, generation=GENERATION), **options)


def same(found: Path, expected: Path, *, but: tuple[str, ...] = ()) -> bool:
    """Return whether two folders hold the same traces, with the same numbers to the bit."""
    names = {f"r{i}.omnitrace" for i in range(COUNT) if f"r{i}" not in but}
    assert {each.name for each in found.glob("*.omnitrace")} == names
    pairs = [(Trace.load(found / name), Trace.load(expected / name)) for name in names]
    return all(
        one.spans == other.spans and one.scores.tobytes() == other.scores.tobytes()
        for one, other in pairs
    )


def test_the_folder_is_that_of_the_plain_loop_whatever_dies(
    tracer: Tracer, plain: Path, tmp_path: Path
) -> None:
    """The command is killed after the first request, then a request kills its process."""
    requests, folder = tmp_path / "requests.jsonl", tmp_path / "run"
    lines = (json.dumps({"id": each.id, "messages": each.messages}) for each in entries())
    requests.write_text("\n".join(lines))
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "omnitrace", "trace", requests, "--out", folder),
            *("--signal", "attention-mean", "--max-new-tokens", "12", "--device", "cpu"),
            *("--on", "ray", "--actors", "1"),
        ],
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        stdout=subprocess.DEVNULL,
    ) as command:
        while not (folder / "r0.omnitrace").exists():
            assert command.poll() is None
            time.sleep(0.05)
        command.kill()
    before = _when_nobody_writes(folder)
    assert 1 <= len(before) < COUNT - 1

    run = opened(tracer, folder, attempts=2)
    executor = RayExecutor(actors=1)
    events = [*run_elsewhere(executor, load, entries(poisoned=COUNT - 1), run, **OPTIONS)]
    saved = [each.entry.id for each in events if isinstance(each, RequestSaved)]
    assert len(saved) == COUNT - 1 - len(before)
    (failed,) = (each for each in events if isinstance(each, RequestFailed))
    assert failed.entry.id == "r5"
    assert isinstance(failed.error, GivenUpError)
    assert "'r5' is given up: 2 processes that tried it died" in str(failed.error)
    assert [each.id for each in run.summary().given_up] == ["r5"]
    assert same(folder, plain, but=("r5",))
    kept = {name: (folder / name).stat().st_mtime_ns for name in before}
    assert kept == before  # nothing is done twice
    assert [each.name for each in folder.glob("attempts/*")] == ["r5"]


def _when_nobody_writes(folder: Path) -> dict[str, int]:
    """Wait for the end of the processes of a driver that is gone; return what they wrote."""
    for marker in folder.glob("attempts/*"):
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            process = json.loads(marker.read_text().splitlines()[-1])["process"]
            for _ in range(300):
                try:
                    os.kill(process, 0)
                except ProcessLookupError:
                    break
                time.sleep(0.1)
    return {each.name: each.stat().st_mtime_ns for each in folder.glob("*.omnitrace")}


@pytest.fixture
def quiet_data() -> Iterator[None]:
    context = ray.data.DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    yield
    context.enable_progress_bars = before


def test_a_pipeline_of_ray_data_writes_to_a_url(
    tracer: Tracer, plain: Path, tmp_path: Path, quiet_data: None
) -> None:
    rows = [{"id": each.id, "messages": json.dumps(each.messages)} for each in entries(poisoned=2)]
    rows[3]["messages"] = "[]"
    run = opened(tracer, FsspecFolder(f"file://{tmp_path}"), attempts=1)
    dataset = trace_dataset(ray.data.from_items(rows), load, run, actors=1, **OPTIONS)
    table = {row["id"]: row for row in dataset.iter_rows()}
    assert list(table["r0"]) == RESULTS.names
    assert sorted(name for name, row in table.items() if row["path"]) == ["r0", "r1", "r4", "r5"]
    assert "given up" in table["r2"]["error"]
    assert "message" in table["r3"]["error"]
    assert same(tmp_path, plain, but=("r2", "r3"))
    assert table["r0"]["path"] == f"file://{tmp_path}/r0.omnitrace"


def test_rows_need_ids(tracer: Tracer, tmp_path: Path) -> None:
    run = opened(tracer, tmp_path)
    trace = TraceRows(lambda: tracer, run, OPTIONS)
    rows = pa.Table.from_pylist([{"messages": json.dumps(messages(0, "tea"))}])
    with pytest.raises(InputError, match="without an id"):
        trace(rows)
    named = rows.append_column("id", pa.array(["r0"]))
    first, again = trace(named), trace(named)
    assert first.to_pylist() == again.to_pylist()  # what is there is named, and not made again
