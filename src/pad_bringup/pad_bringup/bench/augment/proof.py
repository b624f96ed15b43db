"""Generation with proof on the robot: how long, how many, and whether another check finds anything."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pad_augment.config import GeneratorConfig
from pad_augment.generator import SceneWork, generate
from pad_augment.kinematics import Robot
from pad_augment.planning.dynamics import joint_spline, limit_ratios
from pad_augment.scene_plan import Disturbance, ScenePlan
from pad_augment.skills import Take, Work
from pad_bringup.bench.augment import source
from pad_bringup.bench.augment.time_optimal import shortest_duration
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.cell.objects import load_objects
from pad_bringup.retarget import cell_instance
from pad_parse import geometry
from pad_parse.demonstration import SegmentKind

KEYS = (
    "proved_1000_s",
    "accepted",
    "attempted",
    "recheck_collisions",
    "velocity_ratio_max",
    "acceleration_ratio_max",
    "duration_ratio",
    "sync_error_max",
    "equivariance_error_max",
)

COUNT, QUICK = 1000, 8
WORKERS = 2
STEP = 0.005
"""rad between two checks of the other check."""
_TIMED, _QUICK_TIMED = 20, 2
_FINE_RATE = 50.0
"""Hz, said besides the datasets' rate: at 10 Hz whole steps, and what a spline through a handful of them can do, count
for more than the timing itself.
"""

FloatArray = NDArray[np.float64]


@dataclass
class Worst:
    """The largest of each error."""

    collisions: int = 0
    velocity: list[float] = field(default_factory=lambda: [0.0])
    acceleration: list[float] = field(default_factory=lambda: [0.0])
    sync: list[float] = field(default_factory=lambda: [0.0])
    equivariance: list[float] = field(default_factory=lambda: [0.0])


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Seconds are wall-clock on two workers, the workers' start included; everything else is looked at afterwards."""
    count = QUICK if settings.quick else COUNT
    demonstration, profile = source.demonstration(), source.profile_path()
    shapes = cell_instance(load_objects("pour")).shapes
    generate(demonstration, profile, settings.work / "warm", 4, settings.seed, shapes=shapes)
    began = time.perf_counter()
    out = settings.work / "proved"
    report = generate(demonstration, profile, out, count, settings.seed, workers=WORKERS, shapes=shapes)
    seconds = time.perf_counter() - began
    say(f"{report.accepted} of {report.attempted} in {seconds:.1f} s; {report.rejections or 'none rejected'}")
    # The same scenes once more in this process: a dataset does not keep what may touch what, and when.
    work = source.scene_work("roboplan", settings.seed)
    worst, robot = Worst(), Robot(work.profile)
    for first in range(0, report.attempted, 32):
        for plan in work.attempt(range(first, min(first + 32, report.attempted))):
            if isinstance(plan, ScenePlan):
                _look(worst, work, robot, plan)
    say(f"checked again every {STEP} rad: {worst.collisions} collide")
    ratio = _duration_ratio(settings, say)
    return {
        "proved_1000_s": None if settings.quick else seconds,
        "accepted": report.accepted,
        "attempted": report.attempted,
        "recheck_collisions": worst.collisions,
        "velocity_ratio_max": max(worst.velocity),
        "acceleration_ratio_max": max(worst.acceleration),
        "duration_ratio": ratio,
        "sync_error_max": max(worst.sync),
        "equivariance_error_max": max(worst.equivariance),
    }


def _look(worst: Worst, work: SceneWork, robot: Robot, plan: ScenePlan) -> None:
    worst.collisions += work.scene_planner.collides_again(plan, STEP)
    rate = work.config.rate_hz
    moving = not np.allclose(plan.plan.joints[0], plan.plan.joints[1], atol=1e-3)
    velocity, acceleration = limit_ratios(robot, plan.plan.joints, rate, moving=moving)
    worst.velocity.append(float(velocity.max()))
    worst.acceleration.append(float(acceleration.max()))
    take, skill = work.skills.beats
    if not isinstance(take, Take) or not isinstance(skill, Work):
        raise TypeError("the pour is two grasps and one skill in sync")
    parts, grips = skill.parts, take.grips
    in_sync = np.flatnonzero((plan.kinds == SegmentKind.SYNC_SKILL).all(axis=1))
    as_planned = plan.disturbance == Disturbance.NONE  # a push sets the hands apart on purpose
    if parts[0] is not None and parts[1] is not None and len(in_sync) and as_planned:
        hands = plan.plan.poses[in_sync[-1]]
        shown = geometry.inverse(parts[0].poses[-1]) @ parts[1].poses[-1]
        worst.sync.append(_apart(geometry.inverse(hands[0]) @ hands[1], shown))
    for arm, grip in enumerate(grips):
        held = [index for index, stretch in enumerate(plan.stretches) if stretch.held[arm] is not None]
        if grip is None or not held or held[0] == 0:
            continue  # the episode begins with the object in the hand
        last = sum(plan.plan.lengths[: held[0]]) - 1
        seen = geometry.inverse(plan.objects[grip.object][last]) @ plan.plan.poses[last, arm]
        worst.equivariance.append(_apart(seen, grip.gripper_in_object))


def _duration_ratio(settings: BenchSettings, say: Say) -> float:
    """Mean duration of the free motions with `motion_timing=shortest` over the shortest possible along the same path.

    Both from rest to rest, within the limits on velocity and acceleration, at the rate of datasets, whole steps
    included. Free motions are the reach to the pre-grasp and the transport to the skill; approach, lift, grasp and
    skill keep the demonstration's pace on purpose and are not counted. The bound is this benchmark's own and shares
    nothing with the planner's timing.
    """
    count = _QUICK_TIMED if settings.quick else _TIMED
    mean = np.inf
    for rate in (_FINE_RATE, GeneratorConfig().rate_hz):
        work = source.scene_work(
            "roboplan",
            settings.seed,
            recovery_probability=0.0,
            displacement_probability=0.0,
            motion_timing="shortest",
            rate_hz=rate,
        )
        robot = Robot(work.profile)
        limits = robot.velocity_limits.ravel(), robot.acceleration_limits.ravel()
        plans = [plan for plan in work.attempt(range(count)) if isinstance(plan, ScenePlan)]
        ratios = []
        for plan in plans:
            ends = np.cumsum(plan.plan.lengths)
            for stretch, end in zip(plan.stretches, ends, strict=True):
                if stretch.free:
                    joints = plan.plan.joints[max(int(end) - len(stretch) - 1, 0) : end]
                    spline = joint_spline(joints, rate)
                    path = spline(np.linspace(0, spline.x[-1], 400))
                    ratios.append(float(spline.x[-1]) / shortest_duration(path, *limits))
        mean = float(np.mean(ratios))
        say(
            f"{len(ratios)} free motions timed as shortest at {rate:g} Hz take {mean:.2f} of the shortest possible "
            f"on the same path, {np.max(ratios):.2f} at most"
        )
    return mean


def _apart(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).max())
