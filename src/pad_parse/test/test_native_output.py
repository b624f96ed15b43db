"""Native chatter is silenced for the moment, also when several threads do it."""

import os
import threading
import time

from pad_parse.native_output import silenced_stderr


def test_stderr_speaks_again_after_threads_that_overlap(tmp_path):
    kept = os.dup(2)
    target = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(target, 2)
    try:

        def hush(wait):
            with silenced_stderr():
                os.write(2, b"chatter")
                time.sleep(wait)

        threads = [threading.Thread(target=hush, args=(wait,)) for wait in (0.05, 0.1, 0.02)]
        for thread in threads:
            thread.start()
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        os.write(2, b"heard")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(target)
    assert (tmp_path / "stderr").read_bytes() == b"heard"
