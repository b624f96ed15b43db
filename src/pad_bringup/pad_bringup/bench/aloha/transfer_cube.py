"""gym-aloha's TransferCube from one scripted demonstration: augmented, distilled, rolled out on held-out placements."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from pad_augment.config import GeneratorConfig
from pad_augment.generator import generate
from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.aloha.demonstrator import demonstrate
from pad_bringup.aloha.environment import AlohaEnvironment
from pad_bringup.aloha.simulation import AlohaSimulation
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.errors import BenchError
from pad_bringup.resources import resource
from pad_parse.task import TaskSpec
from pad_policy.config import TrainingConfig
from pad_policy.inference import OnnxPolicy
from pad_policy.robot_limits import command_joint_names, gate_limits
from pad_policy.rollout import rollout, wilson_interval
from pad_policy.runner import PolicyRunner
from pad_policy.safety import CommandGate
from pad_policy.training import train

KEYS = ("success", "episodes", "demos", "train_cpu_s")

SOURCE_SEED = 1000
"""Placement of the demonstration."""
FIRST_HELD_OUT_SEED = 500
DEMOS, EPISODES, UPDATES = 1000, 50, 12_000
QUICK_DEMOS, QUICK_EPISODES, QUICK_UPDATES = 30, 3, 200

# gym-aloha ends an episode after 6 s, so everything goes faster than with a drink in the hand.
AUGMENTATION = {
    "speed": 0.45,
    "turn_rate": 1.8,
    "approach_distance": 0.08,
    "approach_speed": 0.17,
    "settle_time": 0.1,
    "close_time": 0.3,
    "end_time": 0.5,
    "ease_time": 0.2,
    "start_opening": 0.072,
    "finger_thickness": 0.0,
    "squeeze": 0.03,
    "level_grasps": False,
    "swap_hands": False,
    "start_position_noise": 0.02,
    "start_rotation_noise": 0.08,
    # Nobody moves the cube, and there is no time to wait for it.
    "displacement_probability": 0.0,
    "recovery_probability": 0.35,
}
# The keypoints are the simulator's own: no tracker whose errors are to be learnt.
NOISE = {
    "keypoint_noise": 0.001,
    "keypoint_bias": 0.001,
    "drop_probability": 0.0,
    "lost_point_probability": 0.0,
    "stale_probability": 0.0,
    "grasp_offset": 0.003,
    "grasp_turn": 0.03,
}


# A new chunk in every step: the hand-over leaves no time to correct.
HORIZONS = {"execute": 1, "surprise": 0.0}


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Success (share of the episodes with gym-aloha's full reward in its 300 steps), and what it took.

    Options (NAME=VALUE): demos, updates, episodes.

    Raises:
        BenchError: gym-aloha is not installed, or an option is unknown or no positive whole number.
    """
    demos, updates, episodes = _options(settings)
    task = TaskSpec.load(resource("config", "aloha", "transfer_cube.yaml"))
    profile = resource("config", "robots", "aloha_pair.yaml")
    robot = Robot(RobotProfile.load(profile))
    simulation = AlohaSimulation(task)
    demonstration = demonstrate(simulation, robot, task, SOURCE_SEED)
    say(f"one demonstration of {demonstration.duration:.1f} s on placement {SOURCE_SEED}")

    dataset, folder = settings.work / "dataset", settings.work / "policy"
    config = GeneratorConfig.from_options(**AUGMENTATION)
    began = time.process_time()
    report = generate(demonstration, profile, dataset, demos, settings.seed, config=config)
    say(
        f"{report.accepted} of {report.attempted} scenes became demonstrations, {time.process_time() - began:.0f} CPU-s"
    )

    training = TrainingConfig.from_options(updates=updates, noise=NOISE, horizons=HORIZONS, seed=settings.seed)
    began = time.process_time()
    train(dataset, folder, training)
    train_cpu_s = time.process_time() - began
    say(f"{updates} updates, {train_cpu_s:.0f} CPU-s")

    first = FIRST_HELD_OUT_SEED + settings.seed * EPISODES
    policy, environment = OnnxPolicy(folder), AlohaEnvironment(simulation, robot, task)
    causes = Counter(_episode(policy, environment, robot, seed) for seed in range(first, first + episodes))
    successes = causes.pop("", 0)
    low, high = wilson_interval(successes, episodes)
    failed = "".join(f"; {cause} {count}" for cause, count in causes.most_common())
    say(f"{successes} of {episodes} placements from {first} on (95 %: {low:.2f} to {high:.2f}){failed}")
    return {
        "success": successes / episodes,
        "episodes": episodes,
        "demos": report.accepted,
        "train_cpu_s": train_cpu_s,
    }


def _options(settings: BenchSettings) -> tuple[int, int, int]:
    """Demonstrations, updates and episodes."""
    sizes = (QUICK_DEMOS, QUICK_UPDATES, QUICK_EPISODES) if settings.quick else (DEMOS, UPDATES, EPISODES)
    values = dict(zip(("demos", "updates", "episodes"), sizes, strict=True))
    for text in settings.assignments:
        name, _, value = text.partition("=")
        if name not in values or not value.isdecimal() or int(value) < 1:
            raise BenchError(
                f"bench aloha has no option {text!r}; it takes NAME=N with {', '.join(values)} and N from 1"
            )
        values[name] = int(value)
    return values["demos"], values["updates"], values["episodes"]


def _episode(policy: OnnxPolicy, environment: AlohaEnvironment, robot: Robot, seed: int) -> str:
    """Why an episode failed; empty for success."""
    names = command_joint_names(robot)
    runner = PolicyRunner(policy, robot, names, np.random.default_rng([seed, 1]))
    gate = CommandGate(names, gate_limits(robot))
    rollout(runner, gate, environment, seed, time_limit=environment.episode_time, stable=0.0)
    return environment.outcome().cause
