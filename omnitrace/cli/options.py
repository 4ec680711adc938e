"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from omnitrace.runs.run import OnChange
from omnitrace.types import OpenRoot

if TYPE_CHECKING:
    from omnitrace.sources.options import SourceOptions

__all__ = [
    "Actors",
    "AsJson",
    "Attempts",
    "AudioUnits",
    "BatchSize",
    "Calibration",
    "Changes",
    "Confine",
    "Device",
    "EstimatorFile",
    "GpusPerActor",
    "Heads",
    "HistorySources",
    "Html",
    "ImageUnits",
    "KeepMedia",
    "KeepMetadata",
    "Language",
    "Limit",
    "Markers",
    "MaxNewTokens",
    "MediaRoot",
    "Model",
    "On",
    "Out",
    "Part",
    "Resume",
    "SignalName",
    "SourceParts",
    "Split",
    "SystemSources",
    "TextUnits",
    "Traces",
    "VerifyOrNot",
    "VideoFps",
    "VideoUnits",
    "listed",
    "root_of",
    "sources_of",
]

Model: TypeAlias = Annotated[
    str,
    typer.Option(
        help="'reference' (the small model in the package; 'reference-thinking' writes its "
        "thoughts first), a hub id, a folder or a GGUF file."
    ),
]
SignalName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What selects the sources, instead of verification; see 'omnitrace list signals'.",
        show_default=False,
    ),
]
VerifyOrNot: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Whether the supports of a finished response are verified by ablation; by "
        "default they are where no signal is named.",
        show_default=False,
    ),
]
Calibration: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of 'omnitrace calibrate': which verified effects are too small to be a "
        "source, for this model.",
    ),
]
EstimatorFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--estimator",
        metavar="FILE",
        help="Instead of --signal: a file of 'omnitrace estimator train', whose effects choose "
        "the supports.",
    ),
]
Heads: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of --signal: a file of 'omnitrace select-heads', whose attention chooses "
        "the supports.",
    ),
]
SourceParts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MESSAGE[.PART]",
        help="Mark a message, or one of its parts, as a source, by their indices: 0 or 1.2. "
        "Repeatable.",
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Write <id>.omnitrace for each request into this folder; a run that was ended there "
        "goes on."
    ),
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Only the first so many requests of the file.")
]
Part: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only the I-th of N parts of the requests, for N processes or machines.",
    ),
]
Split: TypeAlias = Annotated[
    str | None, typer.Option(help="Which split of a dataset that has several.")
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="With --out: go on with the run in that folder, or make all of its traces again.",
    ),
]
Changes: TypeAlias = Annotated[
    OnChange,
    typer.Option(
        "--on-change",
        help="With --out: whether options and requests that differ from those of the folder are "
        "refused, or their traces made again.",
    ),
]
Attempts: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1, help="With --out: after how many processes that it ended a request is given up."
    ),
]
BatchSize: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many requests the model runs at once. Spans are then printed when their batch is "
        "done.",
    ),
]
On: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="EXECUTOR",
        help="Run in processes of their own, on this machine or on many: 'ray', or another of "
        "'omnitrace list executors'.",
    ),
]
Actors: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --on: how many processes; by default as many as the GPUs allow, one without.",
    ),
]
GpusPerActor: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="With --on: GPUs of each process, 0.5 where two share one; by default 1 where there "
        "are any.",
    ),
]
Html: TypeAlias = Annotated[
    bool, typer.Option("--html", help="With --out: also write report.html.")
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document a request, one a line, and no more."),
]
KeepMedia: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--media",
        help="With --out: keep the original media in the trace files and, to be played, in "
        "the report, without EXIF, places, dates and names.",
    ),
]
KeepMetadata: TypeAlias = Annotated[
    bool, typer.Option("--keep-metadata", help="With --media: keep all that is in the media.")
]
Markers: TypeAlias = Annotated[
    tuple[str, str],
    typer.Option(metavar="OPEN CLOSE", help="What the model writes before and after its thoughts."),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where the model runs: cpu, cuda, cuda:1, or auto (over all "
        "accelerators); by default a CUDA device where there is one.",
        show_default=False,
    ),
]
ImageUnits: TypeAlias = Annotated[
    str,
    typer.Option(
        help="What cuts images; see 'omnitrace list unitizers'. Parameters follow a colon: "
        "ward:regions=40."
    ),
]
AudioUnits: TypeAlias = Annotated[
    str, typer.Option(help="What cuts audio: bins, bins:seconds=2, changes, speech, …")
]
VideoUnits: TypeAlias = Annotated[str, typer.Option(help="What cuts videos, in the same way.")]
TextUnits: TypeAlias = Annotated[
    str, typer.Option(help="What texts are cut into: sentence, paragraph, whole or documents.")
]
SystemSources: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--system/--no-system",
        help="Whether system texts are sources; by default where the last user message holds none.",
        show_default=False,
    ),
]
HistorySources: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--history/--no-history",
        help="Whether texts of earlier turns are sources; by default in the same way.",
        show_default=False,
    ),
]
Language: TypeAlias = Annotated[
    str, typer.Option(help="Language of the texts, for sentence boundaries (ISO 639-1).")
]
VideoFps: TypeAlias = Annotated[
    float, typer.Option(help="Frames per second that are sampled from a video.")
]
MaxNewTokens: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Longest response to a request, in tokens.")
]
MediaRoot: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Where relative media paths of requests start, and what media must lie in; by "
        "default paths start at the request's file, and lead anywhere."
    ),
]
Confine: TypeAlias = Annotated[
    bool,
    typer.Option("--confine/--no-confine", help="Whether no media path leads out of --media-root."),
]
Traces: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="TRACES...", help="Trace files, or folders of them, as --out wrote."),
]


def root_of(media_root: Path | None, confine: bool) -> Path | None:
    """Return the media root as it was asked for: one that confines, or not."""
    return media_root if media_root is None or confine else OpenRoot(media_root)


def listed(names: str) -> list[str]:
    """Read an option that takes several names, separated by commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


def sources_of(
    text: str,
    image: str,
    audio: str,
    video: str,
    video_fps: float,
    language: str = "en",
    system: bool | None = None,
    history: bool | None = None,
) -> SourceOptions:
    """Return how sources are cut and which parts are sources, as the options say."""
    from omnitrace.sources.options import SourceOptions  # not for --help

    return SourceOptions(
        text=text,  # type: ignore[arg-type] # checked there
        image=image,
        audio=audio,
        video=video,
        video_fps=video_fps,
        language=language,
        system="auto" if system is None else system,
        history="auto" if history is None else history,
    )
