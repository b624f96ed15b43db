"""A task of one's own: made, known by name and by path, checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from pad_bringup import new_task
from pad_bringup.cell.demonstrations import held_objects
from pad_bringup.cell.objects import load_objects
from pad_bringup.errors import ResourceError
from pad_bringup.graph_arguments import resolve
from pad_bringup.user_tasks import use_task
from pad_parse.errors import TaskError
from pad_parse.task import TASK_PATH, TaskSpec


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(TASK_PATH, "")


def test_a_new_task_is_known_everywhere_by_its_name(tmp_path: Path) -> None:
    place = new_task.make_task("ball_in_pot", tmp_path / "mine", "trash_in_bin", left="pot", right="ball")
    spec = TaskSpec.load("ball_in_pot")
    assert (spec.name, spec.object_names) == ("ball_in_pot", ["pot", "ball"])
    assert spec.success["inside"] == {"ball": "pot"}
    assert list(load_objects("ball_in_pot").models) == ["pot", "ball"]
    assert load_objects("ball_in_pot").keypoint_groups == spec.keypoint_groups
    assert held_objects("ball_in_pot") == ("pot", "ball")
    assert resolve({"task": "ball_in_pot"})["task"] == "ball_in_pot"
    assert (place / "ball_in_pot.launch.py").is_file()
    assert "trash" not in "".join(path.read_text() for path in place.glob("*.yaml"))


def test_a_task_given_by_its_folder_is_known_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_task.make_task("ball_in_pot", tmp_path, "trash_in_bin")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "somebody_else"))
    with pytest.raises(TaskError, match="there is no task 'ball_in_pot'"):
        TaskSpec.load("ball_in_pot")
    for given in (str(place), str(place / "task.yaml"), place):
        assert use_task(given) == "ball_in_pot"
    assert load_objects("ball_in_pot").task == "ball_in_pot"
    assert use_task("pour") == "pour"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="trash_in_bin"):
        new_task.make_task("mine", tmp_path, "nothing_like_it")
    with pytest.raises(ResourceError, match="no valid name"):
        new_task.make_task("My Task", tmp_path, "trash_in_bin")
    with pytest.raises(ResourceError, match="already"):
        new_task.make_task("pour", tmp_path, "trash_in_bin")
    with pytest.raises(ResourceError, match="no task"):
        use_task(str(tmp_path) + "/")
    place = new_task.make_task("mine", tmp_path, "trash_in_bin")
    place.rename(tmp_path / "renamed")
    with pytest.raises(ResourceError, match="must be the same"):
        use_task(str(tmp_path / "renamed"))


def test_the_check_does_the_task_and_says_why_not(tmp_path: Path) -> None:
    place = new_task.make_task("ball_in_pot", tmp_path, "trash_in_bin", left="pot", right="ball")
    found = new_task.check_task("ball_in_pot")
    assert found.success and not found.cause
    assert found.preview.stat().st_size > 10_000
    text = (place / "demonstration.yaml").read_text()
    (place / "demonstration.yaml").write_text(
        text.replace("lets_go: {begins: 7.7, ends: 8.0", "lets_go: {begins: 6.2, ends: 6.5")
    )
    missed = new_task.check_task(str(place))
    assert not missed.success and "ball" in missed.cause
