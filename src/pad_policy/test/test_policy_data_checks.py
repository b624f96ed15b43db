"""Each early warning comes when its cause is there and not when it is not, and is kept in the policy folder."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import policy_toy
import pytest

from pad_policy.bundle import PolicyBundle
from pad_policy.config import TrainingConfig
from pad_policy.data_checks import DATA_CHECKS, check_data
from pad_policy.samples import Episodes
from pad_policy.training import train
from pad_policy.training_data import TrainingData

FITTING = {"updates": 1000, "batch_size": 64}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 104, seed=0)


@pytest.fixture
def no_normaliser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks do not look at it, and fitting it takes most of the time."""
    monkeypatch.setattr("pad_policy.training_data._fit_normaliser", lambda *_: None)


@pytest.fixture(scope="module")
def fitting(dataset) -> TrainingData:
    return TrainingData.prepare(dataset, TrainingConfig(**FITTING))


def named(data: TrainingData, config: TrainingConfig) -> dict[str, str]:
    return {finding.check: finding.message for finding in check_data(data, config)}


def changed(data: TrainingData, change: Callable[[Episodes], dict[str, np.ndarray]]) -> TrainingData:
    return dataclasses.replace(data, episodes=dataclasses.replace(data.episodes, **change(data.episodes)))


def still_left_arm(episodes: Episodes) -> dict[str, np.ndarray]:
    action = episodes.action.copy()
    action[:, :10] = action[0, :10]
    return {"action": action}


def first_point_lost(episodes: Episodes) -> dict[str, np.ndarray]:
    seen = episodes.seen.copy()
    seen[::4, 0], seen[1::4, 0], seen[2::4, 0] = False, False, False
    return {"seen": seen}


def all_at_one_place(episodes: Episodes) -> dict[str, np.ndarray]:
    keypoints = episodes.keypoints.copy()
    first = np.concatenate([[0], episodes.episode_ends[:-1]])
    keypoints[first] = keypoints[0] + 0.001 * np.random.default_rng(0).standard_normal((len(first), 1, 3))
    return {"keypoints": keypoints}


def second_like_the_first(episodes: Episodes) -> dict[str, np.ndarray]:
    keypoints, ee = episodes.keypoints.copy(), episodes.ee.copy()
    second = episodes.episode_ends[0]
    keypoints[second], ee[second] = keypoints[0], ee[0]
    return {"keypoints": keypoints, "ee": ee}


def test_nothing_is_found_where_all_fits(fitting: TrainingData) -> None:
    assert named(fitting, TrainingConfig(**FITTING)) == {}


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (still_left_arm, "still_actions", "left arm's position, left gripper's opening"),
        (first_point_lost, "lost_keypoints", "bottle_cap_0 75 %"),
        (all_at_one_place, "noise", "the least spread of one is 1 mm"),
        (all_at_one_place, "coverage", "cup [0-9] % of its region along x"),
        (second_like_the_first, "repeated_episodes", "1 of 104 episodes"),
    ],
)
def test_a_flaw_of_the_dataset_is_named(fitting: TrainingData, change, check: str, words: str) -> None:
    assert re.search(words, named(changed(fitting, change), TrainingConfig(**FITTING))[check])


@pytest.mark.parametrize(
    ("options", "check", "words"),
    [
        ({"episodes": 99}, "few_episodes", "99 episodes; below 100"),
        ({"held_out_fraction": 0.02}, "few_held_out", "rests on 2 episodes"),
        ({"held_out_fraction": 0.0}, "few_held_out", "no episode is held out"),
        ({"updates": 100}, "share_seen", "only 60 % of the training steps"),
        ({"updates": 200}, "few_passes", r"seen only 1\.2 times"),
        ({"horizons": {"rate_hz": 1.0, "horizon": 9}}, "horizon", r"last 11\.0 s, as long as 104 of 104 episodes"),
        ({"horizons": {"rate_hz": 0.5}}, "coarse_steps", "cm in one policy step"),
        ({"noise": {"keypoint_bias": 0.2}}, "noise", "200 mm"),
    ],
)
def test_a_config_that_does_not_fit_is_named(dataset, no_normaliser, options: dict, check: str, words: str) -> None:
    config = TrainingConfig.from_options(**{**FITTING, **options})
    assert re.search(words, named(TrainingData.prepare(dataset, config), config)[check])


def test_findings_are_told_first_and_kept(dataset, tmp_path) -> None:
    told: list[str] = []
    options = {"updates": 4, "batch_size": 8, "warmup_updates": 1, "episodes": 8}
    folder = train(
        dataset, tmp_path / "policy", TrainingConfig(**options), lambda *_: told.append("update"), notice=told.append
    )
    kept = PolicyBundle.load(folder).manifest.data_checks
    assert [f"{finding.check}: {finding.message}" for finding in kept] == told[: len(kept)]
    assert told[len(kept)] == "update" and {"few_episodes", "share_seen"} <= {finding.check for finding in kept}
    assert {finding.check for finding in kept} <= {check.name for check in DATA_CHECKS}
