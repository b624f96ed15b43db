"""How far the arms are from each other and from themselves: capsules around the description's collision shapes.

A capsule covers its shape, so the distance is never overestimated. What the description's SRDF allows to touch
(neighbours, and links that can never meet) is left out; so is the table, which objects are picked up from.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pad_augment.description import urdf_text
from pad_augment.kinematics import Robot
from pad_parse.geometry import make_pose
from pad_policy.errors import ConfigError

Array = NDArray[np.floating[Any]]

#: links that are no part of an arm; nothing is kept away from them here
_SURROUNDINGS = ("table_link",)


@dataclass(frozen=True)
class _Joint:
    """A joint of the tree: its link's frame is the parent's times `fixed` times the motion of `axis` by `column`."""

    parent: int
    fixed: Array
    axis: Array
    column: int  # of the command vector; -1: does not move
    factor: float
    slides: bool


class ArmClearance:
    """Distances between the links of an arm pair."""

    def __init__(self, robot: Robot, *, between_arms: float = 0.01, within_arm: float = 0.003) -> None:
        """Read the description and the SRDF of the robot's profile.

        between_arms: m, smallest allowed distance of a link of one arm to one of the other.
        within_arm: m, of two links of the same arm.
        """
        root = ElementTree.fromstring(urdf_text(robot.profile.description))
        self._joints, links = _tree(root, [*robot.joint_names, *(arm.finger_joint for arm in robot.arms)])
        frames = self._chain()
        self._tcps = [(frames[link], self._fixed[link]) for link in (links[arm.tcp_link] for arm in robot.arms)]
        owners, ends, radii = [], [], []
        for link in root.findall("link"):
            if link.get("name") in _SURROUNDINGS:
                continue
            for collision in link.findall("collision"):
                segment, radius = _capsule(collision)
                owners.append(links[link.get("name", "")])
                ends.append(segment)
                radii.append(radius)
        if not owners:
            raise ConfigError(f"{robot.profile.description} has no primitive collision shapes to keep apart")
        fixed = self._fixed[owners]
        in_frame = np.array(ends) @ fixed[:, :3, :3].swapaxes(1, 2) + fixed[:, None, :3, 3]
        self._frames = np.array(frames)[owners]
        self._ends = np.ascontiguousarray(in_frame.swapaxes(1, 2))  # (C, 3, 2) in the frame of `_frames`
        self._radii = np.array(radii)
        first, second = self._pairs(owners, links, robot)
        arms = _arms(self._joints, len(robot.joint_names) // 2)[owners]
        required = np.where(arms[first] == arms[second], within_arm, between_arms)
        reach = 0.5 * np.linalg.norm(in_frame[:, 0] - in_frame[:, 1], axis=1) + self._radii
        self._apart = required + self._radii[first] + self._radii[second]  # of axes: what a pair has to keep
        self._pair, self._flat = (first, second), first * len(owners) + second
        self._near = required + reach[first] + reach[second]  # of middles: when a pair has to be looked at

    def _chain(self) -> list[int]:
        """Ready the kinematics; per link the frame that it is fixed in: 0 the task frame, else 1 + a moving joint.

        A moving joint turns by `turn[0] + sin(q) turn[1] + (1 - cos(q)) turn[2]` in its parent (Rodrigues' formula),
        with `turn` multiplied by what is fixed before the joint, and `q` its angle.
        """
        frames: list[int] = []
        self._fixed = np.tile(np.eye(4), (len(self._joints), 1, 1))  # link in its frame
        moving: list[_Joint] = []
        parents, before, depths = [], [], [0]
        for index, joint in enumerate(self._joints):
            parent = 0 if joint.parent < 0 else frames[joint.parent]
            place = joint.fixed if joint.parent < 0 else self._fixed[joint.parent] @ joint.fixed
            if joint.column < 0:
                frames.append(parent)
                self._fixed[index] = place
                continue
            moving.append(joint)
            parents.append(parent)
            before.append(place)
            depths.append(depths[parent] + 1)
            frames.append(len(moving))
        self._columns = np.array([joint.column for joint in moving])
        self._factors = np.array([[joint.factor] for joint in moving])
        self._slides = np.array([joint.slides for joint in moving])[:, None]
        axes = np.array([joint.axis for joint in moving])
        cross = np.array([_cross(axis) for axis in axes])
        rotations, self._origins = np.array(before)[:, :3, :3], np.array(before)[:, None, :3, 3]
        self._turn = np.stack([rotations, rotations @ cross, rotations @ cross @ cross])[:, :, None]
        self._slide = np.einsum("jab,jb->ja", rotations, axes)[:, None]
        levels = [np.flatnonzero(np.array(depths[1:]) == depth) for depth in range(1, max(depths) + 1)]
        self._levels = [(level, np.array(parents)[level]) for level in levels]
        return frames

    @staticmethod
    def _pairs(owners: list[int], links: dict[str, int], robot: Robot) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the capsules that are kept apart: those of two links that could meet."""
        srdf = ElementTree.fromstring(robot.profile.srdf.read_text(encoding="utf-8"))
        allowed = {
            frozenset((links.get(entry.get("link1", ""), -1), links.get(entry.get("link2", ""), -1)))
            for entry in srdf.findall("disable_collisions")
        }
        pairs = [
            (a, b)
            for a in range(len(owners))
            for b in range(a + 1, len(owners))
            if owners[a] != owners[b] and frozenset((owners[a], owners[b])) not in allowed
        ]
        first, second = np.array(pairs, np.intp).T
        return first, second

    def poses(self, commands: Array) -> Array:
        """Poses (1 + J, K, 4, 4) of the task frame and of all J moving links in it.

        commands: (K, D) joints rad, then openings m.
        """
        amounts = (commands[:, self._columns]).T * self._factors  # (J, K)
        turns = np.where(self._slides, 0.0, amounts)[..., None, None]
        motions = np.zeros((*amounts.shape, 4, 4))
        motions[..., :3, :3] = self._turn[0] + np.sin(turns) * self._turn[1] + (1 - np.cos(turns)) * self._turn[2]
        motions[..., :3, 3] = self._origins + np.where(self._slides, amounts, 0.0)[..., None] * self._slide
        motions[..., 3, 3] = 1.0
        out = np.empty((1 + len(amounts), len(commands), 4, 4))
        out[0] = np.eye(4)
        for level, parents in self._levels:
            out[1 + level] = out[parents] @ motions[level]
        return out

    def tcps(self, poses: Array) -> Array:
        """(K, 2, 3) m, where the TCPs are; poses: see `poses`."""
        return np.stack([poses[frame, :, :3] @ fixed[:, 3] for frame, fixed in self._tcps], axis=1)

    def room(self, poses: Array, within: float = 0.1) -> Array:
        """(K,) m, how much farther apart links are than they have to be, at the closest; at most `within`.

        Below 0 a declared distance is not kept. poses: see `poses`.
        """
        frames = poses[self._frames]  # (C, K, 4, 4)
        ends = (frames[..., :3, :3] @ self._ends[:, None] + frames[..., :3, 3:]).swapaxes(2, 3)  # (C, K, 2, 3)
        middles = (0.5 * (ends[:, :, 0] + ends[:, :, 1])).swapaxes(0, 1)
        squares = np.einsum("kci,kci->kc", middles, middles)
        a, b = self._pair
        products = (middles @ middles.swapaxes(1, 2)).reshape(len(squares), -1)
        apart = squares.take(a, axis=1) + squares.take(b, axis=1) - 2 * products.take(self._flat, axis=1)
        at, pair = divmod(np.flatnonzero(apart < np.square(within + self._near)), len(a))
        out = np.full(poses.shape[1], within)
        if len(at):
            gap = _segment_distance(ends[a[pair], at], ends[b[pair], at]) - self._apart[pair]
            np.minimum.at(out, at, gap)
        return out


def _tree(root: ElementTree.Element, names: list[str]) -> tuple[list[_Joint], dict[str, int]]:
    """Joints in an order in which parents come first, and link name -> index."""
    column = {name: index for index, name in enumerate(names)}
    arm_joints = len(names) - 2
    by_parent: dict[str, list[ElementTree.Element]] = {}
    children = set()
    for joint in root.findall("joint"):
        by_parent.setdefault(_link(joint, "parent"), []).append(joint)
        children.add(_link(joint, "child"))
    joints: list[_Joint] = []
    links: dict[str, int] = {}
    waiting = []
    for link in root.findall("link"):
        if link.get("name") not in children:
            links[link.get("name", "")] = len(joints)
            joints.append(_Joint(-1, np.eye(4), np.zeros(3), -1, 0.0, False))
            waiting.append(link.get("name", ""))
    while waiting:
        parent = waiting.pop()
        for joint in by_parent.get(parent, []):
            mimic = joint.find("mimic")
            name = joint.get("name", "") if mimic is None else mimic.get("joint", "")
            factor = 1.0 if mimic is None else float(mimic.get("multiplier", "1"))
            index = column.get(name, -1)
            axis = joint.find("axis")
            direction = "1 0 0" if axis is None else axis.get("xyz", "1 0 0")
            if index >= arm_joints:
                factor *= 0.5  # a finger moves by half the opening
            links[_link(joint, "child")] = len(joints)
            joints.append(
                _Joint(
                    parent=links[parent],
                    fixed=_pose(joint.find("origin")),
                    axis=np.array([float(v) for v in direction.split()]),
                    column=index,
                    factor=factor,
                    slides=joint.get("type") == "prismatic",
                )
            )
            waiting.append(_link(joint, "child"))
    return joints, links


def _arms(joints: list[_Joint], arm_joints: int) -> NDArray[np.intp]:
    """(L,) per link: the arm whose joints move it, or -1 where none does."""
    out = np.full(len(joints), -1, np.intp)
    for index, joint in enumerate(joints):
        if 0 <= joint.column < 2 * arm_joints:
            out[index] = joint.column // arm_joints
        elif joint.parent >= 0:
            out[index] = out[joint.parent]
    return out


def _link(joint: ElementTree.Element, end: str) -> str:
    found = joint.find(end)
    return "" if found is None else found.get("link", "")


def _pose(origin: ElementTree.Element | None) -> Array:
    if origin is None:
        return np.eye(4)
    xyz = [float(v) for v in origin.get("xyz", "0 0 0").split()]
    rpy = [float(v) for v in origin.get("rpy", "0 0 0").split()]
    return make_pose(Rotation.from_euler("xyz", rpy).as_matrix(), np.array(xyz))


def _cross(axis: Array) -> Array:
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _capsule(collision: ElementTree.Element) -> tuple[Array, float]:
    """Segment (2, 3) in the link's frame and radius, covering the shape."""
    geometry = collision.find("geometry")
    shape = None if geometry is None else next(iter(geometry), None)
    tag = "nothing" if shape is None else shape.tag
    axis, half, around = 2, 0.0, 0.0
    if shape is not None and tag == "sphere":
        around = float(shape.get("radius", "0"))
    elif shape is not None and tag == "cylinder":
        half, around = 0.5 * float(shape.get("length", "0")), float(shape.get("radius", "0"))
    elif shape is not None and tag == "box":
        sides = 0.5 * np.array([float(v) for v in shape.get("size", "").split()])
        axis = int(sides.argmax())
        half, around = float(sides[axis]), float(np.linalg.norm(np.delete(sides, axis)))
    else:
        raise ConfigError(f"the robot description has a collision shape of {tag}; known: box, cylinder, sphere")
    # Drawing the segment's ends in by half the radius makes the capsule a little thicker and much shorter.
    drawn_in = min(0.5 * around, half)
    ends = np.zeros((2, 3))
    ends[:, axis] = (half - drawn_in) * np.array([-1.0, 1.0])
    pose = _pose(collision.find("origin"))
    return ends @ pose[:3, :3].T + pose[:3, 3], float(np.hypot(around, drawn_in) if tag != "sphere" else around)


def _segment_distance(first: Array, second: Array) -> Array:
    """(M,) distances of segments (M, 2, 3) (Ericson, Real-Time Collision Detection, section 5.1.9)."""
    d1, d2 = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    r = first[:, 0] - second[:, 0]
    a, e = np.einsum("mi,mi->m", d1, d1), np.einsum("mi,mi->m", d2, d2)
    b, c, f = np.einsum("mi,mi->m", d1, d2), np.einsum("mi,mi->m", d1, r), np.einsum("mi,mi->m", d2, r)
    a, e = np.maximum(a, 1e-12), np.maximum(e, 1e-12)
    denominator = a * e - b * b
    s = np.where(denominator < 1e-12, 0.0, _within_one((b * f - c * e) / np.maximum(denominator, 1e-12)))
    t = (b * s + f) / e
    inside = _within_one(t)
    s = np.where(t == inside, s, _within_one((b * inside - c) / a))  # beyond an end: the point nearest to that end
    gap = r + s[:, None] * d1 - inside[:, None] * d2
    return np.sqrt(np.einsum("mi,mi->m", gap, gap))


def _within_one(values: Array) -> Array:
    """Clipped to 0 to 1, without the overhead of numpy's own."""
    return np.minimum(np.maximum(values, 0.0), 1.0)
