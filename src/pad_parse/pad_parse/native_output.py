"""Keeps the chatter of native libraries out of the terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Nothing written to file descriptor 2 in the `with` block appears; for single calls that are known to chat.

    OpenCV announces on every VP8 file that it uses the container's own tag for the codec, and offers no way to stop it.
    """
    # Two threads that restored each other's descriptor would leave it silent for good.
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        kept = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(nothing)
            os.close(kept)
