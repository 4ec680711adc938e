"""What is private is cut out of media; what they show stays as it is, to the last bit."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

from omnitrace import MediaError
from omnitrace.media import load_audio, load_image, load_video
from omnitrace.media.metadata import without_metadata
from tests.helpers.media_files import write_video

SECRETS = (b"Ada", b"48.85", b"PhoneMaker", b"2021:03:04", b"+48.8577+002.295")


def picture() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8))


def exif(orientation: int = 1) -> PIL.Image.Exif:
    made = PIL.Image.Exif()
    made[0x010F] = "PhoneMaker"
    made[0x013B] = "Ada"
    made[0x0132] = "2021:03:04 10:00:00"
    if orientation != 1:
        made[0x0112] = orientation
    made.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    made.get_ifd(0x8825)[29] = "2021:03:04"
    return made


def encoded(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture().save(file, kind, **options)
    return file.getvalue()


def with_secrets(kind: str, orientation: int) -> bytes:
    options: dict[str, Any] = {"exif": exif(orientation)}
    if kind == "PNG":
        info = PIL.PngImagePlugin.PngInfo()
        info.add_text("Author", "Ada")
        info.add_itxt("Place", "48.85")
        options["pnginfo"] = info
    else:
        options["xmp"] = b"<x:xmpmeta>Ada 48.85</x:xmpmeta>"
    if kind == "JPEG":
        options |= {"comment": b"Ada", "progressive": True}
    if kind == "WEBP":
        options["lossless"] = True
    return encoded(kind, **options, icc_profile=b"colours" * 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_images_lose_what_is_private_and_no_pixel(kind: str, orientation: int) -> None:
    data = with_secrets(kind, orientation)
    assert b"PhoneMaker" in data
    found = without_metadata(data)
    for secret in SECRETS:
        assert secret not in found, secret
    with PIL.Image.open(io.BytesIO(found)) as image:
        assert not dict(image.getexif().get_ifd(0x8825))
        assert set(image.getexif()) <= {0x0112}
    before, after = load_image(data), load_image(found)
    np.testing.assert_array_equal(np.asarray(before.pixels), np.asarray(after.pixels))
    if kind != "TIFF":
        assert b"colours" in found or kind == "PNG", "the profile is of the colours"
        assert without_metadata(found) == found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_images_that_say_nothing_stay_the_same_bytes(kind: str) -> None:
    data = encoded(kind)
    assert without_metadata(data) == data
    if kind == "JPEG":
        turned = PIL.Image.Exif()
        turned[0x0112] = 6
        data = encoded(kind, exif=turned)
        assert without_metadata(data) == data


def test_what_hides_behind_an_image_is_cut_off() -> None:
    """Phones put a video with its place behind the end of a photograph."""
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(kind)
        assert without_metadata(data + b"ftypmp42 Ada 48.85") == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_is_not_understood_is_refused_and_never_kept(kind: str) -> None:
    data = with_secrets(kind, 6)
    with pytest.raises(MediaError, match=r"cannot be told.*metadata=True"):
        without_metadata(data[: len(data) // 2])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", [0.0, 0.1, 0.2])


def remuxed(clip: Path, path: Path, metadata: dict[str, str], **options: str) -> bytes:
    with av.open(str(clip)) as source, av.open(str(path), "w", options=options) as target:
        made = target.add_stream_from_template(source.streams.video[0])
        target.metadata.update(metadata)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = made
                target.mux(packet)
    return path.read_bytes()


PLACE = {"location": "+48.8577+002.295/", "title": "Ada", "creation_time": "2021-03-04T10:00:00Z"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {}), ("a.mov", {}), ("a.mp4", {"movflags": "use_metadata_tags+faststart"})],
)
def test_videos_lose_their_place_and_no_frame(
    clip: Path, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    data = remuxed(clip, tmp_path / name, PLACE, **options)
    assert b"loci" in data or b"+48.8577" in data
    found = without_metadata(data)
    assert b"loci" not in found
    assert len(found) == len(data), "tables of places in the file stay right"
    for secret in SECRETS:
        assert secret not in found
    with av.open(io.BytesIO(found)) as container:
        assert not {"location", "title", "creation_time"} & set(container.metadata)
    before, after = load_video(data), load_video(found)
    np.testing.assert_array_equal(before.frames, after.frames)
    np.testing.assert_array_equal(before.times, after.times)


def test_videos_and_sound_that_say_nothing_stay_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    plain = remuxed(clip, tmp_path / "a.mp4", {})
    assert without_metadata(plain) == plain
    wav = b"RIFF" + struct.pack("<I", 36 + 3200) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16
    )  # fmt: skip
    wav += b"data" + struct.pack("<I", 3200) + bytes(3200)
    assert without_metadata(wav) == wav
    assert load_audio(wav).duration == pytest.approx(0.1)


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


@pytest.mark.parametrize("begins", ["ftyp", "wide"])
def test_positions_that_a_camera_writes_every_second_are_blanked(begins: str) -> None:
    """A track of data: two chunks, of two samples and of one."""
    samples = b"GPS+48.85xGPS+48.86yGPS+48.87z"
    head = box(b"ftyp", b"isom", bytes(4))
    mdat = box(b"mdat", b"pictures", samples)
    first = len(head) + 16
    table = box(
        b"stbl",
        box(b"stsz", bytes(8), struct.pack(">I3I", 3, 10, 10, 10)),
        box(b"stsc", bytes(4), struct.pack(">I6I", 2, 1, 2, 1, 2, 1, 1)),
        box(b"stco", bytes(4), struct.pack(">I2I", 2, first, first + 20)),
    )
    track = box(
        b"trak",
        box(b"mdia", box(b"hdlr", bytes(8), b"meta", bytes(13)), box(b"minf", table)),
    )
    data = (head if begins == "ftyp" else box(b"wide", bytes(8))) + mdat + box(b"moov", track)
    found = without_metadata(data)
    assert len(found) == len(data)
    assert b"48.8" not in found
    assert b"pictures" in found
    assert without_metadata(data.replace(b"meta", b"vide")) == data.replace(b"meta", b"vide")
