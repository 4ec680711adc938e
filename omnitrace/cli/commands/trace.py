"""``omnitrace trace``: answer requests, and say what supports each statement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnitrace._utils.files import make_folder, what_is
from omnitrace.cli.exit_codes import guarded
from omnitrace.cli.inline_request import QuickForm, marked
from omnitrace.cli.options import (
    AudioUnits,
    Confine,
    Device,
    HistorySources,
    ImageUnits,
    Language,
    MaxNewTokens,
    SystemSources,
    TextUnits,
    VideoFps,
    VideoUnits,
    root_of,
)
from omnitrace.cli.runner import RunChoices, Runner, TraceOutput
from omnitrace.errors import InputError
from omnitrace.runs.attempts import ATTEMPTS
from omnitrace.runs.inputs import Requests, open_requests
from omnitrace.runs.run import OnChange
from omnitrace.runs.shards import Shard

if TYPE_CHECKING:
    from omnitrace.attribution.selection import SelectionConfig
    from omnitrace.signals.base import Signal

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
    model: Annotated[
        str,
        typer.Option(
            help="'reference' (the small model in the package; 'reference-thinking' writes its "
            "thoughts first), a hub id, a folder or a GGUF file."
        ),
    ] = "reference",
    device: Device = None,
    signal: Annotated[
        str | None,
        typer.Option(
            help="What selects the sources, instead of verification; see 'omnitrace list signals'.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Whether the supports of a finished response are verified by ablation; by "
            "default they are where no signal is named.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of 'omnitrace calibrate': which verified effects are too small to be a "
            "source, for this model.",
        ),
    ] = None,
    estimator_file: Annotated[
        Path | None,
        typer.Option(
            "--estimator",
            metavar="FILE",
            help="Instead of --signal: a file of 'omnitrace estimator train', whose effects choose "
            "the supports.",
        ),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of --signal: a file of 'omnitrace select-heads', whose attention chooses "
            "the supports.",
        ),
    ] = None,
    text_units: TextUnits = "sentence",
    image_units: ImageUnits = "grid",
    audio_units: AudioUnits = "bins",
    video_units: VideoUnits = "bins",
    video_fps: VideoFps = 2.0,
    language: Language = "en",
    system: SystemSources = None,
    history: HistorySources = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MESSAGE[.PART]",
            help="Mark a message, or one of its parts, as a source, by their indices: 0 or 1.2. "
            "Repeatable.",
        ),
    ] = None,
    max_new_tokens: MaxNewTokens = 256,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write <id>.omnitrace for each request into this folder; a run that was ended "
            "there goes on."
        ),
    ] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(
            help="Where relative media paths start, and what media must lie in; by default paths "
            "start at the request file's folder, or the working folder for the quick form, and "
            "lead anywhere."
        ),
    ] = None,
    confine: Confine = True,
    html: Annotated[
        bool, typer.Option("--html", help="With --out: also write report.html.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document a request, one a line, and no more."),
    ] = False,
    media: Annotated[
        bool,
        typer.Option(
            "--media",
            help="With --out: keep the original media in the trace files and, to be played, in "
            "the report, without EXIF, places, dates and names.",
        ),
    ] = False,
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="With --media: keep all that is in the media.")
    ] = False,
    thinking: Annotated[
        tuple[str, str],
        typer.Option(
            metavar="OPEN CLOSE", help="What the model writes before and after its thoughts."
        ),
    ] = ("<think>", "</think>"),
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample tokens instead of taking the likeliest.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="With --sample: the seed.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --sample: the temperature, above 0.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many requests of the file.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts of the requests, for N processes or machines.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split of a dataset that has several.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="With --out: go on with the run in that folder, or make all of its traces again.",
        ),
    ] = True,
    on_change: Annotated[
        OnChange,
        typer.Option(
            help="With --out: whether options and requests that differ from those of the folder "
            "are refused, or their traces made again."
        ),
    ] = "refuse",
    attempts: Annotated[
        int,
        typer.Option(
            min=1, help="With --out: after how many processes that it ended a request is given up."
        ),
    ] = ATTEMPTS,
) -> None:
    """Answer requests and say what supports each statement, while it is written.

    Either name a REQUEST file, or use the quick form:

        omnitrace trace --image a.png --audio b.wav --ask "What is seen, what is heard?"

    The quick form puts the sources in the order texts, images, audios, videos, however the options
    stand on the command line, and the question last; a request file keeps any order. Parts are
    called by their index in the message. In a file of several requests a bad one is reported and
    the others go on. With --out a run that was ended, in whatever way, goes on where it was when
    the same command is given again.
    """
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.sources.options import SourceOptions

    quick = QuickForm(
        text or (), image or (), audio or (), video or (), ask, transcripts=transcript or ()
    )
    if out is None and (html or media):
        option = "--html" if html else "--media"
        raise InputError(f"{option} has no folder to write to", fix="add --out DIR")
    if keep_metadata and not media:
        raise InputError("--keep-metadata has no media to keep", fix="add --media")
    markers = Thinking(*thinking)
    chosen = _signal(signal, estimator_file, heads)
    selection = _calibrated(calibration, chosen, verify)
    options = {"max_new_tokens": max_new_tokens, **_sampling(sample, seed, temperature)}
    requests = _requests(request, quick, root_of(media_root, confine), split)
    requests = marked(requests, source or ())
    runner = Runner(
        model,
        chosen,
        verify=verify,
        selection=selection,
        sources=SourceOptions(
            text=text_units,  # type: ignore[arg-type] # checked there
            image=image_units,
            audio=audio_units,
            video=video_units,
            video_fps=video_fps,
            language=language,
            system="auto" if system is None else system,
            history="auto" if history is None else history,
        ),
        thinking=markers,
        device=device,
        options=options,
        output=TraceOutput(
            None if out is None else make_folder(out), html, media, as_json, keep_metadata
        ),
        choices=RunChoices(
            limit, None if shard is None else Shard.parse(shard), on_change, resume, attempts
        ),
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


def _signal(
    name: str | None, estimator_file: Path | None, heads: Path | None
) -> str | Signal | None:
    """Return what ``--signal``, ``--estimator`` or ``--heads`` names."""
    if heads is not None and (name is not None or estimator_file is not None):
        other = "--estimator" if name is None else f"--signal {name}"
        raise InputError(f"both {other} and --heads are given", legal="one of them")
    if heads is not None:
        from omnitrace.signals.heads import load_heads

        return load_heads(heads)
    if estimator_file is None:
        from omnitrace.plugins.registry import registry

        if name is not None:
            registry().signal(name)
        return name
    if name not in (None, "estimator"):
        raise InputError(f"both --signal {name} and --estimator are given", legal="one of them")
    from omnitrace.estimator.finished import load_signal

    return load_signal(estimator_file)


def _calibrated(
    path: Path | None, signal: str | Signal | None, verify: bool | None
) -> SelectionConfig | None:
    """Return the selection of ``--calibration``."""
    if path is None:
        return None
    verifies = signal is None if verify is None else verify
    if not verifies and signal != "verified":
        raise InputError(
            "--calibration means nothing where supports are not verified",
            legal="no --signal, or --verify beside it",
        )
    from omnitrace.evaluation.calibration.store import read_calibration

    return read_calibration(path).selection()


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
