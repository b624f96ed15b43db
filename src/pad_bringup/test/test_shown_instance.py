"""Where the axes of a recording's objects are, although their frames lie elsewhere."""

from dataclasses import replace

import numpy as np

from pad_bringup.bench.augment import source
from pad_bringup.cell.objects import load_objects
from pad_bringup.retarget import cell_instance, shown_instance
from pad_parse import geometry


def test_axes_are_where_the_hands_hold_and_sizes_are_the_cells() -> None:
    objects, shown = load_objects("pour"), source.demonstration()
    off = {"bottle": np.array([0.028, 0.012, 0.0]), "cup": np.array([0.029, -0.017, 0.0])}
    poses = {n: shown.object_poses[n] @ geometry.make_pose(np.eye(3), off[n]) for n in off}
    found = shown_instance(replace(shown, object_poses=poses), objects).shapes
    for name, known in cell_instance(objects).shapes.items():
        assert (found[name].radius, found[name].height) == (known.radius, known.height)
        np.testing.assert_allclose(found[name].centre, -off[name][:2], atol=0.003)
