"""The RViz configurations name what the nodes publish."""

import yaml

from pad_bringup import names
from pad_bringup.resources import share_directory

KNOWN = {names.MARKERS, names.COLOR_IMAGE, "/robot_description"}


def test_every_display_has_a_known_topic():
    files = sorted((share_directory() / "rviz").glob("*.rviz"))
    assert files
    for path in files:
        manager = yaml.safe_load(path.read_text())["Visualization Manager"]
        assert manager["Global Options"]["Fixed Frame"] == names.TASK_FRAME
        for display in manager["Displays"]:
            topic = display.get("Topic") or display.get("Description Topic")
            assert topic is None or topic["Value"] in KNOWN, display["Name"]
