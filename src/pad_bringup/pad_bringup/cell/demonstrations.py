"""How a task is shown: what each hand takes, where it carries it, when it lets go; `config/demonstrations/<task>.yaml`.

The synthetic human and the scripted robot follow the same paths of the objects with their own grasps.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pad_bringup.cell.objects import TaskObjects
from pad_bringup.cell.pour_motion import HELD_OBJECTS, default_grasps, pour_motion
from pad_bringup.cell.two_hands import (
    Grasp,
    Reach,
    TwoHandMotion,
    grasping,
    minimum_jerk,
    path_poses,
    side_grasp,
    smooth_path,
)
from pad_bringup.errors import CellError, ResourceError
from pad_bringup.user_tasks import task_file

FloatArray = NDArray[np.float64]

ARMS = ("left", "right")
_RETREAT = 0.12
"""m that a hand draws back once it has let go."""
_RETREAT_TIME = 1.0
_GRAVITY = 9.81
_OUTWARDS = 0.5
"""s in which a hand gets from the middle of its circles onto them, and back."""
_POUR_HUMAN = {"cup": (0.062, -80.0, 0.17), "bottle": (0.078, 55.0, 0.17)}


_Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class GraspModel(_Strict):
    """A grasp from the side.

    height: m of thumb and index finger above the object's base; a person's other fingers are below them and stay clear
    of the table. azimuth: degrees, direction of the approach in the object's x-y plane as it stands at yaw 0; from
    further to the side the camera sees more of the hand, but a robot that repeats the motion runs into a wrist
    singularity. pitch: rad, how far the approach points down. opening: m, of a gripper that comes near.
    """

    height: Annotated[float, Field(gt=0)]
    azimuth: float
    pitch: float = 0.17
    opening: Annotated[float, Field(gt=0, le=0.11)] = 0.10


class WaypointModel(_Strict):
    """Where a held object is at a time.

    at: s. origin: what `place` is measured from: `start` where this object stood, `table` the task frame, or the name
    of an object, where that stood. place: (x, y, z) m along the task frame's axes. yaw: degrees; None: as it stood.
    tilt: degrees towards +y.
    """

    at: Annotated[float, Field(ge=0)]
    origin: str = "start"
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float | None = None
    tilt: float = 0.0


class LetGoModel(_Strict):
    """How a hand lets go. begins, ends: s in which it opens.

    onto: the object that what is let go falls onto or into; None: it is not moved. height: m of its base above that
    object's base once it has fallen.
    """

    begins: Annotated[float, Field(ge=0)]
    ends: Annotated[float, Field(ge=0)]
    onto: str | None = None
    height: float = 0.0


class CirclesModel(_Strict):
    """Level circles about the carried object's path, as in stirring.

    begins, ends: s; both are still, in the middle. turns: how many, counter-clockwise seen from above. radius: m.
    """

    begins: Annotated[float, Field(ge=0)]
    ends: Annotated[float, Field(ge=0)]
    turns: Annotated[float, Field(gt=0)]
    radius: _Positive

    @model_validator(mode="after")
    def _in_order(self) -> CirclesModel:
        if not self.ends - self.begins > 2 * _OUTWARDS:
            raise ValueError(f"circles take more than {2 * _OUTWARDS} s; that long is the way from the middle and back")
        return self

    def offsets(self, stamps: FloatArray) -> FloatArray:
        """(T, 2) m beside the path along x and y at `stamps` (T,) s."""
        share = np.clip((stamps - self.begins) / (self.ends - self.begins), 0.0, 1.0)
        out = minimum_jerk((stamps - self.begins) / _OUTWARDS) * minimum_jerk((self.ends - stamps) / _OUTWARDS)
        angle = 2 * np.pi * self.turns * share
        return self.radius * out[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


class HandModel(_Strict):
    """One hand's part. grasp: the person's; gripper: the robot's."""

    object: str
    grasp: GraspModel
    gripper: GraspModel
    begins: Annotated[float, Field(ge=0, description="s later than usual at which the hand sets out")] = 0.0
    carry: Annotated[tuple[WaypointModel, ...], Field(min_length=1)]
    circles: CirclesModel | None = None
    lets_go: LetGoModel | None = None

    @model_validator(mode="after")
    def _in_order(self) -> HandModel:
        times = [self.reach.closed, *(w.at for w in self.carry)]
        if any(b <= a for a, b in pairwise(times)):
            raise ValueError(
                f"carry must begin after {self.reach.closed} s, when the hand has closed, and go on in time"
            )
        if self.circles and self.circles.begins < self.carry[0].at:
            raise ValueError("circles must begin after the first waypoint of carry")
        if self.lets_go and not self.lets_go.begins < self.lets_go.ends:
            raise ValueError("lets_go must begin before it ends")
        return self

    @property
    def reach(self) -> Reach:
        """When the hand sets out, arrives and closes."""
        usual = Reach()
        return Reach(*(when + self.begins for when in vars(usual).values()))


class DemonstrationModel(_Strict):
    """What is shown. seconds: how long it takes."""

    seconds: Annotated[float, Field(gt=0, le=60)]
    hands: dict[Literal["left", "right"], HandModel]

    @model_validator(mode="after")
    def _both(self) -> DemonstrationModel:
        if set(self.hands) != set(ARMS):
            raise ValueError("hands must be left and right")
        return self


def load_demonstration(task: str) -> DemonstrationModel:
    """How `task` is shown.

    Raises:
        CellError: nothing is known about it, or its file is damaged.
    """
    try:
        path = task_file(task, "demonstrations")
    except ResourceError as error:
        raise CellError(f"nobody knows how to show the task {task!r}: {error}") from None
    try:
        return DemonstrationModel.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise CellError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise CellError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def held_objects(task: str) -> tuple[str, str]:
    """The object of the left and of the right hand."""
    if task == "pour":
        return HELD_OBJECTS
    shown = load_demonstration(task)
    return shown.hands["left"].object, shown.hands["right"].object


def human_grasps(task: str) -> dict[str, GraspModel]:
    """Object -> how the person takes it."""
    if task == "pour":
        return {n: GraspModel(height=h, azimuth=a, pitch=p) for n, (h, a, p) in _POUR_HUMAN.items()}
    return {hand.object: hand.grasp for hand in load_demonstration(task).hands.values()}


def gripper_grasps(objects: TaskObjects) -> dict[str, Grasp]:
    """Object -> how a parallel-jaw gripper takes it."""
    if objects.task == "pour":
        return default_grasps()
    shown = load_demonstration(objects.task)
    grasps = {}
    for side, arm in (("left", 0), ("right", 1)):
        hand = shown.hands[side]
        own = hand.gripper
        width = 2 * objects.models[hand.object].radius_at(own.height)
        grasps[hand.object] = side_grasp(
            arm,
            height=own.height,
            width=width,
            opening=own.opening,
            pitch=own.pitch,
            azimuth=float(np.radians(own.azimuth)),
        )
    return grasps


def task_motion(
    objects: TaskObjects,
    places: Mapping[str, ArrayLike],
    grasps: Mapping[str, Grasp],
    start_poses: ArrayLike,
    *,
    start_openings: ArrayLike = (0.10, 0.10),
    rate: float = 30.0,
) -> TwoHandMotion:
    """The motion of `objects.task`, from hands at rest to the end.

    places: object -> (4, 4) upright pose at the start, task frame. grasps: of both held objects. start_poses: (2, 4, 4)
    gripper frames at the start, left and right. start_openings: (2,) m at the start. rate: samples per second.

    Raises:
        CellError: nobody knows how to show the task.
    """
    if objects.task == "pour":
        return pour_motion(places, grasps, start_poses, start_openings=start_openings, rate=rate)
    shown = load_demonstration(objects.task)
    starts, openings_before = np.asarray(start_poses, dtype=np.float64), np.asarray(start_openings, dtype=np.float64)
    at = {name: np.asarray(pose, dtype=np.float64) for name, pose in places.items()}
    stamps = np.arange(round(shown.seconds * rate) + 1) / rate
    count = len(stamps)
    poses = {name: np.repeat(pose[None], count, axis=0) for name, pose in at.items()}
    grippers, openings, held = np.empty((count, 2, 4, 4)), np.empty((count, 2)), np.zeros((count, 2), bool)
    phases = np.full(count, "carry", dtype="<U8")
    for arm, side in enumerate(ARMS):
        hand, reach = shown.hands[side], shown.hands[side].reach
        path = smooth_path(_keys(hand, at), stamps)
        if hand.circles is not None:
            path[:, :2] += hand.circles.offsets(stamps)
        carried = np.where((stamps > reach.closed)[:, None, None], path_poses(path, 0.0), at[hand.object])
        grasp = grasps[hand.object]
        grippers[:, arm], openings[:, arm] = grasping(
            stamps, grasp, carried, starts[arm], float(openings_before[arm]), reach
        )
        poses[hand.object] = carried
        held[:, arm] = stamps >= reach.closed
        phases[stamps < reach.closed] = "take"
        if hand.lets_go is not None:
            _let_go(hand.lets_go, stamps, grasp, grippers[:, arm], openings[:, arm], held[:, arm])
            phases[stamps >= hand.lets_go.begins] = "let go"
    for side in ARMS:
        if shown.hands[side].lets_go is not None:
            _fall(shown.hands[side], stamps, poses)
    return TwoHandMotion(stamps, grippers, openings, held, poses, phases)


def _keys(hand: HandModel, at: Mapping[str, FloatArray]) -> list[tuple[float, ...]]:
    """The time table of a hand's object: s, x, y, z, tilt, yaw."""
    stood = at[hand.object]
    yaw = float(np.arctan2(stood[1, 0], stood[0, 0]))
    first = (*stood[:3, 3], 0.0, yaw)
    table = [(0.0, *first), (hand.reach.closed + 0.2, *first)]
    for point in hand.carry:
        if point.origin == "table":
            origin = np.zeros(3)
        elif point.origin == "start":
            origin = stood[:3, 3]
        elif point.origin in at:
            origin = at[point.origin][:3, 3]
        else:
            raise CellError(f"a waypoint of the {hand.object} is measured from {point.origin!r}, which does not exist")
        turned = yaw if point.yaw is None else float(np.radians(point.yaw))
        table.append((point.at, *(origin + point.place), float(np.radians(point.tilt)), turned))
    return table


def _let_go(
    how: LetGoModel,
    stamps: FloatArray,
    grasp: Grasp,
    grippers: FloatArray,
    openings: FloatArray,
    held: NDArray[np.bool_],
) -> None:
    """The gripper opens where it is, then draws back; changes the arrays (T, ...)."""
    held &= stamps < how.begins
    after = stamps >= how.begins
    last = grippers[int(np.argmax(after))].copy()
    opened = minimum_jerk((stamps - how.begins) / (how.ends - how.begins))
    openings[after] = (grasp.width + (grasp.opening - grasp.width) * opened)[after]
    away = minimum_jerk((stamps - how.ends) / _RETREAT_TIME)
    grippers[after] = last
    grippers[after, :3, 3] -= _RETREAT * away[after, None] * last[:3, 2]


def _fall(hand: HandModel, stamps: FloatArray, poses: dict[str, FloatArray]) -> None:
    """What is let go falls straight down once the fingers are half open, and then moves with what is below it."""
    assert hand.lets_go is not None
    after = stamps >= (hand.lets_go.begins + hand.lets_go.ends) / 2
    first = int(np.argmax(after))
    path = poses[hand.object]
    path[after] = path[first]
    if hand.lets_go.onto is None:
        return
    below = poses[hand.lets_go.onto]
    offset = path[first, :2, 3] - below[first, :2, 3]
    ground = below[after, 2, 3] + hand.lets_go.height
    falling = path[first, 2, 3] - _GRAVITY / 2 * (stamps[after] - stamps[first]) ** 2
    path[after, 2, 3] = np.maximum(falling, ground)
    down = np.flatnonzero(after)[falling <= ground]
    path[down, :2, 3] = below[down, :2, 3] + offset
