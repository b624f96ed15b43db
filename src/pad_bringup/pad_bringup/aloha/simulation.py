"""gym-aloha's TransferCube without its rendering, in the task frame of robot profile `aloha_pair`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_bringup.errors import BenchError
from pad_parse import geometry
from pad_parse.task import TaskSpec

FloatArray = NDArray[np.float64]

EXTRA = "gym-aloha==0.1.5"
"""What pip installs; it brings dm_control."""
CONTROL_PERIOD = 0.02
"""s between two actions (50 Hz)."""
EPISODE_STEPS = 300
"""Actions after which gym-aloha ends an episode."""
READY_STEPS = 30
"""Actions of an episode in which the arms go to the robot profile's home; the cube falls onto the table meanwhile."""
_STANDING_STEPS = 10
FULL_REWARD = 4
"""The left fingers touch the cube, and the table does not."""
CUBE = "cube"

# gym-aloha's world: x to the right, the arms at y = 0.5. Task frame: half-way between the arms, y to the left arm.
_WORLD_TO_TASK = geometry.make_pose(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), [-0.5, 0.0, 0.0])
# The middle of the cube's base, with the task frame's axes at the start.
_CUBE_BASE = geometry.make_pose(_WORLD_TO_TASK[:3, :3].T, [0.0, 0.0, -0.02])
_FINGERS_MEET = 0.021
"""m, finger joint position at which the fingers' faces meet."""
_FINGER_CLOSED, _FINGER_OPEN = 0.01844, 0.05800
"""m, finger joint positions that gym-aloha's actions call 0 and 1."""
_JOINTS = np.r_[0:6, 8:14]
_FINGERS = np.array([6, 14])


def require_gym_aloha() -> None:
    """Raises: BenchError: gym-aloha is not installed, or cannot be used here."""
    try:
        import gym_aloha.tasks.sim  # noqa: F401
    except Exception as error:  # dm_control raises RuntimeError where it finds no OpenGL
        why = " ".join(str(error).split())
        raise BenchError(
            f"gym-aloha cannot be used ({why}); install it where pad runs: pip install '{EXTRA}'"
        ) from error


class AlohaSimulation:
    """The simulated pair. Joints (12,) rad left then right, openings (2,) m between fingers, poses in the task frame.

    Scene, reward and placements are gym-aloha's own; only the images that it renders in every step are left out. Its
    joints' servos are springs, which sag under the arms' weight; as a robot's driver would, `step` adds to each command
    what they lack.

    Attributes:
        physics: dm_control's.
        steps: actions of this episode so far.
        reward: of the last action.
        best_reward: highest so far within `EPISODE_STEPS`.
    """

    def __init__(self, task: TaskSpec) -> None:
        """Raises: BenchError: gym-aloha is not there."""
        require_gym_aloha()
        from dm_control import mujoco
        from dm_control.rl import control
        from gym_aloha.constants import ASSETS_DIR, DT
        from gym_aloha.tasks.sim import TransferCubeTask

        class WithoutImages(TransferCubeTask):
            """The task as it is, with an observation that renders nothing."""

            def get_observation(self, physics: Any) -> dict[str, Any]:
                return {"qpos": self.get_qpos(physics)}

        self.physics = mujoco.Physics.from_xml_path(str(ASSETS_DIR / "bimanual_viperx_transfer_cube.xml"))
        self._env = control.Environment(self.physics, WithoutImages(), float("inf"), control_timestep=DT)
        model = self.physics.model
        servos = np.flatnonzero(np.isin(model.actuator_trnid[:, 0], _JOINTS))
        self._stiffness = np.array(model.actuator_gainprm[servos, 0])  # N m / rad
        self._points_in_cube = np.array([k.position_in_object for k in task.keypoints], dtype=np.float64)
        self.steps = self.reward = self.best_reward = 0

    def reset(self, seed: int) -> None:
        """A new episode: the cube where gym-aloha puts it for this seed, the arms as it starts them."""
        from gym_aloha.tasks.sim import BOX_POSE
        from gym_aloha.utils import sample_box_pose

        BOX_POSE[0] = sample_box_pose(seed)  # gym-aloha's way to tell its task
        self._env.reset()
        self.steps = self.reward = self.best_reward = 0

    def get_ready(self, joints: FloatArray, opening: float) -> None:
        """The episode's first actions: to joints (12,) rad, both grippers `opening` m open."""
        start = self.joints
        for share in np.linspace(0.0, 1.0, READY_STEPS - _STANDING_STEPS + 1)[1:]:
            self.step(start + share * (joints - start), np.full(2, opening))
        for _ in range(_STANDING_STEPS):
            self.step(joints, np.full(2, opening))

    def step(self, joints: FloatArray, openings: FloatArray) -> None:
        """One action: 20 ms with these commands (12,) rad and (2,) m."""
        fingers = (openings / 2 + _FINGERS_MEET - _FINGER_CLOSED) / (_FINGER_OPEN - _FINGER_CLOSED)
        arms = joints + np.array(self.physics.data.qfrc_bias[_JOINTS]) / self._stiffness
        self.reward = int(self._env.step(np.r_[arms[:6], fingers[0], arms[6:], fingers[1]]).reward)
        self.steps += 1
        if self.steps <= EPISODE_STEPS:
            self.best_reward = max(self.best_reward, self.reward)

    @property
    def joints(self) -> FloatArray:
        """(12,) rad, measured."""
        return np.array(self.physics.data.qpos[_JOINTS])

    @property
    def openings(self) -> FloatArray:
        """(2,) m, measured."""
        return np.maximum(2 * (np.array(self.physics.data.qpos[_FINGERS]) - _FINGERS_MEET), 0.0)

    @property
    def cube(self) -> FloatArray:
        """(4, 4) the cube's pose; its frame is in the middle of its base."""
        placed = np.array(self.physics.data.qpos[16:23])
        pose = geometry.make_pose(geometry.from_quaternion_xyzw(placed[[4, 5, 6, 3]]), placed[:3])
        return np.asarray(_WORLD_TO_TASK @ pose @ _CUBE_BASE)

    @property
    def keypoints(self) -> FloatArray:
        """(N, 3) m."""
        return geometry.transform_points(self.cube, self._points_in_cube)

    @property
    def touches(self) -> tuple[bool, bool]:
        """Whether the left and the right fingers touch the cube."""
        physics = self.physics
        names = set()
        for contact in physics.data.contact[: physics.data.ncon]:
            pair = {physics.model.id2name(int(geom), "geom") for geom in (contact.geom1, contact.geom2)}
            if "red_box" in pair:
                names |= pair
        left, right = (any(name.startswith(f"vx300s_{arm}/10") for name in names) for arm in ("left", "right"))
        return left, right
