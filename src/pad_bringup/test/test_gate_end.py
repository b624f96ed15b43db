"""A gate that is ended while the arms move: it brakes them first."""

import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from gate_alone import Robots
from trajectory_msgs.msg import JointTrajectory

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_parse import qos
from pad_policy.chunking import JointChunk
from pad_policy.nodes.conversions import trajectory_message

_MOVING = 1e-3  # rad from one command to the next
_LASTS = 0.75  # s of motion in a chunk


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_moving_arms_are_braked_before_the_gate_leaves(number: int) -> None:
    with private_domain() as domain:
        robots = Robots(domain)
        try:
            gate = robots.start_gate()
            chunks = robots.node.create_publisher(JointTrajectory, names.APPROACH_CHUNK, qos.LATEST)
            assert robots.enable().success
            assert robots.spin(60, lambda: chunks.get_subscription_count() == 1)
            home = robots.values[:12].copy()
            steps = np.arange(1, 11)[:, None] / 10
            sent = [float("-inf")]

            def moves() -> bool:
                if time.monotonic() - sent[0] > 2.0:  # a busy machine may have lost the first
                    sent[0] = time.monotonic()
                    now = 1e-9 * robots.node.get_clock().now().nanoseconds
                    target = robots.values[:12] + 0.6 * steps * (np.arange(12) == 5)
                    times, openings = _LASTS * steps[:, 0], np.full((10, 2), 0.1)
                    chunks.publish(trajectory_message(JointChunk(now, robots.names, times, target, openings)))
                return len(robots.left) > 1 and np.abs(robots.left[-1] - robots.left[-2]).max() > 3 * _MOVING

            assert robots.spin(60, moves), robots.said[-1:]
            gate.send_signal(number)
            began = time.monotonic()
            assert robots.spin(60, lambda: gate.poll() is not None)
            took = time.monotonic() - began
            robots.spin(0.5)
            steps_made = np.abs(np.diff(robots.left, axis=0)).max(axis=1)
            assert steps_made[-1] < _MOVING, f"left in mid-motion: {steps_made[-10:]}"
            assert gate.returncode == 0 and took < 30 and np.abs(robots.values[:12] - home).max() > 0.01
        finally:
            robots.close()
