"""What a server allows: its limits, who may reach it, and what it keeps."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass, field
from typing import Final

from omnitrace.errors import InputError
from omnitrace.media import MediaLimits

__all__ = ["LOOPBACK", "ServeOptions", "is_loopback"]

#: Names under which a server on this machine is reached.
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MIB: Final = 2**20


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at an address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _media() -> MediaLimits:
    return MediaLimits(
        max_bytes=256 * _MIB,
        max_image_pixels=40_000_000,
        max_image_bytes=128 * _MIB,
        max_audio_seconds=1200.0,
        max_video_seconds=600.0,
        max_audio_bytes=512 * _MIB,
        max_video_bytes=2048 * _MIB,
        max_decode_seconds=60.0,
    )


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a server allows.

    Parameters
    ----------
    token:
        What clients must send as ``Authorization: Bearer …``; None lets everybody in.
    hosts:
        Names under which the server may be called, without ports; ``"*"`` for any. Requests with
        another ``Host`` header are refused, so that no page of another site reaches it by a name of
        its own.
    fetch_hosts:
        Hosts from which media are fetched where a client names a URL, such as
        ``"images.example.org"`` or ``".example.org"`` for all below it. None are by default.
    media:
        Limits on each medium, also of those that are fetched.
    body_bytes:
        Largest body of a request other than an upload.
    bodies_bytes:
        Memory for the bodies that are being read at once; more of them are turned away.
    upload_bytes:
        Largest upload.
    uploads_at_once:
        How many uploads may be received and decoded at once; more of them are turned away.
    body_seconds:
        How long a body may take to arrive, beside one second for each 100 kB of it.
    parts:
        Most messages, and most parts of messages, in one request.
    prompt_tokens:
        Longest prompt, in tokens; None takes what the model takes.
    new_tokens:
        Longest response that may be asked for.
    request_seconds:
        How long the model may take for a request.
    queue_length:
        How many requests may wait for the model.
    requests_per_client:
        How many requests of one client may wait or run at once.
    abandoned_seconds:
        After how long a request that nobody watches leaves the queue, or the model.
    kept_runs:
        How many runs are kept; the oldest that are done go first.
    kept_bytes:
        Memory for the traces of finished requests; older ones are read from disk.
    kept_disk_bytes:
        Disk for traces, and as much for uploads; the oldest that are not in use go first.
    uploads_per_client:
        How many uploads a client may have.
    upload_seconds:
        How long an upload is kept that no request uses.
    grace_seconds:
        How long a request that runs may go on when the server is told to end.
    log_content:
        Whether logs may hold what requests and responses say.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = LOOPBACK
    fetch_hosts: tuple[str, ...] = ()
    media: MediaLimits = field(default_factory=_media)
    body_bytes: int = 48 * _MIB
    bodies_bytes: int = 256 * _MIB
    upload_bytes: int = 256 * _MIB
    uploads_at_once: int = 8
    body_seconds: float = 30.0
    parts: int = 256
    prompt_tokens: int | None = None
    new_tokens: int = 2048
    request_seconds: float = 600.0
    queue_length: int = 64
    requests_per_client: int = 4
    abandoned_seconds: float = 30.0
    kept_runs: int = 1000
    kept_bytes: int = 256 * _MIB
    kept_disk_bytes: int = 4096 * _MIB
    uploads_per_client: int = 32
    upload_seconds: float = 3600.0
    grace_seconds: float = 30.0
    log_content: bool = False

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            low = 0 if each.name in ("grace_seconds", "queue_length") else 1e-3
            if not low <= value < float("inf"):
                raise InputError(
                    f"the server's {each.name} is {value!r}", legal=f"a number of {low:g} or more"
                )
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii()):
            raise InputError(
                f"the token has {len(self.token)} characters",
                legal="at least 8 ASCII characters",
                fix="make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
            )
