"""The command gate: limits kept whatever comes in, and every state change for a reason."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_policy.chunking import JointChunk, StitchedPath, stitch
from pad_policy.environment import JointMeasurement
from pad_policy.errors import ChunkError, ConfigError, FarStartError
from pad_policy.gate_parameters import NUMBERS, TIMING, gate_numbers
from pad_policy.keypoint_health import HealthLimits, KeypointHealth
from pad_policy.safety import CommandGate, GateLimits, GateState, GateTiming

NAMES = [f"{side}_joint_{i}" for side in ("left", "right") for i in range(6)]
NAMES += ["left_finger_joint", "right_finger_joint"]
PERIOD = 0.008
LIMITS = GateLimits(
    lower=np.array([-2.0] * 12 + [0.0] * 2),
    upper=np.array([2.0] * 12 + [0.11] * 2),
    velocity=np.array([3.0] * 12 + [0.2] * 2),
    acceleration=np.array([12.0] * 12 + [2.0] * 2),
    jerk=np.array([300.0] * 12 + [50.0] * 2),
)


#: for tests in which the robot does not do what it is told
STANDING = GateTiming(largest_lag=6.3)


def measurement(stamp: float, value: float = 0.0) -> JointMeasurement:
    return JointMeasurement(stamp, np.full(12, value), np.array([0.1, 0.1]))


def chunk(stamp: float, positions: np.ndarray | None = None, *, rows: int = 8, period: float = 0.2) -> JointChunk:
    positions = np.zeros((rows, 12)) if positions is None else positions
    times = period * np.arange(1, len(positions) + 1)
    return JointChunk(stamp, NAMES, times, positions, np.full((len(positions), 2), 0.05))


def enabled_gate(value: float = 0.0, timing: GateTiming = STANDING) -> CommandGate:
    gate = CommandGate(NAMES, LIMITS, timing)
    gate.tick(0.0, measurement(0.0, value))
    assert gate.enable(0.0) == ""
    return gate


def assert_within_limits(times: list[float], commands: list[np.ndarray]) -> None:
    values, stamps = np.array(commands), np.array(times)
    assert np.all(values >= LIMITS.lower - 1e-9) and np.all(values <= LIMITS.upper + 1e-9)
    # Divided differences: means of the derivatives, whatever the times are.
    derivative, bounds = values, (LIMITS.velocity, LIMITS.acceleration, LIMITS.jerk)
    for order, bound in enumerate(bounds, start=1):
        span = (stamps[order:] - stamps[:-order])[:, None]
        derivative = order * np.diff(derivative, axis=0) / span
        assert np.all(np.abs(derivative) <= bound * (1 + 1e-4) + 1e-3), f"derivative {order} is beyond its limit"


def test_starts_disabled_and_emits_nothing() -> None:
    gate = CommandGate(NAMES, LIMITS)
    out = gate.tick(0.0, measurement(0.0))
    assert out.joints is None and out.openings is None
    assert out.report.state == GateState.IDLE
    gate.accept(chunk(0.0), 0.01)
    assert gate.tick(0.02, measurement(0.02)).joints is None


def test_enable_needs_fresh_joint_states_within_limits() -> None:
    gate = CommandGate(NAMES, LIMITS)
    assert "joint states" in gate.enable(0.0)
    gate.tick(0.0, measurement(0.0))
    assert "old" in gate.enable(5.0)
    gate.tick(5.0, measurement(5.0, 2.5))
    assert "outside its limits" in gate.enable(5.0)


def test_starts_from_the_measured_joints_and_reaches_the_chunk() -> None:
    gate = enabled_gate(0.3)
    first = gate.tick(PERIOD, measurement(PERIOD, 0.3))
    assert first.report.state == GateState.HOLDING
    np.testing.assert_allclose(first.joints, 0.3)
    gate.accept(chunk(0.0, np.linspace(0.35, 0.7, 8)[:, None] * np.ones(12)), 2 * PERIOD)
    now, out = 2 * PERIOD, first
    while now < 1.9:
        now += PERIOD
        out = gate.tick(now, measurement(now, 0.3))
    assert out.report.state == GateState.RUNNING and out.report.cause == ""
    np.testing.assert_allclose(out.joints, 0.7, atol=1e-3)
    np.testing.assert_allclose(out.openings, 0.05, atol=1e-3)


def test_follows_a_smooth_chunk_closely() -> None:
    gate = enabled_gate()
    rows = np.arange(1, 9) * 0.2
    gate.accept(chunk(0.0, (0.3 * (1 - np.cos(rows)))[:, None] * np.ones(12)), 0.001)
    now, worst = 0.001, 0.0
    while now < 1.2:
        now += PERIOD
        out = gate.tick(now, measurement(now))
        worst = max(worst, float(np.abs(out.joints - 0.3 * (1 - np.cos(now))).max()))
    assert worst < 0.01


def test_an_arm_slows_down_as_a_whole() -> None:
    gate = CommandGate(NAMES, LIMITS, replace(STANDING, largest_jump=10.0, largest_start=10.0))
    gate.tick(0.0, measurement(0.0))
    assert gate.enable(0.0) == ""
    rows = np.linspace(0.1, 0.8, 8)[:, None] * np.array([8.0, 1.0, 1.0, 1.0, 1.0, 1.0] + [1.0] * 6)
    gate.accept(chunk(0.0, np.minimum(rows, 1.9)), 0.001)
    now = 0.001
    while now < 0.5:
        now += PERIOD
        out = gate.tick(now, measurement(now))
    assert out.report.velocity_limited > 0
    assert np.all(out.joints[1:6] < out.joints[6:11] - 1e-3)


BAD_CHUNKS = {
    "NaN": replace(chunk(1.0), positions=np.full((8, 12), np.nan)),
    "other joints": replace(chunk(1.0), joint_names=["elbow", *NAMES[1:]]),
    "order": replace(chunk(1.0), joint_names=NAMES[::-1]),
    "shapes": replace(chunk(1.0), positions=np.zeros((8, 11))),
    "K >= 1": replace(chunk(1.0), times=np.zeros(0), positions=np.zeros((0, 12)), openings=np.zeros((0, 2))),
    "times must": replace(chunk(1.0), times=np.zeros(8)),
    "s old": chunk(-3.0),
    "future": chunk(2.0),
    "NaN or infinite": replace(chunk(1.0), stamp=float("nan")),
    "jumps": chunk(1.0, np.array([0.1, 0.1, 1.9])[:, None] * np.ones(12)),
    "far from where": chunk(1.0, np.full((8, 12), 0.6)),
    "already past": chunk(0.5, rows=2),
}


@pytest.mark.parametrize("reason", BAD_CHUNKS)
def test_malformed_chunks_are_refused_and_counted(reason: str) -> None:
    gate = enabled_gate()
    gate.tick(1.0, measurement(1.0))
    with pytest.raises(ChunkError, match=reason):
        gate.accept(BAD_CHUNKS[reason], 1.0)
    out = gate.tick(1.008, measurement(1.008))
    assert out.report.rejected_chunks == 1
    np.testing.assert_allclose(out.joints, 0.0)


def test_out_of_order_chunks_are_refused() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.1), 0.1)
    for stamp in (0.1, 0.05):
        with pytest.raises(ChunkError, match="out of order"):
            gate.accept(chunk(stamp), 0.11)


def run(gate: CommandGate, start: float, end: float, measured_until: float = np.inf) -> list[GateState]:
    states, now = [], start
    while now < end:
        now += PERIOD
        states.append(gate.tick(now, measurement(now) if now < measured_until else None).report.state)
    return states


def test_holds_when_chunks_stop_and_resumes() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0, rows=2), 0.0)
    assert run(gate, 0.0, 0.99)[-1] == GateState.RUNNING
    assert run(gate, 0.99, 1.05)[-1] == GateState.HOLDING
    report = gate.tick(1.06, measurement(1.06)).report
    assert report.stale_holds == 1 and "no new chunk" in report.cause
    gate.accept(chunk(1.05), 1.06)
    assert run(gate, 1.06, 1.1)[-1] == GateState.RUNNING


def test_holds_when_joint_states_stop() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0), 0.0)
    states = run(gate, 0.0, 1.0, measured_until=0.3)
    assert states[int(0.45 / PERIOD)] == GateState.RUNNING
    assert states[int(0.52 / PERIOD)] == GateState.HOLDING
    assert "joint states" in gate.tick(1.0, None).report.cause


def test_joint_states_of_the_future_count_as_absent() -> None:
    gate = CommandGate(NAMES, LIMITS)
    gate.tick(0.0, measurement(5.0))
    assert "5.00 s in the future" in gate.enable(0.0)
    gate.tick(0.0, measurement(0.05))  # as clocks differ
    assert gate.enable(0.0) == ""
    gate.accept(chunk(0.0), 0.0)
    for now in np.arange(PERIOD, 0.5, PERIOD):
        out = gate.tick(now, measurement(now + 5.0, 0.1))
    assert out.report.state == GateState.HOLDING and 0.3 < out.report.joint_state_age < 0.5
    assert "5.00 s in the future" in out.report.cause
    gate = CommandGate(NAMES, LIMITS)
    gate.tick(9.0, measurement(9.0))
    assert "9.00 s in the future" in gate.enable(0.0), "a clock that went back makes no joint state fresh"


@pytest.mark.parametrize("away", [0.0, 1.0])
def test_arms_that_are_elsewhere_when_the_clock_has_gone_back_are_not_driven_back(away: float) -> None:
    """A simulation is started anew: its first joint states are far from what is commanded."""
    gate = enabled_gate(timing=GateTiming())
    gate.tick(100.0, measurement(100.0))
    old = measurement(100.0)
    for now in np.arange(PERIOD, 0.1, PERIOD):  # the node has nothing newer yet
        assert gate.tick(now, old).report.joint_state_age == float("inf")
    out = gate.tick(0.1, measurement(0.1, away))
    assert out.report.state == (GateState.STOPPED if away else GateState.HOLDING)
    assert (out.joints is None) == (away > 0)


def test_that_the_clock_has_gone_back_is_said_until_a_chunk_comes() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0), 0.0)
    run(gate, 0.0, 0.5)
    for now in (0.1, 0.1 + PERIOD):  # joint states of the new time are late
        report = gate.tick(now, measurement(0.5)).report
        assert report.state == GateState.HOLDING and "the clock has gone back" in report.cause
    gate.accept(chunk(0.1), 0.11)
    assert "no joint states" in gate.tick(0.12, measurement(0.5)).report.cause
    gate.accept(chunk(0.12), 0.125)
    assert gate.tick(0.13, measurement(0.13)).report.state == GateState.RUNNING


def test_unsound_joint_states_count_as_absent() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0), 0.0)
    bad = JointMeasurement(0.5, np.full(12, np.nan), np.zeros(2))
    assert gate.tick(0.5, bad).report.state == GateState.HOLDING


def test_stop_latches_until_enabled() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0, np.linspace(0.1, 0.8, 8)[:, None] * np.ones(12)), 0.0)
    times, commands = [], []
    now = 0.0
    for k in range(300):
        now += PERIOD
        if k == 60:
            gate.stop()
        if k == 100:
            gate.accept(chunk(now - 0.01), now)
            gate.disable()
        out = gate.tick(now, measurement(now))
        times.append(now)
        commands.append(np.concatenate([out.joints, out.openings]))
        assert out.report.state == (GateState.STOPPED if k >= 60 else GateState.RUNNING)
    assert_within_limits(times, commands)
    np.testing.assert_allclose(commands[-1], commands[120])
    assert gate.enable(now) == ""
    assert gate.tick(now, measurement(now)).report.state == GateState.HOLDING


@pytest.mark.parametrize(
    ("end", "left", "expected"),
    [(CommandGate.stop, 0.08, 0.05), (CommandGate.disable, 0.08, 0.05), (CommandGate.disable, 0.1, 0.1)],
)
def test_a_gripper_that_squeezes_does_not_let_go_between_two_tasks(
    end: Callable[[CommandGate], None], left: float, expected: float
) -> None:
    """The left gripper holds something 0.08 m wide and is told 0.05, but may have been opened before the gate is
    enabled again; the right one was closed by hand. A planned way moves neither.
    """
    gate = enabled_gate()
    seen = lambda now: JointMeasurement(now, np.zeros(12), np.array([0.08, 0.03]))  # noqa: E731
    gate.accept(chunk(0.0), 0.0)
    for now in np.arange(PERIOD, 1.5, PERIOD):
        out = gate.tick(now, seen(now))
    np.testing.assert_allclose(out.openings, 0.05, atol=1e-6)
    end(gate)
    for now in np.arange(1.5, 2.0, PERIOD):
        gate.tick(now, seen(now))
    seen = lambda now: JointMeasurement(now, np.zeros(12), np.array([left, 0.03]))  # noqa: E731
    gate.tick(now, seen(now))
    assert gate.enable(now) == ""
    for later in np.arange(now + PERIOD, now + 0.5, PERIOD):
        np.testing.assert_allclose(gate.tick(later, seen(later)).openings, [expected, 0.03], atol=1e-6)
    gate.accept(replace(chunk(later), openings=np.full((8, 2), 0.09)), later, by_sight=False)
    for last in np.arange(later + PERIOD, later + 0.5, PERIOD):
        out = gate.tick(last, seen(last))
        np.testing.assert_allclose(out.openings, [expected, 0.03], atol=1e-6)
    assert out.report.state == GateState.RUNNING


def test_a_clock_that_goes_back_forgets_old_stamps() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0, np.linspace(0.05, 0.8, 8)[:, None] * np.ones(12)), 0.01)
    run(gate, 0.01, 0.5)
    times, commands = [], []
    for k in range(60):  # in real time; the gate's clock is put back by 0.4 s in the middle
        now = 0.508 + k * PERIOD - (0.4 if k >= 20 else 0.0)
        out = gate.tick(now, measurement(now))
        times.append(k * PERIOD)
        commands.append(np.concatenate([out.joints, out.openings]))
        assert out.report.state == (GateState.RUNNING if k < 20 else GateState.HOLDING)
    assert "the clock has gone back" in out.report.cause
    assert np.abs(commands[19] - commands[18]).max() > 1e-3, "the arms must have been under way"
    assert_within_limits(times, commands)
    np.testing.assert_allclose(commands[-1], commands[-5])
    gate.accept(chunk(0.42, np.tile(commands[-1][:12], (8, 1))), 0.43)
    assert run(gate, 0.43, 0.5)[-1] == GateState.RUNNING


def test_limits_are_checked() -> None:
    with pytest.raises(ConfigError, match="lower < upper"):
        replace(LIMITS, lower=LIMITS.upper)
    with pytest.raises(ConfigError, match="14 finite"):
        replace(LIMITS, velocity=np.ones(3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fuzz_emitted_commands_never_exceed_limits(seed: int) -> None:
    """Random, partly broken chunks, jittering ticks, stops and stale inputs: limits hold in every step."""
    rng = np.random.default_rng(seed)
    gate = enabled_gate(float(rng.uniform(-1.9, 1.9)))
    position = gate.tick(0.0, measurement(0.0)).joints
    now, times, commands = 0.0, [], []
    for _ in range(400):
        now += float(rng.choice([PERIOD, 0.004, 0.012, 0.03], p=[0.85, 0.05, 0.05, 0.05]))
        if rng.random() < 0.08:
            steps = rng.normal(0, rng.choice([0.02, 0.2, 0.6]), (int(rng.integers(1, 9)), 12))
            rows = position + np.cumsum(steps, axis=0)
            if rng.random() < 0.1:
                rows[rng.integers(len(rows)), rng.integers(12)] = rng.choice([np.nan, np.inf, 1e9])
            sent = chunk(now - rng.uniform(-0.2, 0.5), rows, period=float(rng.choice([0.02, 0.1, 0.2])))
            try:
                gate.accept(sent, now)
            except ChunkError:
                pass
        if rng.random() < 0.005:
            gate.stop()
        if rng.random() < 0.02:
            gate.enable(now)
        out = gate.tick(now, measurement(now) if rng.random() < 0.9 else None)
        if gate.tick(now, None).report.state != GateState.IDLE and out.joints is not None:
            position = out.joints
            value = np.concatenate([out.joints, out.openings])
            if commands and out.report.state == GateState.HOLDING and out.report.cause == "waiting for a chunk":
                times, commands = [], []  # enabled anew: it starts at the measured joints, as it should
            times.append(now)
            commands.append(value)
    if len(commands) > 2:
        assert_within_limits(times, commands)


def test_stitched_path_starts_where_the_command_is() -> None:
    position, velocity = np.full(14, 0.2), np.full(14, 0.1)
    path = stitch(chunk(0.0, np.linspace(0.1, 0.8, 8)[:, None] * np.ones(12)), 0.35, position, velocity)
    assert path is not None
    start, speed, _ = path.at(0.35)
    np.testing.assert_allclose(start, position)
    np.testing.assert_allclose(speed, velocity)
    np.testing.assert_allclose(path.at(0.6)[0][:12], np.linspace(0.1, 0.8, 8)[2])
    np.testing.assert_allclose(path.at(99.0)[0][:12], 0.8)
    assert stitch(chunk(0.0, rows=2), 0.5, position, velocity) is None


def test_stitched_path_velocity_is_the_derivative() -> None:
    rng = np.random.default_rng(0)
    path = StitchedPath(np.array([0.0, 0.2, 0.4, 0.6]), rng.normal(size=(4, 14)), rng.normal(size=14))
    for time in (0.05, 0.25, 0.33, 0.55):
        numeric = (path.at(time + 1e-6)[0] - path.at(time - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(path.at(time)[1], numeric, rtol=1e-4, atol=1e-5)
        numeric = (path.at(time + 1e-6)[1] - path.at(time - 1e-6)[1]) / 2e-6
        np.testing.assert_allclose(path.at(time)[2], numeric, rtol=1e-4, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(delay=st.floats(0.0, 0.9))
def test_a_chunk_goes_on_where_its_own_time_is_however_late_it_comes(delay: float) -> None:
    """Stitching is by what has been due since the observation: a late answer moves the arms to the same places."""
    targets = np.linspace(0.0, 0.3, 9)[1:, None] * np.ones(12)
    gate = enabled_gate()
    gate.tick(delay, measurement(delay))
    gate.accept(chunk(0.0, targets), delay)
    for now in np.arange(delay, 1.6, PERIOD):
        out = gate.tick(now, measurement(now))
    np.testing.assert_allclose(out.joints, targets[-1], atol=0.01)


def test_disabling_brakes_first_and_then_commands_nothing() -> None:
    gate = enabled_gate()
    gate.accept(chunk(0.0, np.linspace(0.0, 1.5, 9)[1:, None] * np.ones(12)), 0.01)
    times, commands = [], []
    for k in range(1, 60):
        out = gate.tick(k * PERIOD, measurement(k * PERIOD))
        times.append(k * PERIOD)
        commands.append(np.concatenate([out.joints, out.openings]))
    gate.disable()
    assert gate.braking and "braking" in gate.enable(60 * PERIOD)
    now = 60 * PERIOD
    while (out := gate.tick(now, measurement(now))).joints is not None:
        assert out.report.state == GateState.IDLE
        times.append(now)
        commands.append(np.concatenate([out.joints, out.openings]))
        now += PERIOD
    assert_within_limits(times, commands)
    assert not gate.braking and gate.enable(now) == ""


def test_arms_that_are_somewhere_else_at_once_are_not_driven_back() -> None:
    gate = enabled_gate(1.0)
    gate.accept(chunk(0.0, np.ones((8, 12))), 0.0)
    assert gate.tick(0.1, measurement(0.1, 1.0)).report.state == GateState.RUNNING
    out = gate.tick(0.108, measurement(0.108, 0.0))
    assert out.report.state == GateState.STOPPED and out.joints is None
    assert "the robot was reset or moved" in out.report.cause
    assert gate.enable(0.116) == ""
    np.testing.assert_allclose(gate.tick(0.116, measurement(0.116, 0.0)).joints, 0.0)


def moving_gate() -> CommandGate:
    """Enabled, and about to move each joint by 1.6 rad as fast as it may."""
    gate = enabled_gate(-0.8, GateTiming(largest_jump=6.3, largest_start=6.3))
    gate.accept(chunk(0.0, np.full((8, 12), 0.8)), 0.0)
    return gate


@settings(max_examples=10, deadline=None)
@given(delay=st.floats(0.0, 0.12), transport=st.floats(0.0, 0.1), constant=st.floats(0.0, 0.06))
def test_a_controller_that_is_late_is_no_fault(delay: float, transport: float, constant: float) -> None:
    """The fastest motion there is; joints follow with a delay and a time constant, and are told of late."""
    gate, joints = moving_gate(), np.full(12, -0.8)
    times, commands, measured, fastest = [0.0], [joints], [measurement(0.0, -0.8)], 0.0
    for now in np.arange(PERIOD, 2.0, PERIOD):
        told = commands[int(np.searchsorted(times, now - delay, side="right")) - 1] if now > delay else commands[0]
        joints = told + (joints - told) * (np.exp(-PERIOD / constant) if constant > 1e-3 else 0.0)
        measured.append(JointMeasurement(now, joints, np.full(2, 0.1)))
        out = gate.tick(
            now, max((m for m in measured if m.stamp <= now - transport), key=lambda m: m.stamp, default=None)
        )
        assert out.report.state == GateState.RUNNING, out.report.cause
        fastest = max(fastest, float(np.abs(out.joints - commands[-1]).max()) / PERIOD)
        times.append(now)
        commands.append(out.joints)
    assert fastest > 0.95 * LIMITS.velocity[0] and np.allclose(joints, 0.8, atol=0.01)


@pytest.mark.parametrize("state", [GateState.RUNNING, GateState.HOLDING, GateState.STOPPED])
def test_arms_that_do_not_follow_are_not_torn_along(state: GateState) -> None:
    """Held by somebody: where they are is said, nothing is commanded any more, and enabling goes on from there."""
    gate = enabled_gate(timing=GateTiming())
    if state == GateState.RUNNING:
        gate.accept(chunk(0.0, np.linspace(0.1, 0.8, 8)[:, None] * np.ones(12)), 0.0)
    elif state == GateState.STOPPED:
        gate.stop()
    now, held = 0.0, np.zeros(12)
    while now < 1.5 and (out := gate.tick(now, JointMeasurement(now, held, np.full(2, 0.1)))).joints is not None:
        assert out.report.state == state and np.abs(out.joints - held).max() < 0.3 + 0.2 * 1.0
        now += PERIOD
        if state != GateState.RUNNING:  # led away by hand, slowly
            held = held.copy()
            held[7] -= 0.5 * PERIOD
    assert out.joints is None and out.report.state == GateState.STOPPED
    assert "rad from where it is commanded to be" in out.report.cause and "/pad/enable" in out.report.cause
    if state != GateState.RUNNING:
        assert out.report.cause.startswith("right_joint_1 is 0.30 rad")
    assert gate.enable(now) == ""
    np.testing.assert_allclose(gate.tick(now, None).joints, held)


def test_a_robot_that_was_away_and_is_elsewhere_is_not_driven_back() -> None:
    """However long the driver was away: the arms have held since, so what they moved is a leap."""
    timing = replace(STANDING, largest_leap=0.05)
    for moved, state in ((0.5, GateState.HOLDING), (0.7, GateState.STOPPED)):  # 0.2 s at 3 rad/s
        gate = enabled_gate(timing=timing)
        for now in np.arange(PERIOD, 5.0, PERIOD):
            gate.tick(now, None)
        out = gate.tick(5.0, measurement(5.0, moved))
        assert out.report.state == state and (out.joints is None) == (state == GateState.STOPPED)


def test_a_clock_that_jumps_in_fast_motion_makes_no_lag() -> None:
    """Arms that follow 0.1 s late, 3 rad/s: by the old and by the new clock."""
    for jump in (-5.0, 5.0):
        gate, now, commands = moving_gate(), 0.0, [np.full(12, -0.8)] * 13
        for k in range(60):
            now += PERIOD + (jump if k == 35 else 0.0)
            out = gate.tick(now, JointMeasurement(now, commands[-13], np.full(2, 0.1)))
            assert out.joints is not None, out.report.cause
            commands.append(out.joints)
        assert max(np.abs(a - b).max() for a, b in zip(commands[13:], commands[:-13], strict=True)) > 0.25


def test_a_planned_way_is_followed_without_keypoints() -> None:
    for by_sight, state in ((True, GateState.HOLDING), (False, GateState.RUNNING)):
        gate = CommandGate(NAMES, LIMITS, health=KeypointHealth())
        gate.tick(0.0, measurement(0.0))
        assert gate.enable(0.0) == ""
        gate.accept(chunk(0.0), 0.0, by_sight=by_sight)
        assert gate.tick(PERIOD, measurement(PERIOD)).report.state == state


def test_a_planned_way_does_not_start_a_policy() -> None:
    """Half-way through /pad/approach its node is started again: the policy's first chunk is a first one."""
    gate = enabled_gate()
    for k in range(50):
        now = k * PERIOD
        gate.accept(chunk(now, np.linspace(0.01, 0.08, 8)[:, None] * np.ones(12)), now, by_sight=False)
        report = gate.tick(now + PERIOD, measurement(now + PERIOD)).report
    assert report.state == GateState.RUNNING and report.chunk_age == float("inf")
    with pytest.raises(FarStartError):
        gate.accept(chunk(now + 0.001, np.full((8, 12), 0.7)), now + PERIOD)
    gate.accept(chunk(now + 0.002, np.full((8, 12), 0.4)), now + PERIOD)
    assert gate.tick(now + 2 * PERIOD, None).report.chunk_age < 0.1
    gate.accept(chunk(now + 0.003, np.full((8, 12), 0.7)), now + 2 * PERIOD)


def test_a_far_start_is_counted_and_said() -> None:
    gate = enabled_gate()
    with pytest.raises(FarStartError):
        gate.accept(chunk(0.0, np.full((8, 12), 0.6)), 0.0)
    report = gate.tick(PERIOD, measurement(PERIOD)).report
    assert report.far_starts == report.rejected_chunks == 1
    assert "far from where the policy starts" in report.cause and "/pad/approach" in report.cause


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ({"oldest_chunk": 0.05}, "old"),
        ({"newest_chunk": 0.0}, "future"),
        ({"largest_jump": 0.05}, "jumps"),
        ({"largest_start": 0.05}, "far from"),
    ],
)
def test_timing_decides_which_chunks_are_refused(timing: dict[str, float], words: str) -> None:
    stamp = {"oldest_chunk": 0.9, "newest_chunk": 1.05}.get(next(iter(timing)), 1.0)
    moved = chunk(stamp, np.linspace(0.1, 0.8, 8)[:, None] * np.ones(12))
    for given_timing, refused in ((GateTiming(), False), (replace(GateTiming(), **timing), True)):
        gate = CommandGate(NAMES, LIMITS, given_timing)
        gate.tick(1.0, measurement(1.0))
        assert gate.enable(1.0) == ""
        if refused:
            with pytest.raises(ChunkError, match=words):
                gate.accept(moved, 1.0)
        else:
            gate.accept(moved, 1.0)


def test_timing_decides_when_the_arms_hold_wait_and_stop() -> None:
    def after(timing: GateTiming, seconds: float, step: float = PERIOD, leap: float = 0.0, **old: float):
        gate = CommandGate(NAMES, LIMITS, timing)
        gate.tick(0.0, measurement(0.0))
        assert gate.enable(0.0) == ""
        gate.accept(chunk(0.0, rows=1), 0.0)
        for now in np.arange(step, seconds, step):
            out = gate.tick(now, measurement(old.get("stamp", now), leap))
        return out.report

    assert after(GateTiming(), 0.5).state == GateState.RUNNING
    assert after(GateTiming(chunk_overrun=0.1), 0.5).state == GateState.HOLDING
    assert after(GateTiming(), 0.15, stamp=0.0).state == GateState.RUNNING
    assert after(GateTiming(joint_state_timeout=0.05), 0.15, stamp=0.0).state == GateState.HOLDING
    assert after(GateTiming(), 0.3, step=0.03).pauses == 0
    assert after(GateTiming(longest_step=0.01), 0.3, step=0.03).pauses > 0
    assert after(GateTiming(), 0.1, leap=0.2).state == GateState.RUNNING
    assert after(GateTiming(largest_leap=0.05), 0.1, leap=0.2).state == GateState.STOPPED


def test_numbers_of_the_gate_are_its_defaults_and_are_checked() -> None:
    assert {name: default for name, (default, *_) in TIMING.items()} == vars(GateTiming())
    health = HealthLimits()
    assert NUMBERS["keypoint_timeout"][0] == health.timeout and NUMBERS["lost_timeout"][0] == health.lost_timeout
    assert gate_numbers("speed=0.3  oldest_chunk=2") == {"speed": 0.3, "oldest_chunk": 2.0}
    for wrong, words in (("sped=0.3", "known: speed"), ("speed=fast", "needs a number"), ("speed=2", "0.05 to 1.0")):
        with pytest.raises(ConfigError, match=words):
            gate_numbers(wrong)
