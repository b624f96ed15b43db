"""The task template: known names, validation, round trip."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse.errors import TaskError
from pad_parse.task import TaskSpec, known_tasks


def test_pour_has_the_paper_s_eleven_keypoints(tmp_path):
    task = TaskSpec.load("pour")
    assert task.keypoint_count == 11 == len(task.keypoint_names) == len(set(task.keypoint_names))
    assert task.group_names == ["bottle_cap", "bottle_body", "cup_rim", "cup_body"]
    assert task.keypoint_groups.count("cup_rim") == 4
    assert task.keypoint_objects == ["bottle"] * 4 + ["cup"] * 7
    assert [s.sync for s in task.stages] == [False, False, True]
    task.save(tmp_path / "again.yaml")
    assert TaskSpec.load(tmp_path / "again.yaml") == task


def test_unknown_name_lists_the_known():
    with pytest.raises(TaskError, match=r"no task 'poor'.*pour"):
        TaskSpec.load("poor")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(TaskError, match="does not exist"):
        TaskSpec.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reference: cup", "reference: mug", "unknown object 'mug'; known: bottle, cup"),
        ("keypoints: []", "key_points: []", "known keys: name"),
        ("arm: both", "arm: left", "sync"),
        ("x: [-0.06, 0.08]", "x: [0.2, 0.08]", "low end"),
        ("cup_rim: 4", "bottle_cap: 4", "more than one object"),
        ("name: grasp_cup", "name: 'grasp: cup'", "stage name 'grasp: cup' contains ':'"),
        ("name: pour\n", "name: ../pour\n", "no valid name"),
        (
            "keypoints: []",
            "keypoints: [{name: a, object: cup, group: cup_rim, pixel: [1, 2]}]",
            "needs 1 keypoints|needs 3",
        ),
        ("objects:", "objects: [", "no YAML"),
    ],
)
def test_inconsistent_task_is_one_clear_line(old, new, message):
    text = known_tasks()["pour"].read_text()
    assert old in text
    with pytest.raises(TaskError, match=message) as caught:
        TaskSpec.from_yaml(text.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_task_or_a_task_error(text):
    try:
        TaskSpec.from_yaml(text)
    except TaskError:
        pass


def test_a_task_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskError, match="cannot be written"):
        TaskSpec.load("pour").save(tmp_path / "file" / "task.yaml")
