"""Recordings of two hands at work: rosbag2 bags and video files, read as a stream of RGB-D frames."""

from pad_parse.recording.opening import open_recording
from pad_parse.recording.recording import Frame, GroundTruth, Recording

__all__ = ["Frame", "GroundTruth", "Recording", "open_recording"]
