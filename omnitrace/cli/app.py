"""The commands and their options. Whatever is heavy is imported inside the commands."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnitrace.cli.commands.analyse import analysis
from omnitrace.cli.commands.estimator import estimator
from omnitrace.cli.commands.evaluate import evaluation
from omnitrace.cli.commands.reference import reference
from omnitrace.cli.console import make_console, print_table, print_trace
from omnitrace.cli.exit_codes import guarded
from omnitrace.cli.options import AudioUnits, Device, ImageUnits, VideoUnits
from omnitrace.errors import InputError

if TYPE_CHECKING:
    from omnitrace.signals.base import Signal

__all__ = ["app", "main"]

app = typer.Typer(
    name="omnitrace",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which sentences, image regions and seconds of audio or video support each statement "
    "that a multimodal language model writes.",
    epilog="Exit codes: 0 fine, 1 a defect of omnitrace (of 'compare': a --fail-if rule holds), "
    "2 a mistake in what it was given, 130 interrupted.",
)
app.add_typer(evaluation)
app.add_typer(estimator, name="estimator")
app.add_typer(analysis)
app.add_typer(reference, name="reference")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # never fail on a character that it cannot show
            stream.reconfigure(errors="backslashreplace")
    app()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"omnitrace {importlib.metadata.version('omnitrace-attribution')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Handle what stands before the command."""


@app.command()
@guarded
def trace(
    request: Annotated[
        Path | None,
        typer.Argument(
            metavar="REQUEST",
            help="A .json file with one request or a list of them, a .jsonl file with one a line, "
            "or a question file of the OmniTrace paper.",
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
        str, typer.Option(help="What scores the sources; see 'omnitrace list signals'.")
    ] = "attention-mean",
    estimator_file: Annotated[
        Path | None,
        typer.Option(
            "--estimator",
            metavar="FILE",
            help="Instead of --signal: a file of 'omnitrace estimator train', whose effects choose "
            "the supports.",
        ),
    ] = None,
    image_units: ImageUnits = "grid",
    audio_units: AudioUnits = "bins",
    video_units: VideoUnits = "bins",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    out: Annotated[
        Path | None,
        typer.Option(help="Write <id>.omnitrace for each request into this folder."),
    ] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(
            help="Where relative media paths start; by default the request file's folder, or the "
            "working folder for the quick form."
        ),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="With --out: also write report.html.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document a request, one a line, and no more."),
    ] = False,
    media: Annotated[
        bool,
        typer.Option("--media", help="With --out: keep the original media in the trace files."),
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
) -> None:
    """Answer requests and say what supports each statement, while it is written.

    Either name a REQUEST file, or use the quick form:

        omnitrace trace --image a.png --audio b.wav --ask "What is seen, what is heard?"

    The quick form puts the sources in the order texts, images, audios, videos, however the options
    stand on the command line, and the question last; a request file keeps any order. Parts are
    called by their index in the message. In a file of several requests a bad one is reported and
    the others go on.
    """
    from omnitrace.cli.commands.trace import Runner, make_folder
    from omnitrace.cli.inline_request import QuickForm
    from omnitrace.plugins.registry import registry
    from omnitrace.segmentation.thinking import Thinking
    from omnitrace.sources.options import SourceOptions
    from omnitrace.sources.request_files import Request, RequestProblem, read_requests

    quick = QuickForm(text or (), image or (), audio or (), video or (), ask)
    if out is None and (html or media):
        option = "--html" if html else "--media"
        raise InputError(f"{option} has no folder to write to", fix="add --out DIR")
    markers = Thinking(*thinking)
    options = {"max_new_tokens": max_new_tokens, **_sampling(sample, seed, temperature)}
    entries: list[Request | RequestProblem]
    if request is not None:
        if quick:
            raise InputError(
                "both a REQUEST file and the quick form were given",
                legal="either a file, or --text, --image, --audio, --video and --ask",
            )
        entries = read_requests(request, media_root=media_root)
    else:
        if not quick:
            raise InputError(
                "there is no request", legal="a REQUEST file, or --ask with sources of its own"
            )
        if media_root is not None and not media_root.is_dir():
            raise InputError(f"the media root {str(media_root)!r} is no folder")
        entries = [quick.request(media_root)]
    chosen: str | Signal = signal
    if estimator_file is None:
        registry().signal(signal)
    elif signal in ("attention-mean", "estimator"):
        from omnitrace.estimator.finished import load_signal

        chosen = load_signal(estimator_file)
    else:
        raise InputError(f"both --signal {signal} and --estimator are given", legal="one of them")
    runner = Runner(
        model,
        chosen,
        SourceOptions(image=image_units, audio=audio_units, video=video_units),
        thinking=markers,
        device=device,
        options=options,
        out=None if out is None else make_folder(out),
        html=html,
        media=media,
        as_json=as_json,
    )
    raise typer.Exit(runner.run(entries))


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
        if not 0 < temperature < float("inf"):
            raise InputError(f"--temperature is {temperature}", legal="a number above 0")
        options["temperature"] = temperature
    return options


@app.command()
@guarded
def show(
    path: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A file or folder that --out wrote.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the trace as one JSON document.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
) -> None:
    """Print a saved trace."""
    from omnitrace.cli.commands.trace import print_json
    from omnitrace.cli.exit_codes import say
    from omnitrace.trace.trace import Trace

    loaded = Trace.load(path)
    if as_json:
        print_json(loaded.to_dict())
    else:
        print_trace(make_console(), loaded, path.stem)
    if html is not None:
        loaded.to_html(html)
        say(f"wrote {html}")


@app.command()
@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for inputs, traces and report.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other samples.")] = 0,
) -> None:
    """Trace three generated requests with known truth, with the model in the package.

    Writes real PNG, WAV and MP4 files, the traces and a report.html, and prints each statement
    with its supports and the truth beside it.
    """
    from omnitrace.cli.commands.demo import run_demo

    run_demo(out, seed)


@app.command("list")
@guarded
def list_(
    kind: Annotated[
        str,
        typer.Argument(metavar="signals|models|operators|metrics|unitizers", help="What to list."),
    ],
) -> None:
    """List the installed signals, models, operators, metrics or unitizers, and their packages.

    For a signal also: what it needs, what an answer costs with it, and whether its scores come
    while the model writes.
    """
    from omnitrace.cli.commands.list import LISTINGS

    if kind not in LISTINGS:
        raise InputError(f"there is no kind {kind!r}", legal=", ".join(sorted(LISTINGS)))
    print_table(make_console(), LISTINGS[kind]())
