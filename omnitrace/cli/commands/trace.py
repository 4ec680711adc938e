"""``omnitrace trace``: answer requests, and say what supports each statement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omnitrace._utils.files import what_is
from omnitrace.cli.chosen_signal import calibrated, chosen_signal
from omnitrace.cli.exit_codes import guarded
from omnitrace.cli.inline_request import QuickForm, marked
from omnitrace.cli.options import (
    Actors,
    AsJson,
    Attempts,
    AudioUnits,
    BatchSize,
    Calibration,
    Changes,
    Confine,
    Device,
    EstimatorFile,
    GpusPerActor,
    Heads,
    HistorySources,
    Html,
    ImageUnits,
    KeepMedia,
    KeepMetadata,
    Language,
    Limit,
    Markers,
    MaxNewTokens,
    Model,
    On,
    Out,
    Part,
    Resume,
    SignalName,
    SourceParts,
    Split,
    SystemSources,
    TextUnits,
    VerifyOrNot,
    VideoFps,
    VideoUnits,
    root_of,
    sources_of,
)
from omnitrace.cli.run_options import RunChoices, TraceOutput, asked_executor
from omnitrace.cli.runner import Runner
from omnitrace.errors import InputError
from omnitrace.runs.attempts import ATTEMPTS
from omnitrace.runs.inputs import Requests, open_requests

__all__ = ["trace"]


@guarded
def trace(
    request: Annotated[
        Path | None,
        typer.Argument(
            metavar="REQUEST",
            help="A .json file with one request or a list of them, a .jsonl file with one a line, "
            "a question file of the OmniTrace paper, a Parquet file, or a folder of these or of "
            "the package datasets.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A source text; @file.txt reads a file, @@ stands for @. Repeatable."),
    ] = None,
    image: Annotated[list[str] | None, typer.Option(help="An image file. Repeatable.")] = None,
    audio: Annotated[list[str] | None, typer.Option(help="An audio file. Repeatable.")] = None,
    video: Annotated[list[str] | None, typer.Option(help="A video file. Repeatable.")] = None,
    transcript: Annotated[
        list[str] | None,
        typer.Option(
            help="What is said, with times (SRT, WebVTT, Whisper's JSON, CTM): of the first "
            "--audio, then of the next, then of the videos. Repeatable."
        ),
    ] = None,
    ask: Annotated[
        str | None, typer.Option(help="The question about them; @file.txt reads a file.")
    ] = None,
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
    max_new_tokens: MaxNewTokens = 256,
    out: Out = None,
    media_root: Annotated[
        Path | None,
        typer.Option(
            help="Where relative media paths start, and what media must lie in; by default paths "
            "start at the request file's folder, or the working folder for the quick form, and "
            "lead anywhere."
        ),
    ] = None,
    confine: Confine = True,
    html: Html = False,
    as_json: AsJson = False,
    media: KeepMedia = False,
    keep_metadata: KeepMetadata = False,
    thinking: Markers = ("<think>", "</think>"),
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample tokens instead of taking the likeliest.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="With --sample: the seed.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --sample: the temperature, above 0.")
    ] = None,
    limit: Limit = None,
    shard: Part = None,
    split: Split = None,
    resume: Resume = True,
    on_change: Changes = "refuse",
    attempts: Attempts = ATTEMPTS,
    batch_size: BatchSize = 1,
    on: On = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
) -> None:
    """Answer requests and say what supports each statement, while it is written.

    Either name a REQUEST file, or use the quick form:

        omnitrace trace --image a.png --audio b.wav --ask "What is seen, what is heard?"

    The quick form puts the sources in the order texts, images, audios, videos, however the options
    stand on the command line, and the question last; a request file keeps any order. Parts are
    called by their index in the message. In a file of several requests a bad one is reported and
    the others go on. With --out a run that was ended, in whatever way, goes on where it was when
    the same command is given again; with --on its requests are spread over several processes.
    """
    from omnitrace.segmentation.thinking import Thinking

    quick = QuickForm(
        text or (), image or (), audio or (), video or (), ask, transcripts=transcript or ()
    )
    output = TraceOutput.asked(out, html, media, as_json, keep_metadata)
    executor = asked_executor(on, actors, gpus_per_actor, out)
    markers = Thinking(*thinking)
    chosen = chosen_signal(signal, estimator_file, heads)
    selection = calibrated(calibration, chosen, verify)
    options = {"max_new_tokens": max_new_tokens, **_sampling(sample, seed, temperature)}
    if batch_size > 1 and seed is not None:
        raise InputError(
            f"--seed {seed} for batches of {batch_size}: what is drawn for a request would depend "
            "on the others in its batch",
            fix="leave out --seed or --batch-size",
        )
    requests = _requests(request, quick, root_of(media_root, confine), split)
    requests = marked(requests, source or ())
    runner = Runner(
        model,
        chosen,
        verify=verify,
        selection=selection,
        sources=sources_of(
            text_units, image_units, audio_units, video_units, video_fps, language, system, history
        ),
        thinking=markers,
        device=device,
        options=options,
        output=output,
        choices=RunChoices.asked(limit, shard, on_change, resume, attempts),
        batch_size=batch_size,
        executor=executor,
    )
    raise typer.Exit(runner.run(requests))


def _requests(
    request: Path | None, quick: QuickForm, media_root: Path | None, split: str | None
) -> Requests:
    """Return the requests of a file or dataset, or the one of the quick form."""
    if request is not None:
        if quick:
            raise InputError(
                "both a REQUEST file and the quick form were given",
                legal="either a file, or --text, --image, --audio, --video and --ask",
            )
        return open_requests(request, media_root=media_root, split=split)
    if not quick:
        raise InputError(
            "there is no request", legal="a REQUEST file, or --ask with sources of its own"
        )
    if media_root is not None and what_is(media_root) != "folder":
        raise InputError(f"the media root {str(media_root)!r} is no folder")
    return Requests.of([quick.request(media_root)])


def _sampling(sample: bool, seed: int | None, temperature: float | None) -> dict[str, Any]:
    if not sample:
        for option, value in (("--seed", seed), ("--temperature", temperature)):
            if value is not None:
                raise InputError(
                    f"{option} means nothing without --sample",
                    legal="greedy decoding, or --sample with --seed and --temperature",
                    fix=f"add --sample, or leave out {option}",
                )
        return {}
    options: dict[str, Any] = {"do_sample": True, "seed": seed}
    if temperature is not None:
        from omnitrace.models.generation import TEMPERATURES

        low, high = TEMPERATURES
        if not low <= temperature <= high:
            legal = f"a number above 0, from {low:g} to {high:g}"
            raise InputError(f"--temperature is {temperature}", legal=legal)
        options["temperature"] = temperature
    return options
