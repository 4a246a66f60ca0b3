"""Authenticated media across federation."""

import os
import struct
import zlib

import pytest

from .client import ApiError


def png(width, height):
    """A true image, so that it can be scaled."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"\x20\x60\xa0" * width
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("size", [1, 65536, 3_000_001, 30_000_000])
def test_download_equals_upload(adam, egon, back, home, size):
    data = os.urandom(size)
    mxc = adam.upload(data)
    with back() as crossing:
        headers, got = egon.download(mxc)
    assert got == data
    assert headers["Content-Type"] == "application/octet-stream"
    assert crossing.moved()[1] == 1, "one federation media request, no fallback to the old endpoint"
    media_id = mxc.rsplit("/", 1)[1]
    assert f"/_matrix/federation/v1/media/download/{media_id}" in home.synapse.log_text()


def test_other_direction(adam, egon, out):
    data = b"Bytes from tchncs.de\r\n--boundary--\r\n" * 1000
    mxc = egon.upload(data, "text/plain")
    with out():
        headers, got = adam.download(mxc)
    assert got == data and headers["Content-Type"].startswith("text/plain")


def test_thumbnail(adam, egon, back):
    mxc = adam.upload(png(640, 480), "image/png")
    path = "/_matrix/client/v1/media/thumbnail/" + mxc.removeprefix("mxc://")
    with back():
        headers, got = egon.raw("GET", path + "?width=96&height=96&method=crop")
    assert headers["Content-Type"] == "image/png" and got.startswith(b"\x89PNG")


def test_missing(egon, home, back):
    with back():
        with pytest.raises(ApiError) as caught:
            egon.download(f"mxc://{home.server_name}/doesnotexist")
    assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")
