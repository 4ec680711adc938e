"""Many requests in a folder that survives: a run that is killed goes on where it was.

>>> from omnitrace import Tracer
>>> from omnitrace.runs import asked_of, open_requests, open_run, run_requests
>>> tracer = Tracer.from_pretrained("reference")
>>> options = {"max_new_tokens": 64}
>>> run = open_run("traces", asked_of(tracer.setup, generation=options))
>>> for event in run_requests(tracer, open_requests("requests.jsonl"), run, **options):
...     print(event)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.plugins.hookspecs import RegisterExecutor
    from omnitrace.runs.digests import digest_of_request
    from omnitrace.runs.executor import Executor, RequestSaved, RequestWorker, run_elsewhere
    from omnitrace.runs.folder import Claim, Folder, LocalFolder
    from omnitrace.runs.inputs import Requests, entries_of_rows, open_requests
    from omnitrace.runs.loop import (
        RequestDone,
        RequestEvent,
        RequestFailed,
        RequestStarted,
        RunEvent,
        run_requests,
    )
    from omnitrace.runs.manifest import Manifest, asked_of
    from omnitrace.runs.names import trace_name
    from omnitrace.runs.pace import Pace
    from omnitrace.runs.results import traces_of, write_supports
    from omnitrace.runs.run import Failure, OnChange, Run, Summary, open_run
    from omnitrace.runs.shards import Shard, chosen

__all__ = [
    "Claim",
    "Executor",
    "Failure",
    "Folder",
    "LocalFolder",
    "Manifest",
    "OnChange",
    "Pace",
    "RegisterExecutor",
    "RequestDone",
    "RequestEvent",
    "RequestFailed",
    "RequestSaved",
    "RequestStarted",
    "RequestWorker",
    "Requests",
    "Run",
    "RunEvent",
    "Shard",
    "Summary",
    "asked_of",
    "chosen",
    "digest_of_request",
    "entries_of_rows",
    "open_requests",
    "open_run",
    "run_elsewhere",
    "run_requests",
    "trace_name",
    "traces_of",
    "write_supports",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.plugins.hookspecs": ["RegisterExecutor"],
        "omnitrace.runs.digests": ["digest_of_request"],
        "omnitrace.runs.executor": ["Executor", "RequestSaved", "RequestWorker", "run_elsewhere"],
        "omnitrace.runs.folder": ["Claim", "Folder", "LocalFolder"],
        "omnitrace.runs.inputs": ["Requests", "entries_of_rows", "open_requests"],
        "omnitrace.runs.loop": [
            "RequestDone",
            "RequestEvent",
            "RequestFailed",
            "RequestStarted",
            "RunEvent",
            "run_requests",
        ],
        "omnitrace.runs.manifest": ["Manifest", "asked_of"],
        "omnitrace.runs.names": ["trace_name"],
        "omnitrace.runs.pace": ["Pace"],
        "omnitrace.runs.results": ["traces_of", "write_supports"],
        "omnitrace.runs.run": ["Failure", "OnChange", "Run", "Summary", "open_run"],
        "omnitrace.runs.shards": ["Shard", "chosen"],
    },
)
