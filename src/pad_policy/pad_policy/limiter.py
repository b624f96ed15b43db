"""Jerk-limited motion of axes, one step at a time (ruckig's velocity profiles)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ruckig
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_PERIOD = 0.008  # s; longer steps are made of several
_GAIN = 18.0  # 1/s, velocity per error
_STILL = 1e-9  # per s, per s^2
_PREVIEW = 0.016  # s by which the target's velocity is taken ahead: about what the jerk limit delays it by


@dataclass(frozen=True)
class AxisLimits:
    """Limits of a group of D axes, each (D,): velocity, acceleration and jerk, in units of the axis and s."""

    velocity: Array
    acceleration: Array
    jerk: Array


@dataclass(frozen=True)
class AxisState:
    """Where D axes are and how they move: position, velocity and acceleration (D,)."""

    position: Array
    velocity: Array
    acceleration: Array

    @property
    def rests(self) -> bool:
        """Whether every axis stands still."""
        return not (np.any(np.abs(self.velocity) > _STILL) or np.any(np.abs(self.acceleration) > _STILL))

    @classmethod
    def resting(cls, position: Array) -> "AxisState":
        """At rest at a position (D,)."""
        return cls(np.array(position, np.float64), np.zeros(len(position)), np.zeros(len(position)))


class Brake:
    """The quickest way to rest from a state."""

    def __init__(self, trajectory: ruckig.Trajectory, start: Array) -> None:
        """trajectory: relative to where it starts, `start` (D,)."""
        self._trajectory = trajectory
        self._start = start

    @property
    def duration(self) -> float:
        """s until every axis rests."""
        return float(self._trajectory.duration)

    @property
    def extrema(self) -> tuple[Array, Array]:
        """Lowest and highest position (D,) on the way."""
        extrema = self._trajectory.position_extrema
        return self._start + [e.min for e in extrema], self._start + [e.max for e in extrema]

    def position(self, time: float) -> list[float]:
        """Position of D axes `time` s after the start."""
        return list(self._start + self._trajectory.at_time(min(time, self.duration))[0])

    def at(self, time: float) -> AxisState:
        """State `time` s after the start."""
        way, velocity, acceleration = (np.array(v) for v in self._trajectory.at_time(min(time, self.duration)))
        return AxisState(self._start + way, velocity, acceleration)


class JerkLimiter:
    """Moves a group of axes that belong together: they slow down together, so that an arm keeps its direction."""

    def __init__(self, limits: AxisLimits, *, together: bool = True) -> None:
        """together: whether the axes slow down together (an arm), or each for itself (two grippers)."""
        size = len(limits.velocity)
        self._limits = limits
        self._together = together
        self._otg = ruckig.Ruckig(size)
        self._inputs = ruckig.InputParameter(size)
        self._inputs.max_acceleration = limits.acceleration.tolist()
        self._inputs.max_jerk = limits.jerk.tolist()
        self._inputs.control_interface = ruckig.ControlInterface.Velocity
        self._inputs.synchronization = ruckig.Synchronization.No
        self._inputs.target_acceleration = [0.0] * size

    def follow(
        self, state: AxisState, target: Callable[[float], AxisState], step: float, speed: float = 1.0
    ) -> AxisState:
        """State after `step` s on the way along a moving target.

        target: where the target is, some s from now. speed: above 0 to 1, share of the velocity limits that may be
        used; an axis that is faster slows down.
        """
        highest = self._limits.velocity * speed
        # A late step is made of short ones, so that what comes out does not depend on how late it is.
        count = max(1, round(step / _PERIOD))
        for k in range(1, count + 1):
            wanted = self._wanted(state, target(step * k / count), target(step * k / count + _PREVIEW))
            ratio = highest / np.maximum(np.abs(wanted), 1e-9)
            wanted = wanted * np.minimum(ratio.min() if self._together else ratio, 1.0)
            state = self._steer(state, wanted, step / count)
        return state

    def _wanted(self, state: AxisState, target: AxisState, soon: AxisState) -> Array:
        """Velocity (D,) that leads to the target: proportional when near, a braking parabola when far."""
        error = target.position - state.position
        size = np.abs(error)
        return soon.velocity + np.sign(error) * np.minimum(_GAIN * size, np.sqrt(self._limits.acceleration * size))

    def _steer(self, state: AxisState, velocity: Array, step: float) -> AxisState:
        """State after `step` s on the quickest way to a velocity (D,)."""
        inputs = self._inputs
        _set_state(inputs, state)
        inputs.target_velocity = velocity.tolist()
        return AxisState(*(np.array(value) for value in self._solve(inputs).at_time(step)))

    def brake(self, state: AxisState) -> Brake:
        """The quickest way to rest from `state`."""
        inputs = self._inputs
        _set_state(inputs, state)
        # From 0: ruckig counts 0 among the positions on the way, which is right there and nowhere else.
        inputs.current_position = [0.0] * len(state.position)
        inputs.target_velocity = [0.0] * len(state.position)
        return Brake(self._solve(inputs), state.position)

    def _solve(self, inputs: ruckig.InputParameter) -> ruckig.Trajectory:
        trajectory = ruckig.Trajectory(inputs.degrees_of_freedom)
        self._otg.calculate(inputs, trajectory)
        return trajectory


def _set_state(inputs: ruckig.InputParameter, state: AxisState) -> None:
    inputs.current_position = state.position.tolist()
    inputs.current_velocity = state.velocity.tolist()
    inputs.current_acceleration = state.acceleration.tolist()


def stacked(states: Sequence[AxisState]) -> AxisState:
    """The states of several groups as one."""
    return AxisState(
        np.concatenate([s.position for s in states]),
        np.concatenate([s.velocity for s in states]),
        np.concatenate([s.acceleration for s in states]),
    )
