"""Follow points and rigid objects through a stream of images."""

from pad_parse.tracking.object_tracker import KeypointFrame, ObjectTracker
from pad_parse.tracking.point_tracker import PointTracker, TrackResult

__all__ = ["KeypointFrame", "ObjectTracker", "PointTracker", "TrackResult"]
