"""Evaluation: the same whatever the number of workers, one format, clips, disturbances, what a camera sees, replays."""

import contextlib
import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from pad_augment.generator import generate
from pad_bringup.bench.augment import source
from pad_bringup.cell import Cell
from pad_bringup.cell.disturbance import DISTANCE, MovedObject
from pad_bringup.cell.environment import CellEnvironment, TrackerErrors, VisionEnvironment
from pad_bringup.cell.outcome import contained
from pad_bringup.errors import EpisodeError, EvaluationError
from pad_bringup.evaluation.baselines import Library
from pad_bringup.evaluation.evaluate import EvaluationOptions, evaluate
from pad_bringup.evaluation.lock_step import Setting, World, evaluate_in_lock_step
from pad_bringup.evaluation.protocol import ProtocolResult
from pad_bringup.evaluation.result import EpisodeRecord, Evaluation, Totals
from pad_bringup.progress import StageProgress
from pad_bringup.retarget import retarget
from pad_bringup.splits import SPLITS
from pad_parse.following import demonstration_localiser
from pad_policy.config import TrainingConfig
from pad_policy.environment import Environment
from pad_policy.training import train

sys.path.insert(0, str(Path(__file__).parents[2] / "pad_policy" / "test"))
import policy_toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "dataset"
    generate(source.demonstration(), source.profile_path(), path, 8, 0, planner="straight_line")
    return path


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = policy_toy.write_dataset(tmp_path_factory.mktemp("data") / "toy.zarr", 4, seed=0, robot="ur5e_pair")
    config = TrainingConfig(updates=4, batch_size=16, warmup_updates=1)
    return train(dataset, tmp_path_factory.mktemp("policy"), config, notice=lambda line: None)


@pytest.fixture(scope="module")
def cell() -> Cell:
    return Cell()


def record(seed: int, cause: str = "", stage: str = "") -> EpisodeRecord:
    return EpisodeRecord(seed=seed, success=not cause, cause=cause, detail=cause, stage=stage, duration=9.0)


def test_totals_count_causes_and_stages() -> None:
    totals = Totals.of([record(0), record(1, "spilled", "pour"), record(2, "spilled", "pour"), record(3, "timed out")])
    assert totals.success == 0.25 and totals.episodes == 4
    assert totals.causes == {"spilled": 2, "timed out": 1} and totals.stages == {"pour": 2, "": 1}
    assert totals.wilson95[0] < 0.25 < totals.wilson95[1]
    assert Totals.of([]).wilson95 == (0.0, 1.0)


def test_a_baseline_that_is_not_clearly_below_the_policy_is_called_so():
    policy = Totals.of([record(seed) for seed in range(20)])
    assert Totals.of([record(seed, "spilled") for seed in range(20)]).beside(policy) == ""
    close = Totals.of([record(seed, "spilled" if seed < 2 else "") for seed in range(20)])
    assert "not clearly below the policy" in close.beside(policy)


def test_workers_and_filming_change_nothing(policy: Path, tmp_path: Path) -> None:
    setting = Setting(policy, time_limit=0.3)
    alone = evaluate_in_lock_step(setting, [5, 6])
    together = evaluate_in_lock_step(setting, [5, 6], workers=2, clips=tmp_path)
    assert [r.model_copy(update={"clip": None}) for r in together] == alone
    assert [r.seed for r in alone] == [5, 6] and all(r.cause == "timed out" and r.chunks for r in alone)
    assert all(r.stage == "grasp_bottle" and "balls are in the cup" in r.detail for r in alone)
    assert all(r.clip and Path(r.clip).stat().st_size > 1000 for r in together)


def test_evaluation_is_one_json_object(policy: Path, dataset: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(policy, episodes=1, time_limit=0.2, baselines=("nearest_neighbour",), dataset=dataset)
    with StageProgress() as progress:
        result = evaluate(options, progress)
    result.save(tmp_path / "result.json")
    said = json.loads((tmp_path / "result.json").read_text())
    assert {"success", "episodes", "wilson95", "causes", "mode", "results", "baselines"} <= set(said)
    assert Evaluation.model_validate(said) == result
    assert [b.method for b in result.baselines] == ["nearest_neighbour"] and result.baselines[0].episodes == 1


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """The episode of that number (from 1) ends in an error; no earlier one is really run."""
    begun = []

    def run(self: World, seed: int, clips: Path | None = None) -> EpisodeRecord:
        begun.append(seed)
        if len(begun) == number:
            raise error
        return record(seed, "spilled", "pour")

    monkeypatch.setattr(World, "run", run)


@pytest.mark.parametrize("named", [True, False])
def test_finished_episodes_outlive_ctrl_c(policy: Path, tmp_path: Path, monkeypatch, here, named: bool) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out = tmp_path / "result.json"
    words = ["evaluate", policy, "--episodes", 3, "--workers", 1, "--baseline", "nearest_neighbour", "--dataset", "/d"]
    _interrupt_at(monkeypatch, 3, KeyboardInterrupt())
    code, _, said = here(*words, *(["--out", out] if named else []))
    file = out if named else next(tmp_path.glob("pad/evaluations/*.json"))
    assert code == 130 and f"the episodes that were finished are in {file}" in said
    kept = Evaluation.model_validate_json(file.read_text())
    assert [r.seed for r in kept.results] == [1000, 1001] and kept.episodes == 2 and not kept.baselines


def test_finished_trials_and_splits_outlive_an_error(policy: Path, tmp_path: Path, monkeypatch, here) -> None:
    out = tmp_path / "result.json"
    _interrupt_at(monkeypatch, 4, EvaluationError("a worker process has died"))
    words = ["evaluate", policy, "--protocol", "paper", "--mode", "state", "--trials", 2, "--workers", 1, "--out", out]
    code, _, said = here(*words)
    assert code == 2 and f"finished are in {out}" in said and "a worker process has died" in said
    kept = ProtocolResult.model_validate_json(out.read_text())
    assert {name: found.episodes for name, found in kept.splits.items()} == {SPLITS[0]: 2, SPLITS[1]: 1}


def test_a_finished_evaluation_leaves_nothing_in_the_cache(policy: Path, tmp_path: Path, monkeypatch, here) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _interrupt_at(monkeypatch, 0, KeyboardInterrupt())
    code, _, said = here("evaluate", policy, "--episodes", 2, "--workers", 1)
    assert code == 0 and "finished are in" not in said and not list(tmp_path.glob("pad/evaluations/*"))


def test_episodes_in_the_graph_outlive_its_second_failure(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")
    from pad_bringup.evaluation import in_graph
    from pad_bringup.success import EpisodeResult

    class Runner:
        def __init__(self, *parts: object, **options: object) -> None:
            pass

        def run(self, seed: int) -> tuple[EpisodeResult, None]:
            if seed == 2:
                raise EpisodeError("the cell is silent")
            return EpisodeResult(seed, True, "", 9.0, 9.0), None

    monkeypatch.setattr(in_graph, "running_graph", lambda *parts, **options: contextlib.nullcontext(MagicMock()))
    monkeypatch.setattr(in_graph, "EpisodeRunner", Runner)
    kept: list[list[int]] = []
    with pytest.raises(EpisodeError, match="silent"):
        in_graph.evaluate_in_graph(
            tmp_path,
            tmp_path,
            "pour",
            "ur5e_pair",
            [0, 1, 2, 3],
            tmp_path,
            time_limit=30.0,
            clips=None,
            progress=lambda done, good: None,
            tell=lambda line: None,
            keep=lambda records: kept.append([r.seed for r in records]),
        )
    assert kept == [[0], [0, 1]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "dream"}, "state, vision, graph"),
        ({"episodes": 0}, "at least 1"),
        ({"mode": "graph", "disturbed": True}, "--mode state or vision"),
        ({"smoothing": "velvet"}, "none, blend, ensemble"),
        ({"baselines": ("luck",)}, "open_loop, nearest_neighbour"),
        ({"baselines": ("open_loop",)}, "--dataset"),
        ({"mode": "vision"}, "--demonstration"),
    ],
)
def test_options_that_do_not_go_together_are_refused(policy: Path, options: dict, words: str) -> None:
    with StageProgress() as progress, pytest.raises(EvaluationError, match=words):
        evaluate(EvaluationOptions(policy, **options), progress)


def test_the_nearest_demonstration_is_the_one_of_the_same_scene(dataset: Path) -> None:
    library = Library.open(dataset)
    seen = library.first_keypoints[2] + 0.003
    valid = np.ones(len(seen), dtype=bool)
    valid[5], seen[5] = False, 9.0
    assert library.nearest(seen, valid) == library.episodes[2]


def test_tracker_errors_are_as_declared(cell: Cell) -> None:
    errors = TrackerErrors(noise=0.002, bias=0.003, lost=0.1)
    environment = CellEnvironment(cell, errors)
    offsets, lost = [], []
    for seed in range(12):
        environment.reset(seed)
        seen = [environment.observe_keypoints() for _ in range(40)]
        error = np.stack([s.points_in_task for s in seen]) - cell.keypoints()
        offsets.append(error.mean(axis=0))
        lost.append(np.mean([s.states == 0 for s in seen]))
        assert error.std(axis=0).mean() == pytest.approx(errors.noise, rel=0.1)
    assert np.mean(lost) == pytest.approx(errors.lost, abs=0.02)
    owners = cell.objects.keypoint_objects
    assert np.ptp(np.stack(offsets)[:, [o == "cup" for o in owners]], axis=1).mean() < 0.0015  # one offset per object
    assert np.std(offsets) == pytest.approx(errors.bias, rel=0.35)


def test_a_hand_moves_one_object_ten_centimetres_and_spills_nothing(cell: Cell) -> None:
    moved = set()
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        cell.reset(cell.sample_placements(rng))
        before = {name: cell.object_pose(name) for name in cell.objects.models}
        hand = MovedObject(cell, rng)
        hand._first = np.inf  # the arms need not come first
        while not hand.done:
            hand.act()
            cell.step(0.008)
            assert cell.object_pose(hand.name)[2, 2] > 0.995  # it does not lean over on the way either
        cell.step(0.2)
        ways = {name: cell.object_pose(name)[:3, 3] - pose[:3, 3] for name, pose in before.items()}
        assert np.linalg.norm(ways[hand.name]) == pytest.approx(DISTANCE, abs=0.01)
        assert cell.object_pose(hand.name)[2, 2] > 0.999
        assert max(np.linalg.norm(way) for name, way in ways.items() if name != hand.name) < 0.002
        bottle = cell.objects.models["bottle"]
        assert contained(cell.drink(), cell.object_pose("bottle"), bottle).all()
        moved.add(hand.name)
    assert len(moved) == 2


def test_the_camera_sees_the_keypoints_where_they_are(cell: Cell) -> None:
    shown, _ = retarget(source.demonstration(), "ur5e_pair")
    environment = VisionEnvironment(cell, shown, demonstration_localiser(shown))
    assert isinstance(environment, Environment)
    environment.reset(3)
    for seconds in (0.0, 0.2):
        for _ in range(round(seconds / 0.008)):
            environment.advance(None, None, 0.008)
        seen = environment.observe_keypoints()
        assert 0 <= cell.time - seen.stamp < 0.04
        assert (seen.states > 0).all()
        assert np.linalg.norm(seen.points_in_task - cell.keypoints(), axis=1).max() < 0.008
