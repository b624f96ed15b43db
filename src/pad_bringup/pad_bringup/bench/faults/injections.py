"""The faults. Each is injected while the arms follow the policy, and says what it ended in."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from pad_bringup import names
from pad_bringup.bench.faults import flood as flooding
from pad_bringup.bench.faults import relay
from pad_bringup.bench.faults.world import RECORDED, World, python
from pad_bringup.bench.graph.safety_log import SafetyWord
from pad_bringup.errors import BenchError, EpisodeError
from pad_bringup.process import stop_all
from pad_bringup.ros_probe import RosProbe
from pad_bringup.supervisor import command
from pad_msgs.msg import SafetyState
from pad_policy.keypoint_health import HealthLimits

_REST = 1.0  # s in which braking arms come to rest
_JUMP = 10.0  # s
_FLOOD = 4.0  # s
_LARGEST_GAP = 0.1  # s between two commands that a flood may cause
_ROOM_ON_DISK = 100_000  # bytes that the recorder may still write
_SILENCE = 1.0  # s in which a gate that was started again must not command


@dataclass(frozen=True)
class Verdict:
    """How a fault ended.

    ended: in words. hold_ms: from the detection limit to the hold; None: it did not have to hold. commands: that
    recovery took.
    """

    ended: str
    hold_ms: float | None
    commands: int


@dataclass(frozen=True)
class Fault:
    """A fault. limit: what is detected, and when at the latest, in words."""

    name: str
    limit: str
    inject: Callable[[World], Verdict]


def _held(
    world: World,
    inject: Callable[[], None],
    undo: Callable[[], None],
    limit: Callable[[SafetyWord, float], float] | None = None,
) -> Verdict:
    """Inject, wait for the hold and for arms at rest, undo, and wait for arms that move again by themselves.

    limit: (the word of the hold, when the fault was in force) -> when the gate could have known; None: by its cause.
    """
    world.set_out()
    since = time.time()
    inject()
    try:
        in_force = time.time()
        word = _word(world, SafetyState.HOLDING, since)
        known = limit(word, in_force) if limit is not None else _known_by(world, word, word.left)
        late = 1e3 * (word.left - known)
        world.live.rest(_REST)
        on_again = world.log.first(SafetyState.RUNNING, word.left)
        if on_again is None:
            resting = world.log.came_to_rest(since)
            if resting is None or resting > word.left + _REST:
                raise BenchError(f"the gate said {word.cause!r}, but the arms went on moving")
    finally:
        undo()
    return Verdict(word.cause, late, world.recover(None))


def _known_by(world: World, word: SafetyWord, chunks_until: float) -> float:
    """When the gate could have known why it holds, s of this machine's clock.

    chunks_until: when the last good chunk had left.
    """
    log, cause = world.log, word.cause
    if cause.startswith("no keypoints"):
        stamp = log.limit(names.KEYPOINT_TRACKER, word.left)
    elif cause.startswith("no joint states"):
        stamp = log.limit(names.SIM_CELL, word.left)
    elif cause.startswith("no new chunk"):
        stamp = log.limit(names.POLICY_NODE, chunks_until)
    elif cause.startswith("keypoint group "):
        stamp = log.known[cause.split()[2]] + HealthLimits().lost_timeout
    else:
        raise BenchError(f"the gate holds for another reason: {cause}")
    return float(log.clock.at(stamp)[0])


def _word(world: World, state: int, since: float) -> SafetyWord:
    found: list[SafetyWord] = []

    def there() -> bool:
        word = world.log.first(state, since)
        if word is not None:
            found.append(word)
        return bool(found)

    world.live.wait(there, "a hold")
    return found[0]


def _by_relay(world: World, **harm: str | float) -> Verdict:
    return _held(world, lambda: world.harm(**harm), lambda: world.harm(fault=relay.NO_FAULT))


def _camera_stops(world: World) -> Verdict:
    return _by_relay(world, fault=relay.NO_CAMERA)


def _depth_holes(world: World) -> Verdict:
    return _by_relay(world, fault=relay.HOLES)


def _group_lost(world: World) -> Verdict:
    return _held(
        world,
        lambda: world.harm(fault=relay.HIDDEN, group=min(world.log.known)),
        lambda: world.harm(fault=relay.NO_FAULT),
    )


def _joint_states_stop(world: World) -> Verdict:
    return _by_relay(world, fault=relay.NO_JOINT_STATES)


def _bad_chunks(world: World, fault: str, words: str) -> Verdict:
    """Chunks that the gate must refuse: it holds when the last good one is used up."""
    before = world.log.words[-1].rejected if world.log.words else 0
    verdict = _held(
        world,
        lambda: world.harm(fault=fault),
        lambda: world.harm(fault=relay.NO_FAULT),
        lambda word, in_force: _known_by(world, word, in_force),
    )
    said = world.said(names.COMMAND_GATE, words)
    if not said or world.log.words[-1].rejected <= before:
        raise BenchError(f"the gate did not say that it refuses: {words!r} is not in its log")
    return replace(verdict, ended=f"{said[:90]}; {verdict.ended}")


def _nan_chunk(world: World) -> Verdict:
    return _bad_chunks(world, relay.NAN_CHUNK, "NaN")


def _wrong_robot(world: World) -> Verdict:
    return _bad_chunks(world, relay.WRONG_ROBOT, "panda_joint1")


def _policy_killed(world: World) -> Verdict:
    pid = world.live.running.supervisor.process(names.POLICY_NODE).pid
    verdict = _held(world, lambda: os.kill(pid, signal.SIGKILL), lambda: None)
    return replace(verdict, ended=f"{_restarted(world, names.POLICY_NODE)}; {verdict.ended}")


def _gate_killed(world: World) -> Verdict:
    """Commands end; the gate that comes back commands nothing until a person enables it."""
    world.set_out()
    supervisor = world.live.running.supervisor
    killed = time.time()
    os.kill(supervisor.process(names.COMMAND_GATE).pid, signal.SIGKILL)
    world.live.wait(lambda: bool(world.told) and names.COMMAND_GATE in world.told[-1], "the gate's end to be noticed")
    world.live.rest(_SILENCE)
    last = world.log.commands[-1][0]
    if last > killed + _SILENCE:
        raise BenchError("the gate that was started again commands without having been enabled")
    ended = f"{_restarted(world, names.COMMAND_GATE)}; no command until /pad/enable"
    return Verdict(ended, max(0.0, 1e3 * (last - killed)), world.recover(partial(_enable, world)))


def _enable(world: World) -> None:
    """/pad/enable. For some seconds after a kill the dead predecessor may be asked, who does not answer."""
    try:
        world.live.runner.enable()
    except EpisodeError as error:
        if "did not answer" not in str(error):
            raise
        world.live.runner.enable()


def _restarted(world: World, node: str) -> str:
    for line in reversed(world.told):
        if line.startswith(node) and "starting it again" in line:
            return f"{line.split(' while ')[0]}, started again"
    raise BenchError(f"nobody said that {node} was started again")


def _clock_jumps(world: World) -> Verdict:
    """Forward, then back by half of it."""
    clock = world.log.clock

    def put(offset: float) -> None:
        since = time.time()
        world.harm(offset=offset)
        world.live.wait(lambda: clock.jumped >= since, "the clock to jump")

    verdicts = [_held(world, partial(put, to), lambda: None, lambda *_: clock.jumped) for to in (_JUMP, 0.5 * _JUMP)]
    late = max(verdict.hold_ms or 0.0 for verdict in verdicts)
    ended = f"forward: {verdicts[0].ended}; back: {verdicts[1].ended}"
    return Verdict(ended, late, max(verdict.commands for verdict in verdicts))


def _flood(world: World) -> Verdict:
    """Hold, or go on commanding without gaps."""
    world.set_out()
    since = time.time()
    process = world.spawn("flood", python(flooding.__name__))
    try:
        world.live.rest(_FLOOD)
    finally:
        stop_all([process])
    until = time.time()
    sent = np.array([when for when, _ in world.log.commands if since <= when <= until])
    gap = float(np.diff(np.concatenate([[since], sent, [until]])).max())
    word = world.log.first(SafetyState.HOLDING, since)
    late = None
    if word is not None and word.left <= until:
        late = 1e3 * (word.left - _known_by(world, word, word.left))
        ended = word.cause
    elif gap > _LARGEST_GAP:
        ended = world.said(names.COMMAND_GATE, "too busy")
        if not ended:
            raise BenchError(f"commands came {1e3 * gap:.0f} ms apart, and the gate said nothing")
    else:
        ended = f"the arms went on: commands at most {1e3 * gap:.0f} ms apart"
    return Verdict(ended, late, world.recover(None))


def _two_policies(world: World) -> Verdict:
    """A second policy of the same kind, started by mistake."""
    graph = world.live.running.graph
    entry = replace(graph.node(names.POLICY_NODE), name="second_policy", remappings=())
    logs = world.live.running.supervisor.log_directory
    parameters = logs / "parameters" / "second_policy.yaml"
    content = {entry.full_name: {"ros__parameters": dict(entry.parameters)}}
    parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
    world.set_out()
    process = world.spawn("second_policy", command(entry, parameters, "info"))
    seen: list[float] = []

    def start() -> None:
        world.live.wait(lambda: not RosProbe(world.live.running.session).missing(entry), "the second policy")
        RosProbe(world.live.running.session).activate(entry, 20.0)
        seen.append(time.time())

    try:
        start()
        word = next((w for w in world.log.words if w.left > seen[0] - 5.0 and w.state == SafetyState.STOPPED), None)
        if word is None:
            word = _word(world, SafetyState.STOPPED, seen[0])
        refused = _refused(world)
    finally:
        stop_all([process])
    ended = f"{word.cause}; /pad/enable: {refused}"
    return Verdict(ended, None, world.recover(world.live.runner.enable))


def _refused(world: World) -> str:
    try:
        world.live.runner.enable()
    except EpisodeError as error:
        return str(error).split(": ", 1)[-1]
    raise BenchError("the gate lets itself be enabled although two nodes publish chunks")


def _disk_full(world: World) -> Verdict:
    """The recorder may write only a little more (RLIMIT_FSIZE, which needs no rights); the arms go on."""
    world.set_out()
    process = world.live.running.supervisor.process(names.RECORDER)
    file = next(world.bag.glob("*.mcap"))
    since = {topic: len(sent) for topic, sent in world.sent.items()}
    size = file.stat().st_size + _ROOM_ON_DISK
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    world.live.wait(lambda: any(names.RECORDER in line for line in world.told), "the recorder's end")
    said = next(line for line in world.told if names.RECORDER in line)
    if "is whole" not in said or "going on without it" not in said:
        raise BenchError(f"unclear: {said}")
    lost = lost_of(world, since)
    world.recover(None)
    again = world.bag.with_name("again")
    other = world.spawn("record_again", python("pad_bringup.cli", "record", str(again), "--live"))
    try:
        world.live.wait(lambda: (again / "metadata.yaml").is_file(), "a new recording")
    finally:
        stop_all([other])
    if lost:
        raise BenchError(f"lost of what had been recorded: {lost}")
    why = said.split(": ", 1)[-1].split(" (log")[0]
    return Verdict(f"{why}; nothing recorded is lost", None, 1)


def lost_of(world: World, since: Mapping[str, int]) -> str:
    """What was sent until the last recorded message of a topic and is not recorded, "" if nothing.

    since: topic -> number of its messages that do not count: a flood may cost a slow listener some.
    """
    recorded = _recorded(world.bag)
    lost = []
    for topic in RECORDED:
        sent, kept = world.sent[topic][since[topic] :], recorded.get(topic, [])
        known = set(sent)
        kept = [data for data in kept if data in known]
        if not kept:
            lost.append(f"all of {topic}")
            continue
        first = sent.index(kept[0])
        missing = Counter(sent[first : first + len(kept)]) - Counter(kept)
        if missing:
            lost.append(f"{missing.total()} of {len(kept)} of {topic}")
    return ", ".join(lost)


def _recorded(bag: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(bytes(data))
    return found


FAULTS = (
    Fault("camera stops", "0.5 s after the last keypoints", _camera_stops),
    Fault("depth all holes", "2.0 s after a group was known last", _depth_holes),
    Fault("tracker loses a group", "2.0 s after it was known last", _group_lost),
    Fault("joint_states stop", "0.2 s after the last", _joint_states_stop),
    Fault("NaN chunk", "0.6 s after the end of the last good chunk", _nan_chunk),
    Fault("policy_node killed", "0.6 s after the end of its last chunk", _policy_killed),
    Fault("command_gate killed and restarted", "at once", _gate_killed),
    Fault("clock jumps", "at once", _clock_jumps),
    Fault("a node floods a topic", "0.2 s after the last joint states that came through", _flood),
    Fault("two policies publish", "when the second is there", _two_policies),
    Fault("wrong-robot chunk", "0.6 s after the end of the last good chunk", _wrong_robot),
    Fault("disk full while recording", "when it is full", _disk_full),
)
