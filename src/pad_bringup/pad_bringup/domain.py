"""A ROS domain of our own, so that two demos on one machine do not talk to each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pad_bringup.errors import SupervisorError

# Above 101 the ports of a domain collide with Linux's ephemeral ports; low ones are people's favourites.
DOMAINS = range(40, 101)


@contextmanager
def private_domain() -> Iterator[int]:
    """Claim a domain id for the time of the `with` block: ROS_DOMAIN_ID if the user has set it, else a free one.

    A lock file that the kernel frees with the process keeps other demos of this machine away.

    Raises:
        SupervisorError: every domain is taken, or ROS_DOMAIN_ID is no number.
    """
    chosen = os.environ.get("ROS_DOMAIN_ID", "")
    if chosen:
        if not chosen.isdigit() or int(chosen) > 232:
            raise SupervisorError(f"ROS_DOMAIN_ID is {chosen!r}; it must be a number from 0 to 232")
        yield int(chosen)
        return
    folder = Path(tempfile.gettempdir()) / f"pad-domains-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in DOMAINS:
        handle = os.open(folder / str(number), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            continue
        try:
            yield number
        finally:
            os.close(handle)
        return
    raise SupervisorError(f"all ROS domains from {DOMAINS.start} to {DOMAINS.stop - 1} are taken; set ROS_DOMAIN_ID")
