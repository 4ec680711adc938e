from __future__ import annotations

import base64
import hashlib
import io
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitrace.errors import MediaError
from omnitrace.media import MediaLimits, image_preview, load_image

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encode(image: PIL.Image.Image, fmt: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=fmt, **options)
    return buffer.getvalue()


def array(source, **options) -> np.ndarray:
    return np.asarray(load_image(source, **options).pixels)


# The stored array that displays as `upright`, for each EXIF orientation.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(orientation: int, fmt: str):
    stored = PIL.Image.fromarray(np.ascontiguousarray(STORED[orientation](COLOURS)))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if fmt == "WEBP" else {}
    data = encode(stored, fmt, exif=exif, **options)
    loaded = load_image(data)
    assert np.array_equal(np.asarray(loaded.pixels), COLOURS)
    assert (loaded.width, loaded.height) == (9, 6)
    assert not loaded.pixels.getexif()
    assert loaded.pixels.info == {}
    assert np.array_equal(array(PIL.Image.open(io.BytesIO(data))), COLOURS)


def test_same_content_by_path_bytes_url_and_pil(tmp_path: Path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(COLOURS).save(path)
    data = path.read_bytes()
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (path, str(path), data, url, path.as_uri()):
        loaded = load_image(source)
        assert np.array_equal(np.asarray(loaded.pixels), COLOURS)
        assert loaded.sha256 == hashlib.sha256(data).hexdigest()
        assert loaded.data == loaded.encoded() == data
    canonical = hashlib.sha256(b"RGB 9x6\n" + COLOURS.tobytes()).hexdigest()
    for source in (COLOURS, PIL.Image.fromarray(COLOURS), COLOURS / 255.0):
        loaded = load_image(source)
        assert np.array_equal(np.asarray(loaded.pixels), COLOURS)
        assert loaded.sha256 == canonical
        assert loaded.data is None
        assert np.array_equal(array(loaded.encoded()), COLOURS)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["PNG", "BMP", "TIFF", "PPM"]))
def test_any_size_round_trips(width: int, height: int, fmt: str):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(array(encode(PIL.Image.fromarray(pixels), fmt)), pixels)


def test_one_pixel_is_legal():
    assert array(np.full((1, 1), 7, np.uint8)).tolist() == [[[7, 7, 7]]]
    assert load_image(encode(PIL.Image.new("RGB", (1, 1), "red"))).width == 1


def test_alpha_is_flattened_onto_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    expected = [[255] * 3, [127] * 3, [0] * 3]
    assert array(rgba)[0].tolist() == expected
    assert array(rgba / 255)[0].tolist() == expected
    assert array(encode(PIL.Image.fromarray(rgba)))[0].tolist() == expected
    gray_alpha = PIL.Image.fromarray(rgba).convert("LA")
    assert array(encode(gray_alpha))[0].tolist() == expected
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert array(encode(palette, transparency=0))[0].tolist() == [[255] * 3, [40, 50, 60]]
    assert array(encode(palette))[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert array(encode(PIL.Image.new("RGB", (1, 1)), transparency=(0, 0, 0))).min() == 255


def test_modes():
    ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
    gray = [0, 1, 128, 255]
    assert array(encode(PIL.Image.fromarray(ramp)))[0, :, 0].tolist() == gray
    assert array(encode(PIL.Image.fromarray(ramp), "TIFF"))[0, :, 1].tolist() == gray
    assert array(PIL.Image.fromarray(ramp.astype(np.int32)))[0, :, 2].tolist() == gray
    transparent = encode(PIL.Image.fromarray(ramp), transparency=257)
    assert array(transparent)[0, :, 0].tolist() == [0, 255, 128, 255]
    assert array(PIL.Image.fromarray(np.float32([[0, 1]])))[0, :, 0].tolist() == [0, 255]
    assert array(PIL.Image.new("1", (1, 1), 1)).tolist() == [[[255] * 3]]
    cmyk = PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(array(encode(cmyk, "JPEG")).astype(int) - (255, 0, 0)).max() < 6
    for bad in (np.float32([[0, 200]]), np.int32([[0, 70_000]]), np.float32([[np.nan]])):
        with pytest.raises(MediaError, match="8-bit RGB PNG"):
            load_image(PIL.Image.fromarray(bad))


def test_the_first_picture_of_an_animation():
    first, second = PIL.Image.new("RGB", (4, 4), "red"), PIL.Image.new("RGB", (4, 4), "blue")
    for fmt in ("GIF", "TIFF", "WEBP"):
        data = encode(first, fmt, save_all=True, append_images=[second])
        assert array(data)[0, 0].argmax() == 0


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 100_000])
def test_bombs_are_refused_before_decoding(side: int, tmp_path: Path):
    before = PIL.Image.MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(MediaError, match=r"bomb\.png.*100000000 pixels.*make it smaller"):
        load_image(path)
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_limits_hold_for_every_kind_of_source():
    limits = MediaLimits(max_image_pixels=50)
    for source in (COLOURS, PIL.Image.fromarray(COLOURS), encode(PIL.Image.fromarray(COLOURS))):
        with pytest.raises(MediaError, match=r"9x6 = 54 pixels.*at most 50"):
            load_image(source, limits=limits)
    assert load_image(np.zeros((1, 200), np.uint8)).width == 200
    with pytest.raises(MediaError, match=r"aspect ratio of 201.*crop it"):
        load_image(np.zeros((1, 201), np.uint8))


def test_broken_files(tmp_path: Path):
    text = tmp_path / "text.png"
    text.write_text("this is no picture\n" * 20)
    with pytest.raises(MediaError, match=r"text\.png' is not an image.*convert it to PNG"):
        load_image(text)
    noise = PIL.Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for fmt in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        data = encode(noise, fmt)
        cut = tmp_path / f"cut.{fmt.lower()}"
        cut.write_bytes(data[: len(data) // 2])
        with pytest.raises(MediaError, match=rf"cut\.{fmt.lower()}'.*Fix: "):
            load_image(cut)


def test_postscript_is_not_executed():
    with pytest.raises(MediaError, match="not an image"):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize(
    ("bad", "fix"),
    [
        (np.zeros((3, 8, 8), np.uint8), "transpose"),
        (np.zeros((8, 8, 1), np.uint8), r"array\[..., 0\]"),
        (np.zeros(8, np.uint8), "pass one image"),
        (np.array(1, np.uint8), "pass one image"),
        (np.zeros((0, 8, 3), np.uint8), "pass a picture"),
        (np.zeros((8, 8, 3), np.int64), "astype"),
        (np.zeros((8, 8), bool), "astype"),
        (np.full((8, 8, 3), 255.0), "divide by 255"),
        (np.full((8, 8), -0.1), "divide by 255"),
        (np.full((8, 8), np.nan), "nan_to_num"),
        (np.full((8, 8), np.inf), "nan_to_num"),
    ],
)
def test_bad_arrays(bad: np.ndarray, fix: str):
    with pytest.raises(MediaError, match=fix):
        load_image(bad)


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic(orientation: int):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:20, :32] = (255, 0, 0)
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    data = encode(PIL.Image.fromarray(pixels), "HEIF", exif=exif.tobytes())
    shown = array(data)
    expected = pixels if orientation == 1 else np.rot90(pixels, -1)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected)[2::7, 2::7].max() < 20


def test_heic_without_its_package_names_both(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(99)
    with pytest.raises(MediaError) as caught:
        load_image(data, limits=MediaLimits(isolate=False))
    for words in ("HEIC", "pillow-heif", "omnitrace-attribution[heic]", "JPEG"):
        assert words in str(caught.value)
    avif = encode(PIL.Image.fromarray(COLOURS), "AVIF")
    assert load_image(avif).width == 9


def test_threads_and_the_original_stays_untouched():
    data = encode(PIL.Image.fromarray(COLOURS))
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(a, COLOURS) for a in pool.map(array, [data] * 64))
    image = PIL.Image.fromarray(COLOURS)
    image.info["note"] = "mine"
    load_image(image).pixels.putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(image), COLOURS)
    assert image.info == {"note": "mine"}


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (640, 480), (100, 50)])
def test_preview(size: tuple[int, int]):
    loaded = load_image(PIL.Image.new("RGB", size, "red"))
    preview = PIL.Image.open(io.BytesIO(image_preview(loaded, max_side=100)))
    assert preview.format == "JPEG"
    assert max(preview.size) == min(100, max(size))
    assert loaded.pixels.size == size
