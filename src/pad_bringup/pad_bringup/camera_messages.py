"""Camera images and intrinsics as ROS messages, in the camera's optical frame."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from pad_bringup import names
from pad_parse.camera import Camera


def image_message(pixels: NDArray[np.generic], encoding: str, bytes_per_pixel: int, stamp: Time | None = None) -> Image:
    """An Image of pixels (H, W) or (H, W, channels) in a ROS encoding."""
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.header.frame_id = names.CAMERA_FRAME
    if stamp is not None:
        message.header.stamp = stamp
    message.step = pixels.shape[1] * bytes_per_pixel
    # An array of bytes goes into the message as it is; a numpy array would be checked number by number.
    message.data = array.array("B", np.ascontiguousarray(pixels).tobytes())
    return message


def camera_info_message(camera: Camera) -> CameraInfo:
    """The CameraInfo of a camera without distortion, without a stamp."""
    message = CameraInfo(height=camera.height, width=camera.width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id = names.CAMERA_FRAME
    message.k = camera.matrix.ravel().tolist()
    message.r = np.eye(3).ravel().tolist()
    message.p = np.c_[camera.matrix, np.zeros(3)].ravel().tolist()
    return message
