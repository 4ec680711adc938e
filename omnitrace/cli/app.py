"""The command line: all commands. Whatever is heavy is imported inside them."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from omnitrace.cli.commands.analyse import analyse
from omnitrace.cli.commands.calibrate import calibrate
from omnitrace.cli.commands.compare import compare
from omnitrace.cli.commands.demo import demo
from omnitrace.cli.commands.doctor import doctor
from omnitrace.cli.commands.estimator import estimator
from omnitrace.cli.commands.evaluate import evaluate
from omnitrace.cli.commands.export import export
from omnitrace.cli.commands.judge import judge
from omnitrace.cli.commands.label import label
from omnitrace.cli.commands.list import list_
from omnitrace.cli.commands.plan import plan
from omnitrace.cli.commands.reference import reference
from omnitrace.cli.commands.replay import replay
from omnitrace.cli.commands.report import report
from omnitrace.cli.commands.sanity import sanity
from omnitrace.cli.commands.select_heads import select_heads
from omnitrace.cli.commands.serve import serve
from omnitrace.cli.commands.show import show
from omnitrace.cli.commands.table import table
from omnitrace.cli.commands.trace import trace
from omnitrace.cli.loading import TRUSTS_CODE, TRUSTS_MEDIA, VIDEO_READER, VideoReader

__all__ = ["app", "main"]

app = typer.Typer(
    name="omnitrace",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which sentences, image regions and seconds of audio or video support each statement "
    "that a multimodal language model writes.",
    epilog="Exit codes: 0 fine, 1 a defect of omnitrace (of 'compare': a --fail-if rule holds; "
    "of 'doctor': something is wrong), "
    "2 a mistake in what it was given, 130 interrupted, 143 ended by SIGTERM.",
)
app.command()(trace)
app.command()(replay)
app.command()(plan)
app.command()(show)
app.command()(report)
app.command()(export)
app.command()(table)
app.command()(serve)
app.command()(demo)
app.command("list")(list_)
app.command()(evaluate)
app.command()(compare)
app.command()(sanity)
app.command()(doctor)
app.command()(calibrate)
app.command()(select_heads)
app.command()(analyse)
label.command()(judge)
app.add_typer(label, name="label")
app.add_typer(estimator, name="estimator")
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
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Let a checkpoint run code of its own, with all your rights; before the command.",
        ),
    ] = False,
    trust_media: Annotated[
        bool,
        typer.Option(
            "--trust-media",
            help="Decode media in this process: faster, but a damaged file may end it; before the "
            "command.",
        ),
    ] = False,
    video_reader: Annotated[
        VideoReader,
        typer.Option(help="What decodes videos, to the same pixels; before the command."),
    ] = "pyav",
) -> None:
    """Handle what stands before the command."""
    TRUSTS_CODE.set(trust_remote_code)
    TRUSTS_MEDIA.set(trust_media)
    VIDEO_READER.set(video_reader)
