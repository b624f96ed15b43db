"""The gate's limits of a robot, from its profile and its description."""

import numpy as np

from pad_augment.kinematics import Robot
from pad_policy.safety import GateLimits

#: The grippers' own limits; parallel jaws move their gap by up to 0.2 m/s.
OPENING_VELOCITY, OPENING_ACCELERATION = 0.2, 2.0
#: s in which an axis may get from no acceleration to all that it is allowed: what the jerk limits follow from.
JERK_TIME = 0.02


def command_joint_names(robot: Robot) -> list[str]:
    """The joints of the left arm, those of the right, the left and the right finger joint."""
    return [*robot.joint_names, *(arm.finger_joint for arm in robot.arms)]


def gate_limits(
    robot: Robot, *, speed: float = 1.0, acceleration: float = 1.0, jerk_time: float = JERK_TIME
) -> GateLimits:
    """Limits of the joints and the 2 openings.

    speed, acceleration: shares of the profile's velocities and accelerations that are allowed. jerk_time: s from none
    to all acceleration; a jerk limit of the profile that is lower than that holds instead.
    """
    push = acceleration * np.concatenate([robot.acceleration_limits.ravel(), np.full(2, OPENING_ACCELERATION)])
    return GateLimits(
        lower=np.concatenate([robot.lower_limits.ravel(), np.zeros(2)]),
        upper=np.concatenate([robot.upper_limits.ravel(), [arm.max_opening for arm in robot.arms]]),
        velocity=speed * np.concatenate([robot.velocity_limits.ravel(), np.full(2, OPENING_VELOCITY)]),
        acceleration=push,
        jerk=np.minimum(push / jerk_time, np.append(robot.jerk_limits.ravel(), (np.inf, np.inf))),
    )
