"""Forward and inverse kinematics of an arm pair described by a profile and its URDF."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.spatial.transform import Rotation

from pad_augment.description import urdf_text
from pad_augment.errors import IkError, JointLimitError, RobotError
from pad_augment.numeric_ik import Obstruction, SerialChain, follow_paths
from pad_augment.ur_closed_form import UR5E, forward, inverse
from pad_parse import geometry

FloatArray = NDArray[np.float64]
PerJoint = tuple[float, ...]
FEWEST_JOINTS = 6
"""Joints of an arm that reaches every pose around it."""
ARMS = ("left", "right")
# The frame that the closed-form solution of the UR family works in, relative to base_link: turned by pi about z.
_UR_BASE = geometry.make_pose(np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
_CONTINUOUS = 0.4
"""rad; a larger joint step between two poses may be a change of the arm's posture, which is then searched for."""


class ArmProfile(BaseModel):
    """One arm of a pair; radians, metres, seconds. jerk_limits: rad/s^3, if the arm's maker states any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_link: str
    tcp_link: str
    joints: Annotated[tuple[str, ...], Field(min_length=FEWEST_JOINTS)]
    finger_joint: str
    max_opening: float = Field(gt=0)
    ik: Literal["ur5e", "numeric"]
    home: PerJoint
    velocity_limits: PerJoint
    acceleration_limits: PerJoint
    jerk_limits: PerJoint | None = None

    @model_validator(mode="after")
    def _one_per_joint(self) -> ArmProfile:
        count = len(self.joints)
        limits = {name: getattr(self, name) for name in ("velocity_limits", "acceleration_limits", "jerk_limits")}
        for name, values in {"home": self.home, **limits}.items():
            if values is not None and len(values) != count:
                raise ValueError(f"{name} has {len(values)} values for {count} joints")
        for name, values in limits.items():
            if values is not None and min(values) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.ik == "ur5e" and count != FEWEST_JOINTS:
            raise ValueError(f"ik ur5e is of an arm of {FEWEST_JOINTS} joints, not {count}; choose numeric")
        return self


class ArmPair(BaseModel):
    """The two arms, robot's view."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    left: ArmProfile
    right: ArmProfile

    @model_validator(mode="after")
    def _alike(self) -> ArmPair:
        if len(self.left.joints) != len(self.right.joints):
            raise ValueError(
                f"left has {len(self.left.joints)} joints, right {len(self.right.joints)}; give both as many"
            )
        return self


class RobotProfile(BaseModel):
    """A pair of arms: where its description lies, its joints and limits. moveit: set-up of planner moveit, if any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: Path
    srdf: Path
    moveit: Path | None = None
    arms: ArmPair

    @classmethod
    def load(cls, path: str | Path) -> RobotProfile:
        """Read a profile; its paths are relative to its own folder.

        Raises:
            RobotError: missing file, no YAML, unknown keys or values out of range.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RobotError(f"robot profile {path} cannot be read: {' '.join(str(error).split())}") from error
        try:
            profile = cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RobotError(
                f"robot profile {path}: {where}: {first['msg']}; known keys: {', '.join(cls.model_fields)}"
            ) from error
        folder = path.resolve().parent
        paths = {"description": profile.description, "srdf": profile.srdf, "moveit": profile.moveit}
        return profile.model_copy(update={k: (folder / p).resolve() for k, p in paths.items() if p is not None})


class _Chain:
    """Joints from the root to a link, as fixed transforms and axes."""

    def __init__(self, root: ElementTree.Element, link: str, moving: tuple[str, ...]) -> None:
        by_child = {j.find("child").get("link"): j for j in root.findall("joint")}  # type: ignore[union-attr]
        names = {e.get("name") for e in root.findall("link")}
        if link not in names:
            raise RobotError(f"the robot description has no link {link!r}")
        path = []
        while link in by_child:
            path.append(by_child[link])
            link = by_child[link].find("parent").get("link")  # type: ignore[union-attr, assignment]
        self.fixed: list[FloatArray] = [np.eye(4)]
        self.axes: list[FloatArray] = []
        self.limits: list[tuple[float, float]] = []
        self.velocities: list[float] = []
        found = []
        for joint in reversed(path):
            self.fixed[-1] = self.fixed[-1] @ _origin(joint)
            if joint.get("type") == "fixed":
                continue
            name = joint.get("name")
            if name not in moving:
                raise RobotError(f"joint {name!r} lies between the root and the TCP but is not in the profile")
            found.append(name)
            axis = joint.find("axis")
            direction = "1 0 0" if axis is None else axis.get("xyz", "1 0 0")
            self.axes.append(np.array([float(v) for v in direction.split()]))
            limit = joint.find("limit")
            if limit is None:
                raise RobotError(f"joint {name!r} has no limit")
            self.limits.append((float(limit.get("lower", "-inf")), float(limit.get("upper", "inf"))))
            self.velocities.append(float(limit.get("velocity", "inf")))
            self.fixed.append(np.eye(4))
        if tuple(found) != moving:
            raise RobotError(f"the profile's joints {list(moving)} are not the description's {found}, in this order")

    def forward(self, q: FloatArray) -> FloatArray:
        """Pose (..., 4, 4) of the chain's end for joint positions (..., n)."""
        pose = np.broadcast_to(self.fixed[0], (*q.shape[:-1], 4, 4))
        for i, axis in enumerate(self.axes):
            turn = geometry.make_pose(_axis_rotation(axis, q[..., i]), np.zeros(3))
            pose = pose @ turn @ self.fixed[i + 1]
        return pose


class Robot:
    """Kinematics of an arm pair; arms are 0 = left, 1 = right. Both have n = `joints_per_arm` joints.

    Attributes:
        home: (2, n) rad.
        tcp_in_last_link: (2, 4, 4) pose of the TCP in the frame of the last moving link.
        joint_names: 2 n names, left then right.
        lower_limits, upper_limits: (2, n) rad.
        velocity_limits, acceleration_limits: (2, n) rad/s and rad/s^2.
        jerk_limits: (2, n) rad/s^3; inf where the profile states none.
        gripper_links: per arm the links of its gripper: what carries the driven finger, and all fingers.
        mimic_joints: per arm the finger joints that follow the driven one.
    """

    def __init__(self, profile: RobotProfile) -> None:
        self.profile = profile
        root = ElementTree.fromstring(urdf_text(profile.description))
        self.arms = [profile.arms.left, profile.arms.right]
        self._chains = [_Chain(root, arm.tcp_link, arm.joints) for arm in self.arms]
        self._bases = [_Chain(root, arm.base_link, ()).fixed[0] for arm in self.arms]
        self.tcp_in_last_link = np.array([chain.fixed[-1] for chain in self._chains])
        self.home = np.array([arm.home for arm in self.arms])
        self.joint_names = [name for arm in self.arms for name in arm.joints]
        self.lower_limits = np.array([[low for low, _ in chain.limits] for chain in self._chains])
        self.upper_limits = np.array([[high for _, high in chain.limits] for chain in self._chains])
        self.velocity_limits = np.array([arm.velocity_limits for arm in self.arms])
        self.acceleration_limits = np.array([arm.acceleration_limits for arm in self.arms])
        self.joints_per_arm = self.home.shape[1]
        grippers = [_gripper(root, arm.finger_joint) for arm in self.arms]
        self.gripper_links = [links for links, _ in grippers]
        self.mimic_joints = [mimics for _, mimics in grippers]
        none = (np.inf,) * self.joints_per_arm
        self.jerk_limits = np.array([none if arm.jerk_limits is None else arm.jerk_limits for arm in self.arms])

    @property
    def redundant(self) -> bool:
        """Whether an arm can move its elbow while its hand keeps still."""
        return self.joints_per_arm > FEWEST_JOINTS

    def columns(self, arm: int) -> slice:
        """Where an arm's joints are in a row of both arms' (2 n,)."""
        return slice(self.joints_per_arm * arm, self.joints_per_arm * (arm + 1))

    def fk(self, arm: int, q: ArrayLike) -> FloatArray:
        """TCP pose (..., 4, 4) in the task frame for joint positions (..., n) rad."""
        return self._chains[arm].forward(np.asarray(q, dtype=np.float64))

    def solutions(self, arm: int, pose: FloatArray) -> FloatArray:
        """All closed-form solutions (n, 6) rad in (-pi, pi] for a TCP pose (4, 4); n may be 0."""
        target = geometry.inverse(self._bases[arm] @ _UR_BASE) @ pose @ self._tool_to_flange[arm]
        found = inverse(UR5E, target)
        return found[np.isfinite(found[:, 0])]

    def postures(self, arm: int, q: ArrayLike) -> FloatArray:
        """Sign (...) of the Jacobian's determinant at joints (..., n); only by way of a singularity does it change.

        An arm of more than six joints can go round its singularities: it has one posture, 1.
        """
        chain = self._chains[arm]
        joints = np.asarray(q, dtype=np.float64)
        if self.redundant:
            return np.ones(joints.shape[:-1])
        serial = SerialChain(np.array(chain.fixed), np.array(chain.axes))
        _, jacobian = serial.pose_and_jacobian(joints.reshape(-1, self.joints_per_arm))
        return np.asarray(np.sign(np.linalg.det(jacobian)).reshape(joints.shape[:-1]))

    def ik(self, arm: int, pose: ArrayLike, seed: ArrayLike | None = None) -> FloatArray:
        """Joint positions (n,) rad that put the TCP at a pose (4, 4), as close to `seed` (default: home) as can be.

        Raises:
            IkError: out of reach or outside the joint limits.
        """
        return self.ik_path(arm, np.asarray(pose, dtype=np.float64)[None], seed)[0]

    def ik_path(self, arm: int, poses: ArrayLike, seed: ArrayLike | None = None) -> FloatArray:
        """Joint positions (K, n) rad along TCP poses (K, 4, 4), starting near `seed` (default: home).

        Numeric: each pose from the one before; an arm of more than six joints leans towards its home posture meanwhile.
        Closed form: the branch is chosen over the whole path (dynamic programming over all branches,
        cost = squared joint step), so that the path does not run into a dead end by a greedy first choice.

        Raises:
            IkError: with the index of the first pose that is out of reach.
        """
        targets = np.asarray(poses, dtype=np.float64)
        near = self.home[arm] if seed is None else np.asarray(seed, dtype=np.float64)
        joints, failures = self.ik_paths(arm, targets, [len(targets)], near[None])
        if failures[0] is not None:
            raise failures[0]
        return joints

    def ik_paths(
        self, arm: int, poses: FloatArray, lengths: Sequence[int], seeds: FloatArray
    ) -> tuple[FloatArray, list[IkError | None]]:
        """`ik_path` for B paths at once, one after the other in `poses` (S, 4, 4).

        lengths: poses of each path. seeds: (B, n) rad.

        Returns:
            (S, n) rad, and per path why it cannot be followed; rows of such a path are of no use.
        """
        starts = np.cumsum([0, *lengths])
        failures: list[IkError | None] = [None] * len(lengths)
        if self.arms[arm].ik == "numeric":
            return self._numeric_paths(arm, poses, lengths, seeds)
        candidates = inverse(UR5E, geometry.inverse(self._bases[arm] @ _UR_BASE) @ poses @ self._tool_to_flange[arm])
        joints, good = self._within_branches(arm, candidates, starts, seeds)
        for index in np.flatnonzero(~good).tolist():
            span = slice(starts[index], starts[index + 1])
            try:
                joints[span] = self._best_chain(arm, poses[span], candidates[span], seeds[index])
            except IkError as error:
                failures[index] = error
        return joints, failures

    def _numeric_paths(
        self, arm: int, poses: FloatArray, lengths: Sequence[int], seeds: FloatArray
    ) -> tuple[FloatArray, list[IkError | None]]:
        chain = self._chains[arm]
        limits = (self.lower_limits[arm], self.upper_limits[arm])
        serial = SerialChain(np.array(chain.fixed), np.array(chain.axes))
        leaning = self.home[arm] if self.redundant else None
        joints, found = follow_paths(serial, poses, lengths, seeds, limits, leaning)
        failures: list[IkError | None] = []
        for start, length, failure in zip(np.cumsum([0, *lengths])[:-1], lengths, found, strict=True):
            if failure is None:
                failures.append(None)
                continue
            index, why = failure
            kind = JointLimitError if why is Obstruction.JOINT_LIMIT else IkError
            place = _place(poses[start + index])
            message = f"pose {index} of {length} is {why.value} of the {ARMS[arm]} arm: {place}"
            failures.append(kind(message, arm, index))
        return joints, failures

    def _within_branches(
        self, arm: int, candidates: FloatArray, starts: NDArray[np.intp], seeds: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """(S, 6) each path in that of its eight branches with the least squared steps, and (B,) whether that will do.

        It will where no step is so large that changing the branch on the way could be the smoother choice.
        """
        steps = np.empty_like(candidates)
        steps[1:] = self._steps_between(arm, candidates[:-1], candidates[1:])
        steps[starts[:-1]] = self._steps_between(arm, seeds[:, None], candidates[starts[:-1]])
        cost = np.nan_to_num(np.add.reduceat((steps**2).sum(-1), starts[:-1], axis=0), nan=np.inf)
        branch = cost.argmin(1)
        moves = steps[np.arange(len(steps)), np.repeat(branch, np.diff(starts))]
        largest = np.abs(moves).max(-1)
        largest[starts[:-1]] = 0.0  # from the seed
        good = np.isfinite(cost.min(1)) & (np.maximum.reduceat(largest, starts[:-1]) < _CONTINUOUS)
        joints = np.empty_like(moves)
        # Sums of each path alone: a failed one must not reach into the next.
        for index in range(len(seeds)):
            span = slice(starts[index], starts[index + 1])
            joints[span] = seeds[index] + np.cumsum(moves[span], axis=0)
        inside = ((joints >= self.lower_limits[arm]) & (joints <= self.upper_limits[arm])).all(-1)
        return joints, good & np.logical_and.reduceat(inside, starts[:-1])

    def _best_chain(self, arm: int, targets: FloatArray, candidates: FloatArray, near: FloatArray) -> FloatArray:
        unreachable = np.flatnonzero(np.isnan(candidates[..., 0]).all(-1))
        if len(unreachable):
            index = int(unreachable[0])
            raise IkError(
                f"the {ARMS[arm]} arm cannot reach pose {index} of {len(targets)}: {_place(targets[index])}",
                arm,
                index,
            )
        path = self._chain_of_branches(arm, candidates, near)
        low, high = self.lower_limits[arm], self.upper_limits[arm]
        if ((path >= low) & (path <= high)).all():
            return path
        # The shortest chain winds a joint past its limit: search again with the limits inside the search.
        return self._chain_within_limits(arm, candidates, near)

    def _steps_between(self, arm: int, before: FloatArray, after: FloatArray) -> FloatArray:
        """Joint steps; a joint that can make a whole turn takes the shorter way round."""
        step = after - before
        whole_turn = self.upper_limits[arm] - self.lower_limits[arm] > 2 * np.pi + 1e-9
        return np.asarray(step - 2 * np.pi * whole_turn * np.rint(step / (2 * np.pi)))

    def _chain_of_branches(self, arm: int, candidates: FloatArray, near: FloatArray) -> FloatArray:
        """(K, 6) the chain of candidates (K, 8, 6) with the least squared steps, unwrapped from `near`."""
        count = len(candidates)
        first = self._steps_between(arm, near, candidates[0])
        steps = self._steps_between(arm, candidates[:-1, :, None], candidates[1:, None])
        pair_costs = np.nan_to_num((steps**2).sum(-1), nan=np.inf)
        cost = np.nan_to_num((first**2).sum(-1), nan=np.inf)
        parents = np.empty((max(count - 1, 0), 8), dtype=np.intp)
        for index, pair in enumerate(pair_costs):
            total = cost[:, None] + pair
            parents[index] = total.argmin(0)
            cost = total.min(0)
        chain = np.empty(count, dtype=np.intp)
        chain[-1] = cost.argmin()
        for index in range(count - 2, -1, -1):
            chain[index] = parents[index, chain[index + 1]]
        moves = np.empty((count, 6))
        moves[0] = first[chain[0]]
        moves[1:] = steps[np.arange(count - 1), chain[:-1], chain[1:]]
        return np.asarray(near + np.cumsum(moves, axis=0))

    def _chain_within_limits(self, arm: int, candidates: FloatArray, near: FloatArray) -> FloatArray:
        cost = np.zeros(1)
        states = near[None]
        parents: list[NDArray[np.intp]] = []
        unwrapped: list[FloatArray] = []
        for index, padded in enumerate(candidates):
            found = padded[np.isfinite(padded[:, 0])]
            # each candidate unwrapped to the turn closest to each predecessor
            step = self._steps_between(arm, states[:, None], found[None])
            reached = states[:, None] + step
            inside = ((reached >= self.lower_limits[arm]) & (reached <= self.upper_limits[arm])).all(-1)
            total = cost[:, None] + (step**2).sum(-1) + np.where(inside, 0.0, np.inf)
            best = total.argmin(0)
            cost = total[best, np.arange(len(found))]
            if not np.isfinite(cost).any():
                raise JointLimitError(
                    f"the {ARMS[arm]} arm leaves its joint limits at pose {index} of {len(candidates)}", arm, index
                )
            states = reached[best, np.arange(len(found))]
            parents.append(best)
            unwrapped.append(states)
        out = np.empty((len(candidates), 6))
        k = int(cost.argmin())
        for index in range(len(candidates) - 1, -1, -1):
            out[index] = unwrapped[index][k]
            k = int(parents[index][k])
        return out

    @cached_property
    def _tool_to_flange(self) -> list[FloatArray]:
        """Per arm: the transform from the TCP to the closed form's end frame, found by comparing both at zero."""
        out = []
        for arm in range(2):
            q = np.zeros(6)
            flange = self._bases[arm] @ _UR_BASE @ forward(UR5E, q)
            out.append(geometry.inverse(self.fk(arm, q)) @ flange)
        return out


def _gripper(root: ElementTree.Element, finger_joint: str) -> tuple[list[str], list[str]]:
    """Links of the gripper of a driven finger joint, and the joints that mimic it."""
    fingers = {str(joint.get("name")): joint for joint in root.findall("joint")}
    if finger_joint not in fingers:
        raise RobotError(f"the robot description has no joint {finger_joint!r}")
    mimics = [name for name, joint in fingers.items() if joint.find(f"mimic[@joint='{finger_joint}']") is not None]
    parts = [(fingers[finger_joint], "parent"), *((fingers[name], "child") for name in (finger_joint, *mimics))]
    links = [element.get("link", "") for joint, end in parts if (element := joint.find(end)) is not None]
    return links, mimics


def _origin(joint: ElementTree.Element) -> FloatArray:
    origin = joint.find("origin")
    if origin is None:
        return np.eye(4)
    xyz = [float(v) for v in origin.get("xyz", "0 0 0").split()]
    rpy = [float(v) for v in origin.get("rpy", "0 0 0").split()]
    return geometry.make_pose(Rotation.from_euler("xyz", rpy).as_matrix(), xyz)


def _axis_rotation(axis: FloatArray, angle: FloatArray) -> FloatArray:
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine, cosine = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.eye(3) + sine * k + (1 - cosine) * (k @ k)


def _place(pose: FloatArray) -> str:
    return "x {:.3f}, y {:.3f}, z {:.3f} m".format(*pose[:3, 3])
