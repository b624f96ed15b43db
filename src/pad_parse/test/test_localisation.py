"""Keypoints found again in new scenes with exact truth, distractors, and refusals."""

import numpy as np
import pytest
import scene_of_cylinders as cylinders

from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation import ClassicalLocaliser

HOME = {"bottle": (0.0, -0.18, 0.0), "cup": (0.0, 0.18, 0.0)}


@pytest.fixture(scope="module")
def setting():
    scene, points, objects = cylinders.pour_scene(np.random.default_rng(0))
    rgb, depth = scene.render(cylinders.placed(scene, HOME), np.random.default_rng(1), 0.003)
    in_task = cylinders.keypoints_at(points, objects, HOME)
    reference = Reference(rgb, depth, scene.camera, scene.camera.task_to_pixels(in_task), in_task)
    return scene, points, objects, reference


def random_placements(rng):
    place = lambda y: (rng.uniform(-0.06, 0.08), rng.uniform(y - 0.07, y + 0.07), rng.uniform(-0.4, 0.4))  # noqa: E731
    return {"bottle": place(-0.19), "cup": place(0.19)}


def errors_over(setting, count, rng, distractors=False):
    scene, points, objects, reference = setting
    localiser = ClassicalLocaliser(reference, objects)
    worst = []
    for _ in range(count):
        placements = random_placements(rng)
        items = cylinders.placed(scene, placements)
        if distractors:
            other = cylinders.Cylinder(0.03, 0.15, cylinders.blobs(rng, 160, 200, (60, 120, 170), 200))
            items += [(other, geometry.yaw_pose(-0.15, 0.0, 0.3)), (scene.hand, geometry.yaw_pose(-0.2, 0.3, 0.0))]
        rgb, depth = scene.render(items, rng, 0.003)
        found = localiser.localise(rgb, depth, scene.camera)
        truth = cylinders.keypoints_at(points, objects, placements)
        worst.append(np.linalg.norm(found.points_in_task - truth, axis=1).max())
    return np.array(worst)


def test_moved_objects_are_found_within_millimetres(setting):
    worst = errors_over(setting, 8, np.random.default_rng(2))
    assert np.median(worst) < 0.004 and worst.max() < 0.010


def test_distractors_are_not_taken(setting):
    worst = errors_over(setting, 6, np.random.default_rng(3), distractors=True)
    assert worst.max() < 0.010


def test_the_move_is_that_of_the_object(setting):
    scene, _, objects, reference = setting
    target = {"bottle": (0.06, -0.22, 0.35), "cup": (-0.04, 0.14, -0.35)}
    rgb, depth = scene.render(cylinders.placed(scene, target))
    found = ClassicalLocaliser(reference, objects).localise(rgb, depth, scene.camera)
    for name, place in target.items():
        true = geometry.yaw_pose(*place) @ geometry.inverse(geometry.yaw_pose(*HOME[name]))
        centre = np.array([*HOME[name][:2], 0.05])
        assert np.allclose(
            geometry.transform_points(found.object_transforms[name], centre),
            geometry.transform_points(true, centre),
            atol=0.003,
        )
        assert geometry.rotation_angle(true, found.object_transforms[name]) < np.deg2rad(2)
    assert min(found.confidence.values()) > 0.9


def test_another_camera_pose(setting):
    scene, points, objects, reference = setting
    other = cylinders.look_at_camera(position=(0.62, 0.08, 0.58))
    moved = cylinders.Scene(np.random.default_rng(0), other)
    moved.bottle, moved.cup = scene.bottle, scene.cup
    rgb, depth = moved.render(cylinders.placed(moved, HOME))
    found = ClassicalLocaliser(reference, objects).localise(rgb, depth, other)
    truth = cylinders.keypoints_at(points, objects, HOME)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.008


def test_an_object_without_texture_is_found_by_shape_and_colour():
    rng = np.random.default_rng(5)
    scene, points, objects = cylinders.pour_scene(rng)
    scene.cup = cylinders.Cylinder(0.04, 0.10, np.full((20, 40, 3), (30, 60, 190), np.uint8))
    in_task = cylinders.keypoints_at(points, objects, HOME)
    rgb, depth = scene.render(cylinders.placed(scene, HOME))
    reference = Reference(rgb, depth, scene.camera, scene.camera.task_to_pixels(in_task), in_task)
    target = {"bottle": (0.03, -0.2, 0.2), "cup": (0.05, 0.15, 0.0)}
    rgb, depth = scene.render(cylinders.placed(scene, target))
    found = ClassicalLocaliser(reference, objects).localise(rgb, depth, scene.camera)
    truth = cylinders.keypoints_at(points, objects, target)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.015
    assert 0.5 <= found.confidence["cup"] < 0.8 < found.confidence["bottle"]


@pytest.mark.parametrize("missing", ["bottle", "cup"])
def test_a_missing_object_is_refused_by_name(setting, missing):
    scene, _, objects, reference = setting
    left = {name: place for name, place in HOME.items() if name != missing}
    rgb, depth = scene.render(cylinders.placed(scene, left))
    with pytest.raises(LocalisationError, match=rf"confidence .*: {missing} \(") as caught:
        ClassicalLocaliser(reference, objects).localise(rgb, depth, scene.camera)
    assert caught.value.confidence[missing] < 0.5 < caught.value.confidence[next(iter(left))]


def test_a_look_alike_of_another_size_is_refused(setting):
    scene, _, objects, reference = setting
    big = cylinders.Cylinder(0.07, 0.16, scene.cup.texture[::-1])
    items = [(scene.bottle, geometry.yaw_pose(0, -0.18, 0)), (big, geometry.yaw_pose(0, 0.18, 0))]
    rgb, depth = scene.render(items)
    with pytest.raises(LocalisationError, match="cup"):
        ClassicalLocaliser(reference, objects).localise(rgb, depth, scene.camera)


def test_unusable_input_is_a_clear_error(setting):
    scene, _, objects, reference = setting
    rgb, depth = reference.rgb, reference.depth
    blind = Reference(rgb, None, scene.camera, reference.keypoint_pixels, reference.points_in_task)
    with pytest.raises(LocalisationError, match="no depth"):
        ClassicalLocaliser(blind, objects).localise(rgb, depth, scene.camera)
    with pytest.raises(LocalisationError, match="pose in the task"):
        ClassicalLocaliser(reference, objects).localise(rgb, depth, Camera(scene.camera.matrix, 640, 480))
    with pytest.raises(LocalisationError, match="must agree"):
        ClassicalLocaliser(reference, objects).localise(rgb, depth[:100], scene.camera)
    with pytest.raises(LocalisationError, match="keypoint objects"):
        ClassicalLocaliser(reference, objects[:3]).localise(rgb, depth, scene.camera)
    with pytest.raises(LocalisationError, match="enough confidence"):
        ClassicalLocaliser(reference, objects).localise(rgb, np.zeros_like(depth), scene.camera)
