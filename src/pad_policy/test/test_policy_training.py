"""From a dataset to a policy folder and its answers; bad input ends in one clear error and writes nothing."""

import json
import shutil
import time

import numpy as np
import policy_toy
import pytest
import zarr

from pad_parse.geometry import inverse
from pad_policy import actions
from pad_policy.bundle import PolicyBundle
from pad_policy.config import Horizons, ObservationNoise, Representation, TrainingConfig
from pad_policy.errors import BundleError, ConfigError, DatasetError, MismatchError, PolicyError
from pad_policy.inference import OnnxPolicy
from pad_policy.samples import Episodes, SampleCutter
from pad_policy.training import train

SHORT = {"updates": 30, "batch_size": 32, "warmup_updates": 5, "threads": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 12, seed=0)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory: pytest.TempPathFactory):
    calls: list[tuple] = []
    folder = train(
        dataset, tmp_path_factory.mktemp("policy"), TrainingConfig(**SHORT), lambda *call: calls.append(call)
    )
    return folder, calls


@pytest.mark.parametrize("frame", ["absolute", "delta", "gripper"])
def test_actions_survive_encoding(frame: str) -> None:
    rng = np.random.default_rng(0)
    demo = policy_toy.demonstrate(policy_toy.place(rng), rng)
    targets, current = demo["action"][20:100].reshape(10, 8, 20), demo["ee"][20:100:8]
    encoded = actions.encode(targets, current, frame)
    np.testing.assert_allclose(actions.decode(encoded, current, frame), targets, atol=1e-9)


@pytest.mark.parametrize("frame", ["delta", "gripper"])
def test_relative_actions_do_not_depend_on_the_place(frame: str) -> None:
    rng = np.random.default_rng(0)
    demo = policy_toy.demonstrate(policy_toy.place(rng), rng)
    targets, current = demo["action"][20:28], demo["ee"][19]
    shift = np.zeros((2, 10))
    shift[:, :3] = 0.1, -0.2, 0.05
    np.testing.assert_allclose(
        actions.encode(targets + shift.ravel(), current + shift.ravel(), frame),
        actions.encode(targets, current, frame),
        atol=1e-9,
    )


def test_samples_are_cut_at_the_policy_rate(dataset) -> None:
    episodes = Episodes.load(dataset)
    horizons = Horizons()
    cutter = SampleCutter(episodes, horizons, Representation(action_frame="absolute", keypoint_frames="task"))
    step = int(episodes.episode_ends[0]) + 20
    batch = cutter.cut(np.array([step]), None, None)
    np.testing.assert_array_equal(batch.keypoints[0].transpose(1, 0, 2), episodes.keypoints[[step - 4, step - 2, step]])
    np.testing.assert_allclose(batch.actions[0], episodes.action[step + 2 : step + 18 : 2], atol=1e-6)
    first, last = int(episodes.episode_ends[0]), int(episodes.episode_ends[1]) - 1
    edge = cutter.cut(np.array([first, last]), None, None)
    np.testing.assert_array_equal(edge.keypoints[0, :, 0], episodes.keypoints[first])
    np.testing.assert_allclose(edge.actions[1], np.tile(episodes.action[last], (8, 1)), atol=1e-6)


def test_noise_leaves_targets_where_they_are(dataset) -> None:
    episodes = Episodes.load(dataset)
    representation = Representation()
    cutter = SampleCutter(episodes, Horizons(), representation)
    steps = np.arange(50, 60)
    rng = np.random.default_rng(0)
    noisy = cutter.cut(steps, ObservationNoise(grasp_offset=0.0, grasp_turn=0.0), rng)
    current = noisy.proprioception.reshape(10, 3, 20)[:, -1]
    decoded = actions.decode(noisy.actions, current, representation.action_frame)
    clean = cutter.cut(steps, None, None)
    expected = actions.decode(clean.actions, episodes.ee[steps], representation.action_frame)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    assert np.abs(noisy.keypoints - clean.keypoints).max() > 1e-3
    assert noisy.valid.mean() < 1.0


def test_another_grasp_leaves_the_object_on_its_path(dataset) -> None:
    episodes = Episodes.load(dataset)
    representation = Representation()
    cutter = SampleCutter(episodes, Horizons(), representation)
    quiet = dict.fromkeys(ObservationNoise.model_fields, 0.0)
    noise = ObservationNoise(**{**quiet, "grasp_offset": 0.01, "grasp_turn": 0.1})
    carried, free = int(episodes.episode_ends[0]) - 40, 5
    steps = np.array([carried, free])
    varied, clean = cutter.cut(steps, noise, np.random.default_rng(0)), cutter.cut(steps, None, None)
    ee, targets = [], []
    for batch in (varied, clean):
        current = batch.proprioception.reshape(2, 3, 20)[:, -1]
        ee.append(actions.poses(current))
        targets.append(actions.poses(actions.decode(batch.actions, current, representation.action_frame)))
    np.testing.assert_allclose(varied.keypoints[..., :3], clean.keypoints[..., :3])
    np.testing.assert_allclose(ee[0][1], ee[1][1], atol=1e-6)
    assert np.linalg.norm((ee[0][0] - ee[1][0])[:, :3, 3], axis=-1).min() > 1e-3
    # Between now and every target the gripper moves with the object, whichever way it holds it.
    for arm in range(2):
        motion = [t[0, :, arm] @ inverse(e[0, arm]) for e, t in zip(ee, targets, strict=True)]
        np.testing.assert_allclose(motion[0], motion[1], atol=1e-5)


def test_training_writes_a_policy_folder(trained, dataset) -> None:
    folder, calls = trained
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "model.onnx", "policy.json", "losses.csv"}
    manifest = PolicyBundle.load(folder).manifest
    assert manifest.measures["onnx_max_abs_error"] <= 1e-5
    assert manifest.dataset["sha256"] == Episodes.load(dataset).content_hash
    assert calls[-1][:2] == (30, 30) and calls[-1][3] == 0
    losses = np.loadtxt(folder / "losses.csv", delimiter=",", skiprows=1)
    assert losses.shape == (30, 2) and losses[-5:, 1].mean() < losses[:5, 1].mean()


def test_training_is_deterministic_by_seed(trained, dataset, tmp_path) -> None:
    folder, _ = trained
    again = train(dataset, tmp_path / "again", TrainingConfig(**SHORT))
    other = train(dataset, tmp_path / "other", TrainingConfig(**SHORT, seed=1))
    weights = [(f / "model.safetensors").read_bytes() for f in (folder, again, other)]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    "options", [{"network": "mlp"}, {"objective": "regression"}, {"network": "mlp", "objective": "regression"}]
)
def test_the_plain_baselines_learn_and_answer(dataset, tmp_path, options: dict) -> None:
    folder = train(dataset, tmp_path / "policy", TrainingConfig(**SHORT, **options))
    manifest = PolicyBundle.load(folder).manifest
    assert manifest.measures["onnx_max_abs_error"] <= 1e-5
    assert (manifest.network, manifest.objective) == (
        options.get("network", "kp_rdt"),
        options.get("objective", "flow_matching"),
    )
    losses = np.loadtxt(folder / "losses.csv", delimiter=",", skiprows=1)
    assert losses[-5:, 1].mean() < losses[:5, 1].mean()
    policy = OnnxPolicy(folder)
    answers = [
        policy.chunk(
            np.zeros((3, 11, 3)), np.ones((3, 11)), np.tile(policy_toy.home(), (3, 1)), np.random.default_rng(s)
        )
        for s in (0, 1)
    ]
    assert np.array_equal(*answers) == (manifest.objective == "regression")


def test_only_the_first_episodes_are_used(trained, dataset, tmp_path) -> None:
    whole = Episodes.load(dataset)
    first = whole.first(5)
    assert len(first.ee) == whole.episode_ends[4] and len(first.episode_ends) == 5
    folder = train(dataset, tmp_path / "policy", TrainingConfig(**SHORT, episodes=5))
    assert PolicyBundle.load(folder).manifest.dataset["episodes"] == 5
    assert (folder / "model.safetensors").read_bytes() != (trained[0] / "model.safetensors").read_bytes()
    with pytest.raises(DatasetError, match="has 12 episodes, 13 were asked for"):
        train(dataset, tmp_path / "more", TrainingConfig(**SHORT, episodes=13))


def test_the_policy_answers_fast_and_soundly(trained) -> None:
    policy = OnnxPolicy(trained[0])
    rng = np.random.default_rng(0)
    demo = policy_toy.demonstrate(policy_toy.place(rng), rng)
    keypoints, states, ee = demo["keypoints"][:3], demo["keypoint_states"][:3].copy(), demo["ee"][:3]
    chunk = policy.chunk(keypoints, states, ee, np.random.default_rng(1))
    assert chunk.shape == (8, 20) and np.all(np.isfinite(chunk))
    rotations = actions.split(chunk)[1]
    identity = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ np.swapaxes(rotations, -1, -2), identity, atol=1e-6)
    np.testing.assert_array_equal(chunk, policy.chunk(keypoints, states, ee, np.random.default_rng(1)))
    states[:, 2] = 0
    lost = keypoints.copy()
    lost[:, 2] = np.nan
    assert np.all(np.isfinite(policy.chunk(lost, states, ee, np.random.default_rng(1))))
    times = []
    for _ in range(30):
        started = time.process_time()
        policy.chunk(keypoints, states, ee, rng)
        times.append(time.process_time() - started)
    assert np.median(times) < 0.02


def test_the_policy_refuses_wrong_shapes_and_nan(trained) -> None:
    policy = OnnxPolicy(trained[0])
    points, states, ee = np.zeros((3, 11, 3)), np.ones((3, 11)), np.tile(policy_toy.home(), (3, 1))
    with pytest.raises(PolicyError, match=r"\(3, 11, 3\)"):
        policy.chunk(points[:, :10], states, ee, np.random.default_rng(0))
    with pytest.raises(PolicyError, match="finite"):
        policy.chunk(points * np.nan, states, ee, np.random.default_rng(0))


def test_mismatches_are_named(trained) -> None:
    bundle = PolicyBundle.load(trained[0])
    bundle.check_matches(task="pour", keypoint_groups=policy_toy.GROUPS, robot="toy")
    with pytest.raises(MismatchError, match="task 'pour', but task 'mix_bowl'"):
        bundle.check_matches(task="mix_bowl")
    with pytest.raises(MismatchError, match="bottle_cap x1"):
        bundle.check_matches(keypoint_groups=policy_toy.GROUPS[1:])
    with pytest.raises(MismatchError, match="robot 'toy', but robot 'franka'"):
        bundle.check_matches(robot="franka")


def test_damaged_folders_are_refused(trained, tmp_path) -> None:
    with pytest.raises(BundleError, match="no such policy folder"):
        PolicyBundle.load(tmp_path / "absent")
    for name in ("policy.json", "model.onnx"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    data = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps({**data, "schema_version": 99}))
    with pytest.raises(BundleError, match="schema version 99"):
        PolicyBundle.load(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps(data)[:-50])
    with pytest.raises(BundleError, match="damaged"):
        PolicyBundle.load(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps(data))
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        OnnxPolicy(tmp_path)


def test_unsuitable_datasets_are_refused(dataset, tmp_path) -> None:
    out = tmp_path / "policy"
    with pytest.raises(DatasetError, match="no such dataset"):
        train(tmp_path / "absent", out, TrainingConfig(**SHORT))
    with pytest.raises(DatasetError, match="cannot be cut"):
        train(dataset, out, TrainingConfig(**SHORT, horizons=Horizons(rate_hz=4)))
    with pytest.raises(DatasetError, match="fewer than one batch"):
        train(dataset, out, TrainingConfig(**{**SHORT, "batch_size": 100_000}))
    with pytest.raises(ConfigError, match="device"):
        train(dataset, out, TrainingConfig(**SHORT, device="cuda:99"))
    empty = zarr.open_group(str(tmp_path / "empty"), mode="w")
    empty.attrs["task"] = "{}"
    with pytest.raises(DatasetError, match="lacks data/keypoints"):
        train(tmp_path / "empty", out, TrainingConfig(**SHORT))
    for number, (spoil, words) in enumerate(
        (
            (lambda part: part.unlink(), "1 of 1 parts of data/ee are missing"),
            (lambda part: part.write_bytes(part.read_bytes()[: part.stat().st_size // 2]), "data/ee is damaged"),
        )
    ):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(dataset, copy)
        spoil(next(path for path in (copy / "data" / "ee" / "c").rglob("*") if path.is_file()))
        with pytest.raises(DatasetError, match=words):
            train(copy, out, TrainingConfig(**SHORT))
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    zarr.open_group(str(other), mode="a").attrs["schema_version"] = 99
    with pytest.raises(DatasetError, match="schema 99; this version reads 1"):
        train(other, out, TrainingConfig(**SHORT))
    assert not out.exists()


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="known: episodes, network, size"):
        TrainingConfig.from_options(sise="tiny")
    assert TrainingConfig.from_assignments(["updates=100"]).warmup_updates == 10
    assert TrainingConfig().warmup_updates == TrainingConfig(updates=5000).warmup_updates == 50
    with pytest.raises(ConfigError, match="warmup_updates"):
        TrainingConfig.from_options(updates=10, warmup_updates=20)
    with pytest.raises(ConfigError, match="regression answers in one evaluation"):
        TrainingConfig.from_options(objective="regression", denoising_steps=4)
    assert TrainingConfig.from_options(objective="regression").denoising_steps == 1
    for options, words in (
        ({"precision": "bfloat16"}, "bfloat16 is for CUDA, the device is 'cpu'"),
        ({"devices": 2, "device": "cuda:0"}, "choose device cuda or cpu"),
        ({"devices": 3}, r"batch_size \(64\) must be a multiple of devices \(3\)"),
    ):
        with pytest.raises(ConfigError, match=words):
            TrainingConfig.from_options(**options)
    config = TrainingConfig.from_assignments(["noise.keypoint_noise=0", "batch_size=32"], updates=100)
    assert (config.noise.keypoint_noise, config.batch_size, config.updates) == (0.0, 32, 100)
    for text in ("batch_size", "batch_size.a=1", "noise.nothing=1"):
        with pytest.raises(ConfigError):
            TrainingConfig.from_assignments([text], batch_size=32)
    with pytest.raises(ConfigError, match="execute"):
        TrainingConfig.from_options(horizons={"horizon": 4, "execute": 5})
