"""Demonstrations in the end-effector space alone: the paper's own setting, no robot, many scenes as one computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_augment.choreography import Pace, Phase, Scenes, choreograph, object_path
from pad_augment.config import GeneratorConfig
from pad_augment.dataset import ee_vectors
from pad_augment.round_objects import unturned
from pad_augment.scene_plan import faded, pushable, random_scale, start_poses
from pad_augment.skills import SkillSet
from pad_parse import geometry
from pad_parse.demonstration import KeypointState, SegmentKind

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


def ee_demonstrations(
    skills: SkillSet,
    home: FloatArray,
    joint_count: int,
    pace: Pace,
    config: GeneratorConfig,
    placements: Mapping[str, FloatArray],
    rngs: Sequence[np.random.Generator],
) -> tuple[dict[str, NDArray[Any]], list[int], NDArray[np.bool_]]:
    """Step arrays of a dataset (see `STEP_ARRAYS`), one scene after the other, the steps of each scene, and which begin
    mid-way with the arms pushed off their path.

    home: (2, 4, 4) TCP poses that start poses are drawn around. joint_count: of both arms together; the
    joints are nan. placements: object -> (B, 4, 4).
    """
    count = len(rngs)
    draws = np.stack([rng.uniform(-1, 1, (2, 2, 3)) for rng in rngs])
    sizes = [random_scale(skills, config, rng) for rng in rngs]
    scale = {name: np.array([size.get(name, 1.0) for size in sizes]) for name in skills.object_poses}
    unturned_poses, turns = unturned(skills, placements)
    scenes = Scenes(
        placement={name: unturned_poses[name] for name in skills.object_poses},
        starts=start_poses(home, config, draws),
        meeting=np.repeat(np.eye(4)[None], count, axis=0),
        motion=np.ones(count),
        skill=np.ones(count),
        scale=scale,
    )
    phases = choreograph(skills, scenes, pace)
    lengths = sum(phase.counts for phase in phases)
    assert isinstance(lengths, np.ndarray)
    scene = np.repeat(np.arange(count), lengths)
    step = np.arange(len(scene)) - (np.cumsum(lengths) - lengths)[scene]
    rows = _rows(phases, lengths)
    poses, command, openings = np.empty((len(scene), 2, 4, 4)), np.empty((len(scene), 2)), np.empty((len(scene), 2))
    kinds, yields = np.empty((len(scene), 2), np.uint8), np.empty(len(scene), bool)
    for phase, at in zip(phases, rows, strict=True):
        poses[at], command[at], openings[at] = phase.poses, phase.command, phase.openings
        kinds[at], yields[at] = phase.kinds, phase.yields
    first = _push(poses, phases, rows, scene, step, lengths, (kinds, yields), config, rngs)
    kept = step >= first[scene]
    keypoints = _keypoints(skills, phases, rows, poses, scene, scale, turns)
    arrays: dict[str, NDArray[Any]] = {
        "keypoints": keypoints,
        "keypoint_states": np.full(keypoints.shape[:2], KeypointState.VISIBLE, np.uint8),
        "ee": ee_vectors(poses, openings).astype(np.float32),
        "segments": kinds,
    }
    arrays["action"] = arrays["ee"].copy()
    arrays["action"][:, [9, 19]] = command
    arrays["joints"] = np.full((len(scene), joint_count), np.nan, np.float32)
    if not kept.all():
        arrays = {name: values[kept] for name, values in arrays.items()}
    return arrays, (lengths - first).tolist(), first > 0


def _rows(phases: Sequence[Phase], lengths: IntArray) -> list[IntArray]:
    """Per phase where its steps belong when all phases of a scene follow each other."""
    begin = np.cumsum(lengths) - lengths
    out = []
    for phase in phases:
        scene = np.repeat(np.arange(len(lengths)), phase.counts)
        inside = np.arange(len(scene)) - (np.cumsum(phase.counts) - phase.counts)[scene]
        out.append(begin[scene] + inside)
        begin = begin + phase.counts
    return out


def _push(
    poses: FloatArray,
    phases: Sequence[Phase],
    rows: Sequence[IntArray],
    scene: IntArray,
    step: IntArray,
    lengths: IntArray,
    movable: tuple[NDArray[np.uint8], NDArray[np.bool_]],
    config: GeneratorConfig,
    rngs: Sequence[np.random.Generator],
) -> IntArray:
    """Push the arms of some scenes off their path, and lead them back; the step (B,) from which a scene is kept."""
    back = max(2, round(config.recovery_time * config.rate_hz))
    first = np.zeros(len(lengths), np.intp)
    draws = np.zeros((len(lengths), 2, 2, 3))
    begins = np.cumsum(lengths) - lengths
    kinds, yields = movable
    for index, rng in enumerate(rngs):
        if rng.random() >= config.recovery_probability:
            continue
        span = slice(begins[index], begins[index] + lengths[index])
        candidates = np.flatnonzero(pushable(yields[span], kinds[span], back))
        if len(candidates):
            first[index] = rng.choice(candidates)
            draws[index] = rng.uniform(-1, 1, (2, 2, 3))
    pushed = np.flatnonzero(first)
    at = begins[pushed] + first[pushed]
    holding = np.zeros((len(scene), 2), bool)
    for phase, place in zip(phases, rows, strict=True):
        for track in phase.tracks.values():
            if track.holder is not None:
                holding[place, track.holder] = True
    strength = np.where(np.isin(kinds[at], (SegmentKind.SYNC_SKILL, SegmentKind.ASYNC_SKILL)).any(1), 0.5, 1.0)
    strength = strength[:, None] * (kinds[at] != SegmentKind.IDLE)  # a hand that keeps still, keeps what it holds still
    shift = draws[pushed, :, 0] * config.recovery_position * strength[..., None]
    turn = draws[pushed, :, 1] * config.recovery_rotation * strength[..., None]
    shift[..., 2] = np.where(holding[at], np.abs(shift[..., 2]), shift[..., 2])  # not into the table
    number = np.full(len(lengths), -1)
    number[pushed] = np.arange(len(pushed))
    after = (number[scene] >= 0) & (step >= first[scene]) & (step < first[scene] + back)
    which = np.flatnonzero(after)
    mine = number[scene[which]]
    fade = faded(step[which] - first[scene[which]], back)[:, None]
    for arm in (0, 1):
        poses[which, arm, :3, 3] += fade * shift[mine, arm]
        if len(which):
            poses[which, arm, :3, :3] = geometry.rotation_exp(fade * turn[mine, arm]) @ poses[which, arm, :3, :3]
    return first


def _keypoints(
    skills: SkillSet,
    phases: Sequence[Phase],
    rows: Sequence[IntArray],
    poses: FloatArray,
    scene: IntArray,
    scale: Mapping[str, FloatArray],
    turns: Mapping[str, FloatArray],
) -> NDArray[np.float32]:
    """(S, N, 3) m in the task frame."""
    names = np.array([name for name, _ in skills.order])
    out = np.empty((len(scene), len(names), 3), np.float32)
    for name, points in skills.points_in_object.items():
        path = np.empty((len(scene), 4, 4))
        for phase, at in zip(phases, rows, strict=True):
            path[at] = object_path(phase.tracks[name], poses[at], scene[at])
        columns = np.flatnonzero(names == name)
        order = [index for other, index in skills.order if other == name]
        if (scale[name] != 1.0).any():
            path[:, :3, :3] *= scale[name][scene, None, None]
        if name in turns:
            path = path @ turns[name][scene]
        # All steps as the rows of one product.
        moved = path[:, :3].reshape(-1, 4) @ np.c_[points[order], np.ones(len(order))].T
        out[:, columns] = np.swapaxes(moved.reshape(len(scene), 3, -1), 1, 2)
    return out
