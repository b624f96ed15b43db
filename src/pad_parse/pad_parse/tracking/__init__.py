"""Follow points and rigid objects through a stream of images."""

from pad_parse.tracking.make import POINT_TRACKERS, make_point_tracker
from pad_parse.tracking.object_tracker import KeypointFrame, ObjectTracker
from pad_parse.tracking.point_tracker import PointTracker, TrackResult

__all__ = ["POINT_TRACKERS", "KeypointFrame", "ObjectTracker", "PointTracker", "TrackResult", "make_point_tracker"]
