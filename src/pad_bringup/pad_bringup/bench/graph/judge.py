"""Judges emitted commands with nothing of the gate's: finite differences, PAD's closed-form kinematics, MuJoCo.

MuJoCo reads the robot's description and gives the distances of the exact collision shapes; the gate looks at capsules
around them, with kinematics of its own.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import Robot

Array = NDArray[np.float64]

_OPTIONS = (
    '<mujoco><compiler fusestatic="false" discardvisual="true" boundmass="0.001" boundinertia="0.00001" '
    'balanceinertia="true"/></mujoco>'
)
_SURROUNDINGS = ("table_link",)
_ROUNDING = 1e-4  # m, of MuJoCo's iterative distances
_FREE = 1e-3  # share of a limit, and its unit, that divided differences of rounded numbers may be beyond it


@dataclass(frozen=True)
class Bounds:
    """What emitted commands keep.

    lower, upper, velocity, acceleration, jerk: (D,), joints rad and s, then openings m and s. boxes: (2, 2, 3) m, per
    arm the lower and the upper corner of the TCP's box. between_arms, within_arm: m, smallest distances of links.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    boxes: Array
    between_arms: float
    within_arm: float


class Judge:
    """Judges the commands for one robot."""

    def __init__(self, robot: Robot, bounds: Bounds) -> None:
        self._robot = robot
        self._bounds = bounds
        text = urdf_text(robot.profile.description)
        self._model, self._required = _collision_model(text, robot, bounds)
        self._data = mujoco.MjData(self._model)
        joints = [*robot.joint_names, *(arm.finger_joint for arm in robot.arms)]
        self._places = np.array([self._model.joint(name).qposadr[0] for name in joints])
        followers = [(j.get("name"), m.get("joint")) for j, m in _mimics(text)]
        self._followers = np.array([self._model.joint(name).qposadr[0] for name, _ in followers], np.intp)
        self._leaders = np.array([self._model.joint(name).qposadr[0] for _, name in followers], np.intp)

    def violations(self, times: Array, emitted: Array) -> list[str]:
        """What commands (K, D) at times (K,) s break, by name, once for each command that does.

        They begin at rest. Velocity, acceleration and jerk are means between commands (divided differences).
        """
        bounds = self._bounds
        outside = (emitted < bounds.lower - 1e-9) | (emitted > bounds.upper + 1e-9)
        found = ["position"] * int(outside.any(axis=1).sum())
        derivative = emitted
        for order, name in enumerate(("velocity", "acceleration", "jerk"), start=1):
            if len(times) <= order:
                break
            derivative = order * np.diff(derivative, axis=0) / (times[order:] - times[:-order])[:, None]
            beyond = np.abs(derivative) > getattr(bounds, name) * (1 + _FREE) + _FREE
            found += [name] * int(beyond.any(axis=1).sum())
        found += ["workspace"] * int(self._outside(emitted).sum())
        return found + ["distance"] * int(self._too_close(emitted).sum())

    def _outside(self, emitted: Array) -> NDArray[np.bool_]:
        """(K,) whether a TCP is outside its box."""
        count = (emitted.shape[1] - 2) // 2
        out = np.zeros(len(emitted), bool)
        for arm, (lower, upper) in enumerate(self._bounds.boxes):
            tcp = self._robot.fk(arm, emitted[:, arm * count : (arm + 1) * count])[:, :3, 3]
            out |= ((tcp < lower - 1e-9) | (tcp > upper + 1e-9)).any(axis=1)
        return out

    def _too_close(self, emitted: Array) -> NDArray[np.bool_]:
        """(K,) whether two links are closer than they may be."""
        model, data = self._model, self._data
        positions = emitted.copy()
        positions[:, -2:] *= 0.5  # a finger moves by half the opening
        out = np.zeros(len(emitted), bool)
        for index, row in enumerate(positions):
            data.qpos[self._places] = row
            data.qpos[self._followers] = data.qpos[self._leaders]
            mujoco.mj_kinematics(model, data)
            mujoco.mj_collision(model, data)
            if data.ncon:
                first, second = model.geom_bodyid[data.contact.geom].T
                out[index] = bool((data.contact.dist < self._required[first, second] - _ROUNDING).any())
        return out


def _mimics(text: str) -> list[tuple[ElementTree.Element, ElementTree.Element]]:
    joints = ElementTree.fromstring(text).findall("joint")
    return [(joint, mimic) for joint in joints if (mimic := joint.find("mimic")) is not None]


def _collision_model(text: str, robot: Robot, bounds: Bounds) -> tuple[mujoco.MjModel, Array]:
    """The description's collision shapes, and (bodies, bodies) m, how far links have to be apart."""
    spec = mujoco.MjSpec.from_string(re.sub(r"(<robot\b[^>]*>)", lambda m: m.group(1) + _OPTIONS, text, count=1))
    for geom in spec.geoms:
        geom.margin = max(bounds.between_arms, bounds.within_arm)
    allowed = ElementTree.parse(robot.profile.srdf).getroot().findall("disable_collisions")
    for entry in allowed:
        spec.add_exclude(bodyname1=entry.get("link1"), bodyname2=entry.get("link2"))
    for geom in [geom for body in spec.bodies if body.name in _SURROUNDINGS for geom in body.geoms]:
        spec.delete(geom)
    model = spec.compile()
    arms = _arms(model, robot)
    other = (arms[:, None] != arms) & (arms[:, None] >= 0) & (arms >= 0)
    return model, np.where(other, bounds.between_arms, bounds.within_arm)


def _arms(model: mujoco.MjModel, robot: Robot) -> NDArray[np.intp]:
    """(bodies,) the arm whose joints move a body, or -1."""
    names = list(robot.joint_names)
    of_body = {int(model.joint(name).bodyid[0]): k // (len(names) // 2) for k, name in enumerate(names)}
    out = np.full(model.nbody, -1, np.intp)
    for body in range(1, model.nbody):  # parents come first
        out[body] = of_body.get(body, out[model.body_parentid[body]])
    return out
