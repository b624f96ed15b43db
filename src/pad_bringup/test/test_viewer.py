"""The viewer: description to shapes, and a server on loopback that shows them."""

import socket
import urllib.request

import numpy as np
import pytest

from pad_bringup.errors import ViewerError
from pad_bringup.resources import named_or_path
from pad_bringup.robot_scene import robot_scene
from pad_bringup.urdf_scene import UrdfScene
from pad_bringup.viewer import Viewer

URDF = """
<robot name="r">
  <material name="red"><color rgba="1 0 0 1"/></material>
  <link name="base"><visual><geometry><box size="0.2 0.2 0.1"/></geometry><material name="red"/></visual></link>
  <link name="arm">
    <visual><origin xyz="0 0 0.5"/><geometry><cylinder radius="0.05" length="1"/></geometry></visual>
  </link>
  <link name="tip"><visual><geometry><sphere radius="0.1"/></geometry></visual></link>
  <link name="twin"/>
  <joint name="turn" type="revolute">
    <parent link="base"/><child link="arm"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>
  </joint>
  <joint name="slide" type="prismatic">
    <parent link="arm"/><child link="tip"/><origin xyz="0 0 1"/><axis xyz="0 0 1"/>
  </joint>
  <joint name="mirror" type="prismatic">
    <parent link="arm"/><child link="twin"/><axis xyz="1 0 0"/><mimic joint="slide" multiplier="-1"/>
  </joint>
</robot>
"""


def test_shapes_and_poses_of_a_description():
    scene = UrdfScene(URDF)
    assert [(s.link, s.colour) for s in scene.shapes] == [
        ("base", (255, 0, 0)),
        ("arm", (160, 165, 172)),
        ("tip", (160, 165, 172)),
    ]
    assert scene.shapes[1].vertices[:, 2].min() == pytest.approx(0.0, abs=1e-6)
    poses = scene.link_poses({"turn": np.pi / 2, "slide": 0.5})
    np.testing.assert_allclose(poses["tip"][:3, 3], [1.5, 0, 0.1], atol=1e-9)
    np.testing.assert_allclose(poses["twin"][:3, 3], poses["arm"][:3, 3] - 0.5 * poses["arm"][:3, 0], atol=1e-9)


@pytest.mark.parametrize(("text", "message"), [("<robot", "is no XML"), ("<robot/>", "has no links")])
def test_what_is_no_description(text, message):
    with pytest.raises(ViewerError, match=message):
        UrdfScene(text)


def test_the_cells_robot_has_both_arms_where_the_kinematics_say():
    from pad_augment.kinematics import Robot, RobotProfile

    path = named_or_path("ur5e_pair", "config", "robots")
    robot, scene = Robot(RobotProfile.load(path)), robot_scene(path)
    assert len(scene.shapes) > 20
    poses = scene.link_poses(dict(zip(robot.joint_names, robot.home.ravel(), strict=True)))
    for arm, link in enumerate(("left_tcp", "right_tcp")):
        np.testing.assert_allclose(poses[link], robot.fk(arm, robot.home[arm]), atol=1e-6)


def test_it_serves_on_loopback_only_and_takes_the_next_free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1]
        viewer = Viewer(first)
        try:
            assert viewer.port > first and viewer.url == f"http://127.0.0.1:{viewer.port}"
            page = urllib.request.urlopen(viewer.url, timeout=30).read()
            assert b"<html" in page.lower()
            with pytest.raises(ViewerError, match="no robot"):
                viewer.set_joints({})
            viewer.add_robot(UrdfScene(URDF))
            viewer.set_joints({"turn": 1.0})
            points = np.array([[0, 0, 0.1], [0.1, 0, 0.1], [np.nan] * 3])
            viewer.set_keypoints(points, np.array([1, 2, 0]), ["a", "b", "b"])
            viewer.set_lines("path", np.zeros((0, 3)), (1, 2, 3))
            viewer.set_frame("gripper", np.eye(4))
            for value in (0, 255):
                viewer.set_image(np.full((8, 8, 3), value, np.uint8))
            viewer.set_text("**x**")
            assert not viewer.watched
        finally:
            viewer.close()


def test_a_race_in_the_page_server_costs_one_drawing_only():
    viewer = Viewer(8940)
    try:
        with viewer.at_once():
            raise RuntimeError("deque mutated during iteration")
        with pytest.raises(RuntimeError, match="something else"), viewer.at_once():
            raise RuntimeError("something else")
    finally:
        viewer.close()
