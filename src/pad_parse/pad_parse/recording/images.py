"""ROS image messages -> arrays. The only module that knows whether cv_bridge converts them, or rosbags-image.

On a ROS host where cv_bridge works it converts raw images; without it rosbags-image does, with the same numbers. Packed
images (JPEG, PNG, compressedDepth) are decoded here in either case. Works on any message object with the fields of
sensor_msgs (rclpy's or rosbags').
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import RecordingError
from pad_parse.recording.compressed_depth import compressed_depth
from pad_parse.recording.encoded import DamagedImageError, decode_colour

BACKENDS = ("cv_bridge", "rosbags-image")
COLOUR_ENCODINGS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "yuv422": 2,
    "yuv422_yuy2": 2,
}
"""Encodings of colour images that are read -> bytes per pixel."""

DEPTH_ENCODINGS = {"16UC1": 2, "mono16": 2, "32FC1": 4}
"""Encodings of depth images that are read -> bytes per pixel; the first two in mm, the last in m."""

_MAX_SIDE = 16384
_Converter = Callable[[Any, str | None], NDArray[Any]]


def stamp_seconds(header: Any) -> float:
    """Seconds of a std_msgs/Header's stamp."""
    return float(header.stamp.sec) + float(header.stamp.nanosec) * 1e-9


@cache
def backend() -> str:
    """ "cv_bridge" where it can be imported and converts an image rightly, else "rosbags-image"."""
    probe = SimpleNamespace(
        height=1, width=1, encoding="bgr8", is_bigendian=0, step=3, data=np.array([1, 2, 3], np.uint8)
    )
    try:
        converted = _converter("cv_bridge")(probe, "rgb8")
    # A cv_bridge that was built for another numpy fails in many ways, some only when it is first used.
    except Exception:
        return "rosbags-image"
    return "cv_bridge" if np.array_equal(converted, [[[3, 2, 1]]]) else "rosbags-image"


def colour_image(message: Any, chosen: str | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an Image (an encoding of `COLOUR_ENCODINGS`) or a CompressedImage (JPEG, PNG).

    chosen: one of `BACKENDS`, None for what this machine has (see `backend`).

    Raises:
        RecordingError: another encoding.
        DamagedImageError: data that does not fit the stated size or cannot be decoded.
    """
    if hasattr(message, "format"):
        return decode_colour(bytes(message.data), f"compressed image ({message.format})")
    plain = _tidy(message, "colour", COLOUR_ENCODINGS)
    if plain.encoding.startswith("yuv422") and plain.width % 2:
        raise DamagedImageError(f"image of encoding {plain.encoding} has an odd width, {plain.width}")
    return np.array(_converter(chosen or backend())(plain, "rgb8"), dtype=np.uint8)


def depth_image(message: Any, chosen: str | None = None) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 where there is none.

    Of an Image (16UC1 and mono16 in mm, 32FC1 in m) or a CompressedImage of the compressedDepth transport (PNG, RVL).
    chosen: as in `colour_image`.

    Raises:
        RecordingError: another encoding.
        DamagedImageError: data that does not fit the stated size or cannot be decoded.
    """
    if hasattr(message, "format"):
        return compressed_depth(bytes(message.data), str(message.format))
    plain = _tidy(message, "depth", DEPTH_ENCODINGS)
    raw = _converter(chosen or backend())(plain, None)
    if raw.dtype.kind == "u":
        return raw.astype(np.float32) * np.float32(0.001)
    depth = np.array(raw, dtype=np.float32)
    depth[~np.isfinite(depth) | (depth < 0)] = 0.0
    return depth


@cache
def _converter(name: str) -> _Converter:
    if name == "cv_bridge":
        bridge = importlib.import_module("cv_bridge").CvBridge()

        def by_cv_bridge(message: Any, encoding: str | None) -> NDArray[Any]:
            return np.asarray(bridge.imgmsg_to_cv2(message, encoding or "passthrough"))

        return by_cv_bridge
    convert = importlib.import_module("rosbags.image").message_to_cvimage

    def by_rosbags(message: Any, encoding: str | None) -> NDArray[Any]:
        return np.asarray(convert(message, encoding))

    return by_rosbags


def _tidy(message: Any, kind: str, encodings: dict[str, int]) -> SimpleNamespace:
    """The message checked, without padding between rows and in this machine's byte order.

    rosbags-image takes no notice of row padding, cv_bridge only of padding by whole pixels.
    """
    encoding = str(message.encoding)
    if encoding not in encodings:
        raise RecordingError(f"{kind} encoding {encoding!r} is not read; use one of {', '.join(encodings)}")
    width, height, step = int(message.width), int(message.height), int(message.step)
    pixel = encodings[encoding]
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE) or step < width * pixel:
        raise DamagedImageError(f"image states size {width} x {height} with rows of {step} bytes, which cannot be")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size < step * height:
        raise DamagedImageError(
            f"image of {width} x {height} has {data.size} bytes of {step * height}; it is truncated"
        )
    rows = np.ascontiguousarray(data[: step * height].reshape(height, step)[:, : width * pixel])
    if message.is_bigendian and kind == "depth":
        rows = rows.view(f">u{pixel}").astype(f"<u{pixel}").view(np.uint8)
    return SimpleNamespace(
        width=width, height=height, encoding=encoding, is_bigendian=0, step=width * pixel, data=rows.reshape(-1)
    )
