"""Tracked keypoints as messages: the array for the graph, markers for people."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_msgs.msg import Keypoint, KeypointArray
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.ros_transforms import fill_pose
from pad_parse.tracking import KeypointFrame

TASK_FRAME = "task_frame"

_SIZE = 0.012  # m, diameter of a marker
_TRAIL_WIDTH = 0.003  # m
_TRAIL_LENGTH = 40  # frames
_PALETTE = ((0.90, 0.60, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65))
_GREY = (0.6, 0.6, 0.6)


def keypoint_array(
    frame: KeypointFrame, demonstration: Demonstration, stamp: Time, size: Sequence[int]
) -> KeypointArray:
    """The keypoints of an image of `size` (width, height); pixels outside it are nan."""
    message = KeypointArray(task=demonstration.task.name)
    message.header.stamp, message.header.frame_id = stamp, TASK_FRAME
    inside = np.all((frame.pixels >= 0) & (frame.pixels < size), axis=1)
    pixels = np.where(inside[:, None], frame.pixels, np.nan).tolist()
    points, states = frame.points_in_task.tolist(), frame.states.tolist()
    for i, name in enumerate(demonstration.keypoint_names):
        x, y, z = points[i]
        message.keypoints.append(
            Keypoint(
                name=name,
                group=demonstration.keypoint_groups[i],
                object=demonstration.keypoint_objects[i],
                position=Point(x=x, y=y, z=z),
                state=states[i],
                confidence=float(frame.confidence[i]),
                uncertainty=float(frame.uncertainty[i]),
                u=pixels[i][0],
                v=pixels[i][1],
            )
        )
    return message


def pose_message(matrix: np.ndarray) -> Pose:
    """geometry_msgs/Pose of a (4, 4) pose."""
    pose = Pose()
    fill_pose(pose, matrix)
    return pose


class KeypointMarkers:
    """Spheres by group (grey: lost, half transparent: filled in) and the trail of each group's centre."""

    def __init__(self, groups: Sequence[str]) -> None:
        """groups: the group of each of the N keypoints."""
        self._members = {g: np.flatnonzero([g == other for other in groups]) for g in dict.fromkeys(groups)}
        self._trails: dict[str, deque[Point]] = {g: deque(maxlen=_TRAIL_LENGTH) for g in self._members}

    def clear_trails(self) -> None:
        """Begin anew, as after a localisation."""
        for trail in self._trails.values():
            trail.clear()

    def markers(self, frame: KeypointFrame, stamp: Time) -> MarkerArray:
        """Spheres and trails in the task frame."""
        array = MarkerArray()
        for k, (group, members) in enumerate(self._members.items()):
            colour = _PALETTE[k % len(_PALETTE)]
            spheres = _marker(Marker.SPHERE_LIST, f"keypoints/{group}", k, stamp)
            spheres.scale.x = spheres.scale.y = spheres.scale.z = _SIZE
            for i in members:
                x, y, z = frame.points_in_task[i].tolist()
                r, g, b = _GREY if frame.states[i] == KeypointState.LOST else colour
                alpha = 1.0 if frame.states[i] == KeypointState.VISIBLE else 0.5
                spheres.points.append(Point(x=x, y=y, z=z))
                spheres.colors.append(ColorRGBA(r=r, g=g, b=b, a=alpha))
            array.markers.append(spheres)
            kept = frame.states[members] != KeypointState.LOST
            if kept.any():
                x, y, z = frame.points_in_task[members[kept]].mean(axis=0).tolist()
                self._trails[group].append(Point(x=x, y=y, z=z))
            trail = _marker(Marker.LINE_STRIP, f"trails/{group}", k, stamp)
            trail.scale.x = _TRAIL_WIDTH
            trail.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=0.6)
            trail.points = list(self._trails[group])
            if len(trail.points) < 2:
                trail.action = Marker.DELETE
            array.markers.append(trail)
        return array


def _marker(kind: int, namespace: str, number: int, stamp: Time) -> Marker:
    marker = Marker(type=kind, action=Marker.ADD, ns=namespace, id=number)
    marker.header.stamp, marker.header.frame_id = stamp, TASK_FRAME
    marker.pose.orientation.w = 1.0
    return marker
