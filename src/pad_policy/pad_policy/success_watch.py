"""When a task counts as done: whoever judges it says so for long enough."""


class SuccessWatch:
    """Success must last: a cup that is passed on its way is not yet full."""

    def __init__(self, confirm: float) -> None:
        """confirm: s that success must last."""
        self._confirm = confirm
        self._since: float | None = None
        self.done = False

    def see(self, success: bool, stamp: float) -> None:
        """Take in a verdict of an instant (s, the judge's clock). A clock that goes back begins anew."""
        if not success:
            self._since = None
            return
        if self._since is None or stamp < self._since:
            self._since = stamp
        self.done |= stamp - self._since >= self._confirm
