"""Images: decoded with Pillow to RGB as displayed."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps

from omnitrace.errors import MediaError
from omnitrace.media._messages import Sink
from omnitrace.media._worker import WORKER
from omnitrace.media.limits import DEFAULT_LIMITS, MediaLimits, check_frame_size, check_image_file
from omnitrace.media.source import MediaSource, Source, resolve_source

__all__ = ["LoadedImage", "decode_into", "load_image", "to_rgb"]

_STRIP_PIXELS: Final = 1 << 20

_LEGAL = (
    "a path, bytes, a data: URL, a file:// URL, a PIL image, or a numpy array [H,W], [H,W,3] or "
    "[H,W,4] of uint8 or of floats in [0, 1]"
)
# Formats that Pillow decodes itself and recognises by their first bytes. Others start external
# programs (EPS), are only stubs, or take any bytes for a picture (TGA).
_FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000"}
    | {"MPO", "PNG", "PPM", "QOI", "TIFF", "WEBP"}
)
# Brands of HEIF files whose pictures are coded as HEVC. "mif1" may be any; AVIF files have it, too.
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


@dataclass(frozen=True, slots=True, eq=False)
class LoadedImage:
    r"""An image as displayed.

    ``pixels`` is RGB and carries no EXIF. ``sha256`` is of the original bytes ``data``. For a PIL
    image or an array there are none (``data`` is ``None``): the digest is then of the ASCII header
    ``RGB <width>x<height>\n`` followed by the displayed pixels, row by row, 3 bytes each.
    """

    pixels: PIL.Image.Image
    sha256: str
    name: str
    data: bytes | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Width in displayed pixels."""
        return self.pixels.width

    @property
    def height(self) -> int:
        """Height in displayed pixels."""
        return self.pixels.height

    def encoded(self) -> bytes:
        """Return the original bytes, or for a PIL image or an array a PNG of its pixels."""
        if self.data is not None:
            return self.data
        buffer = io.BytesIO()
        self.pixels.save(buffer, format="PNG")
        return buffer.getvalue()


def load_image(
    source: MediaSource | PIL.Image.Image | np.ndarray,
    *,
    limits: MediaLimits = DEFAULT_LIMITS,
    media_root: str | os.PathLike[str] | None = None,
) -> LoadedImage:
    """Load an image as it is displayed.

    EXIF orientation is applied and transparency is flattened onto white. 16-bit gray is scaled to
    8 bits, float gray must lie in [0, 1]. Of an animation, a multi-page TIFF or a multi-picture
    file, the first picture is taken. Colour profiles are not applied.

    Parameters
    ----------
    source:
        A path, bytes, a ``data:`` or ``file://`` URL, a PIL image, or an array ``[H,W]``,
        ``[H,W,3]`` or ``[H,W,4]`` of uint8 or of floats in [0, 1]. HEIC needs ``pillow-heif``.
    limits:
        Checked from the file's header, before any pixel is decoded.
    media_root:
        The folder against which relative paths are resolved.

    Raises
    ------
    MediaError
        If it is missing, not an image, truncated or over a limit.
    """
    if isinstance(source, PIL.Image.Image):
        check_frame_size("the PIL image", source.width, source.height, limits)
        return _from_pixels(_decode("the PIL image", source), "<PIL image>")
    if isinstance(source, np.ndarray):
        return _from_pixels(_from_array(source, limits), "<array>")
    resolved = resolve_source(source, limits=limits, media_root=media_root, legal=_LEGAL)
    check_image_file(resolved.label, resolved.size, limits)
    held = resolved.held()
    assert held.data is not None
    if limits.isolate:
        settings = {
            "most_pixels": PIL.Image.MAX_IMAGE_PIXELS,
            "truncated": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        }
        _, arrays = WORKER.decode("image", held, limits, **settings)
        pixels = PIL.Image.fromarray(arrays["pixels"])
    else:
        pixels = _decode_source(held, limits)
    digest = hashlib.sha256(held.data).hexdigest()
    return LoadedImage(pixels=pixels, sha256=digest, name=held.name, data=held.data)


def decode_into(
    source: Source, limits: MediaLimits, sink: Sink, *, most_pixels: int | None, truncated: bool
) -> dict[str, Any]:
    """Decode an image file into the array "pixels", uint8 ``[H, W, 3]``, in the worker process.

    Parameters
    ----------
    source, limits, sink:
        What is decoded, how far, and where the pixels go.
    most_pixels, truncated:
        What Pillow is set to in the parent: ``PIL.Image.MAX_IMAGE_PIXELS`` and
        ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``.
    """
    PIL.Image.MAX_IMAGE_PIXELS = most_pixels
    PIL.ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    pixels = _decode_source(source, limits)
    sink.begin("pixels", (pixels.height, pixels.width, 3), "uint8")
    for box in _strips(pixels):
        sink.add(np.asarray(pixels.crop(box)))
    return {}


def _decode_source(source: Source, limits: MediaLimits) -> PIL.Image.Image:
    """Decode the bytes of an image file to RGB as displayed."""
    label = source.label
    data = source.read()
    _read_heic(label, data)
    try:
        PIL.Image.init()
        opened = PIL.Image.open(
            io.BytesIO(data), formats=sorted(_FORMATS.intersection(PIL.Image.OPEN))
        )
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise MediaError(
            f"{label} is refused by Pillow as a decompression bomb ({error})",
            legal=f"at most {limits.max_image_pixels} pixels",
            fix="make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it",
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise MediaError(
            f"{label} is not an image that can be read",
            legal="PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF and others that Pillow reads, HEIC with "
            "pillow-heif",
            fix="check that it is an image whatever its name says, or convert it to PNG",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        raise _broken(label, error) from error
    with opened:
        check_frame_size(label, opened.width, opened.height, limits)
        return _decode(label, opened)


def _read_heic(label: str, data: bytes) -> None:
    """Have Pillow read HEIC, which it does with ``pillow-heif`` only.

    Raises
    ------
    MediaError
        If that is not installed.
    """
    if data[4:8] != b"ftyp" or not _HEIC.intersection(_brands(data)):
        return
    try:
        import pillow_heif
    except ImportError as error:
        raise MediaError(
            f"{label} is a HEIC picture, which needs the package pillow-heif",
            legal="PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF; HEIC with pillow-heif",
            fix="pip install 'omnitrace-attribution[heic]', or convert it to JPEG",
        ) from error
    pillow_heif.register_heif_opener()


def _brands(data: bytes) -> list[bytes]:
    """Return the brands of a file of boxes: what it is, and what it can be read as."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[at : at + 4] for at in range(8, size, 4)]
    return brands if b"avif" not in brands else []


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Convert a decoded image of any mode to RGB: scaled, not clipped, and flattened onto white."""
    if image.mode == "RGB" and not image.has_transparency_data:
        rgb = image.copy()
    else:  # a strip at a time: what lies between takes several times the memory of the result
        rgb = PIL.Image.new("RGB", image.size)
        for box in _strips(image):
            rgb.paste(_strip_to_rgb(image.crop(box)), box)
    rgb.info = {}  # else a processor could apply the EXIF orientation once more
    return rgb


def _strips(image: PIL.Image.Image) -> list[tuple[int, int, int, int]]:
    """Cut an image into boxes of its width and about a million pixels, from top to bottom."""
    width, height = image.size
    step = max(1, _STRIP_PIXELS // max(1, width))
    return [(0, top, width, min(top + step, height)) for top in range(0, height, step)]


def _strip_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(f"{image.mode!r} gray values {values.min()}..{values.max()}")
        gray = ((values + 128) // 257).astype(np.uint8)
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        rgb = PIL.Image.fromarray(gray).convert("RGB")
    elif image.mode == "F":
        array = np.asarray(image)
        if not np.all((array >= 0) & (array <= 1)):
            raise ValueError("float gray values outside [0, 1]")
        rgb = PIL.Image.fromarray(np.rint(array * 255).astype(np.uint8)).convert("RGB")
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, "white")
        rgb = PIL.Image.alpha_composite(white, rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return rgb


def _decode(label: str, image: PIL.Image.Image) -> PIL.Image.Image:
    try:
        image.load()
        return to_rgb(PIL.ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        raise _broken(label, error) from error


def _broken(label: str, error: Exception) -> MediaError:
    return MediaError(
        f"{label} cannot be decoded as an image ({error})",
        legal="a complete image, gray values of 8 or 16 bits or floats in [0, 1]",
        fix="check that it was downloaded completely, or convert it to an 8-bit RGB PNG",
    )


def _from_array(array: np.ndarray, limits: MediaLimits) -> PIL.Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}):
        channels_first = array.ndim == 3 and array.shape[0] in {1, 3, 4}
        raise MediaError(
            f"the image array has shape {shape or '()'}",
            legal="[H,W], [H,W,3] or [H,W,4]",
            fix="move the channels last with array.transpose(1, 2, 0)"
            if channels_first
            else "pass one image, channels last; index away a single channel with array[..., 0]",
        )
    check_frame_size("the image array", array.shape[1], array.shape[0], limits)
    if np.issubdtype(array.dtype, np.floating):
        if not np.all(np.isfinite(array)):
            raise MediaError(
                "the image array has NaN or infinite values",
                legal="floats in [0, 1]",
                fix="replace them, for example with numpy.nan_to_num",
            )
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise MediaError(
                f"the float image array has values from {low:g} to {high:g}",
                legal="floats in [0, 1]",
                fix="divide by 255, undo the normalisation, or convert to uint8",
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise MediaError(
            f"the image array has dtype {array.dtype}",
            legal="uint8, or floats in [0, 1]",
            fix="scale it to 0..255 and call .astype(numpy.uint8)",
        )
    return to_rgb(PIL.Image.fromarray(np.ascontiguousarray(array)))


def _from_pixels(pixels: PIL.Image.Image, name: str) -> LoadedImage:
    digest = hashlib.sha256(f"RGB {pixels.width}x{pixels.height}\n".encode())
    digest.update(pixels.tobytes())
    return LoadedImage(pixels=pixels, sha256=digest.hexdigest(), name=name)
