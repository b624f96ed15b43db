"""The replay node plays a bag's camera in its own time, as its own process."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_bringup.session import Session
from pad_parse import qos

START = 1_700_000_000_000_000_000  # ns


@pytest.fixture
def bag(tmp_path):
    """Five 4 x 2 images at 20 Hz."""
    store = get_typestore(Stores.ROS2_JAZZY)
    message, header, stamp = (
        store.types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(names.COLOR_IMAGE, message.__msgtype__, typestore=store)
        for k in range(5):
            when = START + k * 50_000_000
            image = message(
                header=header(stamp=stamp(*divmod(when, 1_000_000_000)), frame_id="camera"),
                height=2,
                width=4,
                encoding="rgb8",
                is_bigendian=0,
                step=12,
                data=np.full(24, k, np.uint8),
            )
            writer.write(connection, when, store.serialize_cdr(image, message.__msgtype__))
    return path


def command(*parameters):
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return [sys.executable, "-m", "pad_bringup.nodes.replay", "--ros-args", *words]


def test_images_come_in_time_with_the_clock(bag):
    with private_domain() as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        images, clocks = [], []
        with Session("listener", environment) as session:
            node = session.node
            node.create_subscription(
                Image, names.COLOR_IMAGE, lambda m: images.append((time.monotonic(), m)), qos.CAMERA
            )
            node.create_subscription(Clock, names.CLOCK, lambda m: clocks.append(m.clock), 100)
            words = command(f"bag:={bag}", f"topics:=[{names.COLOR_IMAGE}]", "loop:=true", "rate:=0.5")
            player = subprocess.Popen(words, env={**os.environ, **environment}, stderr=subprocess.PIPE)
            deadline = time.monotonic() + 60
            while len(images) < 8 and time.monotonic() < deadline:
                time.sleep(0.05)
            player.terminate()
            _, said = player.communicate(timeout=30)
        assert len(images) >= 8 and b"Traceback" not in said, said
        values = [int(message.data[0]) for _, message in images[:8]]
        assert all((b - a) % 5 == 1 for a, b in zip(values[:-1], values[1:], strict=True))
        # half speed: at least the 0.1 s of two images that follow each other in the bag
        gaps = [b[0] - a[0] for a, b in zip(images[:-1], images[1:], strict=True) if b[1].data[0] > a[1].data[0]]
        assert np.median(gaps) == pytest.approx(0.1, abs=0.05)
        assert len(clocks) > 20 and clocks[-1].sec == START // 1_000_000_000


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((), "no bag is named"),
        (("bag:=/nowhere",), "bag /nowhere does not exist"),
        (("bag:={bag}", "topics:=[/other]"), "has no topic /other; it has: /camera/color/image_raw"),
    ],
)
def test_what_cannot_be_played(parameters, message, bag, capfd, monkeypatch):
    from pad_bringup.nodes import replay

    words = command(*(parameter.format(bag=bag) for parameter in parameters))
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    assert replay.run(words[3:]) == 2
    assert message in capfd.readouterr().err


def test_a_truncated_bag_is_one_clear_line(bag, capfd, monkeypatch):
    from pad_bringup.nodes import replay

    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:200])
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    assert replay.run(["--ros-args", "-p", f"bag:={bag}"]) == 2
    assert "the bag is damaged" in capfd.readouterr().err
