"""The way from where the arms are to where a policy starts: free of collisions, and led along as the arms follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pad_augment.errors import IkError, PadAugmentError
from pad_augment.kinematics import Robot
from pad_augment.planning.interface import Body, Failure, PlanFailure, Shape
from pad_parse.geometry import rotation_log
from pad_policy.actions import poses
from pad_policy.chunking import JointChunk
from pad_policy.errors import ApproachError

Array = NDArray[np.float64]

RATE_HZ = 10.0  # steps per s of the way
_MARGIN = 0.02  # m; keypoints lie on an object, not around it
_SEED = 0
_LEAD = 0.6  # s of the way in one chunk: how long the arms go on if no other comes
_SLACK = 0.15  # rad that the arms may lag behind before the way waits for them
ARRIVED = 0.03  # rad
_TOUCHES = (Failure.SELF_COLLISION, Failure.ARMS_COLLISION, Failure.OBJECT_COLLISION)


def away_from_start(gripper_poses: Array, start_ee: Sequence[float], distance: float, turn: float) -> str:
    """Why a policy may not start from TCP poses (2, 4, 4), or an empty string.

    start_ee: (20,) the end effectors that it starts from. distance: m, turn: rad that a TCP may be away from them.
    """
    start = poses(np.asarray(start_ee, np.float64))
    for side, pose, wanted in zip(("left", "right"), gripper_poses, start, strict=True):
        far = float(np.linalg.norm(pose[:3, 3] - wanted[:3, 3]))
        turned = float(np.linalg.norm(rotation_log(pose[:3, :3] @ wanted[:3, :3].T)))
        if far > distance or turned > turn:
            return (
                f"the robot is far from where the policy starts: the {side} TCP by {far:.2f} m and {turned:.2f} rad, "
                f"at most {distance} m and {turn} rad are allowed; /pad/approach leads it there"
            )
    return ""


class TouchingError(ApproachError):
    """The arms, or the posture that they should go to, touch something."""


@dataclass(frozen=True)
class Obstacle:
    """An object around its keypoints: an upright cylinder from the table up. centre (2,) m, task frame."""

    centre: Array
    radius: float
    height: float


def start_posture(robot: Robot, start_ee: Sequence[float]) -> Array:
    """Joints (2 n,) rad of the end effectors (20,) that a policy starts from, near the robot's home.

    Raises:
        ApproachError: this robot does not reach them.
    """
    targets = poses(np.asarray(start_ee, np.float64))
    try:
        return np.concatenate([robot.ik(arm, targets[arm], robot.home[arm]) for arm in range(2)])
    except IkError as error:
        raise ApproachError(f"the robot does not reach where the policy starts: {error}") from error


def obstacles_of(points: Array, known: NDArray[np.bool_], owners: Sequence[str]) -> dict[str, Obstacle]:
    """Object -> what to keep clear of, from keypoints (N, 3) m in the task frame and the object each one is on.

    known: (N,) bool; an object none of whose points is known is left out.
    """
    found = {}
    for name in dict.fromkeys(owners):
        own = points[known & (np.array(owners) == name)]
        if len(own):
            centre = 0.5 * (own[:, :2].min(axis=0) + own[:, :2].max(axis=0))
            radius = float(np.linalg.norm(own[:, :2] - centre, axis=1).max()) + _MARGIN
            found[name] = Obstacle(centre, radius, max(float(own[:, 2].max()), 0.0) + _MARGIN)
    return found


def plan_approach(
    robot: Robot, start: Array, goal: Array, openings: Array, obstacles: Mapping[str, Obstacle], speed: float
) -> Array:
    """The way (T, 2 n) rad, RATE_HZ steps per s, from start to goal (2 n,), at rest at both ends.

    openings: (2,) m, kept. speed: share of the robot's velocities. Proved free of collisions by pad_augment's planner.

    Raises:
        TouchingError: the start or the goal touches something.
        ApproachError: no way was found, or this robot has no planner.
    """
    # Imported when it is asked for: it takes a second, and a policy that is near its start never needs it.
    from pad_augment.planning.roboplan import RoboplanPlanner

    shapes = {name: Shape(obstacle.radius, obstacle.height) for name, obstacle in obstacles.items()}
    bodies = {}
    for name, obstacle in obstacles.items():
        pose = np.eye(4)
        pose[:2, 3] = obstacle.centre
        bodies[name] = Body(pose)
    try:
        planner = RoboplanPlanner(robot, shapes, RATE_HZ)
        way = planner.move(start, goal, openings, bodies, np.random.default_rng(_SEED))
    except PlanFailure as failure:
        kind = TouchingError if failure.code in _TOUCHES else ApproachError
        raise kind(
            f"{failure.code.value}: {failure}; move the arms clear by hand (teach pendant), or clear the table"
        ) from failure
    except PadAugmentError as error:
        raise ApproachError(str(error)) from error
    count = int(np.ceil((len(way) - 1) / speed)) + 1
    old, new = np.linspace(0.0, 1.0, len(way)), np.linspace(0.0, 1.0, count)
    return np.stack([np.interp(new, old, column) for column in way.T], axis=1)


class Approach:
    """A way that is under way. Its time stands still while the arms lag behind it."""

    def __init__(self, way: Array, openings: Array, joint_names: Sequence[str]) -> None:
        """way: as of `plan_approach`. openings: (2,) m. joint_names: as of `JointChunk`."""
        self._way = way
        self._openings = np.asarray(openings)
        self._joint_names = list(joint_names)
        self._end = (len(way) - 1) / RATE_HZ
        self._time = 0.0
        self._told: float | None = None

    @property
    def fraction(self) -> float:
        """How much of the way has been led, 0 to 1."""
        return self._time / self._end if self._end > 0 else 1.0

    def arrived(self, measured: Array) -> bool:
        """Whether joints (2 n,) rad are at its end."""
        return self._time >= self._end and bool(np.abs(measured - self._way[-1]).max() < ARRIVED)

    def chunk(self, now: float, measured: Array) -> JointChunk:
        """The next piece of the way, for the gate. measured: (2 n,) rad, where the arms are."""
        passed = 0.0 if self._told is None else max(now - self._told, 0.0)
        self._told = now
        if np.abs(measured - self._at(self._time)).max() < _SLACK:
            self._time = min(self._time + passed, self._end)
        times = np.arange(1, round(_LEAD * RATE_HZ) + 1) / RATE_HZ
        positions = np.stack([self._at(self._time + time) for time in times])
        return JointChunk(now, self._joint_names, times, positions, np.tile(self._openings, (len(times), 1)))

    def _at(self, time: float) -> Array:
        place = np.clip(time * RATE_HZ, 0, len(self._way) - 1)
        return np.array([np.interp(place, np.arange(len(self._way)), column) for column in self._way.T])
