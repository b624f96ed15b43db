"""A recording played to the live trackers: what they say about it, image by image."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from pad_bringup import names
from pad_bringup.domain import private_domain
from pad_bringup.process import ManagedProcess, stop_all
from pad_bringup.session import Session
from pad_msgs.msg import HandArray, KeypointArray
from pad_msgs.srv import LocaliseKeypoints
from pad_parse import qos


def stamp_of(message):
    return message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec


def play_live(bag: Path, demonstration: Path, calibration: Path, folder: Path, rate: float):
    """Keypoints {stamp: (N, 3)} and landmarks {stamp: {side: (21, 3)}} of every image of `bag`, as published."""
    keypoints, hands = {}, {}

    def on_keypoints(message: KeypointArray) -> None:
        keypoints[stamp_of(message)] = np.array([[k.position.x, k.position.y, k.position.z] for k in message.keypoints])

    def on_hands(message: HandArray) -> None:
        hands[stamp_of(message)] = {h.side: np.array([[p.x, p.y, p.z] for p in h.landmarks]) for h in message.hands}

    common = ["-p", "use_sim_time:=true", "-p", f"calibration:={calibration}"]
    commands = {
        names.KEYPOINT_TRACKER: ["pad_parse.nodes.keypoint_tracker", *common, "-p", f"reference:={demonstration}"],
        names.HAND_TRACKER: ["pad_parse.nodes.hand_tracker", *common],
        names.REPLAY: ["pad_bringup.nodes.replay", "-p", f"bag:={bag}", "-p", f"rate:={rate}"],
    }
    with private_domain() as domain, Session("listener", {"ROS_DOMAIN_ID": str(domain)}) as session:
        node, processes = session.node, {}
        node.create_subscription(KeypointArray, names.KEYPOINTS, on_keypoints, qos.STATUS)
        node.create_subscription(HandArray, names.HANDS, on_hands, qos.STATUS)
        client = node.create_client(LocaliseKeypoints, names.LOCALISE_KEYPOINTS)
        try:
            for name, (module, *parameters) in commands.items():
                command = [sys.executable, "-m", module, "--ros-args", *parameters]
                processes[name] = ManagedProcess(name, command, folder / f"{name}.log", dict(os.environ))
                if name == names.HAND_TRACKER:
                    until(lambda: client.service_is_ready() and node.count_publishers(names.HANDS), 60.0)
            answer = session.call(client, LocaliseKeypoints.Request(), 30.0, AssertionError)
            assert answer.success, answer.message
            until(lambda: processes[names.REPLAY].returncode() is not None, 120.0)
            time.sleep(1.0)
            assert processes[names.REPLAY].returncode() == 0
            assert processes[names.KEYPOINT_TRACKER].returncode() is None
        finally:
            stop_all(list(processes.values()))
    return keypoints, hands


def until(there, seconds):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.05)
