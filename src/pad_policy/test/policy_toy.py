"""A kinematic two-gripper pour for tests: demonstrations by construction, a dataset writer and a world to roll out in.

Grippers are free bodies that reach every command at once; an object moves with a gripper once its pads have closed
within 15 mm of the grasp. Not physics: it only asks whether the policy goes to the right places in the right order.
"""

import json
from pathlib import Path

import numpy as np
import zarr
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, Slerp

from pad_parse.geometry import inverse, make_pose, rotation_exp
from pad_policy import actions

OBJECTS = ["bottle", "cup"]
GROUPS = ["bottle_cap"] + ["bottle_body"] * 3 + ["cup_rim"] * 4 + ["cup_body"] * 3
POINT_OBJECTS = ["bottle"] * 4 + ["cup"] * 7
POINTS = np.array(
    [
        *([0.022, 0, 0.19], [0.032, 0, 0.11], [0.028, 0.016, 0.12], [0.028, -0.016, 0.03]),
        *([0.04, 0, 0.1], [0.028, 0.028, 0.1], [0.028, -0.028, 0.1], [0.0, 0.04, 0.1]),
        *([0.04, 0, 0.08], [0.028, 0.028, 0.02], [0.028, -0.028, 0.02]),
    ]
)
RATE = 10.0
GRASP_HEIGHT = {"bottle": 0.075, "cup": 0.05}
WIDTH = {"bottle": 0.064, "cup": 0.080}
ARM = {"cup": 0, "bottle": 1}
TASK = {
    "name": "pour",
    "description": "toy",
    "objects": {
        "bottle": {"groups": {"bottle_cap": 1, "bottle_body": 3}, "region": {"x": [-0.06, 0.08], "y": [-0.26, -0.12]}},
        "cup": {"groups": {"cup_rim": 4, "cup_body": 3}, "region": {"x": [-0.06, 0.08], "y": [0.12, 0.26]}},
    },
}


def place(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Object poses (4, 4) drawn from the task's regions."""
    poses = {}
    for name, y in (("bottle", (-0.26, -0.12)), ("cup", (0.12, 0.26))):
        yaw = rng.uniform(-0.4, 0.4)
        poses[name] = make_pose(
            rotation_exp(np.array([0, 0, yaw])), np.array([rng.uniform(-0.06, 0.08), rng.uniform(*y), 0.0])
        )
    return poses


def _gripper_rotation(approach: np.ndarray) -> np.ndarray:
    z = approach / np.linalg.norm(approach)
    y = np.cross([0.0, 0.0, 1.0], z)
    y /= np.linalg.norm(y)
    return np.column_stack([np.cross(y, z), y, z])


def home() -> np.ndarray:
    """Start EE vector (20,)."""
    poses = [make_pose(_gripper_rotation(np.array([0.7, s * 0.7, -0.2])), [-0.25, -s * 0.35, 0.25]) for s in (-1, 1)]
    return actions.from_poses(np.array(poses), np.array([0.1, 0.1]))


def demonstrate(objects: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One demonstration at 10 Hz: keypoints (T, N, 3), states (T, N), ee (T, 20), action (T, 20)."""
    times = np.array([0, 2.0, 3.0, 3.6, 4.6, 6.0, 8.2, 10.0, 10.8])
    steps = np.arange(int(times[-1] * RATE)) / RATE
    start = home()
    start_p, start_r, _ = actions.split(start)
    start_p = start_p + rng.uniform(-0.02, 0.02, (2, 3))
    positions, rotations, commands, states = [], [], [], []
    for arm, name in enumerate(["cup", "bottle"]):
        pose = objects[name]
        side = 1 if arm else -1
        grasp_r = pose[:3, :3] @ _gripper_rotation(np.array([0.7, side * 0.7, 0.0]))
        grasp_p = pose[:3, 3] + [0, 0, GRASP_HEIGHT[name]]
        lift = [0, 0, 0.06 if name == "cup" else 0.12]
        meet = np.array([0.0, 0.06, 0.11]) if name == "cup" else np.array([0.0, -0.10, 0.24])
        pour = meet if name == "cup" else np.array([0.0, -0.02, 0.27])
        after = meet if name == "cup" else np.array([-0.05, -0.16, 0.20])
        tilt = np.zeros(3) if name == "cup" else np.array([-2.0, 0, 0])
        before = grasp_p - 0.1 * grasp_r[:, 2]
        keys_p = [start_p[arm], before, grasp_p, grasp_p, grasp_p + lift, meet, pour, after, after]
        upright = [start_r[arm], *[grasp_r] * 5]
        keys_r = [*upright, rotation_exp(tilt) @ grasp_r, grasp_r, grasp_r]
        positions.append(PchipInterpolator(times, np.array(keys_p))(steps))
        rotations.append(Slerp(times, Rotation.from_matrix(np.array(keys_r)))(steps).as_matrix())
        closing = np.clip((steps - times[2]) / 0.5, 0, 1)
        command = 0.1 - closing * (0.1 - WIDTH[name] + 0.02)
        commands.append(command)
        states.append(np.maximum(command, WIDTH[name]))
    p, r = np.stack(positions, 1), np.stack(rotations, 1)
    ee = actions.join(p, r, np.stack(states, 1))
    gripper = actions.poses(ee)
    first = int(3.5 * RATE)
    keypoints = np.zeros((len(steps), len(GROUPS), 3))
    for name in OBJECTS:
        mine = [i for i, o in enumerate(POINT_OBJECTS) if o == name]
        for t in range(len(steps)):
            mine_gripper = gripper[:, ARM[name]]
            moved = mine_gripper[t] @ inverse(mine_gripper[first]) @ objects[name]
            pose = objects[name] if t < first else moved
            keypoints[t, mine] = POINTS[mine] @ pose[:3, :3].T + pose[:3, 3]
    return {
        "keypoints": keypoints,
        "keypoint_states": np.ones(keypoints.shape[:2], np.uint8),
        "ee": ee,
        "action": actions.join(p, r, np.stack(commands, 1)),
    }


def write_dataset(path: Path, episodes: int, seed: int, robot: str = "toy") -> Path:
    """Write a dataset folder in the layout of pad_augment."""
    rng = np.random.default_rng(seed)
    demos = [demonstrate(place(rng), rng) for _ in range(episodes)]
    store = zarr.open_group(str(path), mode="w")
    for key, kind in (("keypoints", "f4"), ("keypoint_states", "u1"), ("ee", "f4"), ("action", "f4")):
        data = np.concatenate([d[key] for d in demos]).astype(kind)
        store.create_array(f"data/{key}", data=data)
    ends = np.cumsum([len(d["ee"]) for d in demos]).astype(np.int64)
    store.create_array("meta/episode_ends", data=ends)
    store.attrs.update(
        {
            "schema_version": 1,
            "task": json.dumps(TASK),
            "keypoint_names": [f"{g}_{i}" for i, g in enumerate(GROUPS)],
            "keypoint_groups": GROUPS,
            "keypoint_objects": POINT_OBJECTS,
            "rate_hz": RATE,
            "seed": seed,
            "robot": robot,
        }
    )
    return path


class ToyWorld:
    """Kinematic world; `step` reaches the commanded EE (20,) at once."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.objects = place(rng)
        self.ee = home()
        self.held: dict[str, np.ndarray] = {}
        self.best_pour = np.inf

    def keypoints(self) -> np.ndarray:
        """(N, 3) m."""
        return np.array(
            [self.objects[o][:3, :3] @ p + self.objects[o][:3, 3] for o, p in zip(POINT_OBJECTS, POINTS, strict=True)]
        )

    def step(self, command: np.ndarray) -> None:
        """Go to the command; carry what is held, grasp what the pads close on."""
        poses = actions.poses(command)
        _, _, openings = actions.split(command)
        for name, arm in ARM.items():
            if name in self.held:
                self.objects[name] = poses[arm] @ self.held[name]
            elif openings[arm] < WIDTH[name]:
                centre = self.objects[name][:3, 3] + [0, 0, GRASP_HEIGHT[name]]
                if np.linalg.norm(poses[arm][:3, 3] - centre) < 0.015:
                    self.held[name] = inverse(poses[arm]) @ self.objects[name]
            if name in self.held:
                openings[arm] = max(openings[arm], WIDTH[name])
                if openings[arm] > WIDTH[name] + 0.01:
                    del self.held[name]
        p, r, _ = actions.split(command)
        self.ee = actions.join(p, r, openings)
        bottle, cup = self.objects["bottle"], self.objects["cup"]
        mouth = bottle[:3, :3] @ [0, 0, 0.19] + bottle[:3, 3]
        rim = cup[:3, :3] @ [0, 0, 0.1] + cup[:3, 3]
        if len(self.held) == 2 and bottle[2, 2] < np.cos(1.75):
            self.best_pour = min(self.best_pour, float(np.linalg.norm((mouth - rim)[:2])))

    @property
    def success(self) -> bool:
        """Both held, the mouth was above the cup while tilted by 100 degrees or more, the bottle is upright again."""
        return len(self.held) == 2 and self.best_pour < 0.04 and self.objects["bottle"][2, 2] > 0.95
