"""The gate's limits of a robot, from its profile and its description."""

import numpy as np

from pad_augment.kinematics import Robot
from pad_policy.safety import GateLimits

#: The grippers' own limits; parallel jaws move their gap by up to 0.2 m/s.
OPENING_VELOCITY, OPENING_ACCELERATION = 0.2, 2.0


def command_joint_names(robot: Robot) -> list[str]:
    """14 names: six joints of the left arm, six of the right, the left and the right finger joint."""
    return [*robot.joint_names, *(arm.finger_joint for arm in robot.arms)]


def gate_limits(robot: Robot) -> GateLimits:
    """Position, velocity and acceleration limits of the 12 joints and the 2 openings."""
    return GateLimits(
        lower=np.concatenate([robot.lower_limits.ravel(), np.zeros(2)]),
        upper=np.concatenate([robot.upper_limits.ravel(), [arm.max_opening for arm in robot.arms]]),
        velocity=np.concatenate([robot.velocity_limits.ravel(), np.full(2, OPENING_VELOCITY)]),
        acceleration=np.concatenate([robot.acceleration_limits.ravel(), np.full(2, OPENING_ACCELERATION)]),
    )
