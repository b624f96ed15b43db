"""Every QoS profile of PAD, by what the stream is for. The only module besides the nodes that imports rclpy."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _keep_last(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


CAMERA = _keep_last(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""Subscribing to images: matches any camera driver. Lossless with enough shared memory (see docs/ros_host.md)."""

CAMERA_OUT = _keep_last(5, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Publishing images: reliable, so that a subscriber may choose either."""

LATEST = _keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Keypoints, hands, chunks: each message replaces the one before."""

JOINT_STATES = _keep_last(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)

COMMAND = _keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Commands to the robot: volatile, so that a late joiner never replays an old command."""

STATUS = _keep_last(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Safety state, outcomes, diagnostics, ground truth."""

LATCHED = _keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Markers of static things, robot description, static transforms: a late joiner gets the last message."""

TRANSFORMS = _keep_last(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""/tf, as tf2 itself offers it."""
