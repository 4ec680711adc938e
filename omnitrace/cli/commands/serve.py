"""``omnitrace serve``: a page on which a model's responses and their evidence appear live."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from omnitrace.cli.console import StatusLine
from omnitrace.cli.exit_codes import guarded, say
from omnitrace.cli.loading import load_tracer, media_limits
from omnitrace.cli.options import (
    AudioUnits,
    Device,
    ImageUnits,
    TextUnits,
    VideoFps,
    VideoUnits,
    sources_of,
)
from omnitrace.errors import InputError, NotSupportedError, SourceWarning

if TYPE_CHECKING:
    from omnitrace.serve import ServeOptions

__all__ = ["serve"]

_NEEDED: Final = ("fastapi", "uvicorn", "sse_starlette", "python_multipart", "prometheus_client")
_MIB: Final = 2**20


@guarded
def serve(
    model: Annotated[
        str,
        typer.Option(help="'reference', 'reference-thinking', a hub id, a folder or a GGUF file."),
    ] = "reference",
    device: Device = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; only this machine reaches the loopback address.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="OMNITRACE_TOKEN",
            help="What clients must send as a bearer token; better in the variable than here, "
            "where every user of this machine can read it.",
            show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Listen to other machines without one: a proxy checks."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name by which the server may be called, or '*'. Repeatable."),
    ] = None,
    allow_fetch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="A host from which media are fetched where a request names a URL; '.example.org' "
            "for all below it. None by default, and never private addresses. Repeatable.",
        ),
    ] = None,
    signal: Annotated[
        str | None,
        typer.Option(help="What selects the sources where a request names no signal."),
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Whether supports are verified by ablation."),
    ] = None,
    text_units: TextUnits = "sentence",
    image_units: ImageUnits = "grid",
    audio_units: AudioUnits = "bins",
    video_units: VideoUnits = "bins",
    video_fps: VideoFps = 2.0,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest response that may be asked for, in tokens.")
    ] = 2048,
    max_prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest prompt; by default what the model takes.")
    ] = None,
    max_upload: Annotated[int, typer.Option(min=1, help="Largest upload, in MiB.")] = 256,
    max_seconds: Annotated[
        float, typer.Option(min=1, help="How long the model may take for a request.")
    ] = 600.0,
    max_queue: Annotated[int, typer.Option(min=0, help="Requests that may wait.")] = 64,
    max_per_client: Annotated[
        int, typer.Option(min=1, help="Requests of one client that may wait or run.")
    ] = 4,
    keep: Annotated[
        int, typer.Option(min=1, help="Disk for finished runs and uploads, in MiB.")
    ] = 4096,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that a run may go on when the server ends.")
    ] = 30.0,
    log_content: Annotated[
        bool, typer.Option("--log-content", help="Let logs hold what errors say of requests.")
    ] = False,
) -> None:
    """Serve one model: a page, and an API that clients of OpenAI can use.

    Requests wait in one queue. Nothing is read but what clients upload; recent runs are kept until
    the server ends, for the client that asked for them alone.
    """
    _check_installed()
    given: dict[str, Any] = {
        "token": token,
        "fetch_hosts": tuple(allow_fetch or ()),
        "new_tokens": max_new_tokens,
        "prompt_tokens": max_prompt_tokens,
        "upload_bytes": max_upload * _MIB,
        "request_seconds": max_seconds,
        "queue_length": max_queue,
        "requests_per_client": max_per_client,
        "kept_disk_bytes": keep * _MIB,
        "grace_seconds": grace,
        "log_content": log_content,
    }
    options = _options(host, tuple(allow_host or ()), no_token=no_token, **given)
    from omnitrace.serve.server import bound, make_server

    with bound(host, port) as listening, StatusLine() as status:
        tracer = load_tracer(
            model,
            signal,
            status,
            verify=verify,
            device=device,
            sources=sources_of(text_units, image_units, audio_units, video_units, video_fps),
        )
        status.show("starting")
        server = make_server(tracer, options)
        warnings.simplefilter("ignore", SourceWarning)  # clients are told, in their traces
        with status.paused():
            say(f"serving {model} on {address(host, listening.getsockname()[1])} (Ctrl-C ends it)")
        server.run(sockets=[listening])


def address(host: str, port: int) -> str:
    """Return the URL of a server."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise NotSupportedError(
            f"the server needs packages that are not installed: {', '.join(missing)}",
            legal="an installation with the extra 'serve'",
            fix="pip install 'omnitrace-attribution[serve]'",
        )


def _options(host: str, hosts: tuple[str, ...], *, no_token: bool, **given: Any) -> ServeOptions:
    """Return the options of the server; one that other machines reach needs a token."""
    import dataclasses

    from omnitrace.serve.options import LOOPBACK, ServeOptions, is_loopback

    if not is_loopback(host) and given["token"] is None and not no_token:
        raise InputError(
            f"--host {host} lets other machines in, and there is no token",
            legal="a token, or --no-token where something else checks who calls",
            fix="set OMNITRACE_TOKEN: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    named = () if host in ("0.0.0.0", "::") else (host,)
    options = ServeOptions(hosts=(*LOOPBACK, *named, *hosts), **given)
    read = media_limits()
    media = dataclasses.replace(
        options.media,
        max_bytes=options.upload_bytes,
        isolate=read.isolate,
        video_reader=read.video_reader,
    )
    return dataclasses.replace(options, media=media)
