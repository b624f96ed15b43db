"""The benchmark of faults: its relay does the harm that it is told to, and no other; a hold is timed by its cause."""

import math
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("pad_msgs.msg", reason="needs the built workspace (pad_msgs)")

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pad_bringup import names
from pad_bringup.bench.faults import injections, relay
from pad_bringup.bench.graph.safety_log import SafetyLog, SafetyWord
from pad_bringup.bench.graph.traffic import Passage
from pad_bringup.domain import private_domain
from pad_bringup.errors import BenchError
from pad_bringup.session import Session
from pad_parse import qos


@given(
    nanoseconds=st.integers(20_000_000_000, 2**31 * 10**9 - 20_000_000_001),
    offset=st.integers(-10_000, 10_000).map(lambda ms: 1e-3 * ms),
)
def test_only_the_stamp_is_shifted(nanoseconds: int, offset: float) -> None:
    message = JointState(name=["a"], position=[1.5])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
    shifted = deserialize_message(relay._shifted(serialize_message(message), offset), JointState)
    stamp = shifted.header.stamp.sec * 10**9 + shifted.header.stamp.nanosec
    assert stamp == nanoseconds + round(offset * 1e9)
    shifted.header.stamp = message.header.stamp
    assert shifted == message


def test_only_the_box_is_painted() -> None:
    pixels = np.arange(1, 6 * 8 + 1, dtype=np.uint16).reshape(6, 8)
    message = Image(width=8, height=6, encoding="16UC1", step=16, data=pixels.tobytes())
    message.header.frame_id = "camera"
    painted = deserialize_message(relay._painted(serialize_message(message), (2, 1, 5, 4)), Image)
    expected = pixels.copy()
    expected[1:4, 2:5] = 0
    np.testing.assert_array_equal(np.array(painted.data, np.uint8).view(np.uint16).reshape(6, 8), expected)
    assert not any(deserialize_message(relay._painted(serialize_message(message), None), Image).data)
    assert painted.header == message.header and painted.encoding == message.encoding


def test_the_relay_passes_chunks_on_and_spoils_them_on_demand() -> None:
    got: list[JointTrajectory] = []
    good = JointTrajectory(joint_names=["a", "b", "c", "d"])
    good.points = [JointTrajectoryPoint(positions=[0.1 * k] * 4) for k in range(3)]
    with private_domain() as domain, Session("tester", {"ROS_DOMAIN_ID": str(domain)}) as session:
        process = subprocess.Popen([sys.executable, "-m", relay.__name__])
        try:
            send = session.node.create_publisher(JointTrajectory, relay.UPSTREAM + names.JOINT_CHUNK, qos.LATEST)
            session.node.create_subscription(JointTrajectory, names.JOINT_CHUNK, got.append, qos.LATEST)
            client = session.node.create_client(SetParameters, f"/{relay.NAME}/set_parameters")

            def through(fault: str) -> JointTrajectory:
                request = SetParameters.Request(parameters=[Parameter("fault", value=fault).to_parameter_msg()])
                assert session.call(client, request, 30.0, BenchError).results[0].successful
                number = good.header.stamp.sec = good.header.stamp.sec + 1  # what is still on its way has a lower one
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    send.publish(good)
                    time.sleep(0.05)
                    for message in list(got):
                        if message.header.stamp.sec == number:
                            return message
                raise AssertionError("nothing came through")

            assert through(relay.NO_FAULT) == good
            assert math.isnan(through(relay.NAN_CHUNK).points[1].positions[3])
            assert "panda_joint1" in through(relay.WRONG_ROBOT).joint_names
            request = SetParameters.Request(parameters=[Parameter("fault", value="fire").to_parameter_msg()])
            refused = session.call(client, request, 30.0, BenchError).results[0]
            assert not refused.successful and "nan_chunk" in refused.reason
        finally:
            process.kill()
            process.wait()


def _stamped(stamp: float, left: float) -> Passage:
    return Passage(left, 1, b"\0\1\0\0" + struct.pack("<iI", int(stamp), round(1e9 * (stamp - int(stamp)))))


def test_a_hold_is_late_by_its_own_cause() -> None:
    log = SafetyLog()
    for k in range(2000):  # the cell's clock is 100 s behind this machine's
        log.clock.take(_stamped(0.01 * k, 100 + 0.01 * k))
    log.keypoints = [(2.0, 102.05), (3.0, 103.05)]
    log.joint_states = [(5.0, 105.0)]
    log.chunks = [(6.0, 104.0), (9.0, 107.0)]  # when the last point is due, when it left
    log.known = {"cup_rim": 4.0}
    world = SimpleNamespace(log=log)

    def known(cause: str, chunks_until: float = 110.0) -> float:
        return injections._known_by(world, SafetyWord(110.0, 10.0, 2, cause, 0), chunks_until)

    assert known("no keypoints for 0.50 s") == pytest.approx(103.5)
    assert known("no joint states for 0.20 s") == pytest.approx(105.2)
    assert known("no new chunk for 0.60 s after the end of the last") == pytest.approx(109.6)
    assert known("no new chunk for 0.60 s after the end of the last", 105.0) == pytest.approx(106.6)
    assert known("keypoint group cup_rim has been lost for 2.0 s") == pytest.approx(106.0)
    with pytest.raises(BenchError, match="another reason"):
        known("waiting for a chunk")


def test_what_is_missing_in_a_recording_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {topic: [bytes([k]) for k in range(20)] for topic in injections.RECORDED}
    kept = {topic: [b"early", *messages[2:15]] for topic, messages in sent.items()}
    monkeypatch.setattr(injections, "_recorded", lambda bag: kept)
    world = SimpleNamespace(bag=None, sent=sent)
    whole = dict.fromkeys(injections.RECORDED, 0)
    assert injections.lost_of(world, whole) == ""
    del kept[injections.RECORDED[0]][5]
    assert injections.lost_of(world, whole) == f"1 of 12 of {injections.RECORDED[0]}"
    assert injections.lost_of(world, {**whole, injections.RECORDED[0]: 10}) == ""
