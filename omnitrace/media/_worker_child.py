"""The worker process itself: it decodes what its parent asks for, until the parent is gone.

It is started by ``_worker``, and imports the decoders, but no torch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnitrace.errors import MediaError, OmnitraceError
from omnitrace.media import audio, image, video
from omnitrace.media._messages import Ended, read_header, write
from omnitrace.media.limits import MediaLimits
from omnitrace.media.source import Source

__all__ = ["JOBS", "main"]

JOBS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "image": image.decode_into,
    "audio": audio.decode_into,
    "probe_audio": audio.probe_into,
    "video": video.decode_into,
}

# What a library may write to the standard error; it writes to no other file.
_WRITTEN_BYTES: Final = 1 << 20
# How much later than its parent would the process itself ends what takes too long.
_LATER_SECONDS: Final = 30.0


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers = _own_pipes()
    _protect()
    inbox: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), daemon=True).start()
    with contextlib.suppress(OSError):  # the parent has gone
        write(answers, {"ready": True})
        while True:
            _answer(*inbox.get(), answers)


def _own_pipes() -> tuple[io.BufferedReader, io.FileIO]:
    """Take the pipes of the standard streams away from libraries that would print to them."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    if sys.platform == "win32":
        import msvcrt

        for pipe in pipes:
            msvcrt.setmode(pipe, os.O_BINARY)
    return open(pipes[0], "rb"), io.FileIO(pipes[1], "wb")  # noqa: PTH123 - descriptors


def _protect() -> None:
    """See to it that this process dies quietly, and before others where memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    if sys.platform == "win32":
        import msvcrt

        msvcrt.SetErrorMode(msvcrt.SEM_FAILCRITICALERRORS | msvcrt.SEM_NOGPFAULTERRORBOX)
        return
    import resource

    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, _WRITTEN_BYTES)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _receive(
    requests: io.BufferedReader, inbox: queue.SimpleQueue[tuple[dict[str, Any], bytes]]
) -> None:
    """Read requests; end the process with its parent, even while a decoder hangs."""
    try:
        while True:
            request, size = read_header(requests)
            data = requests.read(size)
            if len(data) < size:
                break
            inbox.put((request, data))
    except (Ended, OSError):
        pass
    finally:
        os._exit(0)


def _answer(request: dict[str, Any], data: bytes, answers: io.FileIO) -> None:
    """Decode what a request asks for, and send it or what is wrong with it."""
    given = request["source"]
    source = Source(
        name=given["name"],
        path=None if given["path"] is None else Path(given["path"]),
        size=given["size"],
        data=data if given["held"] else None,
    )
    limits = MediaLimits(**request["limits"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with _bounded(source, limits):
                answer = JOBS[request["job"]](source, limits, _Sent(answers), **request["options"])
        except OmnitraceError as error:
            answer = {"error": _described(error)}
        except MemoryError:
            answer = {"error": _described(_too_large(source, limits))}
        except Exception as error:  # decoders raise anything on hostile bytes
            answer = {"error": _described(_undecodable(source, error), traceback.format_exc())}
    warned = [
        {
            "text": str(warning.message),
            "module": warning.category.__module__,
            "name": warning.category.__name__,
        }
        for warning in caught
    ]
    write(answers, answer | {"warnings": warned})


class _Sent:
    """Sends arrays to the parent as they are decoded."""

    def __init__(self, answers: io.FileIO) -> None:
        self._answers = answers

    def begin(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        write(self._answers, {"begin": name, "shape": shape, "dtype": dtype})

    def add(self, rows: np.ndarray) -> None:
        flat = np.ascontiguousarray(rows).reshape(-1)
        write(self._answers, {"rows": True}, flat.view(np.uint8).data)


@contextlib.contextmanager
def _bounded(source: Source, limits: MediaLimits) -> Iterator[None]:
    """Bound the time and the memory of decoding.

    The parent keeps the time; the limit here is for a decoder that hangs when the parent has
    died, holding Python's lock. Memory is bounded with RLIMIT_DATA, which counts the pages that
    were asked for and can be written. RLIMIT_AS would count address space as well: libraries and
    reserved arenas, of gigabytes that are never used. macOS holds processes to neither.
    """
    seconds = limits.seconds_for(source.size) + _LATER_SECONDS
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        faulthandler.dump_traceback_later(min(seconds, 1e6), exit=True, file=nothing)
        try:
            if sys.platform != "linux":
                yield
                return
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
            most = pages * resource.getpagesize() + limits.max_worker_bytes
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
            try:
                yield
            finally:  # the next request may be large
                resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        finally:
            faulthandler.cancel_dump_traceback_later()


def _described(error: OmnitraceError, note: str = "") -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "found": error.found,
        "legal": error.legal,
        "fix": error.fix,
        "note": note,
    }


def _too_large(source: Source, limits: MediaLimits) -> MediaError:
    return MediaError(
        f"decoding {source.label} takes more than {limits.max_worker_bytes} bytes of memory",
        legal=f"at most {limits.max_worker_bytes} bytes",
        fix="make it smaller, or raise MediaLimits(max_worker_bytes=…) if you trust it",
    )


def _undecodable(source: Source, error: Exception) -> MediaError:
    return MediaError(
        f"{source.label} cannot be decoded ({type(error).__name__}: {str(error)[:200]})",
        legal="a complete medium of a common format",
        fix="check that it was downloaded completely, or convert it with ffmpeg",
    )
