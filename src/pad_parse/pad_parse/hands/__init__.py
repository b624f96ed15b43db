"""Hands in images: estimators of 21 landmarks per hand, and who is who over time."""

from pad_parse.hands.estimator import (
    BONES,
    LANDMARK_COUNT,
    LANDMARK_NAMES,
    PALM,
    HandEstimator,
    HandObservation,
)
from pad_parse.hands.identity import HandIdentities
from pad_parse.hands.onnx import OnnxHandEstimator
from pad_parse.hands.recorded import RecordedHands

__all__ = [
    "BONES",
    "LANDMARK_COUNT",
    "LANDMARK_NAMES",
    "PALM",
    "HandEstimator",
    "HandIdentities",
    "HandObservation",
    "OnnxHandEstimator",
    "RecordedHands",
]
