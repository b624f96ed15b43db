"""Scenes in the end-effector space: both arms, from their start through all that they take, do and let go.

    take: reach (free) -> approach, settle, close          work: lift and transport (free) -> skill -> open, retreat

Both arms go through these phases together: the arm with the shorter way is slowed, and waits for what is left. Many
scenes are made at once: phases are arrays over the steps of all scenes, one scene after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pad_augment.equivariance import carry, change_of_pose, held_object
from pad_augment.kinematics import ARMS
from pad_augment.planning.interface import Body, Holding, Stretch
from pad_augment.skills import Grip, Part, SkillSet, Take, Work
from pad_parse import geometry
from pad_parse.demonstration import SegmentKind

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Kinds = tuple[SegmentKind, SegmentKind]
_ROUNDING = 0.05
"""Standard deviation of the filter that rounds corners, as a share of a motion's duration."""


@dataclass(frozen=True)
class Pace:
    """How fast and in what shape free motions are made; fields and limits as in `GeneratorConfig`.

    stops: whether the arms stand still between a free motion and what follows, so that a planner may replace it.
    """

    rate_hz: float
    speed: float
    turn_rate: float
    approach_distance: float
    approach_speed: float
    settle_time: float
    close_time: float
    lift_height: float
    end_time: float
    ease_time: float
    start_opening: float
    finger_thickness: float
    squeeze: float
    longest_stretch: float
    stops: bool = False


@dataclass(frozen=True, eq=False)
class Scenes:
    """B scenes.

    placement: object -> (B, 4, 4) in the task frame. starts: (B, 2, 4, 4) TCP poses to start from. meeting: (B, 4, 4)
    one `dT` for both arms in what stays where it was shown, so that the pose of one hand in the other is the
    demonstration's. motion, skill: (B,) factors >= 1 on the durations of free motions and of skills, for arms that
    cannot follow. scale: object -> (B,) size of the instance, 1 for the demonstrated one.
    """

    placement: Mapping[str, FloatArray]
    starts: FloatArray
    meeting: FloatArray
    motion: FloatArray
    skill: FloatArray
    scale: Mapping[str, FloatArray]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, eq=False)
class Track:
    """An object in a phase: pose (B, 4, 4) as in `Body`, holder and contacts; path: (S, 4, 4) of one that settles."""

    pose: FloatArray
    holder: int | None = None
    touching: frozenset[str] = frozenset()
    path: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase of both arms, S steps of B scenes.

    counts: (B,) steps of each scene. poses: (S, 2, 4, 4). openings: (S, 2) m, those that result. command: (S, 2) m.
    kinds: what the dataset says each arm does. yields: whether an arm may be pushed off its path in it. slowed_as: the
    factor of `Scenes` that makes it slower, "motion" or "skill". to_meeting: whether it changes with the meeting place.
    """

    counts: IntArray
    poses: FloatArray
    openings: FloatArray
    command: FloatArray
    kinds: Kinds
    free: bool
    yields: bool
    slowed_as: str
    to_meeting: bool
    tracks: Mapping[str, Track]

    def stretch(self, scene: int) -> Stretch:
        """What a planner is asked for one scene."""
        rows = self.rows(scene)
        bodies = {name: Body(t.pose[scene], t.holder, t.touching) for name, t in self.tracks.items()}
        return Stretch(self.poses[rows], self.openings[rows], self.free, bodies)

    def rows(self, scene: int) -> slice:
        """Steps of one scene."""
        end = int(self.counts[: scene + 1].sum())
        return slice(end - int(self.counts[scene]), end)


def choreograph(skills: SkillSet, scenes: Scenes, pace: Pace) -> list[Phase]:
    """Plan both arms in the end-effector space."""
    stage = _Stage(skills, scenes, pace)
    for beat in skills.beats:
        if isinstance(beat, Take):
            stage.take(beat)
        else:
            stage.work(beat)
    stage.rest()
    return stage.phases


def object_path(track: Track, phase_poses: FloatArray, scene_of_step: IntArray) -> FloatArray:
    """(S, 4, 4) an object's poses in the task frame during a phase in which the arms go along (S, 2, 4, 4)."""
    if track.path is not None:
        return track.path
    if track.holder is not None:
        return held_object(phase_poses[:, track.holder], track.pose[scene_of_step])
    return np.asarray(track.pose[scene_of_step])


class _Stage:
    """Arms and objects as they are after the phases so far."""

    def __init__(self, skills: SkillSet, scenes: Scenes, pace: Pace) -> None:
        self.phases: list[Phase] = []
        self._skills = skills
        self._scenes = scenes
        self._pace = pace
        self._tcp = np.array(scenes.starts, dtype=np.float64)
        self._objects = {name: np.asarray(pose) for name, pose in scenes.placement.items()}
        self._rests: dict[str, frozenset[str]] = {}
        self._grips: list[Grip | None] = [None, None]
        self._in_gripper: list[FloatArray] = [np.eye(4), np.eye(4)]
        self._on_table = [False, False]
        self._to_meeting = False
        self._last_contacts: Mapping[str, frozenset[str]] = {}
        count = len(scenes)
        self._command = np.full((count, 2), pace.start_opening)
        self._width = np.zeros((count, 2))

    def take(self, beat: Take) -> None:
        pace, self._to_meeting = self._pace, beat.giver is not None
        moving = [grip is not None for grip in beat.grips]
        grasps = self._tcp.copy()
        for arm, grip in enumerate(beat.grips):
            if grip is not None:
                self._width[:, arm] = np.maximum(self._scale(grip.object) * grip.opening - pace.finger_thickness, 0.0)
                self._command[:, arm] = np.maximum(pace.start_opening, self._width[:, arm])
                there = self._objects[grip.object]
                if beat.giver is not None:
                    there = held_object(self._tcp[:, beat.giver], self._in_gripper[beat.giver])
                grasps[:, arm] = there @ self._gripper_in(grip)
        self._reach(grasps, moving, beat)
        self._tcp = grasps
        touching = self._touched(beat)
        kinds = _kinds(SegmentKind.ASYNC_SKILL, moving)
        shut = np.where(moving, np.maximum(self._width - pace.squeeze, 0.0), self._command)
        close = _steps(pace.close_time, pace)
        ramp = np.r_[np.linspace(0.0, 1.0, close + 1)[1:], 1.0][:, None]
        self._still(close + 1, kinds, touching, ramp=ramp, to=shut)
        self._command = shut
        for arm, grip in enumerate(beat.grips):
            if grip is not None:
                self._grips[arm] = grip
                self._rests.pop(grip.object, None)  # what it was put on is no longer its place
                self._in_gripper[arm] = geometry.inverse(self._gripper_in(grip))
                self._on_table[arm] = beat.giver is None
        if beat.giver is not None:
            self._grips[beat.giver] = None
            contacts = {name: hands | {ARMS[beat.giver]} for name, hands in touching.items()}
            self._open([arm == beat.giver for arm in (0, 1)], contacts, {})

    def work(self, beat: Work) -> None:
        self._to_meeting = any(part is not None and part.reference is None for part in beat.parts)
        changes = self._changes(beat)
        goals = self._tcp.copy()
        moving = [part is not None for part in beat.parts]
        for arm, part in enumerate(beat.parts):
            if part is not None:
                goals[:, arm] = carry(changes[arm], part.poses[0])
                self._on_table[arm] &= not self._lifts_itself(arm, part)
        self._transport(goals, moving, beat.early)
        self._tcp = goals
        self._on_table = [False, False]
        self._skill(beat, changes, moving)
        if any(beat.release):
            self._let_go(beat, changes)

    def rest(self) -> None:
        """Stand still at the end."""
        if self._pace.end_time > 0:
            idle = _kinds(SegmentKind.IDLE, [True, True])
            self._still(_steps(self._pace.end_time, self._pace), idle, self._last_contacts, slowed_as="skill")

    def _lifts_itself(self, arm: int, part: Part) -> bool:
        """Whether a part begins where its object stood, as when a lid is taken off: it is lifted as it was shown."""
        grip = self._grips[arm]
        if grip is None:
            return False
        stood = self._skills.object_poses[grip.object] @ grip.gripper_in_object
        return bool(np.linalg.norm(part.poses[0, :3, 3] - stood[:3, 3]) < self._pace.lift_height)

    def _changes(self, beat: Work) -> list[FloatArray]:
        """(B, 4, 4) per arm, `dT` of its part."""
        out = [self._scenes.meeting, self._scenes.meeting]
        for arm, part in enumerate(beat.parts):
            if part is None or part.reference is None:
                continue
            now = self._objects[part.reference]
            other, held = beat.parts[1 - arm], self._grips[1 - arm]
            if held is not None and held.object == part.reference:
                place = self._tcp[:, 1 - arm] if other is None else carry(self._scenes.meeting, other.poses[0])
                now = held_object(place, self._in_gripper[1 - arm])
            out[arm] = change_of_pose(part.reference_pose, now)
        return out

    def _reach(self, grasps: FloatArray, moving: list[bool], beat: Take) -> None:
        """To the pre-grasp, from there straight along the approach axis to the grasp; settle."""
        pace, starts = self._pace, self._tcp
        before = grasps.copy()
        before[..., :3, 3] -= pace.approach_distance * grasps[..., :3, 2]
        own = [self._seconds(starts[:, arm], before[:, arm]) if moving[arm] else 0.0 for arm in (0, 1)]
        there = np.maximum(own[0], own[1])
        straight = self._scenes.motion * pace.approach_distance / pace.approach_speed
        first = not self.phases  # only the very first phase has the step at which the arms begin
        if pace.stops:
            free = _Steps(_steps_of(there, pace) + first)
            near = _Steps(_steps_of(straight, pace))
            share = free.shares(first)
            out = [
                self._blend(starts[:, a], before[:, a], self._own(share, there, own[a], free), free)
                if moving[a]
                else starts[free.scene, a]
                for a in (0, 1)
            ]
            self._add(free, out, _kinds(SegmentKind.MOTION, moving), {}, free=True, yields=True)
            path = [
                self._blend(before[:, a], grasps[:, a], near.shares(False), near)
                if moving[a]
                else starts[near.scene, a]
                for a in (0, 1)
            ]
        else:
            whole = _Steps(_steps_of(there + straight, pace) + first)
            share = whole.shares(first)
            out = []
            for a in (0, 1):
                if not moving[a]:
                    out.append(starts[whole.scene, a])
                    continue
                mine = np.minimum(there, pace.longest_stretch * own[a])
                border = mine / (mine + straight)
                at = self._own(share, there + straight, mine + straight, whole, stretch=1.0)
                out.append(
                    _through(starts[:, a], before[:, a], grasps[:, a], border, at, whole, (0.0 * border, border))
                )
            # The approach begins where the minimum-jerk motion passes the pre-grasp.
            free_rows = _minimum_jerk(share) < (there / (there + straight))[whole.scene]
            free, near = (
                _Steps(np.bincount(whole.scene[m], minlength=len(whole.counts))) for m in (free_rows, ~free_rows)
            )
            kinds = _kinds(SegmentKind.MOTION, moving)
            self._add(free, [o[free_rows] for o in out], kinds, {}, free=True, yields=True)
            path = [o[~free_rows] for o in out]
        # From the approach on the gripper may touch its object: the shape is rough, the demonstrated way in is known.
        settle = round(pace.settle_time * pace.rate_hz)
        waiting = _Steps(near.counts + settle)
        after = waiting.step >= near.counts[waiting.scene]
        poses = []
        for arm in (0, 1):
            part = np.empty((len(waiting.step), 4, 4))
            part[~after] = path[arm]
            part[after] = grasps[waiting.scene[after], arm]
            poses.append(part)
        self._add(waiting, poses, _kinds(SegmentKind.ASYNC_SKILL, moving), self._touched(beat))

    def _transport(self, goals: FloatArray, moving: list[bool], early: frozenset[tuple[str, str]]) -> None:
        """Straight up off the table, and on to `goals` (B, 2, 4, 4); both ends at rest, the first left out."""
        if not any(moving):
            return
        pace, starts = self._pace, self._tcp
        lifted = starts.copy()
        lifts = [moving[arm] and self._on_table[arm] for arm in (0, 1)]
        for arm in (0, 1):
            lifted[:, arm, 2, 3] += pace.lift_height * lifts[arm]
        rise = self._scenes.motion * (pace.lift_height * any(lifts)) / pace.approach_speed
        own = [self._seconds(lifted[:, arm], goals[:, arm]) if moving[arm] else 0.0 for arm in (0, 1)]
        there = np.maximum(own[0], own[1])
        kinds = _kinds(SegmentKind.MOTION, moving)
        contacts = _contacts(early)
        if pace.stops:
            if any(lifts):
                up = _Steps(_steps_of(rise, pace))
                poses = [self._blend(starts[:, a], lifted[:, a], up.shares(False), up) for a in (0, 1)]
                self._add(up, poses, kinds, contacts, yields=True)
            on = _Steps(_steps_of(there, pace))
            share = on.shares(False)
            poses = [
                self._blend(lifted[:, a], goals[:, a], self._own(share, there, own[a], on), on)
                if moving[a]
                else starts[on.scene, a]
                for a in (0, 1)
            ]
            self._add(on, poses, kinds, contacts, free=True, yields=True)
            return
        whole = _Steps(_steps_of(rise + there, pace))
        share = whole.shares(False)
        poses = []
        for a in (0, 1):
            if not moving[a]:
                poses.append(starts[whole.scene, a])
                continue
            mine = np.minimum(there, pace.longest_stretch * own[a])
            border = rise / np.maximum(rise + mine, 1e-9)
            at = self._own(share, rise + there, rise + mine, whole, stretch=1.0)
            middle = lifted[:, a] if lifts[a] else starts[:, a]
            border = border if lifts[a] else 0.0 * border
            poses.append(_through(starts[:, a], middle, goals[:, a], border, at, whole, (border, 0.0 * border + 1.0)))
        self._add(whole, poses, kinds, contacts, free=True, yields=True)

    def _skill(self, beat: Work, changes: list[FloatArray], moving: list[bool]) -> None:
        """The skill on one clock, which starts and stops smoothly: the path stays the same."""
        pace, stretch = self._pace, self._scenes.skill
        duration = stretch * float(beat.stamps[-1])
        ease = np.minimum(pace.ease_time, duration)
        steps = _Steps(np.maximum(2, np.rint((duration + ease) * pace.rate_hz).astype(np.intp)))
        whole, eased = duration[steps.scene], ease[steps.scene]
        t = steps.shares(False) * (whole + eased)
        # The clock's rate rises and falls as half a cosine; u is its integral.
        rising = t / 2 - eased / (2 * np.pi) * np.sin(np.pi * t / eased)
        left = whole + eased - t
        falling = whole - (left / 2 - eased / (2 * np.pi) * np.sin(np.pi * left / eased))
        u = np.where(t < eased, rising, np.where(left < eased, falling, t - eased / 2)) / stretch[steps.scene]
        u = np.clip(u, 0.0, beat.stamps[-1])
        poses = []
        for arm, part in enumerate(beat.parts):
            if part is None:
                poses.append(self._tcp[steps.scene, arm])
            else:
                poses.append(carry(changes[arm][steps.scene], poses_at(beat.stamps, part.poses, u)))
                self._tcp[:, arm] = carry(changes[arm], part.poses[-1])
        self._add(
            steps, poses, _kinds(beat.kind, list(beat.active)), _contacts(beat.touching), yields=True, slowed_as="skill"
        )

    def _let_go(self, beat: Work, changes: list[FloatArray]) -> None:
        """Open, and back away along the approach axis; what is let go settles as it was shown."""
        contacts = _contacts(beat.touching)
        settling: dict[str, tuple[FloatArray, FloatArray]] = {}
        release = [lets_go and self._grips[arm] is not None for arm, lets_go in enumerate(beat.release)]
        for arm, grip in enumerate(self._grips):
            if not release[arm] or grip is None:
                continue
            name, released = grip.object, held_object(self._tcp[:, arm], self._in_gripper[arm])
            self._grips[arm] = None
            if name in beat.settling:
                change = changes[arm]
                moves = change[:, None] @ beat.settling[name].changes @ geometry.inverse(change)[:, None]
                settling[name] = (beat.settling[name].stamps, moves @ released[:, None])
                released = settling[name][1][:, -1]
            self._objects[name] = released
            self._rests[name] = contacts.get(name, frozenset())
            contacts[name] = contacts.get(name, frozenset()) | {ARMS[arm]}
        self._open(release, contacts, settling)

    def _open(
        self,
        release: list[bool],
        contacts: Mapping[str, frozenset[str]],
        settling: Mapping[str, tuple[FloatArray, FloatArray]],
    ) -> None:
        """Open the grippers of the arms in `release`, then back away; settling: object -> stamps (M,), poses."""
        pace = self._pace
        back, opened = self._tcp.copy(), self._command.copy()
        for arm in np.flatnonzero(release):
            back[:, arm, :3, 3] -= pace.approach_distance * back[:, arm, :3, 2]
            opened[:, arm] = np.maximum(pace.start_opening, self._width[:, arm])
        count = _steps(pace.close_time, pace)
        ramp = (np.arange(1, count + 1) / count)[:, None]
        kinds = _kinds(SegmentKind.ASYNC_SKILL, release)
        seconds = self._scenes.motion * pace.approach_distance / pace.approach_speed
        away = _Steps(_steps_of(seconds, pace))
        opening = _Steps(np.full(len(self._scenes), count))
        early = {n: _at(s, p, (opening.step + 1) / pace.rate_hz, opening) for n, (s, p) in settling.items()}
        late = {n: _at(s, p, (count + away.step + 1) / pace.rate_hz, away) for n, (s, p) in settling.items()}
        self._still(count, kinds, contacts, ramp=ramp, to=opened, paths=early)
        self._command = opened
        self._width = np.where(release, 0.0, self._width)
        poses = [self._blend(self._tcp[:, a], back[:, a], away.shares(False), away) for a in (0, 1)]
        self._add(away, poses, _kinds(SegmentKind.MOTION, release), contacts, paths=late)
        self._tcp = back

    def _add(
        self,
        steps: _Steps,
        poses: list[FloatArray],
        kinds: Kinds,
        contacts: Mapping[str, frozenset[str]],
        *,
        free: bool = False,
        yields: bool = False,
        slowed_as: str = "motion",
        command: FloatArray | None = None,
        paths: Mapping[str, FloatArray] | None = None,
    ) -> None:
        if not len(steps.step):
            return
        self._last_contacts = contacts
        tracks = {}
        holding: Holding = (
            None if self._grips[0] is None else self._grips[0].object,
            None if self._grips[1] is None else self._grips[1].object,
        )
        for name, pose in self._objects.items():
            touching = contacts.get(name, frozenset()) | self._rests.get(name, frozenset())
            path = None if paths is None else paths.get(name)
            if name in holding:
                arm = holding.index(name)
                tracks[name] = Track(self._in_gripper[arm], arm, touching)
            else:
                tracks[name] = Track(pose, None, touching, path)
        if command is None:
            command = self._command[steps.scene]
        openings = np.maximum(command, self._width[steps.scene])
        self.phases.append(
            Phase(
                steps.counts,
                np.stack(poses, axis=1),
                openings,
                command,
                kinds,
                free,
                yields,
                slowed_as,
                self._to_meeting,
                tracks,
            )
        )

    def _still(
        self,
        count: int,
        kinds: Kinds,
        contacts: Mapping[str, frozenset[str]],
        *,
        slowed_as: str = "motion",
        ramp: FloatArray | None = None,
        to: FloatArray | None = None,
        paths: Mapping[str, FloatArray] | None = None,
    ) -> None:
        """The arms stand still; the grippers go `to` (B, 2) m along `ramp` (count, 1) in [0, 1]."""
        steps = _Steps(np.full(len(self._scenes), count))
        command = None
        if ramp is not None and to is not None:
            share = ramp[steps.step]
            command = (1 - share) * self._command[steps.scene] + share * to[steps.scene]
        poses = [self._tcp[steps.scene, a] for a in (0, 1)]
        self._add(steps, poses, kinds, contacts, slowed_as=slowed_as, command=command, paths=paths)

    def _touched(self, beat: Take) -> dict[str, frozenset[str]]:
        return {grip.object: frozenset({ARMS[arm]}) for arm, grip in enumerate(beat.grips) if grip is not None}

    def _scale(self, name: str) -> FloatArray:
        return self._scenes.scale.get(name, np.ones(len(self._scenes)))

    def _gripper_in(self, grip: Grip) -> FloatArray:
        """(B, 4, 4) the grasp on each scene's instance of the object."""
        pose = np.repeat(grip.gripper_in_object[None], len(self._scenes), axis=0)
        pose[:, :3, 3] *= self._scale(grip.object)[:, None]
        return pose

    def _seconds(self, start: FloatArray, end: FloatArray) -> FloatArray:
        """(B,) duration of a free motion, from its length and its turn."""
        length = np.linalg.norm(end[:, :3, 3] - start[:, :3, 3], axis=-1)
        turn = geometry.rotation_angle(start, end)
        return np.asarray(self._scenes.motion * np.maximum(length / self._pace.speed, turn / self._pace.turn_rate))

    def _own(
        self, share: FloatArray, whole: FloatArray, own: FloatArray | float, steps: _Steps, stretch: float | None = None
    ) -> FloatArray:
        """(S,) share of an arm's own way, when `share` of the time `whole` has passed: it is slowed, then it waits."""
        factor = self._pace.longest_stretch if stretch is None else stretch
        mine = np.minimum(whole, np.maximum(factor * own, 1e-9))
        return np.minimum(share * (whole / np.maximum(mine, 1e-9))[steps.scene], 1.0)

    def _blend(self, start: FloatArray, end: FloatArray, share: FloatArray, steps: _Steps) -> FloatArray:
        """(S, 4, 4) from `start` to `end` (B, 4, 4), with smooth starts and stops."""
        return _between(start, end, _minimum_jerk(share), steps.scene)


class _Steps:
    """Steps of B scenes, one scene after the other. scene: (S,) of each step. step: (S,) from 0 within the scene."""

    def __init__(self, counts: IntArray) -> None:
        self.counts = np.asarray(counts, dtype=np.intp)
        self.scene: IntArray = np.repeat(np.arange(len(counts)), self.counts)
        self.step: IntArray = np.arange(len(self.scene)) - (np.cumsum(self.counts) - self.counts)[self.scene]

    def shares(self, first: bool) -> FloatArray:
        """(S,) share of the time that has passed: the last step is 1, the first 0, or the one after it."""
        if first:
            return np.asarray(self.step / np.maximum(self.counts - 1, 1)[self.scene])
        return np.asarray((self.step + 1) / self.counts[self.scene])


def _kinds(kind: SegmentKind, moving: list[bool]) -> Kinds:
    return (kind if moving[0] else SegmentKind.IDLE, kind if moving[1] else SegmentKind.IDLE)


def _contacts(pairs: frozenset[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Object -> what it may touch, from pairs of an arm or object and an object."""
    out: dict[str, frozenset[str]] = {}
    for one, other in pairs:
        out[other] = out.get(other, frozenset()) | {one}
        if one not in ARMS:
            out[one] = out.get(one, frozenset()) | {other}
    return out


def _between(start: FloatArray, end: FloatArray, share: FloatArray, scene: IntArray) -> FloatArray:
    """(S, 4, 4) at `share` (S,) of the way from `start` to `end` (B, 4, 4): line and slerp."""
    vector = geometry.rotation_log(np.swapaxes(start[:, :3, :3], -1, -2) @ end[:, :3, :3])
    out = _turned(start[:, :3, :3], vector, share, scene)
    out[:, :3, 3] = start[scene, :3, 3] + share[:, None] * (end[:, :3, 3] - start[:, :3, 3])[scene]
    return out


def _turned(start: FloatArray, vector: FloatArray, share: FloatArray, scene: IntArray) -> FloatArray:
    """(S, 4, 4) rotations `start` (B, 3, 3) turned by `share` (S,) of rotation vectors (B, 3) in their own frames."""
    angle = np.linalg.norm(vector, axis=-1)
    x, y, z = (vector / np.maximum(angle, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    first = start @ cross
    second = first @ cross
    at = (angle[scene] * share)[:, None, None]
    out = np.zeros((len(scene), 4, 4))
    out[:, :3, :3] = start[scene] + np.sin(at) * first[scene] + (1 - np.cos(at)) * second[scene]
    out[:, 3, 3] = 1.0
    return out


def _through(
    start: FloatArray,
    middle: FloatArray,
    end: FloatArray,
    border: FloatArray,
    share: FloatArray,
    steps: _Steps,
    turn: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """(S, 4, 4) from `start` past `middle` to `end` (B, 4, 4) in one minimum-jerk motion with a rounded corner.

    border: (B,) share of the way at the corner. share: (S,) of the duration. turn: (B,) shares of the way between which
    the arm turns. The corner is that of a line with one kink, filtered by a Gaussian: a ramp becomes w F(w / s) +
    s f(w / s) with the normal distribution's F and f.
    """
    scene = steps.scene
    way = _minimum_jerk(share)
    border = np.clip(border, 0.0, 1.0 - 1e-6)
    second = (end[:, :3, 3] - middle[:, :3, 3]) / (1 - border)[:, None]
    inner = border > 1e-6
    first = np.where(inner[:, None], (middle - start)[:, :3, 3] / np.where(inner, border, 1.0)[:, None], second)
    beyond = way - border[scene]
    ramp = np.maximum(beyond, 0.0)
    smooth = beyond * ndtr(beyond / _ROUNDING) + _ROUNDING / np.sqrt(2 * np.pi) * np.exp(
        -0.5 * (beyond / _ROUNDING) ** 2
    )
    weight = np.clip(np.minimum(way, 1 - way) / (3 * _ROUNDING), 0.0, 1.0)
    bent = weight * smooth + (1 - weight) * ramp
    low, high = turn[0][scene], turn[1][scene]
    turned = _minimum_jerk(np.clip((way - low) / np.maximum(high - low, 1e-9), 0.0, 1.0))
    out = _between(start, end, turned, scene)
    out[:, :3, 3] = start[scene, :3, 3] + way[:, None] * first[scene] + bent[:, None] * (second - first)[scene]
    return out


def poses_at(stamps: FloatArray, poses: FloatArray, times: FloatArray) -> FloatArray:
    """Poses (T, 4, 4) at `stamps` (T,), interpolated at `times` (S,) within them."""
    before = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(stamps) - 2)
    share = (times - stamps[before]) / (stamps[before + 1] - stamps[before])
    return _between(poses[:-1], poses[1:], share, before)


def _at(stamps: FloatArray, poses: FloatArray, times: FloatArray, steps: _Steps) -> FloatArray:
    """(S, 4, 4) each scene's poses (B, M, 4, 4) at the nearest of `stamps` (M,) to `times` (S,)."""
    nearest = np.clip(np.searchsorted(stamps, times), 0, len(stamps) - 1)
    return np.asarray(poses[steps.scene, nearest])


def _minimum_jerk(s: FloatArray) -> FloatArray:
    return np.asarray(s**3 * (10 - 15 * s + 6 * s**2))


def _steps(seconds: float, pace: Pace) -> int:
    return max(2, round(seconds * pace.rate_hz))


def _steps_of(seconds: FloatArray, pace: Pace) -> IntArray:
    return np.maximum(2, np.rint(seconds * pace.rate_hz).astype(np.intp))
