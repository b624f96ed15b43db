"""The cell as a world that a policy is rolled out in, in lock-step: by the true keypoints, or by what a camera sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pad_bringup.cell.cell import Cell
from pad_bringup.cell.disturbance import MovedObject
from pad_bringup.cell.failure import EpisodeWatch
from pad_bringup.losses import Losses
from pad_parse.demonstration import Demonstration, KeypointState
from pad_parse.following import start_following
from pad_parse.localisation import CONFIDENCE_LIMIT, KeypointLocaliser
from pad_parse.tracking import KeypointFrame, ObjectTracker
from pad_policy.environment import JointMeasurement, KeypointObservation

CAMERA_RATE = 30.0
"""Images per simulated second in vision mode."""


class TrackerErrors(BaseModel):
    """Errors put on the true keypoints, so that state mode is not easier than a camera. All follow from the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(0.002, ge=0, description="m, standard deviation per point and observation")
    bias: float = Field(0.003, ge=0, description="m, standard deviation, one offset per object and episode")
    lost: float = Field(0.03, ge=0, lt=1, description="chance that a point is lost in an observation")


@dataclass(frozen=True)
class EpisodeVerdict:
    """How an episode stands: success, and for what is none its cause in a few kinds, the figures, and the stage."""

    success: bool
    cause: str
    detail: str
    stage: str


class CellEnvironment:
    """`pad_policy.environment.Environment` on the simulated cell, in state mode.

    Nothing moves while the policy thinks. Everything random follows from the seed of `reset`.
    """

    def __init__(
        self,
        cell: Cell,
        errors: TrackerErrors | None = None,
        *,
        disturbed: bool = False,
        both_sides: bool = False,
    ) -> None:
        """errors: of the observed keypoints. disturbed: whether a hand moves an object while the arms reach for it.

        both_sides: whether the objects change sides at every odd seed.
        """
        self.cell = cell
        self.task = cell.task
        self.keypoint_names: Sequence[str] = cell.objects.keypoint_names
        self.keypoint_groups: Sequence[str] = cell.objects.keypoint_groups
        self._errors = errors or TrackerErrors()
        self._disturbed = disturbed
        self._both_sides = both_sides
        self._hand: MovedObject | None = None
        self._watch = EpisodeWatch(cell)
        self._rng = np.random.default_rng(0)
        self._bias = np.zeros((len(self.keypoint_names), 3))

    def reset(self, seed: int) -> None:
        """Robots at home, objects where `seed` says, the drink in its container."""
        self._rng = np.random.default_rng([seed, 3])
        swapped = seed % 2 == 1 if self._both_sides else None
        places = self.cell.sample_placements(np.random.default_rng(seed), swapped=swapped)
        self.cell.reset(places, np.random.default_rng(seed))
        self._watch.reset()
        self._hand = MovedObject(self.cell, np.random.default_rng([seed, 5])) if self._disturbed else None
        owners = self.cell.objects.keypoint_objects
        offsets = {name: self._rng.normal(0.0, self._errors.bias, 3) for name in self.cell.objects.models}
        self._bias = np.array([offsets[name] for name in owners])

    def advance(
        self, joints: NDArray[np.float64] | None, openings: NDArray[np.float64] | None, seconds: float
    ) -> JointMeasurement:
        """Command the arms (2 n,) rad and the openings (2,) m, let `seconds` pass, and measure."""
        if joints is not None or openings is not None:
            standing, gaps = self.cell.commanded
            self.cell.command(standing if joints is None else joints, gaps if openings is None else openings)
        if self._hand is not None:
            self._hand.act()
            if self._hand.moving:
                self._watch.moved(self._hand.name)
        self.cell.step(seconds)
        self._watch.look()
        return JointMeasurement(self.cell.time, self.cell.joint_positions, self.cell.openings)

    def observe_keypoints(self) -> KeypointObservation:
        """The true keypoints now, (N, 3) m in the task frame, with the errors of a tracker."""
        points = self.cell.keypoints() + self._bias
        points = points + self._rng.normal(0.0, self._errors.noise, points.shape)
        lost = self._rng.uniform(size=len(points)) < self._errors.lost
        states = np.where(lost, KeypointState.LOST, KeypointState.VISIBLE).astype(np.uint8)
        return KeypointObservation(self.cell.time, points, states)

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; what the camera sees, for people."""
        return self.cell.render()[0]

    @property
    def longest_loss(self) -> float | None:
        """s for which a point was lost without a break in this episode, at the most; None where nothing is tracked."""
        return None

    def outcome(self) -> EpisodeVerdict:
        """The verdict as things stand now."""
        now = self.cell.outcome()
        if now.success:
            return EpisodeVerdict(True, "", "", "")
        failure = self._watch.failure()
        detail = f"{failure.cause} after {failure.time:.1f} s; at the end: {now.cause}"
        return EpisodeVerdict(False, failure.cause, detail, failure.stage)


class VisionEnvironment(CellEnvironment):
    """The same cell through its camera: images at its rate, localisation, tracker and lifting as in the graph.

    Images and their depth are as the camera's topics carry them: 8 bit colour, millimetres.
    """

    def __init__(
        self,
        cell: Cell,
        demonstration: Demonstration,
        localiser: KeypointLocaliser,
        *,
        disturbed: bool = False,
        both_sides: bool = False,
        camera_rate: float = CAMERA_RATE,
    ) -> None:
        """demonstration: whose keypoints are looked for. localiser: finds them in the first image.

        camera_rate: images per simulated second.
        """
        super().__init__(cell, disturbed=disturbed, both_sides=both_sides)
        self._camera_rate = camera_rate
        self.keypoint_names = demonstration.keypoint_names
        self.keypoint_groups = demonstration.keypoint_groups
        self._demonstration = demonstration
        self._localiser = localiser
        self._tracker: ObjectTracker | None = None
        self._frame: KeypointFrame | None = None
        self._image: NDArray[np.uint8] | None = None
        self._images = 0
        self._losses = Losses()

    def reset(self, seed: int) -> None:
        """A new scene, and the keypoints found in its first image.

        Raises:
            pad_parse.errors.PadParseError: they are not found.
        """
        super().reset(seed)
        self._tracker = self._frame = None
        self._losses = Losses()
        rgb, depth = self._picture()
        found = start_following(
            self._localiser, self._demonstration, self.cell.camera, rgb, depth, self.cell.time, CONFIDENCE_LIMIT
        )
        self._tracker, self._frame, self._images = found.tracker, found.frame, 1

    def advance(
        self, joints: NDArray[np.float64] | None, openings: NDArray[np.float64] | None, seconds: float
    ) -> JointMeasurement:
        """Command, let `seconds` pass and measure; an image that falls due is tracked."""
        measured = super().advance(joints, openings, seconds)
        if self._tracker is not None and measured.stamp >= self._images / self._camera_rate:
            self._images += 1
            rgb, depth = self._picture()
            self._frame = self._tracker.step(rgb, depth, measured.stamp)
            self._losses.see(self._frame.stamp, self._frame.states)
        return measured

    def observe_keypoints(self) -> KeypointObservation:
        """The keypoints in the newest image, stamped with it."""
        assert self._frame is not None
        return KeypointObservation(self._frame.stamp, self._frame.points_in_task, self._frame.states)

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; the newest image."""
        assert self._image is not None
        return self._image

    @property
    def longest_loss(self) -> float | None:
        """s for which a point was lost without a break in this episode, at the most."""
        return self._losses.longest

    def _picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rgb, depth = self.cell.render()
        self._image = rgb
        return rgb, np.rint(depth * 1000.0).clip(0, 65535).astype(np.float32) / np.float32(1000.0)
