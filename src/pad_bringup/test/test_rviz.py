"""The RViz configurations name what the graph has: topics of the right type, frames of the description."""

import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from pad_augment.description import urdf_text
from pad_bringup import names
from pad_bringup.graph import Use
from pad_bringup.graph_arguments import arguments
from pad_bringup.resources import resource, share_directory

IMAGE, MARKERS = "sensor_msgs/msg/Image", "visualization_msgs/msg/MarkerArray"
# Display class -> key of each topic that it subscribes to -> message type.
TOPICS = {
    "rviz_default_plugins/RobotModel": {"Description Topic": "std_msgs/msg/String"},
    "rviz_default_plugins/MarkerArray": {"Topic": MARKERS},
    "rviz_default_plugins/Image": {"Topic": IMAGE},
    "rviz_default_plugins/DepthCloud": {"Color Image Topic": IMAGE, "Depth Map Topic": IMAGE},
    "moveit_rviz_plugin/Trajectory": {"Trajectory Topic": "moveit_msgs/msg/DisplayTrajectory"},
    "rviz_default_plugins/TF": {},
    "rviz_default_plugins/Grid": {},
    "rviz_default_plugins/Axes": {},
}
FILES = sorted((share_directory() / "rviz").glob("*.rviz"))
VIEWS = next(argument.choices for argument in arguments(None, Use.RVIZ) if argument.name == "view")


def manager(path):
    return yaml.safe_load(path.read_text())["Visualization Manager"]


def test_there_is_one_per_view():
    assert sorted(path.stem for path in FILES) == sorted(VIEWS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_topic_exists_with_the_displays_type(path):
    for display in manager(path)["Displays"]:
        wanted = TOPICS[display["Class"]]
        for key, kind in wanted.items():
            topic = display[key]["Value"] if isinstance(display[key], dict) else display[key]
            assert names.TOPIC_TYPES.get(topic) == kind, (display["Name"], topic)
        assert {key for key in display if key.endswith("Topic")} == set(wanted), display["Name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_frame_is_a_link(path):
    root = ElementTree.fromstring(urdf_text(resource("description", "ur5e_pair.urdf.xacro")))
    links = {link.get("name") for link in root.findall("link")}
    content = manager(path)
    frames = {content["Global Options"]["Fixed Frame"], content["Views"]["Current"]["Target Frame"]}
    for display in content["Displays"]:
        frames |= set(display.get("Frames", {})) - {"All Enabled"}
        frames |= {display["Reference Frame"]} if "Reference Frame" in display else set()
    assert frames <= links and len(frames) > 1
