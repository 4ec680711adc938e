"""Fetch a medium from a host that is allowed, and from no address that is not public.

A name is resolved once, when it is connected to, and what is connected to is the address that was
checked: a name that means another address a moment later leads nowhere else. Redirects are checked
as the first address was.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urljoin, urlsplit

import httpcore

from omnitrace.errors import MediaError
from omnitrace.serve.errors import ServeError
from omnitrace.serve.logs import one_line
from omnitrace.serve.options import ServeOptions

__all__ = ["FetchError", "fetch", "is_public"]

_REDIRECTS: Final = 3
_MOVED: Final = (301, 302, 303, 307, 308)
_SECONDS: Final = 20.0  # for all of it, beside one second for each megabyte
_BYTES_A_SECOND: Final = 1_000_000
_PORTS: Final = {"http": 80, "https": 443}
# Addresses of IPv6 in which one of IPv4 is hidden, which may be private.
_TRANSLATED: Final = tuple(
    map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


class FetchError(ServeError):
    """A URL that is not fetched, or could not be."""

    status, code = 400, "not_fetched"


async def fetch(url: str, options: ServeOptions, *, resolve: Resolve | None = None) -> bytes:
    """Return the bytes behind a URL.

    Parameters
    ----------
    url:
        An ``http`` or ``https`` URL of a host among ``options.fetch_hosts``.
    options:
        What the server allows: hosts, and the size of a medium.
    resolve:
        What gives the addresses of a name; None asks the system.

    Raises
    ------
    FetchError
        If the URL may not be fetched, or the host does not give it.
    MediaError
        If it has more bytes than a medium may have.
    """
    most = options.media.max_bytes
    backend = _PublicBackend(resolve or _resolved)
    try:
        async with (
            asyncio.timeout(_SECONDS + most / _BYTES_A_SECOND),
            httpcore.AsyncConnectionPool(network_backend=backend, max_connections=1) as pool,
        ):
            for _ in range(_REDIRECTS + 1):
                _check_url(url, options.fetch_hosts)
                found = await _get(pool, url, most)
                if isinstance(found, bytes):
                    return found
                url = urljoin(url, found)
    except (TimeoutError, httpcore.TimeoutException):
        raise FetchError(f"{one_line(url)!r} did not arrive in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        reason = one_line(str(error) or type(error).__name__)
        raise FetchError(f"{one_line(url)!r} cannot be fetched: {reason}") from None
    raise FetchError("the URL is redirected too often", legal=f"at most {_REDIRECTS} redirects")


def is_public(address: str) -> bool:
    """Whether an address is of the public internet: not of this machine, nor of its networks."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _TRANSLATED):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


async def _get(pool: httpcore.AsyncConnectionPool, url: str, most: int) -> bytes | str:
    """Return what is behind a URL, or the URL that it is redirected to."""
    seconds = dict.fromkeys(("connect", "read", "write", "pool"), _SECONDS)
    headers = [("Accept", "image/*, audio/*, video/*"), ("Accept-Encoding", "identity")]
    extensions: dict[str, Any] = {"timeout": seconds}
    async with pool.stream("GET", url, headers=headers, extensions=extensions) as response:
        given = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in _MOVED and b"location" in given:
            return given[b"location"]
        if response.status != 200:
            raise FetchError(f"the host of {one_line(url)!r} answers {response.status}")
        if given.get(b"content-encoding", "identity").lower() != "identity":
            raise FetchError(f"{one_line(url)!r} comes compressed", legal="the file as it is")
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > most:
                raise MediaError(
                    f"the file at {one_line(url)!r} is too large", legal=f"at most {most} bytes"
                )
        return bytes(body)


def _check_url(url: str, allowed: Iterable[str]) -> None:
    """Refuse a URL that is not one of an allowed host."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
    except ValueError:
        raise FetchError(f"{one_line(url)!r} is no URL") from None
    names = [name.lower() for name in allowed]
    if not names:
        raise FetchError(
            f"{one_line(url)!r} is a URL, and this server fetches none",
            legal="the file itself, as a data: URL",
            fix="send the file, or have the server started with --allow-fetch HOST",
        )
    if parts.scheme not in _PORTS or parts.username is not None or parts.password is not None:
        raise FetchError(
            f"{one_line(url)!r} is not fetched", legal="http:// or https://, without a user's name"
        )
    within = any(host == name or (name[:1] == "." and host.endswith(name)) for name in names)
    if not within or port not in (None, _PORTS[parts.scheme]):
        raise FetchError(
            f"the host of {one_line(url)!r} is not allowed",
            legal=f"{', '.join(names)}, at the usual port",
        )


async def _resolved(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class _PublicBackend(httpcore.AsyncNetworkBackend):
    """Connects to the public addresses of a host, if all that it has are public."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise FetchError(
                f"the host {one_line(host, 80)!r} has an address that is not public",
                legal="hosts of the public internet",
            )
        return await self._backend.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a file of this machine is no public address."""
        raise FetchError("a socket of this machine is not public")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)
