"""Errors of pad_augment: one base, so that a caller can catch everything that augmentation refuses."""


class PadAugmentError(Exception):
    """Base of every error that pad_augment raises on purpose; the message is one line for people."""


class RobotError(PadAugmentError):
    """A robot profile or description that cannot be used."""


class IkError(PadAugmentError):
    """No joint positions reach a pose.

    Attributes:
        arm: 0 left, 1 right.
        index: index of the first pose on the path that is out of reach (0 for a single pose).
    """

    def __init__(self, message: str, arm: int, index: int = 0) -> None:
        super().__init__(message)
        self.arm = arm
        self.index = index


class JointLimitError(IkError):
    """A path that can only be followed by turning a joint past its limit."""


class GroundingError(PadAugmentError):
    """The demonstration does not fit the task's template."""


class PlanningError(PadAugmentError):
    """A planner that is not there, or a request that cannot be understood."""


class GenerationError(PadAugmentError):
    """Too few scenes could be turned into demonstrations."""


class WorkerLostError(GenerationError):
    """A worker process ended by itself; what is finished is kept, and the same call goes on from there."""


class DatasetError(PadAugmentError):
    """A dataset that is missing, damaged, or of another schema."""


class ConfigError(PadAugmentError):
    """A parameter out of its range, or a choice that does not exist."""


class ExportError(PadAugmentError):
    """A dataset cannot be written in another library's format."""
