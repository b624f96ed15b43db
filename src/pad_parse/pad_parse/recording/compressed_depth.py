"""Depth images packed by ROS's `compressedDepth` image transport (sensor_msgs/CompressedImage).

Layout of the data, little-endian: a header of 12 bytes (int32 method, float32 a, float32 b), then the payload. Payload
`png` is a PNG of one channel of 16 bit; payload `rvl` is uint32 width, uint32 height, then the codec of A. Wilson,
"Fast Lossless Depth Image Compression" (2017). Of a 16UC1 image the values are kept (mm). Of a 32FC1 image the inverse
depth is quantised, q = a / depth + b, so depth = a / (q - b) in metres, with q = 0 where there is none.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import RecordingError
from pad_parse.recording.encoded import MAX_PIXELS, DamagedImageError, decode_png_16

_HEADER = struct.Struct("<iff")
_RVL_SIZE = struct.Struct("<II")
_NIBBLES = np.arange(28, -4, -4, dtype=np.uint32)
_LONGEST_VALUE = 11  # nibbles of 3 bits that hold 32 bits


def compressed_depth(data: bytes, image_format: str) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 where there is none.

    image_format: the message's `format`, "<16UC1 or 32FC1>; compressedDepth [png or rvl]" (without a codec: png).

    Raises:
        RecordingError: another format.
        DamagedImageError: the data is truncated or corrupt.
    """
    encoding, _, rest = (part.strip() for part in image_format.partition(";"))
    codec = rest.removeprefix("compressedDepth").strip() or "png"
    if encoding not in ("16UC1", "32FC1") or codec not in ("png", "rvl"):
        raise RecordingError(
            f"compressed depth of format {image_format!r} is not read; use 16UC1 or 32FC1, with compressedDepth png or "
            "compressedDepth rvl"
        )
    what = f"compressed depth image ({image_format})"
    if len(data) <= _HEADER.size:
        raise DamagedImageError(f"{what} has {len(data)} bytes; it is truncated")
    _, a, b = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    values = decode_png_16(payload, what) if codec == "png" else _rvl_image(payload, what)
    if encoding == "16UC1":
        return values.astype(np.float32) * np.float32(0.001)
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise DamagedImageError(f"{what} has quantisation parameters {a:g}, {b:g}, which cannot be")
    with np.errstate(divide="ignore", over="ignore"):
        metres = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    metres[(values == 0) | ~np.isfinite(metres) | (metres < 0)] = 0.0
    return metres


def _rvl_image(payload: bytes, what: str) -> NDArray[np.uint16]:
    if len(payload) < _RVL_SIZE.size:
        raise DamagedImageError(f"{what} has {len(payload)} bytes after its header; it is truncated")
    width, height = _RVL_SIZE.unpack_from(payload)
    if not 0 < width * height <= MAX_PIXELS:
        raise DamagedImageError(f"{what} states {width} x {height} pixels; at most {MAX_PIXELS} are read")
    return decode_rvl(payload[_RVL_SIZE.size :], width * height, what).reshape(height, width)


def decode_rvl(data: bytes, count: int, what: str = "RVL data") -> NDArray[np.uint16]:
    """(count,) uint16 of RVL data.

    The data is a row of numbers, each in nibbles of 3 bits (lowest first) with a bit that says whether more follow; 8
    nibbles to a 32-bit word, highest first. They mean, again and again: how many zeros, how many other values, and for
    each of those its difference to the value before, with the sign in the lowest bit.

    Raises:
        DamagedImageError: the data ends early or states runs that do not fit.
    """
    words = np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4")
    nibbles = ((words[:, None] >> _NIBBLES) & 15).astype(np.uint8).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if ends.size == 0:
        raise DamagedImageError(f"{what} is empty or corrupt")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_VALUE:
        raise DamagedImageError(f"{what} is corrupt (a number of more than 32 bits)")
    nibbles &= 7
    numbers = nibbles[starts].astype(np.int64)
    longer = np.flatnonzero(lengths > 1)
    for place in range(1, lengths.max()):
        numbers[longer] |= nibbles[starts[longer] + place].astype(np.int64) << 3 * place
        longer = longer[lengths[longer] > place + 1]

    seen = np.zeros(count, dtype=bool)  # pixels that hold a value
    coded = np.ones(len(numbers), dtype=bool)  # numbers that are differences
    pixel, at = 0, 0
    while pixel < count:
        if at + 2 > len(numbers):
            raise DamagedImageError(f"{what} ends after {pixel} of {count} pixels; it is truncated")
        pixel += numbers.item(at)
        length = numbers.item(at + 1)
        coded[at : at + 2] = False
        at += 2
        if pixel + length > count or at + length > len(numbers):
            raise DamagedImageError(f"{what} is corrupt (a run of {length} pixels does not fit)")
        seen[pixel : pixel + length] = True
        pixel, at = pixel + length, at + length
    differences = numbers[:at][coded[:at]]
    differences = (differences >> 1) ^ -(differences & 1)
    image = np.zeros(count, dtype=np.uint16)
    image[seen] = (np.cumsum(differences) & 0xFFFF).astype(np.uint16)
    return image
