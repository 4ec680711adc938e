"""What may stand where a file should: pipes, devices, sockets, loops, folders, huge files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["SPECIAL_FILES", "SPECIAL_PATHS"]

GIB: Final = 1 << 30


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # a socket's path may have 107 bytes: from the working folder


def _loop(path: Path) -> None:
    path.symlink_to("other")
    (path.parent / "other").symlink_to(path.name)


def _sparse(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


#: Makers of something that is no file to be read, at a path; the working folder is its folder.
SPECIAL_FILES: Final[dict[str, Callable[[Path], None]]] = {
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": _socket,
    "a folder": lambda path: path.mkdir(),
    "a loop of links": _loop,
    "a link to nowhere": _link("/nowhere/x"),
    "/dev/zero": _link("/dev/zero"),
    "/dev/null": _link("/dev/null"),
    "/dev/full": _link("/dev/full"),
    "/proc/self/mem": _link("/proc/self/mem"),
    "nothing": lambda path: None,
    "an empty file": lambda path: path.write_bytes(b""),
    "1.9 GB of zeros": _sparse(19 * GIB // 10),
    "3 GB of zeros": _sparse(3 * GIB),
    "200 MB of zeros": _sparse(200 << 20),
    "1 MB of random bytes": lambda path: path.write_bytes(os.urandom(1 << 20)),
    "UTF-16": lambda path: path.write_bytes('{"a": 1}'.encode("utf-16")),
}
#: Paths that are none, or of special files.
SPECIAL_PATHS: Final = (
    *("", " ", ".", "..", "/", "-", "~", "~nobody/x", "a\x00b", "a" * 300, "a" * 6000),
    *("/".join(["a"] * 3000), "/dev/stdin", "/dev/zero", "/dev/fd/0", "/proc/self/environ"),
    *("/proc/kcore", "/etc/passwd", "/etc/passwd/x", "/proc/x/y", "\udcff", "C:\\x"),
)
