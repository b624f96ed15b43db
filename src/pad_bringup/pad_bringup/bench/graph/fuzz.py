"""Fuzzed chunks through the command gate's core: what it emits keeps every limit, the workspace and the distances.

One in ten chunks is broken: NaN, infinite or huge numbers, wrong names, order or shape, old, future or repeated stamps.
The others are random walks of joint targets, from gentle to impossible, some in the middle of each other. After each
chunk come one to three ticks, mostly one and on time, some early or late; now and then a stop, and an enable after it.
Every emitted command is judged; see `judge`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.judge import Bounds, Judge
from pad_bringup.resources import named_or_path
from pad_policy.chunking import JointChunk
from pad_policy.clearance import ArmClearance
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError
from pad_policy.guard import MotionGuard, Workspace
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.safety import CommandGate, GateLimits, GateState, GateTiming

KEYS = ("fuzzed", "violations")

_EPISODE = 500  # chunks after which a new gate is made
_BETWEEN, _WITHIN = 0.01, 0.003  # m
_PERIOD = 0.008
_BOXES = Workspace(np.tile([-0.6, -0.8, 0.0], (2, 1)), np.tile([0.6, 0.8, 0.9], (2, 1)))

Array = NDArray[np.float64]


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Fuzz in as many processes as there are cores."""
    episodes = -(-Extent.of(settings).chunks // _EPISODE)
    seeds = [(settings.seed, number) for number in range(episodes)]
    violations = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count() or 1) as pool:
        for done, (count, first) in enumerate(pool.imap_unordered(fuzz, seeds), start=1):
            violations += count
            if first:
                say(first)
            if done % 200 == 0:
                say(f"fuzz: {done * _EPISODE} chunks, {violations} violations")
    return {"fuzzed": episodes * _EPISODE, "violations": violations}


@cache
def _ready() -> tuple[Robot, MotionGuard, Judge]:
    """What all episodes of a process share."""
    robot = Robot(RobotProfile.load(named_or_path("ur5e_pair", "config", "robots")))
    guard = MotionGuard(_BOXES, ArmClearance(robot, between_arms=_BETWEEN, within_arm=_WITHIN))
    return robot, guard, Judge(robot, bounds_of(gate_limits(robot)))


def fuzz(seed: tuple[int, int], chunks: int = _EPISODE) -> tuple[int, str]:
    """Number of violations in one episode of `chunks` chunks, and the first in words ("" without)."""
    rng = np.random.default_rng(seed)
    robot, guard, judge = _ready()
    names, limits = command_joint_names(robot), gate_limits(robot)
    gate = CommandGate(names, limits, GateTiming(largest_start=10.0), guard)
    start = np.concatenate([robot.home.ravel(), [0.1, 0.1]])
    now, position = 1.0, start
    gate.tick(now, JointMeasurement(now, start[:12], start[12:]))
    gate.enable(now)
    times, emitted = [now], [start]
    violations: list[str] = []

    def look() -> None:
        violations.extend(f"seed {seed}: {what}" for what in judge.violations(np.array(times), np.array(emitted)))

    ticks = rng.choice([1, 2, 3], chunks, p=[0.75, 0.2, 0.05])
    stops = rng.random(chunks) < 0.002
    lengths = iter(_PERIOD * rng.choice([1.0, 0.5, 1.5, 3.0, 5.0], 3 * chunks, p=[0.9, 0.02, 0.03, 0.03, 0.02]))
    for count, stop in zip(ticks, stops, strict=True):
        try:
            gate.accept(_chunk(rng, names, now, position), now)
        except ChunkError:
            pass
        if stop:
            gate.stop()
        for _ in range(count):
            now += float(next(lengths))
            out = gate.tick(now, JointMeasurement(now, position[:12], position[12:]))
            if out.joints is None or out.openings is None:
                break
            position = np.concatenate([out.joints, out.openings])
            times.append(now)
            emitted.append(position)
            if out.report.state == GateState.STOPPED:
                gate.tick(now, JointMeasurement(now, position[:12], position[12:]))  # as the node does, too
                if not gate.enable(now):
                    look()  # it begins anew, at rest
                    times, emitted = [now], [position]
    look()
    return len(violations), violations[0] if violations else ""


def bounds_of(limits: GateLimits) -> Bounds:
    """What the gate was told to keep, as the judge wants it."""
    return Bounds(
        **{name: getattr(limits, name) for name in ("lower", "upper", "velocity", "acceleration", "jerk")},
        boxes=np.stack([_BOXES.lower, _BOXES.upper], axis=1),
        between_arms=_BETWEEN,
        within_arm=_WITHIN,
    )


def _chunk(rng: np.random.Generator, names: list[str], now: float, position: Array) -> JointChunk:
    rows = int(rng.integers(1, 9))
    sigma = (0.005, 0.03, 0.1, 0.3)[rng.integers(4)]
    drift = rng.normal(0, sigma, 12)
    steps = drift + rng.normal(0, 0.3 * sigma, (rows, 12))
    chunk = JointChunk(
        stamp=now - float(rng.uniform(0, 0.05)),
        joint_names=names,
        times=(0.02, 0.1, 0.2)[rng.integers(3)] * np.arange(1, rows + 1) + 0.05,
        positions=position[:12] + np.cumsum(steps, axis=0),
        openings=rng.uniform(-0.02, 0.15, (rows, 2)),
    )
    if rng.random() >= 0.1:
        return chunk
    broken = chunk.positions.copy()
    broken[rng.integers(rows), rng.integers(12)] = rng.choice([np.nan, np.inf, -np.inf, 1e9, -50.0])
    return [
        replace(chunk, positions=broken),
        replace(chunk, openings=np.full((rows, 2), np.nan)),
        replace(chunk, joint_names=names[::-1]),
        replace(chunk, joint_names=["someone_else", *names[1:]]),
        replace(chunk, positions=chunk.positions[:, :11]),
        replace(chunk, times=np.zeros(rows)),
        replace(chunk, stamp=now - 5.0),
        replace(chunk, stamp=now + 5.0),
        replace(chunk, stamp=float("nan")),
    ][int(rng.integers(9))]
