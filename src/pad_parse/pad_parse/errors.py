"""Typed errors of pad_parse: every message says what was wrong, where, and what to do."""

from __future__ import annotations


class PadParseError(Exception):
    """Base of every error that pad_parse raises on purpose."""


class GeometryError(PadParseError, ValueError):
    """An array cannot be used as the geometric object it is given for."""


class CameraError(PadParseError):
    """A camera model or its calibration file is missing or not usable."""


class TaskError(PadParseError):
    """A task name is unknown, or its specification is not valid."""


class DemonstrationError(PadParseError):
    """A demonstration, or its file, is not valid."""


class RecordingError(PadParseError):
    """A recording is missing, truncated, corrupt, or holds the wrong kind of data."""


class TrackingError(PadParseError):
    """A tracker was given something that it cannot track."""


class LocalisationError(PadParseError):
    """The keypoints could not be found in the new scene with enough confidence.

    Attributes:
        confidence: the best confidence reached per object, in [0, 1]; empty if none was computed.
    """

    def __init__(self, message: str, confidence: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.confidence = dict(confidence or {})


class HandError(PadParseError):
    """Hands could not be estimated, or the hand model is missing."""


class LiftingError(PadParseError):
    """Pixels could not be lifted to metric points."""


class AnnotationError(PadParseError):
    """An annotation is not complete or does not fit its recording, or its page cannot be served."""


class ReportError(PadParseError):
    """A page cannot show what it is given, or cannot be written."""


class ParseError(PadParseError):
    """A recording could not be made into a demonstration."""


class NodeError(PadParseError):
    """A node was started with parameters that are missing or do not fit together."""
