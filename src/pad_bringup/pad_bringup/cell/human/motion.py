"""What the demonstrator's hands and the objects do over time, for a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pad_bringup.cell import two_hands
from pad_bringup.cell.demonstrations import held_objects, human_grasps, task_motion
from pad_bringup.cell.human.errors import MotionError
from pad_bringup.cell.human.grasp import Grasp, fit_grasp
from pad_bringup.cell.human.hand import Hand, Side, gripper_pose
from pad_bringup.cell.objects import TaskObjects
from pad_parse import geometry

FloatArray = NDArray[np.float64]

SIDES: tuple[Side, Side] = ("left", "right")

_START_BACK, _START_UP = 0.17, 0.02
_START_ROLL = np.radians(55)
"""At the start the palms are turned a little to the table."""
_ELBOWS = np.array([[-0.42, 0.30, 0.18], [-0.42, -0.30, 0.18]])
_ELBOW_FOLLOWS = 0.5
"""Share of the hand's rise above its grasp that the elbow follows."""
_TREMOR_POSITION, _TREMOR_ANGLE, _TREMOR_TIME = 0.0008, 0.006, 0.25
_CLEARANCE = 0.012
"""m between the fingers of an open hand and what it is about to grasp."""
_RELAXED = 0.5
"""How much of the open hand's bends a hand at rest keeps."""
_DOWN, _LOOSE, _GONE = 1.3, 2.1, 3.4
"""s after the end of the task at which both objects stand on the table, the hands are open, and it is over."""
_REST, _STILL = 0.3, 0.3
"""s that the hands rest before they open, and at the end."""
_DRAW_BACK = 0.12
"""m that the hands draw back."""
_REST_AZIMUTHS = np.radians([-45.0, 45.0])


@dataclass(frozen=True, eq=False)
class HumanMotion:
    """Both hands (left, right) and the objects at evenly spaced times.

    Attributes:
        stamps: (T,) s from 0.
        wrists: (T, 2, 4, 4) wrist poses in the task frame, m.
        postures: (T, 2, 25, 3) rad, see `hand`.
        elbows: (T, 2, 3) points in the task frame that the forearms are aimed at.
        objects: name -> (T, 4, 4) in the task frame.
        held: (T, 2) whether the hand holds its object.
        phases: (T,) name of the phase.
    """

    stamps: FloatArray
    wrists: FloatArray
    postures: FloatArray
    elbows: FloatArray
    objects: dict[str, FloatArray]
    held: NDArray[np.bool_]
    phases: NDArray[np.str_]

    def frames(self, index: int, hands: tuple[Hand, Hand]) -> FloatArray:
        """Bone poses (2, 26, 4, 4) of both hands at one time."""
        return np.stack(
            [
                hand.forward(self.postures[index, side], self.wrists[index, side], self.elbows[index, side])
                for side, hand in enumerate(hands)
            ]
        )


def demonstrate(
    objects: TaskObjects,
    placements: Mapping[str, tuple[float, float, float]],
    rng: np.random.Generator,
    rate: float,
    *,
    put_down: bool = False,
) -> HumanMotion:
    """The demonstrator's motion for `objects.task`.

    placements: object -> (x, y, yaw), m and rad, at the start, as in `TaskObjects.places`. rng: the tremor of
    the hands. rate: samples per second.
    put_down: at the end both objects are put on the table and let go.

    Raises:
        CellError: nobody knows how to show the task.
        MotionError: something is to be put down that has been let go.
        GraspError: an object cannot be grasped.
    """
    names, taken = held_objects(objects.task), human_grasps(objects.task)
    places, poses = objects.places(placements), objects.poses(placements)
    fits: list[Grasp] = []
    opened: list[FloatArray] = []
    grasps: dict[str, two_hands.Grasp] = {}
    start = np.empty((2, 4, 4))
    for arm, name in enumerate(names):
        # Objects are round: the hand comes from where it is, whatever way the object is turned.
        yaw = places[name][2]
        own = taken[name]
        height, azimuth, pitch = own.height, float(np.radians(own.azimuth)), own.pitch
        level = np.cos(pitch)
        direction = (np.cos(azimuth) * level, np.sin(azimuth) * level, -np.sin(pitch))
        radius = objects.models[name].radius_at(height)
        fit = _cached_grasp(SIDES[arm], radius, height, direction)
        # An open hand has the shape of the grasp of something thicker.
        opened.append(_cached_grasp(SIDES[arm], radius + _CLEARANCE, height, direction).posture)
        fits.append(fit)
        in_object = geometry.yaw_pose(0.0, 0.0, -yaw) @ fit.gripper_in_object
        grasps[name] = two_hands.Grasp(in_object, fit.opening, 1.0)
        # At rest the hand points half forwards, from wherever it will grasp.
        resting = poses[name] @ geometry.yaw_pose(0.0, 0.0, _REST_AZIMUTHS[arm] - azimuth - yaw) @ fit.gripper_in_object
        resting[:3, 3] += [0.0, 0.0, _START_UP] - _START_BACK * resting[:3, 2]
        # Turn about the approach axis; thumbs go inwards, palms down.
        roll = Rotation.from_rotvec([0.0, 0.0, _START_ROLL if arm == 1 else -_START_ROLL]).as_matrix()
        resting[:3, :3] = resting[:3, :3] @ roll
        start[arm] = resting
    # The "opening" runs from 2 (hand at rest) over 1 (open) to the grasp's own width here; it drives the posture.
    motion = task_motion(objects, poses, grasps, start, start_openings=(2.0, 2.0), rate=rate)
    if put_down:
        if not motion.held[-1].all():
            raise MotionError(f"the hands have let go at the end of {objects.task}; there is nothing to put down")
        motion = _put_down(motion, names, rate)
    count = len(motion.stamps)
    wrists, postures, elbows = np.empty((count, 2, 4, 4)), np.empty((count, 2, 25, 3)), np.empty((count, 2, 3))
    for arm, fit in enumerate(fits):
        opening = motion.openings[:, arm, None, None]
        resting_share = np.clip(opening - 1.0, 0, 1)
        open_share = np.clip((opening - fit.opening) / (1.0 - fit.opening), 0, 1)
        loose = opened[arm] * (1 - (1 - _RELAXED) * resting_share)
        postures[:, arm] = (1 - open_share) * fit.posture + open_share * loose
        # The wrist gives way while the fingers close, so that the middle between thumb and index finger does not.
        hand = Hand(SIDES[arm])
        grippers = np.stack([gripper_pose(hand.landmarks(hand.forward(angles))) for angles in postures[:, arm]])
        wrists[:, arm] = motion.gripper_poses[:, arm] @ geometry.inverse(grippers)
        rise = wrists[:, arm, 2, 3] - wrists[0, arm, 2, 3]
        elbows[:, arm] = _ELBOWS[arm]
        elbows[:, arm, 2] += _ELBOW_FOLLOWS * np.maximum(rise, 0)
    tremor = _tremor(rng, count, rate)
    free = gaussian_filter1d((~motion.held).astype(np.float64), 0.1 * rate, axis=0)[..., None, None]
    moved = wrists @ tremor
    # The hand trembles in the air; what it holds is led exactly, so that truth stays simple.
    wrists = geometry.interpolate_pose(wrists, moved, free[..., 0, 0])
    return HumanMotion(motion.stamps, wrists, postures, elbows, motion.object_poses, motion.held, motion.phases)


def _put_down(motion: two_hands.TwoHandMotion, names: tuple[str, str], rate: float) -> two_hands.TwoHandMotion:
    """The motion, and after it: both objects sink to the table, the hands open round them and draw back."""
    stamps = np.arange(1, round(_GONE * rate) + 1) / rate
    sinking = two_hands.minimum_jerk(stamps / _DOWN)[:, None]
    opening = two_hands.minimum_jerk((stamps - _DOWN - _REST) / (_LOOSE - _DOWN - _REST))[:, None]
    leaving = two_hands.minimum_jerk((stamps - _LOOSE) / (_GONE - _STILL - _LOOSE))[:, None]
    objects, grippers, openings = {}, [], []
    for arm, name in enumerate(names):
        last = motion.object_poses[name][-1]
        down = np.repeat(last[None], len(stamps), axis=0)
        down[:, 2, 3] *= 1 - sinking[:, 0]
        objects[name] = np.concatenate([motion.object_poses[name], down])
        hand = down @ geometry.inverse(last) @ motion.gripper_poses[-1, arm]
        hand[:, :3, 3] -= _DRAW_BACK * leaving * hand[:, :3, 2]
        grippers.append(hand)
        openings.append(motion.openings[-1, arm] + (1.0 - motion.openings[-1, arm]) * opening[:, 0])
    held = np.repeat(stamps[:, None] < _DOWN + _REST, 2, axis=1)
    return two_hands.TwoHandMotion(
        np.concatenate([motion.stamps, motion.stamps[-1] + stamps]),
        np.concatenate([motion.gripper_poses, np.stack(grippers, axis=1)]),
        np.concatenate([motion.openings, np.stack(openings, axis=1)]),
        np.concatenate([motion.held, held]),
        objects,
        np.concatenate([motion.phases, np.where(stamps < _DOWN, "put down", "let go")]),
    )


@lru_cache(maxsize=16)
def _cached_grasp(side: Side, radius: float, height: float, approach: tuple[float, ...]) -> Grasp:
    return fit_grasp(side, radius, height, np.array(approach))


def _tremor(rng: np.random.Generator, count: int, rate: float) -> FloatArray:
    """(T, 2, 4, 4) small smooth displacements."""
    noise = gaussian_filter1d(rng.normal(size=(count, 2, 6)), _TREMOR_TIME * rate, axis=0, mode="nearest")
    noise /= noise.std() or 1.0
    rotation = geometry.rotation_exp(_TREMOR_ANGLE * noise[..., 3:])
    return geometry.make_pose(rotation, _TREMOR_POSITION * noise[..., :3])
