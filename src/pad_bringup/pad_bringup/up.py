"""A node graph until it is stopped: what `pad up` and `pad replay` do, the same as the launch files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pad_bringup import names
from pad_bringup.errors import EpisodeError
from pad_bringup.graph import Use
from pad_bringup.running import RunningGraph, running_graph


def run_up(
    values: Mapping[str, str],
    logs: Path,
    *,
    use: Use = Use.RUN,
    start: bool = False,
    seconds: float | None = None,
    tell: Callable[[str], None],
) -> None:
    """Run the graph until Ctrl-C, or for `seconds` of real time.

    values: graph arguments, name -> text.
    use: what the graph is for.
    start: also find the keypoints and enable the gate, so that the arms move.
    tell: gets every line for people.

    Raises:
        GraphError, SupervisorError: it cannot start, or a node that it needs has stopped.
        EpisodeError: the keypoints were not found or the gate refused.
    """
    with running_graph(values, logs, use=use, own_domain=False, restart=True, tell=tell) as running:
        tell(f"{len(running.graph.nodes)} nodes are up after {running.start_seconds:.1f} s; logs in {logs}")
        tell(f"ROS domain {running.domain}: {', '.join(entry.name for entry in running.graph.nodes)}")
        recorder = next((e for e in running.graph.nodes if e.name == names.RECORDER), None)
        if recorder is not None:
            tell(f"recording to {recorder.parameters['out']}")
        if use is Use.RUN and start:
            start_motion(running)
            tell(f"the arms follow the policy; {names.STOP} stops them")
        elif use is Use.RUN:
            tell(f"the arms stand still: call {names.LOCALISE_KEYPOINTS}, then {names.ENABLE}; or `pad up --start`")
        if url := running.viewer_url():
            tell(f"live viewer: {url}")
        tell("Ctrl-C ends everything")
        end = None if seconds is None else time.monotonic() + seconds
        supervisor = running.supervisor

        def stopped() -> bool:
            played = use is Use.REPLAY and not supervisor.runs(names.REPLAY)
            return played or (end is not None and time.monotonic() >= end)

        supervisor.run(stopped)


def start_motion(running: RunningGraph) -> None:
    """Find the keypoints and enable the gate.

    Raises:
        EpisodeError: the keypoints were not found or the gate refused.
        SupervisorError: a node that is needed has stopped.
    """
    from std_srvs.srv import SetBool

    from pad_msgs.srv import LocaliseKeypoints

    session, check = running.session, running.supervisor.check
    node = session.node
    localise = node.create_client(LocaliseKeypoints, names.LOCALISE_KEYPOINTS)
    answer = session.call(localise, LocaliseKeypoints.Request(), 30.0, EpisodeError, check)
    if not answer.success:
        raise EpisodeError(f"the keypoints were not found: {answer.message}")
    enable = node.create_client(SetBool, names.ENABLE)
    answer = session.call(enable, SetBool.Request(data=True), 10.0, EpisodeError, check)
    if not answer.success:
        raise EpisodeError(f"the command gate refused: {answer.message}")
