"""Tracked hands as messages: the array for the graph, markers and frames for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_msgs.msg import Hand, HandArray
from pad_parse.hands.live import LiveHand
from pad_parse.nodes.keypoint_messages import TASK_FRAME, pose_message

SIDES = ("left", "right")

_AXIS = 0.05  # m, length of a gripper axis
_BONES = tuple((0 if k % 4 == 1 else k - 1, k) for k in range(1, 21))  # wrist -> knuckle -> ... -> tip of each finger
_COLOURS = ((0.20, 0.55, 0.95), (0.95, 0.45, 0.20))
_RED, _GREEN, _BLUE = ((1.0, 0.0, 0.0), (0.0, 0.8, 0.0), (0.1, 0.1, 1.0))


def hand_array(hands: Sequence[LiveHand], stamp: Time) -> HandArray:
    """The hands that are in one image, in the task frame."""
    message = HandArray()
    message.header.stamp, message.header.frame_id = stamp, TASK_FRAME
    for hand in hands:
        message.hands.append(
            Hand(
                side=Hand.LEFT if hand.side == 0 else Hand.RIGHT,
                gripper_pose=pose_message(hand.gripper_pose),
                opening=hand.opening,
                state=Hand.VISIBLE,
                presence=hand.presence,
                landmarks=[Point(x=x, y=y, z=z) for x, y, z in hand.landmarks.tolist()],
            )
        )
    return message


def hand_markers(hands: Sequence[LiveHand], stamp: Time) -> MarkerArray:
    """Skeleton and gripper axes (x red, y green, z blue: approach) of each hand; a hand that is gone is taken away."""
    array = MarkerArray()
    present = {hand.side: hand for hand in hands}
    for side, name in enumerate(SIDES):
        bones, axes = (
            _lines(f"hands/{name}/{what}", stamp, width) for what, width in (("bones", 0.004), ("axes", 0.006))
        )
        array.markers += [bones, axes]
        hand = present.get(side)
        if hand is None:
            bones.action = axes.action = Marker.DELETE
            continue
        r, g, b = _COLOURS[side]
        bones.color = ColorRGBA(r=r, g=g, b=b, a=1.0)
        for start, end in _BONES:
            bones.points += [_point(hand.landmarks[start]), _point(hand.landmarks[end])]
        origin = hand.gripper_pose[:3, 3]
        for axis, (r, g, b) in enumerate((_RED, _GREEN, _BLUE)):
            axes.points += [_point(origin), _point(origin + _AXIS * hand.gripper_pose[:3, axis])]
            axes.colors += [ColorRGBA(r=r, g=g, b=b, a=1.0)] * 2
    return array


def _lines(namespace: str, stamp: Time, width: float) -> Marker:
    marker = Marker(type=Marker.LINE_LIST, action=Marker.ADD, ns=namespace)
    marker.header.stamp, marker.header.frame_id = stamp, TASK_FRAME
    marker.pose.orientation.w = 1.0
    marker.scale.x = width
    return marker


def _point(place: np.ndarray) -> Point:
    x, y, z = place.tolist()
    return Point(x=x, y=y, z=z)
