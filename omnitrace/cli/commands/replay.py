"""``omnitrace replay``: say what supports responses that exist already, of any server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnitrace.cli.chosen_signal import calibrated, chosen_signal
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.cli.inline_request import marked
from omnitrace.cli.options import (
    AsJson,
    Attempts,
    AudioUnits,
    Calibration,
    Changes,
    Confine,
    Device,
    EstimatorFile,
    Heads,
    HistorySources,
    Html,
    ImageUnits,
    KeepMedia,
    KeepMetadata,
    Language,
    Limit,
    Markers,
    MediaRoot,
    Model,
    Out,
    Part,
    Resume,
    SignalName,
    SourceParts,
    SystemSources,
    TextUnits,
    VerifyOrNot,
    VideoFps,
    VideoUnits,
    root_of,
    sources_of,
)
from omnitrace.cli.run_options import RunChoices, TraceOutput
from omnitrace.cli.runner import Runner
from omnitrace.runs.attempts import ATTEMPTS
from omnitrace.runs.inputs import Requests, open_requests
from omnitrace.sources.response_files import ResponseFile

__all__ = ["replay"]

_SHOWN = 5  # ids of responses that no request has


@guarded
def replay(
    requests: Annotated[
        Path,
        typer.Argument(
            metavar="REQUESTS",
            help="The requests that the server answered: a file as 'omnitrace trace' takes it, or "
            "the input file of the Batch API.",
        ),
    ],
    responses: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help='A .jsonl file with a response a line: {"id": …, "response": …} with a text, '
            "token ids or a response object; the output file of the Batch API; or as many lines "
            "without ids as there are requests.",
        ),
    ],
    choice: Annotated[
        int, typer.Option(min=0, help="Of responses with several choices, which is meant.")
    ] = 0,
    model: Model = "reference",
    device: Device = None,
    signal: SignalName = None,
    verify: VerifyOrNot = None,
    calibration: Calibration = None,
    estimator_file: EstimatorFile = None,
    heads: Heads = None,
    text_units: TextUnits = "sentence",
    image_units: ImageUnits = "grid",
    audio_units: AudioUnits = "bins",
    video_units: VideoUnits = "bins",
    video_fps: VideoFps = 2.0,
    language: Language = "en",
    system: SystemSources = None,
    history: HistorySources = None,
    source: SourceParts = None,
    out: Out = None,
    media_root: MediaRoot = None,
    confine: Confine = True,
    html: Html = False,
    as_json: AsJson = False,
    media: KeepMedia = False,
    keep_metadata: KeepMetadata = False,
    thinking: Markers = ("<think>", "</think>"),
    limit: Limit = None,
    shard: Part = None,
    resume: Resume = True,
    on_change: Changes = "refuse",
    attempts: Attempts = ATTEMPTS,
) -> None:
    """Say what supports responses that exist already: of vLLM, of another server, of a person.

        omnitrace replay requests.jsonl --responses responses.jsonl --model MODEL --out traces

    MODEL is the model that wrote them. A response with its token ids is attributed exactly as it
    was written; a text is tokenized again. In a file of several requests a bad one, or one without
    a response, is reported and the others go on.
    """
    from omnitrace.segmentation.thinking import Thinking

    output = TraceOutput.asked(out, html, media, as_json, keep_metadata)
    chosen = chosen_signal(signal, estimator_file, heads)
    found = ResponseFile(responses, choice)
    asked = open_requests(requests, media_root=root_of(media_root, confine))
    found.matched(asked)  # refuses what cannot match, before a model is loaded
    matched = Requests(asked.name, lambda: found.matched(asked), asked.counted)
    runner = Runner(
        model,
        chosen,
        verify=verify,
        selection=calibrated(calibration, chosen, verify),
        sources=sources_of(
            text_units, image_units, audio_units, video_units, video_fps, language, system, history
        ),
        thinking=Thinking(*thinking),
        device=device,
        output=output,
        choices=RunChoices.asked(limit, shard, on_change, resume, attempts),
    )
    code = runner.run(marked(matched, source or ()))
    if found.unused and limit is None and code < 128:  # all requests have come
        shown = ", ".join([*found.unused][:_SHOWN])
        more = f" and {len(found.unused) - _SHOWN} more" if len(found.unused) > _SHOWN else ""
        say(f"no request has the id of {len(found.unused)} responses: {shown}{more}")
    raise typer.Exit(code)
