"""What a client is told when a request cannot be served, and the status that says it."""

from __future__ import annotations

from typing import Any, ClassVar

from omnitrace.errors import (
    InputError,
    MediaError,
    ModelError,
    NotSupportedError,
    OmnitraceError,
    PluginError,
)

__all__ = [
    "BodyTooLargeError",
    "BodyTooSlowError",
    "ClosingError",
    "CrossOriginError",
    "HostError",
    "MissingError",
    "ServeError",
    "TimeLimitError",
    "TokenError",
    "TooBusyError",
    "describe",
    "status_of",
]


class ServeError(OmnitraceError):
    """A request that is refused before the model sees it.

    Attributes
    ----------
    status:
        Of the HTTP response.
    code:
        A name for programs.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "refused"


class MissingError(ServeError):
    """There is no such run or upload, or it is another client's."""

    status, code = 404, "not_found"


class TokenError(ServeError):
    """The bearer token is missing or wrong."""

    status, code = 401, "unauthorized"


class HostError(ServeError):
    """The server is called by a name that it does not go by."""

    status, code = 421, "wrong_host"


class CrossOriginError(ServeError):
    """A page of another site sends a request."""

    status, code = 403, "cross_origin"


class BodyTooLargeError(ServeError):
    """The body of a request is larger than allowed."""

    status, code = 413, "too_large"


class BodyTooSlowError(ServeError):
    """The body of a request takes too long to arrive."""

    status, code = 408, "too_slow"


class TimeLimitError(ServeError):
    """The model took longer than allowed."""

    status, code = 504, "time_limit"


class TooBusyError(ServeError):
    """The queue is full, or this client has too much in it.

    Parameters
    ----------
    retry_after:
        After how many seconds to try again, at least 1.
    """

    status, code = 429, "too_busy"

    def __init__(self, found: str, *, retry_after: int, legal: str = "", fix: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(found, legal=legal, fix=fix or f"try again in {retry_after} s")


class ClosingError(TooBusyError):
    """The server is about to end."""

    status, code = 503, "closing"


# The first that fits.
_KINDS: tuple[tuple[type[OmnitraceError], int, str], ...] = (
    (MediaError, 422, "media"),
    (PluginError, 400, "unknown_name"),
    (InputError, 400, "input"),
    (NotSupportedError, 400, "not_supported"),
    (ModelError, 500, "model"),
)


def status_of(error: OmnitraceError) -> int:
    """Return the HTTP status for an error."""
    if isinstance(error, ServeError):
        return error.status
    return next((status for kind, status, _ in _KINDS if isinstance(error, kind)), 400)


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error as a client is told it; of a defect no more than that it is one."""
    if not isinstance(error, OmnitraceError):
        return {
            "code": "internal",
            "message": "The server failed at this request; the others go on.",
            "legal": "",
            "fix": "look into the server's log",
        }
    if isinstance(error, ServeError):
        code = error.code
    else:
        code = next((name for kind, _, name in _KINDS if isinstance(error, kind)), "refused")
    return {"code": code, "message": error.found, "legal": error.legal, "fix": error.fix}
