"""The proof without gaps against brute force in another library, and its parts against simple truths."""

from dataclasses import replace

import numpy as np
import pour_scene
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_augment.description import urdf_text
from pad_augment.kinematics import Robot
from pad_augment.planning.certificate import Certifier, _between_segments, _length, _Steps
from pad_augment.planning.collisions import CollisionScene
from pad_augment.planning.following import as_asked
from pad_augment.planning.interface import Body, Failure, PlanRequest, Shape, Stretch
from pad_augment.planning.link_frames import LinkTree, bounding_capsule
from pad_parse import geometry

SHAPES = {"post": Shape(0.03, 0.30), "stick": Shape(0.02, 0.25), "low": Shape(0.05, 0.06)}


@pytest.fixture(scope="module")
def robot() -> Robot:
    return pour_scene.robot()


@pytest.fixture(scope="module")
def tree(robot: Robot) -> LinkTree:
    return LinkTree(urdf_text(robot.profile.description))


def test_frames_are_those_of_the_arms(robot: Robot, tree: LinkTree) -> None:
    rng = np.random.default_rng(0)
    joints = rng.uniform(-2, 2, (20, 12))
    postures = np.zeros((20, len(tree.joints)))
    postures[:, [tree.joints.index(name) for name in robot.joint_names]] = joints
    links = [arm.tcp_link for arm in robot.arms]
    for arm, (rotation, position) in enumerate(tree.frames(postures, links).values()):
        expected = robot.fk(arm, joints[:, 6 * arm : 6 * arm + 6])
        np.testing.assert_allclose(rotation, expected[:, :3, :3], atol=1e-12)
        np.testing.assert_allclose(position, expected[:, :3, 3], atol=1e-12)


def test_capsules_hold_their_shapes(tree: LinkTree) -> None:
    for shapes in tree.shapes.values():
        if not shapes:
            continue
        capsule = bounding_capsule(shapes)
        for shape in shapes:
            points = shape.hull()
            line = np.broadcast_to(capsule.ends, (len(points), 2, 3))
            dots = np.repeat(points[:, None], 2, axis=1)
            assert (_length(_between_segments(line, dots)) + shape.radius <= capsule.radius + 1e-9).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_distance_of_segments_is_the_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = rng.normal(size=(2, 2, 3))
    if rng.random() < 0.3:  # parallel, or a point
        lines[1] = lines[0] + rng.normal(size=3) if rng.random() < 0.5 else lines[1, :1]
    s = np.linspace(0, 1, 81)
    points = [line[0] + s[:, None] * (line[1] - line[0]) for line in lines]
    least = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1).min()
    found = _length(_between_segments(lines[0][None], lines[1][None]))[0]
    assert found <= least + 1e-9 and found >= least - 0.1
    ends = np.linalg.norm(lines[0][:, None] - lines[1][None], axis=-1).min()
    assert found <= ends + 1e-12


def random_requests(robot: Robot, count: int) -> list[tuple[PlanRequest, np.ndarray]]:
    """Joint lines around home among objects, long and short steps, with and without something in the hand."""
    rng = np.random.default_rng(4)
    out = []
    for _ in range(count):
        ends = robot.home.ravel() + rng.normal(0, 0.35, (2, 12))
        ends[1, [0, 6]] += rng.uniform(-1, 1) * np.array([-0.8, 0.8])  # the hands towards each other, or away
        steps = int(rng.integers(3, 30))
        s = np.linspace(0, 1, steps)[:, None]
        joints = (1 - s) * ends[0] + s * ends[1]
        held = rng.random() < 0.5
        stick = Body(geometry.make_pose(geometry.rotation_exp(rng.normal(0, 1, 3)), [0.0, 0.0, 0.0]), int(held))
        bodies = {
            "post": Body(geometry.yaw_pose(rng.uniform(-0.3, 0.2), rng.uniform(-0.3, 0.3), 0.0)),
            "low": Body(geometry.yaw_pose(rng.uniform(-0.3, 0.2), rng.uniform(-0.5, 0.5), 0.0)),
            "stick": stick if held else Body(geometry.yaw_pose(0.3, 0.6, 0.0)),
        }
        poses = np.stack([robot.fk(arm, joints[:, 6 * arm : 6 * arm + 6]) for arm in (0, 1)], axis=1)
        openings = np.linspace(0.02, 0.1, steps)[:, None].repeat(2, axis=1)
        out.append((PlanRequest([Stretch(poses, openings, False, bodies)]), joints))
    return out


def test_it_agrees_with_brute_force(robot: Robot) -> None:
    cases = random_requests(robot, 90)
    plans = [as_asked(request, joints) for request, joints in cases]
    verdicts = Certifier(robot, SHAPES).first_contacts([request for request, _ in cases], plans)
    scene = CollisionScene(robot, SHAPES)
    kinds = set()
    for (request, joints), verdict in zip(cases, verdicts, strict=True):
        stretch = request.stretches[0]
        scene.arrange(stretch.bodies)
        at = scene.first_collision(joints, stretch.openings, 0.003)
        assert (verdict is None) == (at is None), (verdict, at)
        if verdict is not None and at is not None:
            kinds.add(verdict.code)
            assert scene.cause(joints[at : at + 2], stretch.openings[at : at + 2], 0.003) is not None
    blocked = sum(verdict is not None for verdict in verdicts)
    assert 20 < blocked < 80
    assert kinds == {Failure.SELF_COLLISION, Failure.ARMS_COLLISION, Failure.OBJECT_COLLISION}


def test_a_contact_between_two_steps_is_seen(robot: Robot) -> None:
    """A thin post that is passed within one long step: free at both ends."""
    tcp = robot.fk(0, robot.home[0])[:3, 3]
    ends = np.stack([robot.home.ravel()] * 2)
    ends[0, 0] -= 0.5
    ends[1, 0] += 0.5
    bodies = {
        "post": Body(geometry.make_pose(np.eye(3), [tcp[0], tcp[1], tcp[2] - 0.15])),
        "low": Body(geometry.yaw_pose(0.3, -0.6, 0.0)),
        "stick": Body(geometry.yaw_pose(0.3, 0.6, 0.0)),
    }
    poses = np.stack([robot.fk(arm, ends[:, 6 * arm : 6 * arm + 6]) for arm in (0, 1)], axis=1)
    stretch = Stretch(poses, np.full((2, 2), 0.02), False, bodies)
    asked = PlanRequest([stretch])
    scene = CollisionScene(robot, SHAPES)
    scene.arrange(bodies)
    assert not any(scene.collides(q, stretch.openings[0]) for q in ends)
    (verdict,) = Certifier(robot, SHAPES).first_contacts([asked], [as_asked(asked, ends)])
    assert verdict is not None and verdict.code is Failure.OBJECT_COLLISION and "post" in str(verdict)
    allowed = {**bodies, "post": replace(bodies["post"], touching=frozenset({"left"}))}
    touching = PlanRequest([replace(stretch, bodies=allowed)])
    (verdict,) = Certifier(robot, SHAPES).first_contacts([touching], [as_asked(touching, ends)])
    assert verdict is None or not any(part in str(verdict) for part in ("gripper", "finger"))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_no_point_leaves_its_line_farther_than_proved(robot: Robot, tree: LinkTree, seed: int) -> None:
    """Every tip of every body, held ones too, along a joint step of any length."""
    rng = np.random.default_rng(seed)
    joints = robot.home.ravel() + rng.normal(0, 0.5, 12)
    ends = np.stack([joints, joints + rng.normal(0, rng.uniform(0.01, 0.5), 12)])
    openings = rng.uniform(0.0, 0.1, (2, 2))
    pose = geometry.make_pose(geometry.rotation_exp(rng.normal(0, 1, 3)), rng.uniform(-0.2, 0.2, 3))
    bodies = {"post": Body(pose, 0), "stick": Body(pose, 1), "low": Body(geometry.yaw_pose(0.3, 0.6, 0.0))}
    certifier = Certifier(robot, SHAPES)
    step = certifier._motion(_Steps(ends[None], openings[None], np.zeros(1, np.intp)), [bodies])
    shares = np.linspace(0, 1, 33)
    along = (1 - shares[:, None]) * ends[0] + shares[:, None] * ends[1]
    gaps = (1 - shares[:, None]) * openings[0] + shares[:, None] * openings[1]
    still = np.zeros(len(shares), np.intp)
    dense = certifier._motion(_Steps(along[:, None].repeat(2, 1), gaps[:, None].repeat(2, 1), still), [bodies])
    tips = dense.ends[dense.row[:, 0]]
    line = (1 - shares[:, None, None, None]) * tips[0] + shares[:, None, None, None] * tips[-1]
    assert (np.linalg.norm(tips - line, axis=-1).max(axis=(0, 2)) <= step.bend[0] + 1e-12).all()
    assert (np.linalg.norm(tips - tips[0], axis=-1).max(axis=(0, 2)) <= step.path[0] + 1e-12).all()
