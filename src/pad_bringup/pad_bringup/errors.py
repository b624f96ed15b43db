"""Typed errors of pad_bringup: every message says what was wrong, where, and what to do."""

from __future__ import annotations


class PadBringupError(Exception):
    """Base of every error that pad_bringup raises on purpose."""


class ResourceError(PadBringupError):
    """A file that belongs to the package (task, robot, camera, template) cannot be found."""


class GraphError(PadBringupError):
    """The node graph cannot be built from the given arguments."""


class SupervisorError(PadBringupError):
    """A node did not start, did not become ready, or stopped while it was needed."""


class EpisodeError(PadBringupError):
    """An episode could not be run through the node graph."""


class DemoError(PadBringupError):
    """A stage of the demo got input that it cannot work with."""


class ReportError(PadBringupError):
    """The report cannot be written from what is there."""


class ViewerError(PadBringupError):
    """The viewer cannot show what it was given."""


class ReplayError(PadBringupError):
    """A bag cannot be replayed."""


class CellError(PadBringupError):
    """The simulated cell cannot be built or was asked for something it does not have."""


class BenchError(PadBringupError):
    """A benchmark does not exist, or cannot run with what it was given."""


class CalibrationError(PadBringupError):
    """The camera's pose cannot be found, or not well enough, from what was given."""


class RecordingError(PadBringupError):
    """A run cannot be recorded, or not any further."""


class EvaluationError(PadBringupError):
    """An evaluation cannot run with what it was given."""


class DocsError(PadBringupError):
    """The reference pages cannot be made from the code."""
