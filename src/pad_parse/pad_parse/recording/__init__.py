"""Recordings of two hands at work: rosbag2 bags, RGB-D folders and video files, read as a stream of frames."""

from pad_parse.recording.opening import open_recording
from pad_parse.recording.pairing import PAIRING_TOLERANCE
from pad_parse.recording.recording import Frame, GroundTruth, Recording
from pad_parse.recording.report import Gap, RecordingReport

__all__ = ["PAIRING_TOLERANCE", "Frame", "Gap", "GroundTruth", "Recording", "RecordingReport", "open_recording"]
