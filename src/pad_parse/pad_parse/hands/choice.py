"""Which hand estimator, by name: `onnx`, or `recorded` with a topic or a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pad_parse.errors import HandError
from pad_parse.hands.estimator import LANDMARK_COUNT, HandEstimator
from pad_parse.hands.onnx import OnnxHandEstimator
from pad_parse.hands.recorded import RecordedHands
from pad_parse.recording import Recording
from pad_parse.recording.bag import BagRecording
from pad_parse.recording.bag_source import reading
from pad_parse.recording.images import stamp_seconds

CHOICES = (
    "onnx (hand model on the images)",
    "recorded (topic /pad/hands of the recording)",
    "recorded:/TOPIC (another topic with pad_msgs/HandArray)",
    "recorded:FILE.npz (hands saved by RecordedHands.save)",
)
DEFAULT_TOPIC = "/pad/hands"
_KIND = "pad_msgs/msg/HandArray"


def choose_estimator(choice: str, recording: Recording) -> HandEstimator:
    """The estimator that `choice` names, for one recording; see CHOICES.

    Raises:
        HandError: unknown name, or the topic or file is not there or holds no hands.
    """
    name, _, source = choice.partition(":")
    if choice == "onnx":
        return OnnxHandEstimator()
    if name != "recorded":
        raise HandError(f"there are no hands {choice!r}; choose one of: {'; '.join(CHOICES)}")
    if source and not source.startswith("/"):
        return RecordedHands.load(source)
    if source.endswith(".npz") and Path(source).is_file():
        return RecordedHands.load(source)
    return _from_topic(recording, source or DEFAULT_TOPIC)


def _from_topic(recording: Recording, topic: str) -> RecordedHands:
    if not isinstance(recording, BagRecording):
        raise HandError(f"{recording.path} is no rosbag2, so it has no topic {topic}; choose: {'; '.join(CHOICES)}")
    types = recording.source.types
    if types.get(topic) != _KIND:
        known = sorted(t for t, kind in types.items() if kind == _KIND)
        raise HandError(
            f"{recording.path} has no topic {topic} with {_KIND}; topics with hands: {', '.join(known) or 'none'}"
        )
    stamps: list[float] = []
    landmarks: list[np.ndarray] = []
    with reading(recording.path):
        for _, message in recording.source.messages([topic]):
            both = np.full((2, LANDMARK_COUNT, 3), np.nan)
            for hand in message.hands:
                if hand.side in (0, 1) and len(hand.landmarks) == LANDMARK_COUNT:
                    both[hand.side] = [[p.x, p.y, p.z] for p in hand.landmarks]
            stamps.append(stamp_seconds(message.header))
            landmarks.append(both)
    if not stamps:
        raise HandError(f"topic {topic} of {recording.path} holds no message")
    order, first = np.unique(stamps, return_index=True)
    return RecordedHands.from_landmarks(order, np.array(landmarks)[first], recording.camera)
