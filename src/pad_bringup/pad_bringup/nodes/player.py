"""Node `player`: plays a demonstration, or an episode of a dataset, as markers, joint states and image for RViz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_augment.dataset import Dataset
from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import RobotProfile
from pad_bringup import names
from pad_bringup.camera_messages import image_message
from pad_bringup.errors import PadBringupError, ViewerError
from pad_bringup.view import Episodes, Motion, demonstration_motion, trail
from pad_parse import qos
from pad_parse.colours import group_colours
from pad_parse.demonstration import FILE_SUFFIX, KeypointState
from pad_parse.errors import PadParseError
from pad_parse.nodes.parameters import declare, required
from pad_parse.nodes.running import run_node

_AXIS = 0.06  # m
_AXES = ((1.0, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.0, 1.0))
_GREY = (0.6, 0.6, 0.6)
_PATHS = ((0.0, 0.45, 0.70), (0.84, 0.37, 0.0))


def motion_markers(motion: Motion, k: int, stamp: Time) -> MarkerArray:
    """Instant k: keypoints by group with trails, gripper frames and their whole paths, what each arm does."""
    out = MarkerArray()
    for number, (group, colour) in enumerate(group_colours(motion.groups).items()):
        shade = tuple(value / 255 for value in colour)
        spheres = _marker(Marker.SPHERE_LIST, f"keypoints/{group}", number, 0.012, shade, stamp)
        for i in (i for i, name in enumerate(motion.groups) if name == group):
            if np.isfinite(motion.keypoints[k, i]).all():
                state = motion.states[k, i]
                r, g, b = _GREY if state == KeypointState.LOST else shade
                spheres.points.append(_point(motion.keypoints[k, i]))
                spheres.colors.append(ColorRGBA(r=r, g=g, b=b, a=1.0 if state == KeypointState.VISIBLE else 0.5))
        line = _marker(Marker.LINE_STRIP, f"trails/{group}", number, 0.003, shade, stamp)
        line.points = [_point(p) for p in trail(motion, group, k)]
        out.markers += [spheres, line]
    for arm, name in enumerate(names.ARMS):
        axes = _marker(Marker.LINE_LIST, f"grippers/{name}", arm, 0.006, _GREY, stamp)
        pose = motion.grippers[k, arm]
        for axis, (r, g, b) in enumerate(_AXES if np.isfinite(pose).all() else ()):
            axes.points += [_point(pose[:3, 3]), _point(pose[:3, 3] + _AXIS * pose[:3, axis])]
            axes.colors += [ColorRGBA(r=r, g=g, b=b, a=1.0)] * 2
        path = _marker(Marker.LINE_STRIP, f"paths/{name}", arm, 0.002, _PATHS[arm], stamp)
        places = motion.grippers[:, arm, :3, 3]
        path.points = [_point(p) for p in places[np.isfinite(places).all(axis=1)]]
        doing = _marker(Marker.TEXT_VIEW_FACING, f"segments/{name}", arm, 0.035, _PATHS[arm], stamp)
        doing.text = f"{name}: {motion.activities[k][arm] or '-'}" if motion.activities else ""
        doing.pose.position.y, doing.pose.position.z = 0.45 - 0.9 * arm, 0.55
        out.markers += [axes, path, doing]
    for marker in out.markers:
        if not (marker.points or marker.text):
            marker.action = Marker.DELETE
    return out


class Player(Node):
    """Plays in its own time, again and again."""

    def __init__(self) -> None:
        super().__init__("player")
        self.fault = ""
        declare(self, "file", "", "Demonstration (.demo.h5) or dataset folder.")
        episode = declare(self, "episode", 0, "Episode of a dataset.", limits=(0, 10_000_000))
        speed = declare(self, "speed", 1.0, "Recorded seconds per real second.", limits=(0.05, 20.0))
        declare(self, "robot", "", "Robot profile YAML, whose joints a dataset's episode moves.")
        path = Path(required(self, "file", "FILE.demo.h5"))
        self._motion = _motion(path, int(episode))
        self._joints: list[str] = []
        robot = str(self.get_parameter("robot").value)
        if robot and self._motion.joints is not None:
            arms = RobotProfile.load(Path(robot)).arms
            self._joints = [*arms.left.joints, *arms.right.joints, arms.left.finger_joint, arms.right.finger_joint]
            self._states = self.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
        self._markers = self.create_publisher(MarkerArray, names.MARKERS, qos.STATUS)
        if self._motion.image is not None:
            self._image = self.create_publisher(Image, names.COLOR_IMAGE, qos.CAMERA_OUT)
            self.create_timer(1.0, self._show_image, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._k = 0
        period = 1.0 / (self._motion.rate * float(speed))
        self.create_timer(period, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"playing {path}: {self._motion.label}, {len(self._motion.keypoints)} instants")

    def _show(self) -> None:
        stamp = self.get_clock().now().to_msg()
        self._markers.publish(motion_markers(self._motion, self._k, stamp))
        if self._joints and self._motion.joints is not None:
            message = JointState(name=self._joints)
            message.header.stamp = stamp
            message.position = [*self._motion.joints[self._k].tolist(), *(self._motion.openings[self._k] / 2).tolist()]
            self._states.publish(message)
        self._k = (self._k + 1) % len(self._motion.keypoints)

    def _show_image(self) -> None:
        assert self._motion.image is not None
        self._image.publish(image_message(self._motion.image, "rgb8", 3, self.get_clock().now().to_msg()))


def _motion(path: Path, episode: int) -> Motion:
    """Raises: ViewerError: nothing that can be played, or no such episode."""
    if path.name.endswith(FILE_SUFFIX):
        return demonstration_motion(path)
    if not (path / "zarr.json").is_file():
        raise ViewerError(f"{path} cannot be played; known: a demonstration (*{FILE_SUFFIX}), a dataset folder")
    episodes = Episodes(Dataset.open(path))
    if episode >= len(episodes):
        raise ViewerError(f"{path} has no episode {episode}; the last one is {len(episodes) - 1}")
    return episodes[episode]


def _marker(kind: int, space: str, number: int, size: float, colour: tuple[float, ...], stamp: Time) -> Marker:
    marker = Marker(type=kind, action=Marker.ADD, ns=space, id=number)
    marker.header.stamp, marker.header.frame_id = stamp, names.TASK_FRAME
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=1.0)
    return marker


def _point(place: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in place)
    return Point(x=x, y=y, z=z)


def main() -> None:
    """Run the node until it is told to stop; ends with 2 on a file that cannot be played."""
    run_node("player", Player, (PadBringupError, PadParseError, PadAugmentError))


if __name__ == "__main__":
    main()
