"""Typed errors of the synthetic human."""

from __future__ import annotations

from pad_bringup.errors import PadBringupError


class SyntheticHumanError(PadBringupError):
    """Base of every error of the synthetic human."""


class GraspError(SyntheticHumanError):
    """No natural grasp of the object was found."""


class MotionError(SyntheticHumanError):
    """The demonstrator has no motion for what was asked."""


class RecorderError(SyntheticHumanError):
    """The recording cannot be made or written."""
