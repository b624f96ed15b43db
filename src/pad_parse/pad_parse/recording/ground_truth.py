"""The ground-truth topics of a recording made in simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_parse.errors import PadParseError, RecordingError
from pad_parse.recording.bag_source import BagSource, one_line
from pad_parse.recording.images import stamp_seconds
from pad_parse.recording.recording import GroundTruth
from pad_parse.ros_transforms import pose_matrix

_KEYPOINTS = "/ground_truth/keypoints"
_OBJECTS = "/ground_truth/objects"
_HANDS = "/ground_truth/hands"
_TOPICS = {_KEYPOINTS, _OBJECTS, _HANDS}


def read_truth(path: Path, source: BagSource) -> GroundTruth | None:
    """The `/ground_truth/*` topics; None where there are none. `path` is named in errors.

    Raises:
        RecordingError: they are there but cannot be read.
    """
    topics = _TOPICS & set(source.types)
    if not topics:
        return None
    points: list[tuple[float, dict[str, list[float]]]] = []
    objects: list[tuple[float, dict[str, NDArray[np.float64]]]] = []
    hands: list[tuple[float, dict[int, tuple[NDArray[np.float64], float, NDArray[np.float64]]]]] = []
    try:
        for topic, message in source.messages(topics):
            stamp = stamp_seconds(message.header)
            if topic == _KEYPOINTS:
                points.append((stamp, {k.name: [k.position.x, k.position.y, k.position.z] for k in message.keypoints}))
            elif topic == _OBJECTS:
                objects.append((stamp, {item.name: _pose(item.pose) for item in message.poses}))
            else:
                hands.append(
                    (
                        stamp,
                        {
                            int(h.side): (
                                _pose(h.gripper_pose),
                                float(h.opening),
                                np.array([[p.x, p.y, p.z] for p in h.landmarks]).reshape(-1, 3),
                            )
                            for h in message.hands
                        },
                    )
                )
    except (AttributeError, PadParseError, TypeError, ValueError) as error:
        raise RecordingError(f"recording {path}: the ground-truth topics cannot be read: {one_line(error)}") from error
    names = list(points[0][1]) if points else []
    missing = [np.nan] * 3
    keypoints = np.array([[p.get(name, missing) for name in names] for _, p in points]).reshape(
        len(points), len(names), 3
    )
    object_names = sorted({name for _, poses in objects for name in poses})
    nothing = np.full((4, 4), np.nan)
    grippers = np.full((len(hands), 2, 4, 4), np.nan)
    openings = np.full((len(hands), 2), np.nan)
    landmarks = np.full((len(hands), 2, 21, 3), np.nan)
    for i, (_, sides) in enumerate(hands):
        for side, (pose, opening, marks) in sides.items():
            if side in (0, 1):
                grippers[i, side], openings[i, side] = pose, opening
                if marks.shape == (21, 3):
                    landmarks[i, side] = marks
    return GroundTruth(
        keypoint_names=names,
        keypoint_stamps=np.array([stamp for stamp, _ in points]),
        keypoints=keypoints,
        object_stamps=np.array([stamp for stamp, _ in objects]),
        object_poses={
            name: np.array([poses.get(name, nothing) for _, poses in objects]).reshape(-1, 4, 4)
            for name in object_names
        },
        hand_stamps=np.array([stamp for stamp, _ in hands]),
        gripper_poses=grippers,
        gripper_openings=openings,
        landmarks=landmarks,
    )


def _pose(pose: Any) -> NDArray[np.float64]:
    return pose_matrix(pose.position, pose.orientation)
