"""A dataset is the same whoever computes it, and whatever interrupts it."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pour_scene
import pytest

from pad_augment.config import GeneratorConfig
from pad_augment.dataset import Dataset, DatasetWriter, Rows
from pad_augment.errors import ConfigError, DatasetError, WorkerLostError
from pad_augment.executor import make_executor
from pad_augment.generator import GenerationProgress, generate

COUNT = 12
CONFIG = GeneratorConfig(grasp_turn_limit=0.0)
SCRIPT = """
import sys
import pour_scene
from pad_augment.config import GeneratorConfig
from pad_augment.generator import generate
generate(
    pour_scene.demonstration(), pour_scene.PROFILE, sys.argv[1], {count}, 5,
    progress=lambda p: print(p.accepted, flush=True), config=GeneratorConfig(grasp_turn_limit=0.0),
)
"""


def digest(folder: Path) -> str:
    """Of the names and contents of all files."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("undisturbed") / "pour"
    generate(pour_scene.demonstration(), pour_scene.PROFILE, out, COUNT, 5, config=CONFIG)
    return digest(out)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_not_change_a_byte(workers: int, undisturbed: str, tmp_path: Path) -> None:
    generate(pour_scene.demonstration(), pour_scene.PROFILE, tmp_path / "a", COUNT, 5, workers=workers, config=CONFIG)
    assert digest(tmp_path / "a") == undisturbed


def _workers() -> list[int]:
    """Processes of this process's fork server."""
    server = int(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
    stats = [path.read_text().rsplit(")", 1) for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [int(stat.split()[0]) for stat, rest in stats if int(rest.split()[1]) == server]


def test_workers_that_are_killed_cost_nothing_that_is_finished(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one(progress: GenerationProgress) -> None:
        if progress.accepted >= 4 and not killed:
            for worker in _workers():
                with contextlib.suppress(ProcessLookupError):  # one of an earlier test that is just ending
                    os.kill(worker, signal.SIGKILL)
                    killed.append(worker)

    demo, config = pour_scene.demonstration(), CONFIG
    with pytest.raises(WorkerLostError, match="goes on from what is finished"):
        generate(demo, pour_scene.PROFILE, tmp_path / "a", 200, 5, workers=2, config=config, progress=kill_one)
    report = generate(demo, pour_scene.PROFILE, tmp_path / "a", 200, 5, workers=2, config=config)
    assert report.resumed >= 4 and report.accepted == len(Dataset.open(tmp_path / "a")) == 200


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(undisturbed: str, tmp_path: Path) -> None:
    out = tmp_path / "pour"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    seen: list[int] = []
    # As a piece has been written, and in the midst of the next one.
    for pause in (0.0, 0.05):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(count=COUNT)] + [str(out)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            seen.append(int(line))
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert seen == sorted(set(seen)), "what was done is not done again"
    report = generate(pour_scene.demonstration(), pour_scene.PROFILE, out, COUNT, 5, config=CONFIG)
    assert 0 < report.resumed <= COUNT and report.accepted == COUNT
    assert digest(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["pour"]


def test_a_dataset_of_the_same_is_left_as_it_is_and_another_is_not_overwritten(tmp_path: Path) -> None:
    demo, out = pour_scene.demonstration(), tmp_path / "pour"

    def make(seed: int, **options: bool) -> tuple[int, int]:
        report = generate(demo, pour_scene.PROFILE, out, 3, seed, "straight_line", **options)  # type: ignore[arg-type]
        return report.accepted, report.resumed

    assert make(0) == (3, 0)
    before = digest(out)
    assert make(0) == (3, 3) and digest(out) == before
    with pytest.raises(DatasetError, match="overwrite"):
        make(1)
    assert digest(out) == before
    assert make(1, overwrite=True) == (3, 0) and digest(out) != before
    assert [path.name for path in tmp_path.iterdir()] == ["pour"]


def rows(first: int, steps: int) -> Rows:
    values = np.arange(first, first + steps, dtype=np.float32)[:, None].repeat(20, axis=1)
    return Rows({"data/ee": values, "meta/scenes": np.array([first])}, [steps], 2)


def test_pieces_are_kept_and_only_one_may_write(tmp_path: Path) -> None:
    out = tmp_path / "some"
    writer = DatasetWriter(out, "me")
    writer.append(rows(0, 20_000), {"no_path": 1})
    with pytest.raises(DatasetError, match="another process"):
        DatasetWriter(out, "me")
    writer.close()
    with pytest.raises(DatasetError, match="made of something else"):
        DatasetWriter(out, "you")
    writer = DatasetWriter(out, "me")
    assert writer.resumed and (writer.blocks, writer.episodes, writer.steps, writer.attempted) == (1, 1, 20_000, 2)
    writer.append(rows(20_000, 30_000), {"no_path": 1})
    writer.finish({})
    import zarr

    group = zarr.open_group(str(out), mode="r")
    stored = np.asarray(group["data/ee"])
    np.testing.assert_array_equal(stored[:, 0], np.arange(50_000))
    np.testing.assert_array_equal(np.asarray(group["meta/episode_ends"]), [20_000, 50_000])
    assert group.attrs["rejections"] == {"no_path": 2} and group.attrs["attempted"] == 4


def test_executors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="known: local, processes, ray"):
        make_executor(2, "cluster")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install"):
        make_executor(2, "ray")


def test_ray_gives_the_same(undisturbed: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    demo, profile = pour_scene.demonstration(), pour_scene.PROFILE
    generate(demo, profile, tmp_path / "a", COUNT, 5, workers=2, config=CONFIG, executor="ray")
    assert digest(tmp_path / "a") == undisturbed


def test_what_a_dataset_says_of_rejected_scenes(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"obstacles": 2})
    report = generate(pour_scene.demonstration(), pour_scene.PROFILE, tmp_path / "a", 3, 5, config=config)
    dataset = Dataset.open(tmp_path / "a")
    assert len(dataset.rejected_causes) == len(dataset.rejected_poses) == sum(report.rejections.values())
    assert report.attempted == report.accepted + len(dataset.rejected_causes)
    counted = {cause: int((dataset.rejected_causes == cause).sum()) for cause in set(dataset.rejected_causes)}
    assert counted == report.rejections
