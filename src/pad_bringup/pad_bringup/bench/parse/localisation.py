"""Keypoints of one annotated image found again in random scenes of the cell.

The reference image shows the task's objects at home, without robots, as a recording of a human begins. Every scene has
the robots at home, objects at random places of the task's regions (yaw +-0.4 rad), and depth as a stereo camera
measures it, with noise and holes. Three kinds of scene:

- the same objects;
- the same objects among 3 to 6 distractors, of which one is like a bottle and one like a cup, that stand anywhere
  on the table and may hide a part of an object;
- another instance of each object: other sizes, proportions, colours and label.

A scene is a success if every named point is within 10 mm of the truth. The truth of the same objects is where the
annotated points moved to. The truth of another instance is that instance's own named points: at the same share of the
same part (body, neck, wall), on its own surface. Its label has nothing in common with the reference's, so no picture
can tell its yaw: its points are named on the side on which the reference has them, as an annotator of that scene
would.

Confident and wrong: an answer above the confidence limit with a point further than 10 mm from the truth, as a share of
all scenes of the three kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_augment.kinematics import RobotProfile
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.cell import scene
from pad_bringup.cell.distractors import draw_distractors, scatter
from pad_bringup.cell.human.depth_sensor import measured_depth
from pad_bringup.cell.instances import another_instance
from pad_bringup.cell.objects import TaskObjects, load_objects
from pad_bringup.cell.rendering import RgbdRenderer
from pad_bringup.resources import named_or_path
from pad_parse import geometry
from pad_parse.demonstration import Reference
from pad_parse.errors import LocalisationError
from pad_parse.localisation import ClassicalLocaliser
from pad_parse.task import TaskSpec

KEYS = ("localise_same", "localise_distractors", "localise_instance", "localise_confident_wrong")

KINDS = ("same", "distractors", "instance")
SCENES, QUICK_SCENES = 100, 3
_TOLERANCE = 0.010
_DISTRACTORS = (3, 6)
_TASK = "pour"

Place = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Still:
    """One image of one scene.

    Attributes:
        rgb: (H, W, 3) uint8. depth: (H, W) float32 m as measured, 0 where there is none.
        truth: (N, 3) m; the named points in the task frame.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    truth: NDArray[np.float64]


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Shares of successful scenes by kind and of confident wrong answers, in percent."""
    objects = load_objects(_TASK)
    reference = home_reference(objects, np.random.default_rng(settings.seed))
    count = QUICK_SCENES if settings.quick else SCENES
    camera = reference.camera
    wrong, shares, seconds = 0, {}, []
    for kind in KINDS:
        localiser = ClassicalLocaliser(reference, objects.keypoint_objects, other_instances=kind == "instance")
        worst, refusals = [], 0
        for number, still in enumerate(stills(kind, count, settings.seed)):
            start = time.process_time()
            try:
                found = localiser.localise(still.rgb, still.depth, camera)
            except LocalisationError as error:
                refusals += 1
                say(f"localisation: {kind} {number}: {error}")
            else:
                worst.append(float(np.linalg.norm(found.points_in_task - still.truth, axis=1).max()))
                if worst[-1] > _TOLERANCE:
                    say(f"localisation: {kind} {number}: {1e3 * worst[-1]:.1f} mm off")
            seconds.append(time.process_time() - start)
        good = sum(error <= _TOLERANCE for error in worst)
        wrong += len(worst) - good
        shares[f"localise_{kind}"] = 100.0 * good / count
        say(
            f"localisation: {kind}: {good}/{count} within 10 mm, {refusals} refused, {len(worst) - good} wrong; "
            f"median {1e3 * np.median(worst or [np.nan]):.1f} mm, worst {1e3 * max(worst, default=np.nan):.1f} mm"
        )
    say(f"localisation: {np.mean(seconds):.2f} CPU-s a scene on average, {max(seconds):.2f} at most")
    return shares | {"localise_confident_wrong": 100.0 * wrong / (len(KINDS) * count)}


def home_reference(objects: TaskObjects, rng: np.random.Generator) -> Reference:
    """The annotated image: the objects at home, no robots."""
    places = {name: model.home for name, model in objects.models.items()}
    table = Table(objects, robots=False)
    try:
        rgb, depth = table.photograph(places, rng)
    finally:
        table.close()
    points = points_at(objects, places)
    return Reference(rgb, depth, table.camera, table.camera.task_to_pixels(points), points)


def stills(kind: str, count: int, seed: int) -> Iterator[Still]:
    """`count` scenes of a kind, each with a random stream of its own."""
    for number in range(count):
        rng = np.random.default_rng([seed, KINDS.index(kind), number])
        original = load_objects(_TASK)
        regions = {name: thing.region for name, thing in TaskSpec.load(_TASK).objects.items()}
        places = {n: (rng.uniform(*r.x), rng.uniform(*r.y), rng.uniform(*r.yaw)) for n, r in regions.items()}
        objects = another_instance(original, rng) if kind == "instance" else original
        table = Table(
            objects, distractors=rng.integers(*_DISTRACTORS, endpoint=True) if kind == "distractors" else 0, rng=rng
        )
        try:
            rgb, depth = table.photograph(places, rng)
        finally:
            table.close()
        if kind == "instance":
            places = {n: (x, y, original.models[n].home[2]) for n, (x, y, _) in places.items()}
        yield Still(rgb, depth, points_at(objects, places))


def points_at(objects: TaskObjects, places: dict[str, Place]) -> NDArray[np.float64]:
    """(N, 3) m; the named points of objects that stand at (x, y, yaw)."""
    local = objects.keypoints_in_object()
    return np.concatenate([geometry.transform_points(geometry.yaw_pose(*places[n]), p) for n, p in local.items()])


class Table:
    """The cell's table as a still life: everything stands where it is put, nothing moves."""

    def __init__(
        self,
        objects: TaskObjects,
        *,
        robots: bool = True,
        distractors: int = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        """distractors: how many random ones, drawn with `rng`, stand about."""
        self.camera = scene.default_camera()
        self._objects = objects
        self._distractors = draw_distractors(int(distractors), rng) if rng is not None else []
        spec = scene.build_spec(
            robots, objects_dynamic=False, objects=objects, distractors=self._distractors, camera=self.camera
        )
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        if robots:
            profile = RobotProfile.load(named_or_path("ur5e_pair", "config", "robots"))
            for arm in (profile.arms.left, profile.arms.right):
                for joint, angle in zip(arm.joints, arm.home, strict=True):
                    self._data.qpos[self._model.joint(joint).qposadr[0]] = angle
        self._renderer = RgbdRenderer(self._model, scene.CAMERA, self.camera.width, self.camera.height)

    def photograph(
        self, places: dict[str, Place], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) and measured depth (H, W) in m with the objects at (x, y, yaw); an object without a place
        is not there. The distractors go to free places."""
        taken = {}
        for name, model in self._objects.models.items():
            self._put(scene.body_name(name), places.get(name, (0.0, 0.0, 0.0)), 0.0 if name in places else -5.0)
            if name in places:
                taken[name] = (*places[name][:2], max(radius for _, radius in model.outer))
        for k, place in enumerate(scatter(self._distractors, taken, rng)):
            self._put(scene.distractor_name(k), place, 0.0)
        mujoco.mj_forward(self._model, self._data)
        rgb, depth = self._renderer.render(self._data)
        return rgb, measured_depth(depth, rng).astype(np.float32) / 1000.0

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()

    def _put(self, body: str, place: Place, height: float) -> None:
        index = self._model.body(body).mocapid[0]
        x, y, yaw = place
        self._data.mocap_pos[index] = [x, y, height]
        self._data.mocap_quat[index] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
