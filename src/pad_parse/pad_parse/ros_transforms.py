"""ROS transforms <-> pose matrices. The only module that knows whether tf2 and tf_transformations do it, or scipy.

On a ROS host with `tf2_py`, `geometry_msgs` and `tf_transformations` those are used; without them the same is done by
`geometry` (scipy). Both give the same numbers.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pad_parse import geometry
from pad_parse.errors import GeometryError

FloatArray = NDArray[np.float64]
BACKENDS = ("tf2", "scipy")


class FrameTree(Protocol):
    """Static transforms between named frames."""

    def add(self, parent: str, child: str, transform_child_to_parent: FloatArray) -> None:
        """Add an edge; the (4, 4) matrix maps points of the child frame into the parent frame, metres."""
        ...

    def lookup(self, target: str, source: str) -> FloatArray | None:
        """(4, 4) that maps points of `source` into `target`, over any chain of edges; None if they are not connected.

        A frame that was never named is connected to nothing but itself.
        """
        ...

    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        ...


@cache
def backend() -> str:
    """ "tf2" where tf2_py, geometry_msgs and tf_transformations can be imported, else "scipy"."""
    try:
        for name in ("tf2_py", "geometry_msgs.msg", "tf_transformations"):
            importlib.import_module(name)
    except (ImportError, AttributeError):  # an extension built for another numpy fails in both ways
        return "scipy"
    return "tf2"


def frame_tree(chosen: str | None = None) -> FrameTree:
    """An empty tree; `chosen` is one of `BACKENDS`, None for what this machine has (see `backend`)."""
    return _Tf2FrameTree() if (chosen or backend()) == "tf2" else _PlainFrameTree()


def pose_matrix(translation: Any, rotation: Any, chosen: str | None = None) -> FloatArray:
    """(4, 4) of a translation (fields x, y, z; metres) and a quaternion (fields x, y, z, w) of any ROS message.

    Raises:
        GeometryError: numbers that are not finite, or a quaternion of zero length.
    """
    t = np.array([translation.x, translation.y, translation.z], dtype=np.float64)
    q = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    length = np.linalg.norm(q)
    if not np.all(np.isfinite(t)) or not np.isfinite(length) or length < 1e-9:
        raise GeometryError(f"a transform has translation {t.tolist()} and quaternion (xyzw) {q.tolist()}: no pose")
    if (chosen or backend()) == "tf2":
        pose: FloatArray = np.array(importlib.import_module("tf_transformations").quaternion_matrix(q / length))
        pose[:3, 3] = t
        return pose
    return geometry.make_pose(geometry.from_quaternion_xyzw(q), t)


def quaternion_of(pose: FloatArray, chosen: str | None = None) -> FloatArray:
    """Quaternion (4,) xyzw with w >= 0 of a pose (4, 4)."""
    if (chosen or backend()) == "tf2":
        q = np.array(importlib.import_module("tf_transformations").quaternion_from_matrix(pose), dtype=np.float64)
    else:
        q = geometry.quaternion_xyzw(pose)
    return -q if q[3] < 0 else q


def fill_pose(message: Any, pose: FloatArray) -> None:
    """Write a pose (4, 4) into a geometry_msgs/Pose (`position`) or Transform (`translation`), in place."""
    place = message.position if hasattr(message, "position") else message.translation
    place.x, place.y, place.z = (float(v) for v in pose[:3, 3])
    turn = message.orientation if hasattr(message, "orientation") else message.rotation
    turn.x, turn.y, turn.z, turn.w = (float(v) for v in quaternion_of(pose))


def _plain_name(frame: str) -> str:
    # ROS 1 and some drivers still write a slash before frame names; tf2 knows none.
    return frame.lstrip("/")


class _PlainFrameTree:
    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, FloatArray]] = {}  # child -> parent, child to parent

    def add(self, parent: str, child: str, transform_child_to_parent: FloatArray) -> None:
        # As in tf2, a child has one parent: a later transform replaces an earlier one.
        self._parents[_plain_name(child)] = (_plain_name(parent), transform_child_to_parent)

    def lookup(self, target: str, source: str) -> FloatArray | None:
        to_target, to_source = self._ancestors(_plain_name(target)), self._ancestors(_plain_name(source))
        common = next((frame for frame in to_source if frame in to_target), None)
        return None if common is None else geometry.inverse(to_target[common]) @ to_source[common]

    def frames(self) -> list[str]:
        return sorted({name for child, (parent, _) in self._parents.items() for name in (child, parent)})

    def _ancestors(self, frame: str) -> dict[str, FloatArray]:
        """The frame and all above it, nearest first -> (4, 4) from the frame to there."""
        reached = {frame: np.eye(4)}
        while frame in self._parents:
            parent, pose = self._parents[frame]
            if parent in reached:  # a loop in a damaged file
                break
            reached[parent] = pose @ reached[frame]
            frame = parent
        return reached


class _Tf2FrameTree:
    def __init__(self) -> None:
        self._tf2 = importlib.import_module("tf2_py")
        self._messages = importlib.import_module("geometry_msgs.msg")
        self._buffer = self._tf2.BufferCore()
        self._names: set[str] = set()

    def add(self, parent: str, child: str, transform_child_to_parent: FloatArray) -> None:
        message = self._messages.TransformStamped()
        message.header.frame_id, message.child_frame_id = _plain_name(parent), _plain_name(child)
        fill_pose(message.transform, transform_child_to_parent)
        self._buffer.set_transform_static(message, "pad_parse")
        self._names |= {message.header.frame_id, message.child_frame_id}

    def lookup(self, target: str, source: str) -> FloatArray | None:
        target, source = _plain_name(target), _plain_name(source)
        if target == source:
            return np.eye(4)
        time = importlib.import_module("rclpy.time").Time()
        try:
            found = self._buffer.lookup_transform_core(target, source, time)
        except self._tf2.TransformException:
            return None
        return pose_matrix(found.transform.translation, found.transform.rotation)

    def frames(self) -> list[str]:
        return sorted(self._names)
