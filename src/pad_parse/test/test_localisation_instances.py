"""Another instance found by its outline, and the ways to localise behind one factory."""

import json

import cv2
import numpy as np
import pytest
import scene_of_cylinders as cylinders
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse import geometry
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation import BACKENDS, make_localiser
from pad_parse.localisation.dense_features import Dinov2Features
from pad_parse.localisation.shape_transfer import assign, fit_shape, transfer
from pad_parse.localisation.upright_shape import UprightShape

HOME = {"bottle": (0.0, -0.18, 0.0), "cup": (0.0, 0.18, 0.0)}


@pytest.fixture(scope="module")
def setting():
    scene, points, objects = cylinders.pour_scene(np.random.default_rng(0))
    rgb, depth = scene.render(cylinders.placed(scene, HOME), np.random.default_rng(1), 0.003)
    in_task = cylinders.keypoints_at(points, objects, HOME)
    reference = Reference(rgb, depth, scene.camera, scene.camera.task_to_pixels(in_task), in_task)
    return scene, points, objects, reference


def outline(knots, at=(0.0, 0.0), noise=0.0, rng=None):
    heights = np.arange(0.002, knots[-1][0], 0.004)
    radii = np.interp(heights, *zip(*knots, strict=True))
    if rng is not None:
        radii = radii + rng.normal(0, noise, len(radii))
    heights[-1] = knots[-1][0]
    return UprightShape(np.array(at, float), heights, radii, 0.001)


BOTTLE = [(0.0, 0.032), (0.13, 0.032), (0.15, 0.026), (0.19, 0.026)]


@settings(max_examples=30, deadline=None)
@given(
    rises=st.tuples(*[st.floats(0.8, 1.25)] * 3),
    wide=st.floats(0.85, 1.2),
    neck=st.floats(0.7, 0.85),
    seed=st.integers(0, 1000),
)
def test_points_stay_on_their_part_of_the_bottle(rises, wide, neck, seed):
    tops = np.cumsum([0.0, 0.13 * rises[0], 0.02 * rises[1], 0.04 * rises[2]])
    radii = np.array([0.032, 0.032, 0.032 * neck, 0.032 * neck]) * wide
    other = list(zip(tops, radii, strict=True))
    reference = outline(BOTTLE)
    candidate = outline(other, (0.1, 0.05), 0.0003, np.random.default_rng(seed))
    angles = np.array([0.2, 0.9, -0.4, 0.3])
    heights = np.array([0.024, 0.075, 0.122, 0.186])
    radius = np.interp(heights, *zip(*BOTTLE, strict=True))
    points = np.column_stack([radius * np.cos(angles), radius * np.sin(angles), heights])
    there = np.interp(heights, [h for h, _ in BOTTLE], tops)
    wanted = np.interp(there, *zip(*other, strict=True))
    truth = np.column_stack([wanted * np.cos(angles) + 0.1, wanted * np.sin(angles) + 0.05, there])
    fit = fit_shape(reference, candidate)
    assert np.linalg.norm(transfer(points, reference, fit) - truth, axis=1).max() < 0.008
    assert fit.likeness > 0.5


def test_the_same_outline_moves_its_points_along():
    reference, moved = outline(BOTTLE), outline(BOTTLE, (0.05, -0.02))
    points = np.array([[0.03, 0.01, 0.05], [0.02, -0.02, 0.17]])
    assert np.allclose(transfer(points, reference, fit_shape(reference, moved)), points + [0.05, -0.02, 0.0], atol=1e-9)


def test_two_things_alike_are_one_too_many():
    near, far = outline(BOTTLE, (0.1, 0.0)), outline(BOTTLE, (-0.1, 0.0))
    assert assign({"bottle": outline(BOTTLE)}, [near])["bottle"][1] > 0.99
    assert assign({"bottle": outline(BOTTLE)}, [near, far])["bottle"][1] < 0.01
    bowl = outline([(0.0, 0.04), (0.05, 0.085)], (0.2, 0.0))
    assert assign({"bottle": outline(BOTTLE)}, [bowl])["bottle"][1] < 0.2
    assert assign({"bottle": outline(BOTTLE)}, []) == {"bottle": (None, 0.0)}


def instance_scene(scene, rng, target):
    bottle = cylinders.Cylinder(0.027, 0.20, cylinders.blobs(rng, 200, 230, (160, 60, 140), 300))
    cup = cylinders.Cylinder(0.046, 0.085, cylinders.blobs(rng, 120, 290, (60, 160, 90), 260))
    return {"bottle": bottle, "cup": cup}, [
        (bottle, geometry.yaw_pose(*target["bottle"])),
        (cup, geometry.yaw_pose(*target["cup"])),
    ]


def test_another_instance_is_found_only_when_asked_for(setting):
    scene, points, objects, reference = setting
    target = {"bottle": (0.05, -0.22, 0.9), "cup": (-0.04, 0.14, -2.0)}
    others, items = instance_scene(scene, np.random.default_rng(7), target)
    rgb, depth = scene.render(items, np.random.default_rng(8), 0.003)
    truth = []
    for point, name in zip(points, objects, strict=True):
        old = {"bottle": scene.bottle, "cup": scene.cup}[name]
        scale = others[name].radius / old.radius
        stretched = point * [scale, scale, others[name].height / old.height]
        truth.append(stretched + [*target[name][:2], 0.0])
    found = make_localiser("classical", reference, objects, other_instances=True).localise(rgb, depth, scene.camera)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.010
    assert np.allclose(found.object_transforms["cup"][:2, 3], [-0.04, -0.04], atol=0.004)
    with pytest.raises(LocalisationError, match="enough confidence"):
        make_localiser("classical", reference, objects).localise(rgb, depth, scene.camera)


def test_the_real_object_goes_before_another_of_its_kind(setting):
    scene, points, objects, reference = setting
    target = {"bottle": (0.03, -0.21, 0.2), "cup": (0.04, 0.2, -0.2)}
    _, others = instance_scene(scene, np.random.default_rng(3), {"bottle": (-0.1, 0.0, 0), "cup": (-0.15, 0.3, 0)})
    rgb, depth = scene.render(cylinders.placed(scene, target) + others, np.random.default_rng(4), 0.003)
    found = make_localiser("classical", reference, objects, other_instances=True).localise(rgb, depth, scene.camera)
    truth = cylinders.keypoints_at(points, objects, target)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.010


def test_distractors_alone_are_refused(setting):
    scene, _, objects, reference = setting
    _, others = instance_scene(scene, np.random.default_rng(3), {"bottle": (0.0, -0.15, 0), "cup": (0.05, 0.2, 0)})
    rgb, depth = scene.render(others, np.random.default_rng(4), 0.003)
    with pytest.raises(LocalisationError, match=r"bottle .*cup") as caught:
        make_localiser("classical", reference, objects).localise(rgb, depth, scene.camera)
    assert max(caught.value.confidence.values()) < 0.5
    flat = cylinders.Cylinder(0.09, 0.03, np.full((10, 10, 3), (90, 160, 90), np.uint8))
    rgb, depth = scene.render([(flat, geometry.yaw_pose(0.0, 0.1, 0.0))])
    with pytest.raises(LocalisationError, match="enough confidence"):
        make_localiser("classical", reference, objects, other_instances=True).localise(rgb, depth, scene.camera)


def test_clicked_points_are_lifted(setting):
    scene, points, objects, reference = setting
    target = {"bottle": (0.05, -0.22, 0.3), "cup": (-0.04, 0.14, -0.3)}
    rgb, depth = scene.render(cylinders.placed(scene, target), np.random.default_rng(5), 0.003)
    truth = cylinders.keypoints_at(points, objects, target)
    pixels = scene.camera.task_to_pixels(truth)
    names = [f"point_{k}" for k in range(len(points))]
    options = {"keypoint_names": names, "keypoint_groups": objects}
    by_hand = make_localiser("by_hand", reference, objects, ask=lambda image: pixels, **options)
    found = by_hand.localise(rgb, depth, scene.camera)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.010
    true = geometry.yaw_pose(*target["cup"]) @ geometry.inverse(geometry.yaw_pose(*HOME["cup"]))
    assert geometry.rotation_angle(true, found.object_transforms["cup"]) < np.deg2rad(6)
    table = pixels.copy()
    table[3] = (320, 440)
    with pytest.raises(LocalisationError, match="point_3 lies on the table"):
        by_hand.lift(table, depth, scene.camera)
    with pytest.raises(LocalisationError, match="no depth near point_0,"):
        by_hand.lift(pixels, np.zeros_like(depth), scene.camera)
    with pytest.raises(LocalisationError, match="11 pixels"):
        by_hand.lift(pixels[:3], depth, scene.camera)


class _Colours:
    """Stands for a network: smoothed colours and gradients of each patch, at several sizes."""

    patch = 8

    def describe(self, rgb):
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32) - 128
        grey = lab[..., :1] * 0 + cv2.GaussianBlur(lab[..., 0], (0, 0), 2)[..., None]
        layers = [cv2.GaussianBlur(lab, (0, 0), s) for s in (3, 6, 12)]
        layers += [np.roll(layers[0], shift, axis) for shift in (-10, 10) for axis in (0, 1)]
        layers.append(grey)
        stacked = np.concatenate(layers, axis=-1)[self.patch // 2 :: self.patch, self.patch // 2 :: self.patch]
        stacked = stacked - stacked.mean(axis=(0, 1))
        return stacked / np.maximum(np.linalg.norm(stacked, axis=-1, keepdims=True), 1e-9)


def test_dense_correspondence_finds_the_objects_and_refuses_what_is_missing(setting):
    scene, points, objects, reference = setting
    localiser = make_localiser("dinov2", reference, objects, features=_Colours())
    target = {"bottle": (0.03, -0.2, 0.05), "cup": (0.02, 0.16, -0.05)}
    items = cylinders.placed(scene, target)
    rgb, depth = scene.render(items, np.random.default_rng(5), 0.003)
    found = localiser.localise(rgb, depth, scene.camera)
    truth = cylinders.keypoints_at(points, objects, target)
    assert np.linalg.norm(found.points_in_task - truth, axis=1).max() < 0.015
    rgb, depth = scene.render(items[:1], np.random.default_rng(5), 0.003)
    with pytest.raises(LocalisationError, match=r"confidence .*: cup \("):
        localiser.localise(rgb, depth, scene.camera)


def test_dinov2_runs_with_random_weights(setting, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed; users install it")
    scene, _, objects, reference = setting
    pytest.importorskip("torch").manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=392, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path, safe_serialization=True)
    localiser = make_localiser("dinov2", reference, objects, checkpoint=tmp_path)
    found = localiser.localise(reference.rgb, reference.depth, scene.camera, limit=0.0)
    assert np.linalg.norm(found.points_in_task - reference.points_in_task, axis=1).max() < 0.010
    described = Dinov2Features(tmp_path).describe(np.zeros((28, 42, 3), np.uint8))
    assert described.shape == (2, 3, 48) and np.allclose(np.linalg.norm(described, axis=-1), 1, atol=1e-5)


def test_a_checkpoint_that_is_none_says_what_to_install(setting, tmp_path):
    _, _, objects, reference = setting
    with pytest.raises(LocalisationError, match=r"lacks config.json and model.safetensors; install"):
        make_localiser("dinov2", reference, objects, checkpoint=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(LocalisationError, match="install PyTorch"):
        make_localiser("dinov2", reference, objects, checkpoint=tmp_path)
    with pytest.raises(LocalisationError, match="checkpoint=DIR"):
        make_localiser("dinov2", reference, objects)


def test_an_unknown_way_lists_the_known_ones(setting):
    _, _, objects, reference = setting
    with pytest.raises(LocalisationError, match=", ".join(BACKENDS)):
        make_localiser("magic", reference, objects)
    with pytest.raises(LocalisationError, match=r"classical.*colour"):
        make_localiser("classical", reference, objects, colour=1)
