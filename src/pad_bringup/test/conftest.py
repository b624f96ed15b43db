"""What several files of tests use."""

import signal

import pytest

from pad_bringup import cli


@pytest.fixture
def here(capsys):
    """Run a command line in this process: (exit code, stdout, stderr)."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*words):
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    yield call
    signal.signal(signal.SIGTERM, before)
