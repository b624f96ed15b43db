"""Recordings of a run: the file is whole at any time, and the node writes what comes, as its own process."""

import os
import resource as limits
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from pad_bringup.errors import RecordingError
from pad_bringup.mcap_file import McapFile
from pad_bringup.mcap_repair import repair
from pad_bringup.message_schemas import MessageSchemas

STORE = get_typestore(Stores.ROS2_JAZZY)
KIND = "std_msgs/msg/Float64MultiArray"


def payload(value, count=100):
    """A Float64MultiArray of `count` values."""
    import numpy as np

    layout = STORE.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    return bytes(STORE.serialize_cdr(STORE.types[KIND](layout=layout, data=np.full(count, float(value))), KIND))


def read(path):
    with AnyReader([path], default_typestore=STORE) as reader:
        return [(c.topic, stamp, reader.deserialize(data, c.msgtype).data[0]) for c, stamp, data in reader.messages()]


def test_the_file_is_whole_after_every_flush(tmp_path):
    file = McapFile(tmp_path / "a.mcap", "test")
    text = MessageSchemas().text(KIND)
    expected = []
    for step in range(5):
        if step in (0, 2):
            file.add_topic(f"/t{step}", KIND, text, {})
        for k in range(3):
            topic = "/t0" if k < 2 or step < 2 else "/t2"
            stamp = 1000 * step + k
            file.add(topic, stamp, payload(stamp))
            expected.append((topic, stamp, float(stamp)))
        file.flush()
        assert read(tmp_path / "a.mcap") == expected
    assert file.counts == {"/t0": 12, "/t2": 3} and file.span == (0, 4002)
    file.close()
    assert read(tmp_path / "a.mcap") == expected


def test_what_cannot_be_flushed_leaves_the_rest_whole(tmp_path, monkeypatch):
    file = McapFile(tmp_path / "a.mcap", "test")
    file.add_topic("/t", KIND, "", {})
    file.add("/t", 1, payload(1))
    file.flush()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    file.add("/t", 2, payload(2))
    with pytest.raises(RecordingError, match="cannot grow: No space left on device; what it has is whole"):
        file.flush()
    assert file.counts == {"/t": 1}
    file.close()
    assert [stamp for _, stamp, _ in read(tmp_path / "a.mcap")] == [1]


def test_a_torn_end_is_repaired(tmp_path):
    file = McapFile(tmp_path / "a.mcap", "test")
    file.add_topic("/t", KIND, MessageSchemas().text(KIND), {"offered_qos_profiles": ""})
    sizes = []
    for stamp in range(3):
        file.add("/t", stamp, payload(stamp, 10_000 if stamp == 2 else 100))
        file.flush()
        sizes.append((tmp_path / "a.mcap").stat().st_size)
    file.close()
    torn = tmp_path / "torn.mcap"
    torn.write_bytes((tmp_path / "a.mcap").read_bytes()[: sizes[1] + 300])
    assert repair(torn, tmp_path / "b.mcap") == 2
    assert [stamp for _, stamp, _ in read(tmp_path / "b.mcap")] == [0, 1]
    (tmp_path / "none.mcap").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match="is no MCAP file"):
        repair(tmp_path / "none.mcap", tmp_path / "c.mcap")


def test_definitions_of_own_messages_are_whole():
    pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")
    text = MessageSchemas().text("pad_msgs/msg/KeypointArray")
    assert "MSG: pad_msgs/Keypoint" in text and "MSG: std_msgs/Header" in text
    assert MessageSchemas().text("no_such_package/msg/Thing") == ""


def start(out, domain, *words):
    command = [sys.executable, "-m", "pad_bringup.nodes.recorder", "--ros-args"]
    for word in (f"out:={out}", "topics:=[/numbers,/latched]", *words):
        command += ["-p", word]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def talker():
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from std_msgs.msg import Float64MultiArray

    from pad_bringup.domain import private_domain
    from pad_bringup.session import Session
    from pad_parse import qos

    with private_domain() as domain, Session("talker", {"ROS_DOMAIN_ID": str(domain)}) as session:
        numbers = session.node.create_publisher(Float64MultiArray, "/numbers", qos.STATUS)
        latched = session.node.create_publisher(Float64MultiArray, "/latched", qos.LATCHED)
        latched.publish(Float64MultiArray(data=[7.0]))

        def talk(process, count=None, size=1):
            """Publish until `count` are sent or the process has ended; returns what was sent."""
            sent, deadline = 0, time.monotonic() + 30
            while numbers.get_subscription_count() == 0 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            while process.poll() is None and time.monotonic() < deadline and (count is None or sent < count):
                numbers.publish(Float64MultiArray(data=[float(sent)] * size))
                sent += 1
                time.sleep(0.005)
            return sent

        yield domain, talk


def test_the_node_records_and_replays_latched_messages(talker, tmp_path):
    domain, talk = talker
    process = start(tmp_path / "bag", domain)
    talk(process, 50)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    messages = read(tmp_path / "bag")
    values = [value for topic, _, value in messages if topic == "/numbers"]
    assert values == [float(k) for k in range(50)]
    assert [value for topic, _, value in messages if topic == "/latched"] == [7.0]
    assert "recorded 51 messages of 2 topics" in said


def test_a_killed_node_leaves_what_it_had_written(talker, tmp_path):
    domain, talk = talker
    process = start(tmp_path / "bag", domain)
    talk(process, 100)
    time.sleep(1.2)
    process.kill()
    process.communicate(timeout=60)
    assert len(read(tmp_path / "bag")) == 101


@pytest.mark.parametrize(
    ("words", "size", "message"),
    [(("reserve:=1.0e9",), None, "is full"), ((), 3_000_000, "cannot grow: File too large")],
)
def test_a_full_disk_is_one_clear_error(talker, tmp_path, words, size, message):
    domain, talk = talker
    process = start(tmp_path / "bag", domain, *words)
    talk(process, 20, size=1000)
    if size is not None:
        limits.prlimit(process.pid, limits.RLIMIT_FSIZE, (size, size))  # not earlier: shared memory counts too
    talk(process, size=1000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in said and "is whole" in said and "Traceback" not in said
    if size is not None:
        assert len(read(next(Path(tmp_path / "bag").glob("*.mcap")))) > 10
