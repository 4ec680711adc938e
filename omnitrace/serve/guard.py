"""What every request passes before anything else: who calls, from where, with how large a body.

It is plain ASGI, so that streams pass it untouched. A refused request is answered here; what the
application still has to say about it is dropped.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from starlette.responses import Response

from omnitrace.serve.errors import (
    BodyTooLargeError,
    BodyTooSlowError,
    CrossOriginError,
    HostError,
    ServeError,
    TokenError,
    TooBusyError,
)
from omnitrace.serve.logs import LOGGER, describe_defect, one_line
from omnitrace.serve.options import ServeOptions
from omnitrace.serve.responses import error_response

__all__ = ["Guard"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
#: Makes a response of an error, in the form that a path has.
Refusal: TypeAlias = Callable[[str, Exception], Response]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OPEN: Final = ("/", "/healthz", "/favicon.ico")  # without a token, as what is below _OPEN_BELOW
_OPEN_BELOW: Final = "/static/"
_UPLOADS: Final = "/api/uploads"
_FORM_BYTES: Final = 1 << 16  # of a multipart body beside its file
_BYTES_A_SECOND: Final = 100_000
_RETRY_SECONDS: Final = 5
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Guard:
    """Checks host, origin, token and body of every request, and adds headers to every response.

    Parameters
    ----------
    app:
        What answers.
    options:
        What the server allows.
    refusal:
        Makes the response where a path is refused; None has all in the form of the page.
    """

    def __init__(self, app: App, options: ServeOptions, refusal: Refusal | None = None) -> None:
        self._app = app
        self._refusal = refusal or (lambda path, error: error_response(error))
        self._options = options
        self._hosts = {host.lower().strip("[]") for host in options.hosts}
        self._token = None if options.token is None else options.token.encode()
        self._bodies = _Bodies(options.bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = functools.partial(self._refusal, scope["path"])
        passage = _Passage(receive, send, refusal)
        try:
            most = self._check(scope)
        except ServeError as error:
            await passage.refuse(error)
            return
        passage.most = most
        passage.seconds = self._options.body_seconds
        passage.bodies = None if _is_upload(scope) else self._bodies
        try:
            await self._app(scope, passage.receive, passage.send)
        except Exception as error:
            # Raised on, it would be logged with all that it says of the request.
            if not passage.refused and not isinstance(error, TimeoutError):
                route = getattr(scope.get("route"), "path", "an unknown path")
                words = describe_defect(error, content=self._options.log_content)
                LOGGER.error("%s %s failed: %s", scope["method"], route, words)
            if not passage.refused:
                await passage.refuse(error)
        finally:
            passage.let_go()

    def _check(self, scope: Scope) -> int:
        """Check what the head of a request says; return how many bytes its body may have."""
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        path: str = scope["path"]
        host = self._checked_host(headers.get(b"host", []))
        if path.startswith(("/api/", "/v1/")) or scope["method"] not in _SAFE:
            _check_origin(headers, host)
        if path not in _OPEN and not path.startswith(_OPEN_BELOW):
            self._check_token(headers.get(b"authorization", []))
        options = self._options
        most = options.upload_bytes + _FORM_BYTES if _is_upload(scope) else options.body_bytes
        lengths = headers.get(b"content-length", [])
        if any(not each.isdecimal() or int(each[:19]) > most for each in lengths):
            raise _too_large(most)
        return most

    def _checked_host(self, given: list[str]) -> str:
        """Return the host by which the server is called, if it goes by that name."""
        host = given[0].lower() if len(given) == 1 else ""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name and (name in self._hosts or "*" in self._hosts):
            return host
        raise HostError(
            f"the server is called {one_line(host, 80)!r}",
            legal=", ".join(sorted(self._hosts)),
            fix="call it by one of these names, or start it with --allow-host NAME",
        )

    def _check_token(self, given: list[str]) -> None:
        if self._token is None:
            return
        kind, _, token = (given[0] if len(given) == 1 else "").partition(" ")
        right = hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._token)
        if kind.lower() != "bearer" or not right:
            raise TokenError(
                "the token is wrong" if token else "there is no token",
                legal="the header 'Authorization: Bearer TOKEN', with the server's token",
            )


def _is_upload(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"].rstrip("/") == _UPLOADS)


def _check_origin(headers: dict[bytes, list[str]], host: str) -> None:
    """Refuse what the page of another site asks for, whose origin browsers name."""
    for origin in headers.get(b"origin", []):
        try:
            own = urlsplit(origin).netloc.lower() == host
        except ValueError:
            own = False
        if not own:
            raise CrossOriginError(
                f"the request comes from a page of {one_line(origin, 80)!r}",
                legal="requests of the server's own page, and of programs",
            )
    for site in headers.get(b"sec-fetch-site", []):
        if site not in ("same-origin", "none"):
            raise CrossOriginError(
                "the request comes from a page of another site",
                legal="requests of the server's own page, and of programs",
            )


class _Bodies:
    """How many bytes of bodies are in memory, of all requests that are being read."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def hold(self, count: int) -> None:
        """Count bytes that were read.

        Raises
        ------
        TooBusyError
            If they are too many.
        """
        self._held += count
        if self._held > self._most:
            raise TooBusyError(
                "too many bodies are being read",
                legal=f"{self._most} bytes at once",
                retry_after=_RETRY_SECONDS,
            )

    def let_go(self, count: int) -> None:
        """Count bytes that are needed no more."""
        self._held -= count


class _Passage:
    """One request and its response on their way through the guard.

    ``bodies`` is None where the body goes to disk as it comes.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        refusal: Callable[[Exception], Response],
    ) -> None:
        self._receive = receive
        self._send = send
        self._refusal = refusal
        self.bodies: _Bodies | None = None
        self._held = 0
        self.most = 0
        self.seconds = 0.0
        self.refused = False
        self._started = False
        self._complete = False
        self._read = 0
        self._since: float | None = None

    async def refuse(self, error: Exception) -> None:
        """Answer with an error; nothing else is sent afterwards."""
        self.refused = True
        if not self._started:
            response = self._refusal(error)
            response.headers["connection"] = "close"
            await response({"type": "http"}, self._receive, self._secured)

    async def receive(self) -> Message:
        """Pass on what comes of the body, as far as it may come."""
        if self._complete:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        allowed = self.seconds + self._read / _BYTES_A_SECOND
        try:
            async with asyncio.timeout_at(self._since + allowed):
                message = await self._receive()
        except TimeoutError:
            error = BodyTooSlowError(
                f"the body did not arrive within {allowed:.3g} s",
                legal=f"{self.seconds:g} s, and a second more for each 100 kB",
            )
            await self.refuse(error)
            raise error from None
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            try:
                self._count(len(message.get("body", b"")))
            except ServeError as error:
                await self.refuse(error)
                raise
        return message

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > self.most:
            raise _too_large(self.most)
        if self.bodies is not None:
            self._held += size
            self.bodies.hold(size)

    def let_go(self) -> None:
        """Forget the body: it was read, or is not needed."""
        if self.bodies is not None:
            self.bodies.let_go(self._held)
            self._held = 0

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, unless the request was refused meanwhile."""
        if not self.refused:
            await self._secured(message)

    async def _secured(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.let_go()
            given = {name.lower() for name, _ in message.get("headers", [])}
            added = [pair for pair in _HEADERS.items() if pair[0] not in given]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await self._send(message)


def _too_large(most: int) -> BodyTooLargeError:
    return BodyTooLargeError("the body is too large", legal=f"at most {most} bytes")
