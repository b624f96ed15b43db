"""ROS image messages -> arrays. Works on any message object with the fields of sensor_msgs (rclpy's or rosbags')."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import RecordingError

_COLOUR = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC3": 3}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
_DEPTH: dict[str, np.dtype[Any]] = {
    "16UC1": np.dtype("<u2"),
    "mono16": np.dtype("<u2"),
    "32FC1": np.dtype("<f4"),
}
_MAX_SIDE = 16384


def stamp_seconds(header: Any) -> float:
    """Seconds of a std_msgs/Header's stamp."""
    return float(header.stamp.sec) + float(header.stamp.nanosec) * 1e-9


def colour_image(message: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an Image (rgb8, bgr8, rgba8, bgra8, mono8, 8UC3) or a CompressedImage (JPEG, PNG).

    Raises:
        RecordingError: another encoding, or data that does not fit the stated size.
    """
    if hasattr(message, "format"):
        return _decompressed(message)
    encoding = str(message.encoding)
    if encoding not in _COLOUR:
        raise RecordingError(f"colour encoding {encoding!r} is not supported; use one of {', '.join(_COLOUR)}")
    rows = _rows(message, _COLOUR[encoding])
    image = np.ascontiguousarray(rows.reshape(rows.shape[0], -1, _COLOUR[encoding]))
    if encoding in _TO_RGB:
        return np.asarray(cv2.cvtColor(image, _TO_RGB[encoding]), dtype=np.uint8)
    return image.copy()


def depth_image(message: Any) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 where there is none, of an Image: 16UC1 and mono16 in mm, 32FC1 in m.

    Raises:
        RecordingError: another encoding, or data that does not fit the stated size.
    """
    if hasattr(message, "format"):
        raise RecordingError(f"compressed depth ({message.format}) is not read; record the raw aligned depth topic")
    encoding = str(message.encoding)
    if encoding not in _DEPTH:
        raise RecordingError(f"depth encoding {encoding!r} is not supported; use 16UC1 (mm) or 32FC1 (m)")
    dtype = _DEPTH[encoding]
    raw = np.ascontiguousarray(_rows(message, dtype.itemsize)).view(dtype)
    if message.is_bigendian:
        raw = raw.byteswap()
    if dtype.kind == "u":
        return raw.astype(np.float32) * np.float32(0.001)
    depth = raw.astype(np.float32)
    depth[~np.isfinite(depth) | (depth < 0)] = 0.0
    return depth


def _rows(message: Any, pixel_size: int) -> NDArray[np.uint8]:
    width, height, step = int(message.width), int(message.height), int(message.step)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE) or step < width * pixel_size:
        raise RecordingError(f"image states size {width} x {height} with rows of {step} bytes, which cannot be")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size < step * height:
        raise RecordingError(f"image of {width} x {height} has {data.size} bytes of {step * height}; it is truncated")
    return data[: step * height].reshape(height, step)[:, : width * pixel_size]


def _decompressed(message: Any) -> NDArray[np.uint8]:
    data = np.frombuffer(message.data, dtype=np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        raise RecordingError(f"compressed image ({message.format}) cannot be decoded: {error.err}") from error
    if image is None:
        raise RecordingError(f"compressed image ({message.format}) of {data.size} bytes cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
