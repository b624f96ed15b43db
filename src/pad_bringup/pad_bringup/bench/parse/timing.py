"""Time: the tracker alone, and camera stamp -> /pad/keypoints through both live nodes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.errors import BenchError
from pad_bringup.recordings import synthetic_recording
from pad_parse.camera import Camera
from pad_parse.demonstration import Demonstration, KeypointState, Reference
from pad_parse.recording import open_recording
from pad_parse.recording.recording import Frame
from pad_parse.task import TaskSpec
from pad_parse.tracking import ObjectTracker

KEYS = ("tracker_p95_ms", "camera_to_keypoints_p50_ms", "camera_to_keypoints_p95_ms", "frames_lost")

_POINTS = 32
_RATE = 30.0  # Hz
_SETTLE = 20  # frames before the clock counts
_PATIENCE = 60.0  # s for a node to come up


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """Tracker: wall time of `ObjectTracker.step` for 32 keypoints at 640 x 480 over the synthetic recording.

    Nodes: the recording is published at 30 Hz over reliable transport to keypoint_tracker and hand_tracker, each a
    process; a stamp is the time at which its image is handed to the middleware, and the latency ends when the keypoints
    of that stamp are received. A frame whose keypoints do not come within 1 s of the end is lost.
    """
    path, _ = synthetic_recording("pour", settings.seed)
    recording = open_recording(path)
    count = 90 if settings.quick else recording.frame_count
    frames = list(islice(recording.frames(), count))
    spec = recording.annotation
    if spec is None or recording.camera.transform_camera_to_task is None:
        raise BenchError(f"{path} has no annotation or camera pose; record it anew")
    first, camera = frames[0], recording.camera
    assert first.depth is not None
    pixels = np.array([keypoint.pixel for keypoint in spec.keypoints], dtype=np.float64)
    tracker = ObjectTracker(camera, spec.keypoint_objects)
    started = tracker.start(first.rgb, first.depth, keypoints_px=pixels, stamp=first.stamp)
    figures: dict[str, float | None] = {"tracker_p95_ms": _tracker_time(frames, started.points_in_task, spec, camera)}
    say(f"tracker p95 {figures['tracker_p95_ms']:.1f} ms for {_POINTS} points")
    reference = Reference(first.rgb, first.depth, camera, pixels, started.points_in_task)
    folder = settings.work / "timing"
    folder.mkdir()
    _demonstration(spec, reference, started.points_in_task, started.object_poses).save(folder / "pour.demo.h5")
    camera.save(folder / "camera.yaml")
    latency, lost = _live(frames, folder, 1 if settings.quick else 3, say)
    figures |= {
        "camera_to_keypoints_p50_ms": float(np.percentile(latency, 50)),
        "camera_to_keypoints_p95_ms": float(np.percentile(latency, 95)),
        "frames_lost": float(lost),
    }
    return figures


def _tracker_time(frames: list[Frame], points: NDArray[np.float64], spec: TaskSpec, camera: Camera) -> float:
    """95th percentile of a step, ms, with the keypoints doubled up to 32 (each copy beside its original)."""
    rng = np.random.default_rng(0)
    owners, copies = list(spec.keypoint_objects), [points]
    while sum(map(len, copies)) < _POINTS:
        copies.append(points + rng.normal(0.0, 0.002, points.shape))
        owners += spec.keypoint_objects
    tracker = ObjectTracker(camera, owners[:_POINTS])
    tracker.start(frames[0].rgb, frames[0].depth, points_in_task=np.concatenate(copies)[:_POINTS])
    spent = []
    for frame in frames[1:]:
        began = time.perf_counter()
        tracker.step(frame.rgb, frame.depth, frame.stamp)
        spent.append(time.perf_counter() - began)
    return 1e3 * float(np.percentile(spent, 95))


def _demonstration(
    spec: TaskSpec, reference: Reference, points: NDArray[np.float64], poses: dict[str, NDArray[np.float64]]
) -> Demonstration:
    """The least that keypoint_tracker needs: a reference frame and where the objects were in it."""
    count = len(points)
    return Demonstration(
        stamps=np.array([0.0, 1.0 / _RATE]),
        keypoints=np.stack([points, points]),
        keypoint_states=np.full((2, count), KeypointState.VISIBLE),
        keypoint_names=spec.keypoint_names,
        keypoint_groups=spec.keypoint_groups,
        keypoint_objects=spec.keypoint_objects,
        gripper_poses=np.tile(np.eye(4), (2, 2, 1, 1)),
        gripper_openings=np.zeros((2, 2)),
        gripper_closed=np.zeros((2, 2), bool),
        gripper_states=np.ones((2, 2)),
        object_poses={name: np.stack([pose, pose]) for name, pose in poses.items()},
        landmarks=np.full((2, 2, 21, 3), np.nan),
        task=spec,
        reference=reference,
    )


def _live(frames: list[Frame], folder: Path, passes: int, say: Say) -> tuple[NDArray[np.float64], int]:
    """Latency (n,) ms of every answered frame, and how many were not answered."""
    from pad_bringup.domain import private_domain
    from pad_bringup.live_camera import LiveCamera, wire_frames
    from pad_bringup.session import Session
    from pad_msgs.msg import KeypointArray
    from pad_msgs.srv import LocaliseKeypoints
    from pad_parse import qos

    camera = Camera.load(folder / "camera.yaml")
    wired = wire_frames(frames)
    arrived: dict[int, int] = {}

    def on_keypoints(message: KeypointArray) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        arrived.setdefault(stamp, time.time_ns())

    sent: list[int] = []
    with private_domain() as domain, Session("bench", {"ROS_DOMAIN_ID": str(domain)}) as session:
        node = session.node
        live = LiveCamera(node, camera)
        node.create_subscription(KeypointArray, names.KEYPOINTS, on_keypoints, qos.LATEST)
        client = node.create_client(LocaliseKeypoints, names.LOCALISE_KEYPOINTS)
        with _nodes(folder, {"ROS_DOMAIN_ID": str(domain)}):
            _until(lambda: client.service_is_ready() and _matched(node), "keypoint_tracker and hand_tracker")
            for _ in range(passes):
                future = client.call_async(LocaliseKeypoints.Request())
                deadline, due = time.monotonic() + _PATIENCE, time.monotonic()
                while not future.done() and time.monotonic() < deadline:
                    due = _at(due)
                    live.send(wired[0])
                answer = future.result()
                if answer is None or not answer.success:
                    raise BenchError(f"localisation failed: {'no answer' if answer is None else answer.message}")
                for k, frame in enumerate([wired[0]] * _SETTLE + wired):
                    due = _at(due)
                    stamp = live.send(frame)
                    if k >= _SETTLE:
                        sent.append(stamp)
            time.sleep(1.0)
    latency = np.array([(arrived[stamp] - stamp) * 1e-6 for stamp in sent if stamp in arrived])
    if not len(latency):
        raise BenchError("keypoint_tracker answered no frame; see its log")
    lost = len(sent) - len(latency)
    say(f"{len(sent)} frames at {_RATE:g} Hz: {lost} lost, p50 {np.percentile(latency, 50):.1f} ms")
    return latency, lost


def _matched(node: Any) -> bool:
    return node.count_subscribers(names.COLOR_IMAGE) >= 2 and node.count_subscribers(names.ALIGNED_DEPTH_IMAGE) >= 2


def _at(due: float) -> float:
    """Wait for the time `due` (monotonic, s); returns the next one. Falls behind rather than bunch frames up."""
    wait = due - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    return max(due, time.monotonic() - 1.0 / _RATE) + 1.0 / _RATE


def _until(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not there():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} did not come up within {_PATIENCE:.0f} s")
        time.sleep(0.1)


@contextmanager
def _nodes(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    from pad_bringup.process import ManagedProcess, stop_all

    calibration = ["-p", f"calibration:={folder / 'camera.yaml'}"]
    commands = {
        names.KEYPOINT_TRACKER: [*calibration, "-p", f"reference:={folder / 'pour.demo.h5'}"],
        names.HAND_TRACKER: calibration,
    }
    processes = []
    try:
        for name, parameters in commands.items():
            command = [sys.executable, "-m", f"pad_parse.nodes.{name}", "--ros-args", *parameters]
            log = folder / f"{name}.log"
            processes.append(ManagedProcess(name, command, log, {**os.environ, **environment}))
        yield
        for process in processes:
            if process.returncode() is not None:
                raise BenchError(f"{process.name} ended by itself: {' '.join(process.last_lines())}")
    finally:
        stop_all(processes)
