from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitrace.errors import InputError, MediaError
from omnitrace.media import MediaLimits, load_audio, load_image, load_video, resolve_source


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a b%20ü.bin"
    path.write_bytes(b"\x00content\xff")
    return path


def test_all_forms_give_the_same_bytes(file: Path):
    data = file.read_bytes()
    forms = [
        str(file),
        file,
        data,
        bytearray(data),
        memoryview(data),
        file.as_uri(),
        file.as_uri().replace("file://", "file://localhost"),
        "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
        "DATA:;base64," + base64.b64encode(data).decode().rstrip("="),
        "data:,%00content%FF",
    ]
    for form in forms:
        source = resolve_source(form)
        assert source.read() == data
        assert source.size == len(data)
        assert source.sha256() == hashlib.sha256(data).hexdigest()
    assert resolve_source(file).path == file
    assert resolve_source(file).name == file.name
    assert resolve_source(data).path is None
    assert "content" not in repr(resolve_source(data))


@given(st.binary(min_size=1, max_size=200))
def test_data_urls_round_trip(data: bytes):
    for url in (
        "data:image/png;base64," + base64.b64encode(data).decode(),
        "data:image/png," + quote_from_bytes(data),
    ):
        assert resolve_source(url).read() == data


def test_relative_paths_are_resolved_against_the_media_root(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert resolve_source(file.name, media_root=tmp_path).path == file
    assert resolve_source(Path(file.name), media_root=str(tmp_path)).path == file
    monkeypatch.chdir(tmp_path)
    assert resolve_source(file.name).path == file
    with pytest.raises(MediaError, match=r"resolved against '.*elsewhere'"):
        resolve_source(file.name, media_root=tmp_path / "elsewhere")


@pytest.mark.parametrize("load", [load_image, load_audio, load_video, resolve_source])
def test_bad_sources_name_the_value_and_the_fix(load, tmp_path: Path):
    empty = tmp_path / "empty.png"
    empty.touch()
    big = tmp_path / "big.bin"
    big.write_bytes(b"x" * 11)
    limits = MediaLimits(max_bytes=10)
    cases = [
        ("missing.png", "missing.png", "check the path"),
        (tmp_path, str(tmp_path), "pass a file inside it"),
        (empty, "empty.png", "written or downloaded completely"),
        (big, "big.bin", "max_bytes"),
        (b"", "<bytes>", "downloaded completely"),
        (b"x" * 11, "<bytes>", "max_bytes"),
        ("data:image/png;base64," + "A" * 40, "data:image/png", "max_bytes"),
        ("data:image/png,xxxxxxxxxxxxx", "data:image/png", "max_bytes"),
        ("data:image/png,", "data:image/png", "downloaded completely"),
        ("data:image/png;base64,@@@@", "data:image/png", "base64.b64encode"),
        ("data:image/png", "data:image/png", "comma"),
        ("https://example.org/a.png", "https://example.org/a.png", "download it first"),
        ("s3://bucket/a.png", "s3://bucket/a.png", "download it first"),
        ("file://host/a.png", "file://host/a.png", "three slashes"),
        ("", "empty", "pass a path"),
        ("a\0b", "a\\x00b", "check the path"),
        ("x" * 5000, "xxx…", "check the path"),
        (3, "int", "pass one of these"),
        (None, "NoneType", "pass one of these"),
    ]
    for source, name, fix in cases:
        with pytest.raises(MediaError) as caught:
            load(source, limits=limits)
        assert name in str(caught.value)
        assert fix in str(caught.value)
        assert len(str(caught.value)) < 800


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match="not a regular file"):
        resolve_source(tmp_path / "pipe")


def test_limits_must_be_positive():
    with pytest.raises(InputError, match="max_image_pixels"):
        MediaLimits(max_image_pixels=0)
    with pytest.raises(InputError, match="max_audio_seconds"):
        MediaLimits(max_audio_seconds=float("nan"))


@pytest.mark.parametrize("url", ["file://[::1/x", "file://[zz]/x", "file://[", "file://]:9/x"])
def test_square_brackets_that_hold_no_address(url: str):
    with pytest.raises(MediaError, match=r"is no URL|on the host"):
        resolve_source(url)
