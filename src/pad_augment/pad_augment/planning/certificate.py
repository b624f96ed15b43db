"""Proof that joint trajectories are free of collisions, at every instant and not only at the steps.

Independent of roboplan: own kinematics over the description's shapes, many steps at once. Between two steps the joints
move along a line. With clearances `a` and `b` of two bodies at its ends and at most `m` metres of motion towards each
other in between, `a + b > m` proves that they never touch (conservative advancement). So does a plane that parts them
at both ends by more than any point leaves the line between its places. Bodies are tried as boxes along the axes around
several steps, as spheres, as capsules around their links, then each shape as what it is along a plane, and what is
still open by its distance (coal). What that leaves is looked at again in halves of the step, down to FINEST rad.
"""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import coal
import numpy as np
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import ARMS, Robot
from pad_augment.planning.collisions import BASE_MARGIN, RADIUS_MARGIN
from pad_augment.planning.interface import Body, Failure, Plan, PlanFailure, PlanRequest, Shape
from pad_augment.planning.link_frames import Capsule, LinkTree, Primitive, bounding_capsule

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

FINEST = 0.005
"""rad; joint steps are not halved further: two bodies apart at both ends of such a step are apart."""
_DEEPEST = 12
_CHUNK = 8
"""Steps that are looked at as one at first."""


@dataclass(frozen=True, eq=False)
class _Steps:
    """n steps from row `i` to the next, both ends, under the contacts of the stretch that they start in.

    joints: (n, 2, J) rad, both arms. openings: (n, 2, 2) m. stretch: (n,) number of the stretch that they belong to.
    """

    joints: FloatArray
    openings: FloatArray
    stretch: IntArray

    def take(self, index: IntArray | BoolArray) -> _Steps:
        return _Steps(self.joints[index], self.openings[index], self.stretch[index])


@dataclass(frozen=True, eq=False)
class _Motion:
    """Bodies during n steps.

    row: (n, 2) where the two ends of a step are found in the arrays of m rows. rotation: (m, frames, 3, 3). position:
    (m, frames, 3) m. ends: (m, bodies, 2, 3) m, of the bodies' capsules. bend: (n, bodies) m, no point leaves the line
    between its places farther. path: (n, bodies) m, neither end moves farther. turned: (n, 2, k + 1) rad, sum of the
    steps of each arm's first 0 to k joints. reach: (2, k, k + 2) m, see `_farthest`. slid: (n, 2) m, step of each
    finger. owner: (n, bodies) arm that moves a body, -1 for none. depth: (n, bodies) how many of its joints do.
    """

    row: IntArray
    rotation: FloatArray
    position: FloatArray
    ends: FloatArray
    bend: FloatArray
    path: FloatArray
    turned: FloatArray
    reach: FloatArray
    slid: FloatArray
    owner: IntArray
    depth: IntArray


@dataclass(frozen=True, eq=False)
class _Shape:
    """A shape of a body: what it is, its pose in the body, and its capsule there."""

    body: int
    primitive: Primitive
    capsule: Capsule
    exact: coal.CollisionGeometry


@dataclass(frozen=True, eq=False)
class _Placed:
    """k shapes in the root.

    rotation: (k, 3, 3). position: (k, 3) m. ends: (k, 2, 3) m, of their capsules. extent: (k, 3) m, half of it, along
    the axes.
    """

    rotation: FloatArray
    position: FloatArray
    ends: FloatArray
    extent: FloatArray

    def take(self, index: IntArray) -> _Placed:
        return _Placed(self.rotation[index], self.position[index], self.ends[index], self.extent[index])


class Certifier:
    """Proves plans for one robot and objects of given shapes; bodies are all links with shapes, then the objects."""

    def __init__(self, robot: Robot, shapes: Mapping[str, Shape]) -> None:
        """Raises: RobotError: the description has shapes other than boxes, cylinders and spheres."""
        self._robot = robot
        self._tree = LinkTree(urdf_text(robot.profile.description))
        self._links = [link for link, parts in self._tree.shapes.items() if parts]
        self._objects = list(shapes)
        self._names = [*self._links, *self._objects]
        self._primitives = [self._tree.shapes[link] for link in self._links]
        self._primitives += [[_cylinder(shapes[name])] for name in self._objects]
        self._capsules = [bounding_capsule(parts) for parts in self._primitives]
        # Frames: the root, after every joint, and the objects; bodies and their shapes are fixed in one each.
        places = [self._tree.place(link) for link in self._links]
        first = 1 + max(number for number, _ in map(self._tree.place, self._tree.shapes))
        self._frame = np.array([number for number, _ in places] + [first + i for i in range(len(self._objects))])
        in_frame = np.array([pose for _, pose in places] + [np.eye(4)] * len(self._objects))
        self._bodies_of = [np.flatnonzero(self._frame == number) for number in range(first + len(self._objects))]
        self._tcps = [self._tree.place(arm.tcp_link) for arm in robot.arms]
        self._tips = np.array(
            [
                capsule.ends @ pose[:3, :3].T + pose[:3, 3]
                for capsule, pose in zip(self._capsules, in_frame, strict=True)
            ]
        )
        self._radii = np.array([capsule.radius for capsule in self._capsules])
        self._spheres = np.linalg.norm(self._tips[:, 1] - self._tips[:, 0], axis=1) / 2 + self._radii
        self._shapes = [
            _Shape(body, primitive, bounding_capsule([primitive]), _coal_shape(primitive))
            for body, parts in enumerate(self._primitives)
            for primitive in parts
        ]
        self._shape_radii = np.array([shape.capsule.radius for shape in self._shapes])
        self._shape_bodies = np.array([shape.body for shape in self._shapes])
        around = in_frame[self._shape_bodies]
        self._shape_poses = around @ np.array([shape.primitive.pose for shape in self._shapes])
        tips = np.array([shape.capsule.ends for shape in self._shapes])
        self._shape_tips = tips @ np.swapaxes(around[:, :3, :3], 1, 2) + around[:, None, :3, 3]
        self._shape_frames = self._frame[self._shape_bodies]
        self._kinds = np.array([shape.primitive.kind for shape in self._shapes])
        self._halves = {kind: np.array([_half(shape.primitive) for shape in self._shapes]) for kind in set(self._kinds)}
        self._known_roles: dict[object, BoolArray] = {}
        self._request = coal.DistanceRequest()
        self._columns = [self._tree.joints.index(name) for name in robot.joint_names]
        self._fingers = [self._tree.joints.index(arm.finger_joint) for arm in robot.arms]
        self._owner = np.array([self._arm_of(link) for link in self._links] + [-1] * len(self._objects))
        self._depth = np.array([self._depth_of(link) for link in self._links] + [0] * len(self._objects))
        self._reach = np.array([self._farthest(arm) for arm in (0, 1)])
        self._pairs = self._possible_pairs()
        parts = [np.flatnonzero(self._shape_bodies == body) for body in range(len(self._names))]
        combinations = [np.array(list(itertools.product(parts[a], parts[b])), np.intp) for a, b in self._pairs]
        self._combinations = np.concatenate(combinations)
        self._counts = np.array([len(rows) for rows in combinations])
        self._first_combination = np.cumsum(self._counts) - self._counts
        self._fixed = [i for i, owner in enumerate(self._owner[: len(self._links)]) if owner < 0]
        frames = self._tree.frames(np.zeros((1, len(self._tree.joints))), self._links)
        self._boxes = {}
        for index in self._fixed:
            rotation, position = (part[0] for part in frames[self._links[index]])
            corners = np.concatenate([shape.hull() for shape in self._primitives[index]]) @ rotation.T + position
            extra = max(shape.radius for shape in self._primitives[index])
            self._boxes[index] = (corners.min(0) - extra, corners.max(0) + extra)
        self._grippers = robot.gripper_links

    def first_contacts(self, requests: Sequence[PlanRequest], plans: Sequence[Plan]) -> list[PlanFailure | None]:
        """Per plan its first step with a collision, as a failure; None: proved free.

        Stretches of a request and of its plan are the same but for their lengths.
        """
        if not plans:
            return []
        bodies = [stretch.bodies for request in requests for stretch in request.stretches]
        first_stretch = np.cumsum([0, *(len(request.stretches) for request in requests)])
        steps, owner, row = [], [], []
        for index, plan in enumerate(plans):
            count = len(plan.joints)
            ends = np.minimum(np.arange(count) + 1, count - 1)
            stretch = np.repeat(np.arange(len(plan.lengths)), plan.lengths) + first_stretch[index]
            rows = np.stack([np.arange(count), ends], axis=1)
            steps.append(_Steps(plan.joints[rows], plan.openings[rows], stretch))
            owner.append(np.full(count, index))
            row.append(np.arange(count))
        every = _Steps(
            np.concatenate([s.joints for s in steps]),
            np.concatenate([s.openings for s in steps]),
            np.concatenate([s.stretch for s in steps]),
        )
        touching = self._contacts(every, bodies)
        out: list[PlanFailure | None] = [None] * len(plans)
        owners, rows = np.concatenate(owner), np.concatenate(row)
        for step, pair in sorted(touching):
            index = int(owners[step])
            if out[index] is None:
                stretch = int(every.stretch[step] - first_stretch[index])
                one, other = (self._names[body] for body in self._pairs[pair])
                message = f"{one} meets {other} in step {rows[step]} of the way"
                out[index] = PlanFailure(self._cause(pair), stretch, message)
        return out

    def _contacts(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> list[tuple[int, int]]:
        """(step, pair) of all collisions."""
        allowed = np.stack([self._allowed(stretch) for stretch in bodies])
        found: set[tuple[int, int]] = set()
        motion = self._motion(steps, bodies)
        step, pair = self._near(motion, steps.stretch, allowed)
        source: IntArray = np.arange(len(steps.stretch))
        part = steps
        for _ in range(_DEEPEST):
            if not len(step):
                break
            step, pair, bound = self._capsules_meet(motion, step, pair)
            step, pair, meets = self._shapes_meet(motion, step, pair, bound)
            found.update((int(source[i]), int(j)) for i, j in zip(step[meets], pair[meets], strict=True))
            fine = np.abs(part.joints[:, 1] - part.joints[:, 0]).max(1) <= FINEST
            again = ~meets & ~fine[step]
            rows, back = np.unique(step[again], return_inverse=True)
            pair = np.repeat(pair[again], 2)
            step = (2 * back[:, None] + np.arange(2)).ravel()
            source, part = source[rows].repeat(2), _halved(part.take(rows))
            if len(rows):
                motion = self._motion(part, bodies)
        return sorted(found)

    def _near(self, motion: _Motion, stretch: IntArray, allowed: BoolArray) -> tuple[IntArray, IntArray]:
        """(step, pair) of all pairs that may not touch but those that boxes along the axes or spheres prove apart."""
        bodies = motion.path.shape[1]
        low, high = self._boxes_of_rows(motion)
        step, pair = self._near_in_chunks(motion, low, high)
        asked = ~allowed[stretch[step], pair]
        step, pair = step[asked], pair[asked]
        a, b = self._pairs[pair].T
        row = motion.row[step, 0] * bodies
        bound = motion.path.take(step * bodies + a) + motion.path.take(step * bodies + b)
        first, second = row + a, row + b
        centre = ((motion.ends[:, :, 0] + motion.ends[:, :, 1]) / 2).reshape(-1, 3)
        between = centre[first] - centre[second]
        left = _dot(between, between) <= (self._spheres[a] + self._spheres[b] + bound) ** 2
        step, pair, first, second, bound = step[left], pair[left], first[left], second[left], bound[left]
        low, high = low.reshape(-1, 3), high.reshape(-1, 3)
        gap = _largest(np.maximum(low[first] - high[second], low[second] - high[first]))
        left = gap <= bound
        return step[left], pair[left]

    def _boxes_of_rows(self, motion: _Motion) -> tuple[FloatArray, FloatArray]:
        """(m, bodies, 3) m, lower and upper corners of boxes along the axes around the bodies."""
        one, other = motion.ends[:, :, 0], motion.ends[:, :, 1]
        low = np.minimum(one, other) - self._radii[:, None]
        high = np.maximum(one, other) + self._radii[:, None]
        for body, (floor, top) in self._boxes.items():
            low[:, body], high[:, body] = floor, top
        return low, high

    def _near_in_chunks(self, motion: _Motion, low: FloatArray, high: FloatArray) -> tuple[IntArray, IntArray]:
        """(step, pair) of all pairs but those whose boxes around everywhere in several steps prove them apart."""
        count = len(motion.path)
        first = np.arange(0, count, _CHUNK)
        last = np.minimum(first + _CHUNK, count) - 1
        # Rows follow each other as steps do.
        spans = np.stack([motion.row[first, 0], motion.row[last, 1] + 1], axis=1).ravel()
        spans = spans[:-1] if spans[-1] == len(low) else spans
        bend = np.maximum.reduceat(motion.bend, first, axis=0)[:, :, None]
        floor = np.minimum.reduceat(low, spans, axis=0)[::2] - bend
        top = np.maximum.reduceat(high, spans, axis=0)[::2] + bend
        a, b = self._pairs.T
        meet = np.ones((len(first), len(a)), bool)
        for axis in range(3):
            under, over = floor[:, :, axis], top[:, :, axis]
            meet &= (under[:, a] <= over[:, b]) & (under[:, b] <= over[:, a])
        chunk, pair = np.nonzero(meet)
        step = (chunk[:, None] * _CHUNK + np.arange(_CHUNK)).ravel()
        inside = step < count
        return step[inside], np.repeat(pair, _CHUNK)[inside]

    def _capsules_meet(self, motion: _Motion, step: IntArray, pair: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Those of (step, pair) that the bodies' capsules do not prove apart; m that any of their points approach."""
        a, b = self._pairs[pair].T
        bound, of_points = self._bounds(motion, step, pair)
        room = self._radii[a] + self._radii[b]
        row = motion.row[step]
        from_here = _between_segments(motion.ends[row[:, 0], a], motion.ends[row[:, 0], b])
        left = np.flatnonzero(_length(from_here) <= room + bound)  # one end is enough where they are far apart
        a, b, row, room, from_here = a[left], b[left], row[left], room[left], from_here[left]
        ends = [(motion.ends[at, a], motion.ends[at, b]) for at in row.T]
        before, after = _length(from_here) - room, _length(_between_segments(*ends[1])) - room
        keep = _open(before, after, bound[left]) & ~self._separated(
            np.minimum(*(_clearance_of_capsules(one, other, _unit(from_here)) for one, other in ends)) - room,
            motion,
            step[left],
            pair[left],
        )
        left = left[keep]
        return step[left], pair[left], of_points[left]

    def _separated(self, clearance: FloatArray, motion: _Motion, step: IntArray, pair: IntArray) -> BoolArray:
        """Whether a plane parts two bodies during a step: `clearance` m along one direction is that at both ends.

        Between them every point keeps within `bend` of the line between its places.
        """
        a, b = self._pairs[pair].T
        return np.asarray(clearance > motion.bend[step, a] + motion.bend[step, b])

    def _bounds(self, motion: _Motion, step: IntArray, pair: IntArray) -> tuple[FloatArray, FloatArray]:
        """m by which the two bodies' capsules, and any of their points, come towards each other at most."""
        a, b = self._pairs[pair].T
        bound = motion.path[step, a] + motion.path[step, b]
        turn = self._turn(motion, step, a) * self._radii[a] + self._turn(motion, step, b) * self._radii[b]
        # On one arm only the joints between two links bring them together: seen from the one nearer to the base.
        own = np.flatnonzero((motion.owner[step, a] == motion.owner[step, b]) & (motion.owner[step, a] >= 0))
        if len(own):
            rows, arm = step[own], motion.owner[step[own], a[own]]
            deeper = motion.depth[rows, a[own]] > motion.depth[rows, b[own]]
            base, tip = np.where(deeper, b[own], a[own]), np.where(deeper, a[own], b[own])
            seen = []
            for row in motion.row[rows].T:
                frame = self._frame[base]
                away = motion.ends[row, tip] - motion.position[row, frame][:, None]
                seen.append(away @ motion.rotation[row, frame])
            chord = np.sqrt(_dot(seen[1] - seen[0], seen[1] - seen[0]))
            lower, upper = motion.depth[rows, base], motion.depth[rows, tip]
            between = motion.turned[rows, arm, upper] - motion.turned[rows, arm, lower]
            reach = motion.reach[
                arm, np.minimum(lower, self._robot.joints_per_arm - 1), self._kind_of_depth(tip, upper)
            ]
            bend = (between**2 * reach + 2 * between * motion.slid[rows, arm]) / 8
            bound[own] = np.maximum(chord[:, 0], chord[:, 1]) + 2 * bend
            turn[own] = between * self._radii[tip]
        return bound, bound + turn

    def _turn(self, motion: _Motion, step: IntArray, body: IntArray) -> FloatArray:
        owner = motion.owner[step, body]
        return np.where(owner >= 0, motion.turned[step, owner, motion.depth[step, body]], 0.0)

    def _kind_of_depth(self, body: IntArray, depth: IntArray) -> IntArray:
        """Column of `reach` for bodies moved by so many joints: what is carried comes after the hand."""
        return np.asarray(np.where(body < len(self._links), depth, self._robot.joints_per_arm + 1))

    @staticmethod
    def _bends(turned: FloatArray, slid: FloatArray, reach: FloatArray) -> FloatArray:
        """(n, 2, k + 2) m, how far a point's path is at most from the line between its ends, per arm and column of
        `reach`.

        It is an eighth of the path's largest second derivative: each joint adds what it turns, times what it and those
        before it turn, times the distance of the point from its axis.
        """
        added = np.diff(turned**2, axis=2)
        bends = np.stack([added[:, arm] @ reach[arm] for arm in (0, 1)], axis=1)
        return np.asarray((bends + 2 * (turned[:, :, -1] * slid)[:, :, None]) / 8)

    def _shapes_meet(
        self, motion: _Motion, step: IntArray, pair: IntArray, bound: FloatArray
    ) -> tuple[IntArray, IntArray, BoolArray]:
        """Those of (step, pair) that the shapes do not prove apart, and which of them collide.

        bound: m by which any points of the two bodies approach each other at most.
        """
        counts = self._counts[pair]
        case = np.repeat(np.arange(len(pair)), counts)
        within = np.arange(len(case)) - np.repeat(np.cumsum(counts) - counts, counts)
        both = self._combinations[self._first_combination[pair][case] + within]
        room, bound, rows = self._shape_radii[both].sum(1), bound[case], motion.row[step[case]]
        one, other = (self._placed(motion, rows[:, 0], both[:, side]) for side in (0, 1))
        between = _between_segments(one.ends, other.ends)
        before = np.maximum(_length(between) - room, _largest(_box_clearance(one, other)))
        left = np.flatnonzero(before <= bound)  # one end is enough where they are far apart
        both, rows, case, bound, room = both[left], rows[left], case[left], bound[left], room[left]
        ends = [(one.take(left), other.take(left))]
        ends.append((self._placed(motion, rows[:, 1], both[:, 0]), self._placed(motion, rows[:, 1], both[:, 1])))
        boxes = _box_clearance(*ends[1])
        after = np.maximum(_length(_between_segments(ends[1][0].ends, ends[1][1].ends)) - room, _largest(boxes))
        gaps = np.stack([before[left], after], axis=1)
        # A plane along the axes, on the same side at both ends, or across the shortest way at the first of them.
        same = (ends[0][0].position > ends[0][1].position) == (ends[1][0].position > ends[1][1].position)
        along = _largest(np.where(same, np.minimum(_box_clearance(*ends[0]), boxes), -np.inf))
        across = _unit(between[left])
        gap = np.minimum(*(self._clearance(placed, both, across) for placed in ends))
        parted = self._separated(np.maximum(along, gap), motion, step[case], pair[case])
        # Where even the rough shapes are apart, a shorter step may do.
        for at in np.flatnonzero(~parted & (gaps.min(1, initial=np.inf) <= 0)):
            gaps[at] = [self._distance(both[at], one, other, int(at)) for one, other in ends]
        meets = np.zeros(len(step), bool)
        meets[case[~parted & (gaps.min(1, initial=np.inf) <= 0)]] = True
        keep = meets.copy()
        keep[case[~parted & (gaps.sum(1) <= bound)]] = True
        return step[keep], pair[keep], meets[keep]

    def _clearance(self, placed: tuple[_Placed, _Placed], shapes: IntArray, along: FloatArray) -> FloatArray:
        """m between two shapes along directions (k, 3) from the second to the first."""
        one, other = placed
        return (
            _dot(one.position - other.position, along)
            - self._extent(one.rotation, shapes[:, 0], along)
            - self._extent(other.rotation, shapes[:, 1], along)
        )

    def _extent(self, rotation: FloatArray, shape: IntArray, along: FloatArray) -> FloatArray:
        """(k,) m, half of the shapes' extent along directions (k, 3)."""
        out = np.empty(len(shape))
        seen = (along[:, None] @ rotation)[:, 0]
        for kind, half in self._halves.items():
            rows = np.flatnonzero(self._kinds[shape] == kind)
            size, part = half[shape[rows]], seen[rows]
            if kind == "box":
                out[rows] = _dot(np.abs(part), size)
            elif kind == "cylinder":
                out[rows] = np.abs(part[:, 2]) * size[:, 1] + size[:, 0] * np.hypot(part[:, 0], part[:, 1])
            else:
                out[rows] = size[:, 0]
        return out

    def _placed(self, motion: _Motion, row: IntArray, shape: IntArray) -> _Placed:
        frame = self._shape_frames[shape]
        turn, shift = motion.rotation[row, frame], motion.position[row, frame]
        pose = self._shape_poses[shape]
        rotation = turn @ pose[:, :3, :3]
        position = (turn @ pose[:, :3, 3, None])[..., 0] + shift
        ends = self._shape_tips[shape] @ np.swapaxes(turn, -1, -2) + shift[:, None]
        extent = np.empty_like(position)
        for kind, half in self._halves.items():
            rows = np.flatnonzero(self._kinds[shape] == kind)
            size = half[shape[rows]]
            if kind == "box":
                extent[rows] = (np.abs(rotation[rows]) @ size[:, :, None])[..., 0]
            elif kind == "cylinder":
                axis = rotation[rows][:, :, 2]
                extent[rows] = np.abs(axis) * size[:, 1:2] + size[:, :1] * np.sqrt(np.maximum(1 - axis**2, 0))
            else:
                extent[rows] = size[:, :1]
        return _Placed(rotation, position, ends, extent)

    def _distance(self, shapes: IntArray, one: _Placed, other: _Placed, row: int) -> float:
        """m between two shapes; 0 or less where they meet."""
        result = coal.DistanceResult()
        coal.distance(
            self._shapes[shapes[0]].exact,
            coal.Transform3s(one.rotation[row], one.position[row]),
            self._shapes[shapes[1]].exact,
            coal.Transform3s(other.rotation[row], other.position[row]),
            self._request,
            result,
        )
        return float(result.min_distance)

    def _motion(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> _Motion:
        row, rotation, position = self._frames(steps, bodies)
        ends = np.empty((len(position), len(self._names), 2, 3))
        for frame in range(position.shape[1]):
            bodies_here = self._bodies_of[frame]
            if len(bodies_here):
                tips = self._tips[bodies_here].reshape(-1, 3)
                turn = np.ascontiguousarray(rotation[:, frame]).reshape(-1, 3)
                there = np.swapaxes((turn @ tips.T).reshape(len(position), 3, -1), 1, 2) + position[:, frame, None]
                ends[:, bodies_here] = there.reshape(len(position), len(bodies_here), 2, 3)
        chords = ends[row[:, 1]] - ends[row[:, 0]]
        chord = np.sqrt(_dot(chords, chords))
        moved = np.abs(steps.joints[:, 1] - steps.joints[:, 0]).reshape(-1, 2, self._robot.joints_per_arm)
        turned = np.concatenate([np.zeros((len(moved), 2, 1)), np.cumsum(moved, axis=2)], axis=2)
        slid = np.abs(steps.openings[:, 1] - steps.openings[:, 0]) / 2
        owner, depth = self._owners(steps, bodies)
        rows = np.arange(len(moved))[:, None]
        kinds = self._kind_of_depth(np.arange(len(self._names)), depth)
        reach = self._reach + self._away(bodies)
        bend = np.where(owner >= 0, self._bends(turned, slid, reach)[rows, owner, kinds], 0.0)
        path = np.where(owner >= 0, np.maximum(chord[..., 0], chord[..., 1]) + 2 * bend, 0.0)
        return _Motion(row, rotation, position, ends, bend, path, turned, reach, slid, owner, depth)

    def _away(self, bodies: Sequence[Mapping[str, Body]]) -> FloatArray:
        """(k + 2,) m, how much farther than in `_farthest` anything that is carried may be."""
        held = [body.pose[:3, 3] for stretch in bodies for body in stretch.values() if body.holder is not None]
        return np.array(
            [0.0] * (self._robot.joints_per_arm + 1)
            + [max((float(np.linalg.norm(place)) for place in held), default=0.0)]
        )

    def _owners(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> tuple[IntArray, IntArray]:
        """(n, bodies) the arm that moves each body, -1 for none, and how many of its joints do."""
        owner, depth = np.tile(self._owner, (len(bodies), 1)), np.tile(self._depth, (len(bodies), 1))
        for number, stretch in enumerate(bodies):
            for index, name in enumerate(self._objects, len(self._links)):
                holder = stretch[name].holder
                if holder is not None:
                    owner[number, index], depth[number, index] = holder, self._robot.joints_per_arm
        return np.asarray(owner[steps.stretch]), np.asarray(depth[steps.stretch])

    def _frames(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> tuple[IntArray, FloatArray, FloatArray]:
        """Rows (n, 2) of both ends of the steps, and all frames (m, frames) in these rows."""
        joints, openings = steps.joints.reshape(-1, steps.joints.shape[-1]), steps.openings.reshape(-1, 2)
        stretch = np.repeat(steps.stretch, 2)
        # Most ends are the starts of the next step.
        fresh = np.ones(len(stretch), bool)
        fresh[2::2] = (
            (joints[2::2] != joints[1:-1:2]).any(1)
            | (openings[2::2] != openings[1:-1:2]).any(1)
            | (stretch[2::2] != stretch[1:-1:2])
        )
        stretch = stretch[fresh]
        postures = np.zeros((len(stretch), len(self._tree.joints)))
        postures[:, self._columns] = joints[fresh]
        postures[:, self._fingers] = openings[fresh] / 2
        moving = self._tree.moving_frames(postures)
        count = moving[0].shape[1]
        rotation = np.empty((len(stretch), count + len(self._objects), 3, 3))
        position = np.empty((len(stretch), count + len(self._objects), 3))
        rotation[:, :count], position[:, :count] = moving
        for index, name in enumerate(self._objects, count):
            poses = np.stack([b[name].pose for b in bodies])
            holders = np.array([-1 if b[name].holder is None else b[name].holder for b in bodies])
            for arm, (_, tcp) in enumerate(self._tcps):
                poses[holders == arm] = tcp @ poses[holders == arm]
            frames = np.array([0, *(frame for frame, _ in self._tcps)])[holders + 1][stretch]
            at = np.arange(len(stretch))
            turn, shift, poses = rotation[at, frames], position[at, frames], poses[stretch]
            rotation[:, index] = turn @ poses[:, :3, :3]
            position[:, index] = (turn @ poses[:, :3, 3, None])[..., 0] + shift
        return (np.cumsum(fresh) - 1).reshape(-1, 2), rotation, position

    def _allowed(self, bodies: Mapping[str, Body]) -> BoolArray:
        """(pairs,) which pairs may touch in a stretch."""
        roles = tuple((name, body.holder, body.touching) for name, body in bodies.items())
        if roles not in self._known_roles:
            self._known_roles[roles] = self._allowed_in(bodies)
        return self._known_roles[roles]

    def _allowed_in(self, bodies: Mapping[str, Body]) -> BoolArray:
        free: set[tuple[str, str]] = set()
        for name, body in bodies.items():
            grippers = [arm for arm in (0, 1) if ARMS[arm] in body.touching or body.holder == arm]
            partners = [part for arm in grippers for part in self._grippers[arm]]
            partners += [other for other in bodies if other in body.touching]
            free.update((name, partner) for partner in partners)
            free.update((partner, name) for partner in partners)
        still = {name for name, body in bodies.items() if body.holder is None}
        fixed = {link for link, owner in zip(self._links, self._owner, strict=False) if owner < 0}
        out = np.zeros(len(self._pairs), bool)
        for index, (a, b) in enumerate(self._pairs):
            one, other = self._names[a], self._names[b]
            out[index] = (one, other) in free or (other in still and (one in still or one in fixed))
        return out

    def _cause(self, pair: int) -> Failure:
        a, b = self._pairs[pair]
        if max(a, b) >= len(self._links):
            return Failure.OBJECT_COLLISION
        owners = {int(self._owner[a]), int(self._owner[b])} - {-1}
        return Failure.ARMS_COLLISION if len(owners) == 2 else Failure.SELF_COLLISION

    def _possible_pairs(self) -> IntArray:
        """(pairs, 2) bodies that may meet in some stretch: not both fixed, not excused by the SRDF."""
        root = ElementTree.fromstring(self._robot.profile.srdf.read_text(encoding="utf-8"))
        excused = {frozenset((str(e.get("link1")), str(e.get("link2")))) for e in root.findall("disable_collisions")}
        pairs = []
        for a, one in enumerate(self._names):
            for b in range(a + 1, len(self._names)):
                both_fixed = b < len(self._links) and self._owner[a] < 0 and self._owner[b] < 0
                if not both_fixed and frozenset((one, self._names[b])) not in excused:
                    pairs.append((a, b))
        return np.array(pairs, dtype=np.intp)

    def _arm_of(self, link: str) -> int:
        moved_by = self._tree.ancestors[link]
        for arm, profile in enumerate(self._robot.arms):
            if set(moved_by) & {*profile.joints, profile.finger_joint}:
                return arm
        return -1

    def _depth_of(self, link: str) -> int:
        moved_by = self._tree.ancestors[link]
        return sum(1 for arm in self._robot.arms for joint in arm.joints if joint in moved_by)

    def _farthest(self, arm: int) -> FloatArray:
        """(k, k + 2) m: no point of a link moved by an arm's first 0 to k joints, or, last, of what it carries, is
        farther from the origin of joint k's frame, if the TCP is the origin of what is carried.
        """
        numbers = [self._tree.joint_frame(joint) for joint in self._robot.arms[arm].joints]
        offsets = [float(np.linalg.norm(self._tree.joint_offset(number))) for number in numbers]
        count = self._robot.joints_per_arm
        sizes = np.zeros(count + 2)
        for link, owner, depth, capsule in zip(self._links, self._owner, self._depth, self._capsules, strict=False):
            if owner == arm:
                far = self._tree.distance_bound(link, numbers[depth - 1]) + _size(capsule)
                sizes[depth] = max(sizes[depth], far)
        carried = max((_size(capsule) for capsule in self._capsules[len(self._links) :]), default=0.0)
        sizes[-1] = self._tree.distance_bound(self._robot.arms[arm].tcp_link, numbers[-1]) + carried
        out = np.zeros((count, count + 2))
        for joint in range(count):
            for column in range(joint + 1, count + 2):
                out[joint, column] = sum(offsets[joint + 1 : min(column, count)]) + sizes[column]
        return out


def _size(capsule: Capsule) -> float:
    return float(np.linalg.norm(capsule.ends, axis=1).max()) + capsule.radius


def _cylinder(shape: Shape) -> Primitive:
    pose = np.eye(4)
    pose[:3, 3] = [*shape.centre, shape.height / 2]
    return Primitive("cylinder", (shape.radius - RADIUS_MARGIN, shape.height - 2 * BASE_MARGIN), pose)


def _half(shape: Primitive) -> tuple[float, float, float]:
    """Half sizes of a box, radius and half length of a cylinder, radius of a sphere."""
    if shape.kind == "box":
        return shape.size[0] / 2, shape.size[1] / 2, shape.size[2] / 2
    return shape.size[0], shape.size[-1] / 2, 0.0


def _coal_shape(shape: Primitive) -> coal.CollisionGeometry:
    kinds = {"box": coal.Box, "cylinder": coal.Cylinder, "sphere": coal.Sphere}
    return kinds[shape.kind](*shape.size)


def _open(before: FloatArray, after: FloatArray, bound: FloatArray) -> BoolArray:
    """Which are not proved apart by clearances at both ends of a step and a bound of motion."""
    return np.asarray((np.minimum(before, after) <= 0) | (before + after <= bound))


def _box_clearance(one: _Placed, other: _Placed) -> FloatArray:
    """(k, 3) m between boxes around two shapes along each axis."""
    return np.asarray(np.abs(one.position - other.position) - one.extent - other.extent)


def _clearance_of_capsules(one: FloatArray, other: FloatArray, along: FloatArray) -> FloatArray:
    """(k,) m between lines (k, 2, 3) along directions (k, 3) from the second to the first."""
    mine, others = _dot(one, along[:, None]), _dot(other, along[:, None])
    return np.asarray(np.minimum(mine[:, 0], mine[:, 1]) - np.maximum(others[:, 0], others[:, 1]))


def _halved(steps: _Steps) -> _Steps:
    """The first and the second half of every step, one after the other."""
    halves = []
    for values in (steps.joints, steps.openings):
        middle = values.mean(axis=1)
        pair = np.stack([np.stack([values[:, 0], middle], 1), np.stack([middle, values[:, 1]], 1)], axis=1)
        halves.append(pair.reshape(-1, 2, values.shape[-1]))
    return _Steps(halves[0], halves[1], np.repeat(steps.stretch, 2))


def _between_segments(first: FloatArray, second: FloatArray) -> FloatArray:
    """(k, 3) m, shortest way to lines (k, 2, 3) from others: it ends inside both, or at an end of one."""
    p, q = first[:, 0], second[:, 0]
    d, e, r = first[:, 1] - p, second[:, 1] - q, p - q
    dd, ee, de = _dot(d, d), _dot(e, e), _dot(d, e)
    dr, er = _dot(d, r), _dot(e, r)
    denominator = dd * ee - de * de
    tiny = 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.where(denominator > tiny, np.clip((de * er - ee * dr) / denominator, 0, 1), 0.0)
        t = np.where(ee > tiny, (de * s + er) / ee, 0.0)
        clipped = np.clip(t, 0, 1)
        again = np.where(dd > tiny, np.clip((clipped * de - dr) / dd, 0, 1), 0.0)
    s = np.where((t == clipped) & (ee > tiny), s, again)
    return np.asarray(r + s[:, None] * d - clipped[:, None] * e)


def _length(ways: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(_dot(ways, ways)))


def _unit(ways: FloatArray) -> FloatArray:
    """Directions of ways (k, 3); a way of no length gives none."""
    return ways / np.maximum(_length(ways), 1e-12)[:, None]


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def _largest(values: FloatArray) -> FloatArray:
    """(...,) the largest of three: much faster than a reduction over so short an axis."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))
