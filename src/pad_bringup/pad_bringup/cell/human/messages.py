"""ROS messages of a recording, made without ROS: plain numbers in, messages of the `rosbags` library out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pad_bringup import names
from pad_bringup.cell.human.hand import gripper_pose
from pad_bringup.resources import message_definitions
from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import KeypointState

FloatArray = NDArray[np.float64]

CAMERA_FRAME = "camera_color_optical_frame"
_PAD_MESSAGES = ("Keypoint", "KeypointArray", "ObjectPose", "ObjectPoseArray", "Hand", "HandArray")


class MessageFactory:
    """Makes messages stamped in seconds.

    types: the type store that the messages belong to, for serialising them.
    """

    def __init__(self) -> None:
        self.types = get_typestore(Stores.ROS2_JAZZY)
        for name, text in message_definitions("pad_msgs", _PAD_MESSAGES).items():
            self.types.register(get_types_from_msg(text, f"pad_msgs/msg/{name}"))

    def image(self, pixels: NDArray[Any], encoding: str, stamp: float) -> Any:
        """sensor_msgs/Image of an array (H, W) or (H, W, 3) in the camera's frame."""
        content = np.ascontiguousarray(pixels)
        return self._new(
            "sensor_msgs/msg/Image",
            header=self._header(stamp, CAMERA_FRAME),
            height=content.shape[0],
            width=content.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=content.strides[0],
            data=content.view(np.uint8).reshape(-1),
        )

    def camera_info(self, camera: Camera, stamp: float) -> Any:
        """sensor_msgs/CameraInfo of a camera without distortion."""
        roi = self._new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp, CAMERA_FRAME),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=camera.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.concatenate([camera.matrix, np.zeros((3, 1))], axis=1).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def camera_transform(self, transform_camera_to_task: ArrayLike) -> Any:
        """tf2_msgs/TFMessage: the camera's pose (4, 4) in the task frame."""
        pose = self._pose(transform_camera_to_task)
        position = pose.position
        translation = self._new("geometry_msgs/msg/Vector3", x=position.x, y=position.y, z=position.z)
        stamped = self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(0.0, names.TASK_FRAME),
            child_frame_id=CAMERA_FRAME,
            transform=self._new("geometry_msgs/msg/Transform", translation=translation, rotation=pose.orientation),
        )
        return self._new("tf2_msgs/msg/TFMessage", transforms=[stamped])

    def keypoints(
        self,
        task: str,
        columns: tuple[list[str], list[str], list[str]],
        points: ArrayLike,
        pixels: ArrayLike,
        visible: ArrayLike,
        stamp: float,
    ) -> Any:
        """pad_msgs/KeypointArray of true points (N, 3) m in the task frame.

        columns: names, groups and objects of the points. pixels: (N, 2). visible: (N,) bool; hidden points are FILLED.
        """
        items = [
            self._new(
                "pad_msgs/msg/Keypoint",
                name=name,
                group=group,
                object=owner,
                position=self._point(point),
                state=int(KeypointState.VISIBLE if seen else KeypointState.FILLED),
                confidence=1.0,
                uncertainty=0.0,
                u=float(pixel[0]),
                v=float(pixel[1]),
            )
            for name, group, owner, point, pixel, seen in zip(
                *columns, np.asarray(points), np.asarray(pixels), np.asarray(visible), strict=True
            )
        ]
        header = self._header(stamp, names.TASK_FRAME)
        return self._new("pad_msgs/msg/KeypointArray", header=header, task=task, keypoints=items)

    def objects(self, poses: dict[str, FloatArray], stamp: float) -> Any:
        """pad_msgs/ObjectPoseArray of true poses (4, 4) in the task frame."""
        items = [
            self._new("pad_msgs/msg/ObjectPose", name=name, pose=self._pose(pose), confidence=1.0)
            for name, pose in poses.items()
        ]
        return self._new("pad_msgs/msg/ObjectPoseArray", header=self._header(stamp, names.TASK_FRAME), poses=items)

    def hands(self, landmarks: FloatArray, visible: ArrayLike, stamp: float) -> Any:
        """pad_msgs/HandArray of true landmarks (2, 21, 3) m in the task frame; left, right.

        visible: (2,) bool; a hand outside the image is FILLED.
        """
        items = [
            self._new(
                "pad_msgs/msg/Hand",
                side=side,
                gripper_pose=self._pose(gripper_pose(points)),
                opening=float(np.linalg.norm(points[8] - points[4])),
                state=int(KeypointState.VISIBLE if seen else KeypointState.FILLED),
                presence=1.0,
                landmarks=[self._point(point) for point in points],
            )
            for side, (points, seen) in enumerate(zip(landmarks, np.asarray(visible), strict=True))
        ]
        return self._new("pad_msgs/msg/HandArray", header=self._header(stamp, names.TASK_FRAME), hands=items)

    def _new(self, kind: str, **fields: Any) -> Any:
        return self.types.types[kind](**fields)

    def _header(self, stamp: float, frame: str) -> Any:
        seconds, nanoseconds = divmod(round(stamp * 1e9), 10**9)
        time = self._new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._new("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def _point(self, xyz: ArrayLike) -> Any:
        x, y, z = map(float, np.asarray(xyz))
        return self._new("geometry_msgs/msg/Point", x=x, y=y, z=z)

    def _pose(self, pose: ArrayLike) -> Any:
        matrix = np.asarray(pose, dtype=np.float64)
        x, y, z, w = map(float, geometry.quaternion_xyzw(matrix))
        orientation = self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        return self._new("geometry_msgs/msg/Pose", position=self._point(matrix[:3, 3]), orientation=orientation)
