"""What can be chosen about generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pad_augment.errors import ConfigError
from pad_augment.planning.interface import Shape


class GeneratorConfig(BaseModel):
    """How demonstrations are generated; every field changes the result.

    In the end-effector space alone (`straight_line`) nothing depends on a robot: there the fields about hands that
    change, postures, slower motions and objects that are moved have no say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rate_hz: float = Field(10.0, ge=5, le=100, description="steps per second of the dataset")
    speed: float = Field(
        0.17, gt=0, le=1.0, description="m/s, mean speed of free motions of the TCP; its peak is 1.9 times"
    )
    turn_rate: float = Field(0.8, gt=0, le=4.0, description="rad/s, mean rate of turn of free motions")
    motion_timing: Literal["gentle", "shortest"] = Field(
        "gentle",
        description="gentle: free motions at `speed` and `turn_rate`; shortest: along their joint path in nearly the "
        "shortest time within the limits. Approach, lift, grasp and skills keep their pace",
    )
    approach_distance: float = Field(
        0.10, gt=0.0, le=0.3, description="m back along the approach axis to the pre-grasp"
    )
    approach_speed: float = Field(0.10, gt=0, le=1.0, description="m/s, mean speed of the approach and of the lift")
    settle_time: float = Field(0.2, ge=0, le=2.0, description="s of stillness before the gripper closes")
    close_time: float = Field(0.5, gt=0, le=3.0, description="s for the gripper to close")
    lift_height: float = Field(0.05, gt=0.0, le=0.3, description="m straight up before the transport")
    end_time: float = Field(0.8, ge=0, le=5.0, description="s of stillness at the end")
    ease_time: float = Field(0.4, gt=0, le=2.0, description="s in which the skill's clock starts, and stops")
    start_opening: float = Field(0.10, gt=0, le=0.3, description="m between the pads until they close")
    finger_thickness: float = Field(
        0.010, ge=0, le=0.05, description="m that the distance of the fingertip joints exceeds the object's width"
    )
    squeeze: float = Field(
        0.025, ge=0, le=0.08, description="m by which the closing command undercuts the object's width"
    )
    level_grasps: bool = Field(True, description="whether grasps are turned until their closing axis is level")
    grasp_turn_limit: float = Field(
        1.1,
        ge=0,
        le=3.2,
        description="rad, by how much grasps out of reach may be turned about the object; 0: not at all",
    )
    start_position_noise: float = Field(0.04, ge=0, le=0.2, description="m, start pose of each TCP about home, uniform")
    start_rotation_noise: float = Field(
        0.15, ge=0, le=1.0, description="rad, start pose of each TCP about home, uniform"
    )
    longest_stretch: float = Field(
        4.0, ge=1, le=20, description="largest factor by which the arm with the shorter way is slowed; then it waits"
    )
    minimum_distance: float = Field(
        0.12, ge=0, le=0.5, description="m between the bases of two objects; closer, a gripper cannot pass between them"
    )
    region_margin: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="how far beyond its region, on each side, an object is placed, as a share of the region's size: "
        "what is at the border would else have neighbours on one side only",
    )
    obstacles: int = Field(0, ge=0, le=12, description="cylinders that stand in the way, elsewhere in each scene")
    obstacle_radius: float = Field(0.025, ge=0.005, le=0.1, description="m")
    obstacle_height: float = Field(0.12, ge=0.01, le=0.5, description="m")
    obstacle_turn: float = Field(
        1.1, ge=0, le=3.2, description="rad, by how much a grasp may be turned further where obstacles are in its way"
    )
    keep_posture: bool = Field(
        True,
        description="whether scenes are refused for which an arm must turn over into another posture on the way: who "
        "says only where the gripper goes, as a policy does, cannot make it do that",
    )
    swap_hands: bool = Field(
        True, description="whether the hands change their parts, by reflection, where an object is out of reach"
    )
    object_scale: float = Field(
        0.0,
        ge=0,
        le=0.3,
        description="largest change of an object's size, with its keypoints and grasp, as a share; instances that "
        "leave no room in the open gripper are rejected",
    )
    displacement_probability: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the scenes in which an object is moved while the arms reach for it, where it can be",
    )
    displacement_distance: float = Field(0.14, gt=0, le=0.3, description="m, farthest that it is moved")
    recovery_probability: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of the others that begin mid-way with the arms pushed off their path",
    )
    recovery_position: float = Field(0.03, ge=0, le=0.1, description="m, largest push; half of it within a skill")
    recovery_rotation: float = Field(0.15, ge=0, le=1.0, description="rad, largest push; half of it within a skill")
    recovery_time: float = Field(1.2, ge=0.3, le=5.0, description="s until a pushed arm is back on its path")
    slowest_motion: float = Field(2.5, ge=1, le=10, description="largest factor on the duration of free motions")
    slowest_skill: float = Field(1.6, ge=1, le=10, description="largest factor on the duration of a skill")
    attempts_per_episode: int = Field(30, ge=1, description="attempts per wanted episode before giving up")

    def obstacle_shapes(self) -> dict[str, Shape]:
        """The obstacles of every scene by name."""
        return {f"obstacle_{i}": Shape(self.obstacle_radius, self.obstacle_height) for i in range(self.obstacles)}

    @classmethod
    def from_options(cls, **options: object) -> GeneratorConfig:
        """Build a config from loose options; an unknown or wrong one is a `ConfigError` in one line."""
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "options"
            raise ConfigError(f"{where}: {first['msg']}; known: {', '.join(cls.model_fields)}") from error

    @classmethod
    def from_assignments(cls, texts: Sequence[str]) -> GeneratorConfig:
        """Build a config from texts `name=value`, as on a command line; errors as in `from_options`."""
        options: dict[str, object] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"{text!r} is no NAME=VALUE; known names: {', '.join(cls.model_fields)}")
            options[name.strip()] = value.strip()
        return cls.from_options(**options)
