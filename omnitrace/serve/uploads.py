"""Files that clients send: kept under names of ours in one folder, read only by the media worker.

What an upload is, its bytes say: it is decoded once, within the limits on media, by the process
that decodes all media. Names and types that a client claims decide nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

from omnitrace._utils.file_names import safe_name
from omnitrace.errors import InputError, MediaError, OmnitraceError
from omnitrace.media import MediaLimits, load_audio, load_image, load_video
from omnitrace.serve.errors import BodyTooLargeError, MissingError, TooBusyError
from omnitrace.serve.logs import one_line
from omnitrace.serve.options import ServeOptions
from omnitrace.types import Modality

__all__ = ["Upload", "UploadStore", "kind_of", "without_folder"]

_CHUNK: Final = 1 << 20
_LONGEST_NAME: Final = 120
_HEAD: Final = 256
_RETRY_SECONDS: Final = 10
_NO_PICTURES: Final = "it has no video stream"
# What files begin with. Only Pillow and FFmpeg decide what they really are.
_IMAGES: Final = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"qoif", b"\0\0\1\0"),
    *(b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", *(b"P%d" % i for i in range(1, 8))),
)
_IMAGE_BRANDS: Final = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}
_AUDIO: Final = (b"fLaC", b"ID3", b"FORM", b"caff", b"#!AMR", b".snd", b"MAC ", b"wvpk", b"TTA1")
_AUDIO_BRANDS: Final = {b"M4A ", b"M4B "}
_CONTAINERS: Final = (
    *(b"\x1a\x45\xdf\xa3", b"OggS", b"FLV", b"\0\0\1\xba", b"\0\0\1\xb3", b"\0\0\0\1"),
    *(b"\x30\x26\xb2\x75", b".RMF", b"\x06\x0e\x2b\x34"),
)


@dataclass(slots=True)
class Upload:
    """A file of a client, which can be decoded.

    Attributes
    ----------
    id:
        Unguessable; also the name of its folder.
    owner, name:
        The client, and what it calls the file.
    path, bytes:
        Where it is, and its size.
    modality:
        What its bytes are.
    facts:
        ``width`` and ``height`` in pixels, ``seconds``, as far as it has them.
    used:
        When it was used last, by ``time.monotonic()``.
    users:
        How many requests need it.
    """

    id: str
    owner: str
    name: str
    path: Path
    bytes: int
    modality: Modality
    facts: dict[str, Any]
    used: float = field(default_factory=time.monotonic)
    users: int = 0

    def delete(self) -> None:
        """Remove it from the disk."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def describe(self) -> dict[str, Any]:
        """Return what its client is told."""
        return {
            "upload": self.id,
            "name": self.name,
            "modality": self.modality,
            "bytes": self.bytes,
            **self.facts,
            "url": f"/api/uploads/{self.id}",
        }


class UploadStore:
    """The uploads of all clients, in a folder of their own that goes with the server.

    Parameters
    ----------
    options:
        The limits.

    Attributes
    ----------
    folder:
        Outside of it no file is read for a client.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._uploads: dict[str, Upload] = {}
        self._receiving = 0
        #: Decoding waits here, and holds up nothing else that threads do for the server.
        self.decoder = ThreadPoolExecutor(1, thread_name_prefix="omnitrace-upload")
        # It goes with the process even where nothing closes the server.
        self._temporary = tempfile.TemporaryDirectory(
            prefix="omnitrace-uploads-", ignore_cleanup_errors=True
        )
        self.folder: Final = Path(self._temporary.name).resolve()

    def add(self, owner: str, name: str, file: IO[bytes]) -> Upload:
        """Keep what ``file`` holds, if it is an image, audio or video within the limits.

        Raises
        ------
        MediaError
            If it is none, is broken, or exceeds a limit.
        BodyTooLargeError
            If it has more bytes than an upload may have, or there is no room for it.
        TooBusyError
            If the client has as many uploads as it may.
        """
        options = self._options
        self._check_room(owner)
        upload = secrets.token_urlsafe(18)
        shown = one_line(name.replace("\\", "/").rsplit("/", 1)[-1], _LONGEST_NAME) or "file"
        path = self.folder / upload / safe_name(shown)
        path.parent.mkdir(mode=0o700)
        try:
            size = _copied(file, path, options.upload_bytes)
            modality, facts = _sniffed(path, options.media)
        except MediaError as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise without_folder(error, self.folder, shown) from None
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        made = Upload(upload, owner, shown, path, size, modality, facts)
        with self._lock:
            self._uploads[upload] = made
        self.sweep()
        return made

    def get(self, owner: str, upload: str) -> Upload:
        """Return an upload of this client.

        Raises
        ------
        MissingError
            If there is none of this id, or it is another client's.
        """
        with self._lock:
            found = self._uploads.get(upload)
            if found is None or found.owner != owner:
                raise MissingError(
                    f"there is no upload {one_line(upload, 40)!r}",
                    legal="an upload of this client that is not deleted",
                    fix="upload the file again",
                )
            found.used = time.monotonic()
            return found

    def remove(self, owner: str, upload: str) -> None:
        """Delete an upload of this client; requests that need it keep it until they end."""
        found = self.get(owner, upload)
        with self._lock:
            del self._uploads[upload]
            if not found.users:
                found.delete()

    def hold(self, uploads: list[Upload]) -> None:
        """Keep uploads until :meth:`release`: a request needs them."""
        with self._lock:
            for each in uploads:
                each.users += 1

    def release(self, uploads: list[Upload]) -> None:
        """Let go of uploads that a request needed."""
        with self._lock:
            for each in uploads:
                each.users -= 1
                each.used = time.monotonic()
                if not each.users and each.id not in self._uploads:
                    each.delete()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places for uploads that are being received and decoded.

        Raises
        ------
        TooBusyError
            If all are taken.
        """
        with self._lock:
            if self._receiving >= self._options.uploads_at_once:
                raise TooBusyError(
                    f"{self._receiving} uploads are being received",
                    legal=f"at most {self._options.uploads_at_once} at once",
                    retry_after=_RETRY_SECONDS,
                )
            self._receiving += 1
        try:
            yield
        finally:
            with self._lock:
                self._receiving -= 1

    @property
    def size(self) -> int:
        """Bytes of all uploads."""
        with self._lock:
            return sum(each.bytes for each in self._uploads.values())

    def sweep(self) -> None:
        """Delete what has not been used for long, and what there is no room for."""
        now = time.monotonic()
        with self._lock:
            idle = sorted(
                (each for each in self._uploads.values() if not each.users),
                key=lambda each: each.used,
            )
            total = sum(each.bytes for each in self._uploads.values())
            for each in idle:
                old = now - each.used > self._options.upload_seconds
                if not old and total <= self._options.kept_disk_bytes:
                    break
                total -= each.bytes
                del self._uploads[each.id]
                each.delete()

    def close(self) -> None:
        """Delete everything."""
        self.decoder.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._uploads.clear()
        self._temporary.cleanup()

    def _check_room(self, owner: str) -> None:
        with self._lock:
            mine = sum(each.owner == owner for each in self._uploads.values())
        if mine >= self._options.uploads_per_client:
            raise TooBusyError(
                f"this client has {mine} uploads",
                legal=f"at most {self._options.uploads_per_client}",
                fix="delete some of them",
                retry_after=60,
            )


def without_folder(error: OmnitraceError, folder: Path, name: str = "") -> OmnitraceError:
    """Return the error with files in a folder called by their names, and not by their paths.

    Parameters
    ----------
    error, folder:
        The error, and the folder.
    name:
        What to call each file; by default its own name.
    """
    pattern = re.compile(rf"""(['"]?){re.escape(str(folder))}[^'"\s]*\1""")

    def label(found: re.Match[str]) -> str:
        return repr(name or found[0].strip("'\"").rsplit("/", 1)[-1])

    texts = [pattern.sub(label, text) for text in (error.found, error.legal, error.fix)]
    if texts == [error.found, error.legal, error.fix]:
        return error
    kind = MediaError if isinstance(error, MediaError) else InputError
    changed = kind(texts[0], legal=texts[1], fix=texts[2])
    changed.text = error.text
    return changed


def _copied(file: IO[bytes], path: Path, most: int) -> int:
    """Copy a file, of which no more is read than allowed; only we may read the copy."""
    size = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise BodyTooLargeError(
                    f"the file has more than {most} bytes", legal=f"files of at most {most} bytes"
                )
            copy.write(chunk)
    return size


def _sniffed(path: Path, limits: MediaLimits) -> tuple[Modality, dict[str, Any]]:
    """Decode a file; return what it is, with its size or duration.

    Raises
    ------
    MediaError
        If it is neither an image nor audio nor a video, or exceeds a limit.
    """
    kind = kind_of(path)
    if kind == "image":
        image = load_image(path, limits=limits)
        return "image", {"width": image.width, "height": image.height}
    if kind == "container":
        try:
            video = load_video(path, limits=limits)
        except MediaError as error:
            if _NO_PICTURES not in error.found:
                raise
        else:
            size = {"width": video.width, "height": video.height}
            return "video", {**size, "seconds": round(video.duration, 3)}
    audio = load_audio(path, limits=limits)
    return "audio", {"seconds": round(audio.duration, 3)}


def kind_of(path: Path) -> Literal["image", "audio", "container"]:
    """Return by its first bytes which decoder is asked what a file is.

    Raises
    ------
    MediaError
        If no decoder of ours would be: a text, an archive, a program.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    brands = {head[at : at + 4] for at in range(8, 64, 4)} if head[4:8] == b"ftyp" else set()
    riff = head[8:12] if head[:4] in (b"RIFF", b"RF64") else b""
    if head.startswith(_IMAGES) or riff == b"WEBP" or brands & _IMAGE_BRANDS:
        return "image"
    if head.startswith(_AUDIO) or riff == b"WAVE" or brands & _AUDIO_BRANDS or _is_mpeg_audio(head):
        return "audio"
    if head.startswith(_CONTAINERS) or riff == b"AVI " or brands or head[188:189] == b"G":
        return "container"
    raise MediaError(
        f"{str(path)!r} is neither an image nor audio nor a video",
        legal="PNG, JPEG, WebP, GIF and other images; WAV, FLAC, MP3, Ogg, M4A; MP4, MOV, WebM",
        fix="send texts as texts, and media as they are, in no archive",
    )


def _is_mpeg_audio(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
