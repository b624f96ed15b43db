"""`/pad/generate_trajectory` through the real node: from the request to the whole answer at the client."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_augment.sampling import SceneSampler
from pad_bringup import names
from pad_bringup.bench.augment.source import demonstration, profile_path
from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_bringup.errors import BenchError
from pad_parse import geometry

KEYS = ("trajectory_p95_ms",)

_SCENES = 50
_WARM_UP = 3
"""Requests before the clock counts: caches fill, and discovery settles."""
_PATIENCE = 60.0  # s for the node to come up, and for an answer
_DISTANCE = 0.12  # m between two objects, as in generation


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """95th percentile of the wall time of a call, ms, over random scenes of the task; refused scenes count as well."""
    try:
        import rclpy  # noqa: F401

        from pad_msgs.srv import GenerateTrajectory
    except ImportError as error:
        say(f"not measured: {error}; build and source the workspace")
        return dict.fromkeys(KEYS)
    from pad_bringup.domain import private_domain
    from pad_bringup.session import Session

    folder = settings.work / "service"
    folder.mkdir()
    source = demonstration()
    source.save(folder / "pour.demo.h5")
    scenes = SceneSampler(source.task, settings.seed, _DISTANCE)
    count = 5 if settings.quick else _SCENES
    spent, codes = [], Counter[str]()
    with private_domain() as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        with Session("bench", environment) as session, _server(folder, environment):
            client = session.node.create_client(GenerateTrajectory, names.GENERATE_TRAJECTORY)
            for index in range(-_WARM_UP, count):
                request = GenerateTrajectory.Request(objects=_objects(scenes(index % _SCENES)), seed=settings.seed)
                began = time.perf_counter()
                answer = session.call(client, request, _PATIENCE, BenchError)
                if index >= 0:
                    spent.append(1e3 * (time.perf_counter() - began))
                    codes[answer.error_message.partition(":")[0] or "planned"] += 1
    said = ", ".join(f"{cause} {times}" for cause, times in codes.most_common())
    say(f"{count} requests: median {np.median(spent):.0f} ms, longest {max(spent):.0f} ms ({said})")
    return {"trajectory_p95_ms": float(np.percentile(spent, 95))}


def _objects(scene: Mapping[str, NDArray[np.float64]]) -> list[Any]:
    from geometry_msgs.msg import Point, Pose, Quaternion

    from pad_msgs.msg import ObjectPose

    out = []
    for name, pose in scene.items():
        x, y, z = pose[:3, 3].tolist()
        qx, qy, qz, qw = geometry.quaternion_xyzw(pose).tolist()
        pose_message = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        out.append(ObjectPose(name=name, pose=pose_message))
    return out


@contextmanager
def _server(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    from pad_bringup.process import ManagedProcess, stop_all

    parameters = (f"demonstration:={folder / 'pour.demo.h5'}", f"robot:={profile_path()}")
    command = [sys.executable, "-m", "pad_augment.nodes.tamp_server", "--ros-args"]
    command += [part for parameter in parameters for part in ("-p", parameter)]
    process = ManagedProcess(names.TAMP_SERVER, command, folder / "tamp_server.log", {**os.environ, **environment})
    try:
        yield
        if process.returncode() is not None:
            raise BenchError(f"{process.name} ended by itself: {' '.join(process.last_lines())}")
    finally:
        stop_all([process])
