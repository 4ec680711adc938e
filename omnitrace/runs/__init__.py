"""Many requests in a folder that survives: a run that is killed goes on where it was.

>>> from omnitrace import Tracer
>>> from omnitrace.runs import asked_of, open_run, run_requests
>>> from omnitrace.sources import read_requests
>>> tracer = Tracer.from_pretrained("reference")
>>> options = {"max_new_tokens": 64}
>>> run = open_run("traces", asked_of(tracer.setup, generation=options))
>>> for event in run_requests(tracer, read_requests("requests.jsonl"), run, **options):
...     print(event)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitrace._utils.lazy import lazy_names

if TYPE_CHECKING:
    from omnitrace.runs.digests import digest_of_request
    from omnitrace.runs.folder import Claim, Folder, LocalFolder
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
    from omnitrace.runs.run import Failure, OnChange, Run, Summary, open_run
    from omnitrace.runs.shards import Shard, chosen

__all__ = [
    "Claim",
    "Failure",
    "Folder",
    "LocalFolder",
    "Manifest",
    "OnChange",
    "RequestDone",
    "RequestEvent",
    "RequestFailed",
    "RequestStarted",
    "Run",
    "RunEvent",
    "Shard",
    "Summary",
    "asked_of",
    "chosen",
    "digest_of_request",
    "open_run",
    "run_requests",
    "trace_name",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "omnitrace.runs.digests": ["digest_of_request"],
        "omnitrace.runs.folder": ["Claim", "Folder", "LocalFolder"],
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
        "omnitrace.runs.run": ["Failure", "OnChange", "Run", "Summary", "open_run"],
        "omnitrace.runs.shards": ["Shard", "chosen"],
    },
)
