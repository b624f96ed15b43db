"""Proof that joint trajectories are free of collisions, at every instant and not only at the steps.

Independent of roboplan: own kinematics over the description's shapes, many steps at once. Between two steps the joints
move along a line. With clearances `a` and `b` of two bodies at its ends and at most `m` metres of motion towards each
other in between, `a + b > m` proves that they never touch (conservative advancement). Bodies are tried as spheres, as
capsules around their links, then each shape as a capsule and as a box along the axes, and what is still open as what it
is (coal). What that leaves is looked at again in halves of the step, down to FINEST rad.
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
from pad_augment.planning.collisions import BASE_MARGIN, GRIPPER_PARTS, RADIUS_MARGIN
from pad_augment.planning.interface import Body, Failure, Plan, PlanFailure, PlanRequest, Shape
from pad_augment.planning.link_frames import Capsule, LinkTree, Primitive, bounding_capsule

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

FINEST = 0.005
"""rad; joint steps are not halved further: two bodies apart at both ends of such a step are apart."""
_DEEPEST = 12


@dataclass(frozen=True, eq=False)
class _Steps:
    """n steps from row `i` to the next, both ends, under the contacts of the stretch that they start in.

    joints: (n, 2, 12) rad. openings: (n, 2, 2) m. stretch: (n,) number of the stretch that they belong to.
    """

    joints: FloatArray
    openings: FloatArray
    stretch: IntArray

    def take(self, index: IntArray | BoolArray) -> _Steps:
        return _Steps(self.joints[index], self.openings[index], self.stretch[index])


@dataclass(frozen=True, eq=False)
class _Motion:
    """Bodies during n steps.

    row: (n, 2) where the two ends of a step are found in the arrays of m rows. rotation: (m, bodies, 3, 3). position:
    (m, bodies, 3) m. ends: (m, bodies, 2, 3) m, of the bodies' capsules. path: (n, bodies) m, neither end moves
    farther. turned: (n, 2, 7) rad, sum of the steps of each arm's first 0 to 6 joints. slid: (n, 2) m, step of each
    finger. owner: (n, bodies) arm that moves a body, -1 for none. depth: (n, bodies) how many of its joints do.
    """

    row: IntArray
    rotation: FloatArray
    position: FloatArray
    ends: FloatArray
    path: FloatArray
    turned: FloatArray
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
        self._tips = np.array([capsule.ends for capsule in self._capsules])
        self._radii = np.array([capsule.radius for capsule in self._capsules])
        self._spheres = np.linalg.norm(self._tips[:, 1] - self._tips[:, 0], axis=1) / 2 + self._radii
        self._shapes = [
            _Shape(body, primitive, bounding_capsule([primitive]), _coal_shape(primitive))
            for body, parts in enumerate(self._primitives)
            for primitive in parts
        ]
        self._shape_radii = np.array([shape.capsule.radius for shape in self._shapes])
        self._shape_tips = np.array([shape.capsule.ends for shape in self._shapes])
        self._shape_poses = np.array([shape.primitive.pose for shape in self._shapes])
        self._shape_bodies = np.array([shape.body for shape in self._shapes])
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
        self._combinations = [
            np.array(list(itertools.product(*(np.flatnonzero(self._shape_bodies == body) for body in pair))))
            for pair in self._pairs
        ]
        self._fixed = [i for i, owner in enumerate(self._owner[: len(self._links)]) if owner < 0]
        frames = self._tree.frames(np.zeros((1, len(self._tree.joints))), self._links)
        self._boxes = {}
        for index in self._fixed:
            rotation, position = (part[0] for part in frames[self._links[index]])
            corners = np.concatenate([shape.hull() for shape in self._primitives[index]]) @ rotation.T + position
            extra = max(shape.radius for shape in self._primitives[index])
            self._boxes[index] = (corners.min(0) - extra, corners.max(0) + extra)
        self._grippers = [[f"{arm}_{part}" for part in GRIPPER_PARTS] for arm in ARMS]

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
        step, pair = self._near(motion, ~allowed[steps.stretch])
        source: IntArray = np.arange(len(steps.stretch))
        part = steps
        for _ in range(_DEEPEST):
            if not len(step):
                break
            step, pair = self._capsules_meet(motion, step, pair)
            step, pair, meets = self._shapes_meet(motion, step, pair)
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

    def _near(self, motion: _Motion, asked: BoolArray) -> tuple[IntArray, IntArray]:
        """(step, pair) of all pairs but those whose spheres, or boxes along the axes, prove them apart."""
        a, b = self._pairs.T
        # Rows of bodies and pairs, columns of postures and steps: what is picked is contiguous.
        one, other = (np.ascontiguousarray(motion.ends[:, :, end].transpose(2, 1, 0)) for end in (0, 1))
        centres = (one + other) / 2
        gap = (centres[0][a] - centres[0][b]) ** 2
        for axis in (1, 2):
            gap += (centres[axis][a] - centres[axis][b]) ** 2
        np.sqrt(gap, out=gap)
        gap -= (self._spheres[a] + self._spheres[b])[:, None]
        low = np.minimum(one, other) - self._radii[:, None]
        high = np.maximum(one, other) + self._radii[:, None]
        for body in self._fixed:
            floor, top = (side[:, None, None] for side in self._boxes[body])
            apart = np.maximum(low - top, floor - high).max(axis=0)
            for mine, partner in ((a, b), (b, a)):
                rows = np.flatnonzero(mine == body)
                gap[rows] = np.maximum(gap[rows], apart[partner[rows]])
        before, after = gap[:, motion.row[:, 0]], gap[:, motion.row[:, 1]]
        path = np.ascontiguousarray(motion.path.T)
        apart_at_ends = np.minimum(before, after) > 0
        proved = apart_at_ends & (before + after > path[a] + path[b])
        step, pair = np.nonzero(asked & ~proved.T)
        return step, pair

    def _capsules_meet(self, motion: _Motion, step: IntArray, pair: IntArray) -> tuple[IntArray, IntArray]:
        """Those of (step, pair) that the bodies' capsules do not prove apart."""
        a, b = self._pairs[pair].T
        gaps = [_between_segments(motion.ends[row, a], motion.ends[row, b]) for row in motion.row[step].T]
        bound, _ = self._bounds(motion, step, pair)
        left = _open(gaps, self._radii[a] + self._radii[b], bound)
        return step[left], pair[left]

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
                away = motion.ends[row, tip] - motion.position[row, base][:, None]
                seen.append(away @ motion.rotation[row, base])
            chord = np.sqrt(_dot(seen[1] - seen[0], seen[1] - seen[0]))
            between = (
                motion.turned[rows, arm, motion.depth[rows, tip]] - motion.turned[rows, arm, motion.depth[rows, base]]
            )
            bend = self._bend(between, motion.slid[rows, arm], arm)
            bound[own] = np.maximum(chord[:, 0], chord[:, 1]) + 2 * bend
            turn[own] = between * self._radii[tip]
        return bound, bound + turn

    def _turn(self, motion: _Motion, step: IntArray, body: IntArray) -> FloatArray:
        owner = motion.owner[step, body]
        return np.where(owner >= 0, motion.turned[step, owner, motion.depth[step, body]], 0.0)

    def _bend(self, turned: FloatArray, slid: FloatArray, arm: IntArray) -> FloatArray:
        """m, how far a point's path is from the line between its ends: an eighth of its largest second derivative."""
        return np.asarray((turned**2 * self._reach[arm] + 2 * turned * slid) / 8)

    def _shapes_meet(self, motion: _Motion, step: IntArray, pair: IntArray) -> tuple[IntArray, IntArray, BoolArray]:
        """Those of (step, pair) that the shapes do not prove apart, and which of them collide."""
        _, bound = self._bounds(motion, step, pair)
        counts = np.array([len(self._combinations[p]) for p in pair], dtype=np.intp)
        case = np.repeat(np.arange(len(pair)), counts)
        both = np.concatenate([np.empty((0, 2), np.intp), *(self._combinations[p] for p in pair)])
        placed = [[self._placed(motion, row, both[:, side]) for side in (0, 1)] for row in motion.row[step[case]].T]
        gaps = [_between_segments(one[2], other[2]) for one, other in placed]
        room = self._shape_radii[both].sum(1)
        flat = [_largest(np.abs(one[1] - other[1]) - one[3] - other[3]) + room for one, other in placed]
        gaps = [np.maximum(*both_gaps) for both_gaps in zip(gaps, flat, strict=True)]
        left = np.flatnonzero(_open(gaps, room, bound[case]))
        exact = np.stack(gaps, axis=1)[left] - room[left, None]
        # Where even the rough shapes are apart, a shorter step may do.
        for at in np.flatnonzero(exact.min(1, initial=np.inf) <= 0):
            i = left[at]
            exact[at] = [self._distance(both[i], placed[end][0], placed[end][1], i) for end in (0, 1)]
        undecided = exact.sum(1) <= bound[case[left]]
        meets = np.zeros(len(step), bool)
        meets[case[left[exact.min(1) <= 0]]] = True
        keep = np.zeros(len(step), bool)
        keep[case[left[undecided]]] = True
        keep |= meets
        return step[keep], pair[keep], meets[keep]

    def _placed(
        self, motion: _Motion, row: IntArray, shape: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Shapes in the root: rotations, positions, ends of their capsules, and half of their extent along the axes."""
        body = self._shape_bodies[shape]
        turn, shift = motion.rotation[row, body], motion.position[row, body]
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
        return rotation, position, ends, extent

    def _distance(
        self,
        shapes: IntArray,
        one: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
        other: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
        row: int,
    ) -> float:
        """m between two shapes; 0 or less where they meet."""
        result = coal.DistanceResult()
        coal.distance(
            self._shapes[shapes[0]].exact,
            coal.Transform3s(one[0][row], one[1][row]),
            self._shapes[shapes[1]].exact,
            coal.Transform3s(other[0][row], other[1][row]),
            self._request,
            result,
        )
        return float(result.min_distance)

    def _motion(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> _Motion:
        row, rotation, position = self._frames(steps, bodies)
        # (m, bodies, 2, 3)
        ends = np.empty((*position.shape[:2], 2, 3))
        for tip in (0, 1):
            place = position.copy()
            for axis in range(3):
                place += rotation[..., axis] * self._tips[:, tip, axis, None]
            ends[:, :, tip] = place
        chords = ends[row[:, 1]] - ends[row[:, 0]]
        chord = np.sqrt(_dot(chords, chords))
        moved = np.abs(steps.joints[:, 1] - steps.joints[:, 0]).reshape(-1, 2, 6)
        turned = np.concatenate([np.zeros((len(moved), 2, 1)), np.cumsum(moved, axis=2)], axis=2)
        slid = np.abs(steps.openings[:, 1] - steps.openings[:, 0]) / 2
        owner, depth = self._owners(steps, bodies)
        rows = np.arange(len(moved))[:, None]
        bend = self._bend(turned[rows, owner, depth], slid[rows, owner], owner)
        path = np.where(owner >= 0, np.maximum(chord[..., 0], chord[..., 1]) + 2 * bend, 0.0)
        return _Motion(row, rotation, position, ends, path, turned, slid, owner, depth)

    def _owners(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> tuple[IntArray, IntArray]:
        """(n, bodies) the arm that moves each body, -1 for none, and how many of its joints do."""
        owner, depth = np.tile(self._owner, (len(bodies), 1)), np.tile(self._depth, (len(bodies), 1))
        for number, stretch in enumerate(bodies):
            for index, name in enumerate(self._objects, len(self._links)):
                holder = stretch[name].holder
                if holder is not None:
                    owner[number, index], depth[number, index] = holder, 6
        return np.asarray(owner[steps.stretch]), np.asarray(depth[steps.stretch])

    def _frames(self, steps: _Steps, bodies: Sequence[Mapping[str, Body]]) -> tuple[IntArray, FloatArray, FloatArray]:
        """Rows (n, 2) of both ends of the steps, and frames (m, bodies) of all bodies in these rows."""
        joints, openings = steps.joints.reshape(-1, 12), steps.openings.reshape(-1, 2)
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
        tcps = [arm.tcp_link for arm in self._robot.arms]
        frames = self._tree.frames(postures, [*self._links, *tcps])
        rotation = np.empty((len(stretch), len(self._names), 3, 3))
        position = np.empty((len(stretch), len(self._names), 3))
        for index, link in enumerate(self._links):
            rotation[:, index], position[:, index] = frames[link]
        for index, name in enumerate(self._objects, len(self._links)):
            poses = np.stack([b[name].pose for b in bodies])
            holders = np.array([-1 if b[name].holder is None else b[name].holder for b in bodies])[stretch]
            rotation[:, index], position[:, index] = poses[stretch, :3, :3], poses[stretch, :3, 3]
            for arm in (0, 1):
                rows = np.flatnonzero(holders == arm)
                turn, shift = (part[rows] for part in frames[tcps[arm]])
                position[rows, index] = (turn @ position[rows, index, :, None])[..., 0] + shift
                rotation[rows, index] = turn @ rotation[rows, index]
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

    def _farthest(self, arm: int) -> float:
        """m, no point of an arm, or of what it may carry, is farther from any of its joints' axes."""
        chain = [self._tree.position_bound(link) for link, o in zip(self._links, self._owner, strict=False) if o == arm]
        carried = max((_size(c) for c in self._capsules[len(self._links) :]), default=0.0)
        return max(chain) + 2 * carried + max(_size(c) for c in self._capsules[: len(self._links)])


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


def _open(gaps: Sequence[FloatArray], room: FloatArray, bound: FloatArray) -> BoolArray:
    """Which are not proved apart by distances at both ends of a step, less `room`, and a bound of motion."""
    first, second = gaps[0] - room, gaps[1] - room
    return np.asarray((np.minimum(first, second) <= 0) | (first + second <= bound))


def _halved(steps: _Steps) -> _Steps:
    """The first and the second half of every step, one after the other."""
    halves = []
    for values in (steps.joints, steps.openings):
        middle = values.mean(axis=1)
        pair = np.stack([np.stack([values[:, 0], middle], 1), np.stack([middle, values[:, 1]], 1)], axis=1)
        halves.append(pair.reshape(-1, 2, values.shape[-1]))
    return _Steps(halves[0], halves[1], np.repeat(steps.stretch, 2))


def _between_segments(first: FloatArray, second: FloatArray) -> FloatArray:
    """(k,) m between lines (k, 2, 3) and (k, 2, 3): the nearest points are inside both, or at an end of one."""
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
    gap = r + s[:, None] * d - clipped[:, None] * e
    return np.asarray(np.sqrt(_dot(gap, gap)))


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def _largest(values: FloatArray) -> FloatArray:
    """(...,) the largest of three: much faster than a reduction over so short an axis."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))
