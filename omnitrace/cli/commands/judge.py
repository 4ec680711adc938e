"""``omnitrace label judge``: labels by an LLM judge behind an endpoint, kept as they come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from omnitrace._utils.files import check_output
from omnitrace.cli.console import StatusLine
from omnitrace.cli.exit_codes import MISTAKE, guarded, say, say_mistake
from omnitrace.cli.options import Traces
from omnitrace.errors import InputError

__all__ = ["judge"]

_URL: Final = "OMNITRACE_JUDGE_URL"
_KEY: Final = "OMNITRACE_JUDGE_KEY"


@guarded
def judge(
    traces: Traces,
    out: Annotated[
        Path, typer.Option(help="The label file; labels that it holds already are kept.")
    ],
    model: Annotated[str, typer.Option(help="Name of the judge at the endpoint.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a reply.")] = 120.0,
) -> None:
    """Let an LLM judge label traces: an OpenAI-compatible endpoint that you name.

    Off unless OMNITRACE_JUDGE_URL (such as https://host/v1) is set; OMNITRACE_JUDGE_KEY is sent as
    its key. The texts and media of the traces go there. A reply that cannot be used is asked for
    once more; traces that fail are listed, and tried again by the next run.
    """
    from omnitrace.evaluation.example_set import find_traces
    from omnitrace.evaluation.labels.llm_judge import Endpoint, label_traces

    url = os.environ.get(_URL, "").strip()
    if not url:
        raise InputError(
            f"there is no judge: {_URL} is not set",
            legal="the URL of an OpenAI-compatible service, such as https://host/v1",
            fix=f"set {_URL} (and {_KEY} if the service wants a key); traces are then sent there",
        )
    endpoint = Endpoint(url, model, os.environ.get(_KEY, "").strip(), timeout)
    files = find_traces(traces)
    check_output(out)
    with StatusLine() as status:

        def say_failure(name: str, reason: str) -> None:
            with status.paused():
                say_mistake(f"{name}: {reason}")

        done = label_traces(files, out, endpoint, progress=status.show, failed=say_failure)
    kept = f", {done.kept} were there" if done.kept else ""
    say(f"{len(done.labelled)} labels written to {out}{kept}; {len(done.failed)} traces failed")
    if done.failed:
        say(f"not labelled: {', '.join(done.failed)}; run the same again to try only these")
    raise typer.Exit(MISTAKE if done.failed else 0)
