"""From the objects of a recording to those of the simulated cell, so that the cell's camera can find the keypoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pad_augment.planning.interface import Shape
from pad_augment.skills import learn_skills
from pad_bringup.cell import Cell
from pad_bringup.cell.objects import TaskObjects
from pad_bringup.errors import DemoError
from pad_parse.demonstration import Demonstration, Reference


@dataclass(frozen=True, eq=False)
class Instance:
    """The cell's own objects as the augmentation needs them.

    Attributes:
        keypoints_in_object: object -> (n, 3) m in the object frame; None: as demonstrated.
        shapes: object -> the cylinder that stands for it in collision checks.
    """

    keypoints_in_object: dict[str, NDArray[np.float64]] | None
    shapes: dict[str, Shape]


def cell_instance(objects: TaskObjects) -> Instance:
    """The cell's objects with the keypoints that the cell's configuration annotates on them."""
    shapes = {name: Shape(max(radius for _, radius in m.outer), m.height) for name, m in objects.models.items()}
    return Instance(objects.keypoints_in_object(), shapes)


def shown_instance(demonstration: Demonstration, objects: TaskObjects) -> Instance:
    """The cell's objects as a parsed demonstration of theirs shows them.

    Their sizes are the cell's. Their axes are where the grasps show them: the origin of a parsed object's frame lies in
    the middle of its keypoints, some centimetres beside the axis.

    Raises:
        pad_augment.errors.GroundingError: the demonstration does not fit its template.
    """
    seen = learn_skills(demonstration).shapes
    shapes = {n: replace(shape, centre=seen[n].centre) for n, shape in cell_instance(objects).shapes.items()}
    return Instance(None, shapes)


def retarget(demonstration: Demonstration, robot: str) -> tuple[Demonstration, Instance]:
    """The demonstration with the cell's objects at home as its reference image, and those objects.

    What the hands did stays as it is; what changes is where the keypoints sit on the objects and what they look like.
    The keypoints' pixels in the reference image are an annotation of the cell's own objects.
    robot: robot profile that stands in the cell.

    Raises:
        DemoError: the demonstration's keypoints are not those of the cell's task.
    """
    cell = Cell(demonstration.task.name, profile=robot)
    try:
        objects = cell.objects
        if list(demonstration.keypoint_groups) != objects.keypoint_groups:
            raise DemoError(
                f"the demonstration's keypoint groups {', '.join(demonstration.keypoint_groups)} are not those of the "
                f"cell's {cell.task}: {', '.join(objects.keypoint_groups)}"
            )
        rgb, depth = cell.render()
        points = cell.keypoints()
        reference = Reference(rgb, depth, cell.camera, cell.camera.task_to_pixels(points), points)
    finally:
        cell.close()
    return replace(demonstration, reference=reference), cell_instance(objects)
