"""Errors of pad_policy: one base, one class per kind of cause."""


class PolicyError(Exception):
    """Base of every error that pad_policy raises on purpose."""


class ConfigError(PolicyError):
    """A configuration value contradicts another one or the data."""


class DatasetError(PolicyError):
    """A dataset cannot be used to train the policy that was asked for."""


class BundleError(PolicyError):
    """A policy folder is missing, incomplete, damaged or of an unknown version."""


class CheckpointError(PolicyError):
    """An unfinished training cannot be gone on with: it is damaged, or of another dataset or config."""


class MismatchError(PolicyError):
    """A policy was made for another task, other keypoint groups or another robot."""


class ChunkError(PolicyError):
    """A joint chunk is malformed; the message says which rule it breaks."""


class FarStartError(ChunkError):
    """The first chunk begins far from where the robot is."""


class ApproachError(PolicyError):
    """There is no way from where the arms are to where the policy starts, or they touch something."""


class RolloutError(PolicyError):
    """An environment broke the contract of `pad_policy.rollout.Environment`."""
