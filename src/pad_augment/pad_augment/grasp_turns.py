"""Other grasps than the demonstrated ones: the same, turned about their objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pad_augment.skills import Grip, SkillSet, Take, Work
from pad_parse import geometry


@dataclass(frozen=True)
class Turns:
    """How grasps differ from the demonstrated ones; rad.

    left, right: turn of each grasp about the vertical through its middle. dip: how much further both point downwards.
    """

    left: float = 0.0
    right: float = 0.0
    dip: float = 0.0

    @property
    def effort(self) -> float:
        """Sum of the angles: less is nearer to the demonstration."""
        return abs(self.left) + abs(self.right) + 2 * self.dip


AS_SHOWN = Turns()
"""The demonstrated grasps themselves."""


def turned(skills: SkillSet, turns: Turns) -> SkillSet:
    """The skills with other grasps, all those of an arm turned alike; the objects move as before."""
    if turns == AS_SHOWN:
        return skills
    angles = (turns.left, turns.right)
    held: list[Grip | None] = [None, None]
    beats: list[Take | Work] = []
    for beat in skills.beats:
        if isinstance(beat, Take):
            held = [grip or before for grip, before in zip(beat.grips, held, strict=True)]
            new = [None if g is None else _turned(g, angles[arm], turns.dip) for arm, g in enumerate(beat.grips)]
            beats.append(replace(beat, grips=(new[0], new[1])))
            continue
        parts = []
        for arm, part in enumerate(beat.parts):
            grip = held[arm]
            if part is not None and grip is not None:
                other = _turned(grip, angles[arm], turns.dip).gripper_in_object
                part = replace(part, poses=part.poses @ geometry.inverse(grip.gripper_in_object) @ other)
            parts.append(part)
        beats.append(replace(beat, parts=(parts[0], parts[1])))
    return replace(skills, beats=tuple(beats))


def _turned(grip: Grip, turn: float, dip: float) -> Grip:
    grasp = grip.gripper_in_object
    rotation = geometry.rotation_exp(np.array([0.0, 0.0, turn])) @ grasp[:3, :3]
    level = np.cross(rotation[:, 2], [0.0, 0.0, -1.0])
    norm = float(np.linalg.norm(level))
    if norm > 0.1:
        rotation = geometry.rotation_exp(level / norm * min(dip, float(np.arcsin(min(norm, 1.0))))) @ rotation
    return replace(grip, gripper_in_object=geometry.make_pose(rotation, grasp[:3, 3]))
