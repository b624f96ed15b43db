"""The scene: objects with their masses and keypoints, what the camera sees, and typed errors."""

import mujoco
import numpy as np
import pytest

from pad_bringup.cell import Cell, scene, textures
from pad_bringup.cell.objects import ObjectModel, load_objects
from pad_bringup.cell.outcome import contained
from pad_bringup.errors import CellError
from pad_parse import geometry
from pad_parse.task import TaskSpec


@pytest.fixture(scope="module")
def cell() -> Cell:
    return Cell()


def test_keypoints_are_those_of_the_task() -> None:
    objects, task = load_objects("pour"), TaskSpec.load("pour")
    assert objects.keypoint_names == task.keypoint_names
    assert objects.keypoint_groups == task.keypoint_groups
    assert objects.keypoint_objects == task.keypoint_objects
    assert objects.keypoint_positions.shape == (11, 3)


def test_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(CellError, match=r"it has: .*pour"):
        load_objects("juggle")


def test_objects_weigh_what_they_should(cell: Cell) -> None:
    for name, model in cell.objects.models.items():
        assert cell.model.body(scene.body_name(name)).mass[0] == pytest.approx(model.mass)


def test_scene_without_robots_has_movable_objects_and_no_drink() -> None:
    model = scene.build_spec(robots=False, objects_dynamic=False).compile()
    bodies = {model.body(i).name for i in range(model.nbody)}
    assert not any(name.startswith(("left_", "right_", "ball_")) for name in bodies)
    data = mujoco.MjData(model)
    data.mocap_pos[model.body(scene.body_name("cup")).mocapid[0]] = [0.1, 0.2, 0.3]
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.body(scene.body_name("cup")).xpos, [0.1, 0.2, 0.3])


def test_depth_is_metric_and_keypoints_are_in_sight(cell: Cell) -> None:
    cell.reset()
    rgb, depth = cell.render()
    assert rgb.shape == (480, 640, 3) and rgb.dtype == np.uint8 and depth.dtype == np.float32
    table = cell.camera.pixels_to_task(np.array([[320.0, 400.0]]), depth[[400], [320]])
    np.testing.assert_allclose(table[0, 2], 0.0, atol=0.001)
    points = cell.keypoints()
    pixels = np.round(cell.camera.task_to_pixels(points)).astype(int)
    seen = cell.camera.pixels_to_task(pixels.astype(float), depth[pixels[:, 1], pixels[:, 0]])
    # The pixel's grid and a curved surface: some millimetres, none hidden.
    assert np.linalg.norm(seen - points, axis=1).max() < 0.006


def test_robots_at_home_do_not_hide_objects(cell: Cell) -> None:
    cell.reset()
    rgb, _ = cell.render()
    lower = rgb[140:]
    assert lower.std() > 20  # textures, not an empty picture
    only_objects = scene.build_spec(robots=False, objects_dynamic=False).compile()
    from pad_bringup.cell.rendering import RgbdRenderer

    data = mujoco.MjData(only_objects)
    mujoco.mj_forward(only_objects, data)
    renderer = RgbdRenderer(only_objects, scene.CAMERA, 640, 480)
    without, _ = renderer.render(data)
    renderer.close()
    same = np.abs(without[140:].astype(int) - lower).max(axis=2) < 12
    assert same.mean() > 0.97


def test_labels_do_not_repeat_and_are_the_same_again() -> None:
    picture = textures.label(0.2, 0.1, (40, 90, 150), [(240, 240, 220), (220, 70, 50)], seed=3)
    np.testing.assert_array_equal(
        picture, textures.label(0.2, 0.1, (40, 90, 150), [(240, 240, 220), (220, 70, 50)], seed=3)
    )
    grey = picture.mean(axis=2) - picture.mean()
    spectrum = np.abs(np.fft.fft(grey, axis=1)) ** 2
    correlation = np.fft.ifft(spectrum.sum(axis=0)).real
    assert np.abs(correlation[100:-100]).max() < 0.5 * correlation[0]


def test_contained_sees_inside_and_outside() -> None:
    cup = load_objects("pour").models["cup"]
    pose = geometry.yaw_pose(0.1, 0.2, 0.5)
    points = np.array([[0.1, 0.2, 0.05], [0.1, 0.25, 0.05], [0.1, 0.2, 0.15]])
    assert contained(points, pose, cup).tolist() == [True, False, False]


def test_bad_profile_of_a_vessel_is_refused() -> None:
    good = load_objects("pour").models["cup"].model_dump()
    with pytest.raises(ValueError, match="rise"):
        ObjectModel.model_validate(good | {"outer": [(0.0, 0.04), (0.0, 0.04)]})


@pytest.mark.parametrize(
    ("placements", "message"),
    [
        ({"jug": (0.0, 0.0, 0.0)}, "no object 'jug'"),
        ({"cup": (0.0, float("nan"), 0.0)}, "finite"),
        ({"cup": (2.0, 0.0, 0.0)}, "not stand on the table"),
        ({"cup": (0.0, -0.18, 0.0)}, "inside each other"),
    ],
)
def test_bad_placements_are_refused(cell: Cell, placements: dict, message: str) -> None:
    with pytest.raises(CellError, match=message):
        cell.reset(placements)


def test_bad_commands_are_refused(cell: Cell) -> None:
    with pytest.raises(CellError, match="12 finite"):
        cell.command(np.zeros(11), np.zeros(2))
    with pytest.raises(CellError, match="12 finite"):
        cell.command(np.full(12, np.nan), np.zeros(2))
    with pytest.raises(CellError, match="go back"):
        cell.step(-1.0)
