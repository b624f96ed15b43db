"""What can go wrong before the environment stands."""


class SetupError(Exception):
    """The environment cannot be made. The message is for the user: what was wrong, where, what to do."""
