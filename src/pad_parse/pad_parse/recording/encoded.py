"""JPEG and PNG data -> arrays, with the checks that a file from elsewhere needs."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import RecordingError

MAX_PIXELS = 64_000_000
_PIXELS_PER_BYTE = 2000  # neither format packs a flat image tighter
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that state the size


class DamagedImageError(RecordingError):
    """The data of one image is truncated or corrupt; images after it may be good."""


def decode_colour(data: bytes, what: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of JPEG or PNG data; `what` is named in errors.

    Raises:
        DamagedImageError: neither JPEG nor PNG, truncated, corrupt, or of more than `MAX_PIXELS` pixels.
    """
    image = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, what)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_png_16(data: bytes, what: str) -> NDArray[np.uint16]:
    """(H, W) uint16 of the data of a PNG with one channel of 16 bit; `what` is named in errors.

    Raises:
        DamagedImageError: no such PNG, truncated, corrupt, or of more than `MAX_PIXELS` pixels.
    """
    if not data.startswith(_PNG):
        raise DamagedImageError(f"{what} is no PNG, or it is corrupt")
    image = _decode(data, cv2.IMREAD_UNCHANGED, what)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise DamagedImageError(
            f"{what} has {1 if image.ndim == 2 else image.shape[2]} channels of {image.dtype}; depth is a PNG with "
            "one channel of 16 bit"
        )
    return np.asarray(image, dtype=np.uint16)


def _decode(data: bytes, flags: int, what: str) -> NDArray[Any]:
    # The size is read first: a few damaged bytes must not make the decoder ask for gigabytes.
    size = _stated_size(data)
    if size is None:
        raise DamagedImageError(f"{what} of {len(data)} bytes is neither JPEG nor PNG, or it is truncated or corrupt")
    if not 0 < size[0] * size[1] <= min(MAX_PIXELS, _PIXELS_PER_BYTE * len(data)):
        raise DamagedImageError(f"{what} of {len(data)} bytes states {size[0]} x {size[1]} pixels, which cannot be")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise DamagedImageError(f"{what} cannot be decoded: {error.err}") from error
    if image is None:
        raise DamagedImageError(f"{what} of {len(data)} bytes cannot be decoded; it is truncated or corrupt")
    return np.asarray(image)


def _stated_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a whole PNG or JPEG states; None for anything else, or one that is not whole."""
    if data.startswith(_PNG):
        return _png_size(data)
    # A truncated JPEG is decoded with its lower part grey: its end must be there.
    if not data.startswith(_JPEG) or _JPEG_END not in data[-64:]:
        return None
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[place + 7 : place + 9]), int.from_bytes(data[place + 5 : place + 7])
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    # Every chunk is checked: OpenCV's reader asks for as much memory as a damaged length states.
    place = len(_PNG)
    size = None
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        end = place + 12 + length
        if end > len(data) or crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return None
        kind = data[place + 4 : place + 8]
        if kind == b"IHDR" and length == 13:
            size = int.from_bytes(data[place + 8 : place + 12]), int.from_bytes(data[place + 12 : place + 16])
        if kind == b"IEND":
            return size
        place = end
    return None
