"""How a node is told to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")
from pad_parse.nodes.running import Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Interruption()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_only_a_node_that_starts(interruption: Interruption, number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 1.0)
    assert interruption.came
    os.kill(os.getpid(), number)  # a second one does not reach into what the first has set off


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_runs_is_told(interruption: Interruption, number: signal.Signals) -> None:
    interruption.started()
    assert not interruption.came
    os.kill(os.getpid(), number)
    assert interruption.came
