"""The planning scene and the last trajectory as markers: what stands where, and where the arms and objects go."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from pad_augment.kinematics import ARMS
from pad_augment.nodes.trajectory_messages import TASK_FRAME
from pad_augment.planning.interface import Shape
from pad_augment.planning.link_frames import LinkTree, Primitive
from pad_augment.trajectory import Trajectory
from pad_parse import geometry
from pad_parse.ros_transforms import fill_pose

_TYPES = {"box": Marker.CUBE, "cylinder": Marker.CYLINDER, "sphere": Marker.SPHERE}
_TABLE = (0.55, 0.50, 0.45, 0.5)
_OBJECT = (0.95, 0.60, 0.20, 0.6)
_OBSTACLE = (0.60, 0.20, 0.20, 0.6)
_GHOST_OPACITY = 0.25
_PATHS = {"left": (0.00, 0.45, 0.70, 1.0), "right": (0.80, 0.40, 0.00, 1.0)}
_PATH_WIDTH = 0.004  # m
_GHOSTS = 3
"""Times at which an object is shown on its way, its end among them."""


def furniture(urdf: str) -> list[tuple[str, Primitive]]:
    """What stands in the cell and belongs to neither arm: link, and its shape in the task frame."""
    tree = LinkTree(urdf)
    names = [n for n, shapes in tree.shapes.items() if shapes and not tree.ancestors[n] and not n.startswith(ARMS)]
    frames = tree.frames(np.zeros((1, len(tree.joints))), names)
    out = []
    for name in names:
        rotation, position = frames[name][0][0], frames[name][1][0]
        link = geometry.make_pose(rotation, position)
        out += [(name, Primitive(shape.kind, shape.size, link @ shape.pose)) for shape in tree.shapes[name]]
    return out


class PlanningMarkers:
    """Makes the markers of this node; what was shown before and is no more is deleted, other nodes' markers stay."""

    def __init__(self, urdf: str, shapes: Mapping[str, Shape], obstacles: Collection[str]) -> None:
        """shapes: object or obstacle -> cylinder."""
        self._furniture = furniture(urdf)
        self._shapes = dict(shapes)
        self._obstacles = frozenset(obstacles)
        self._shown: set[tuple[str, int]] = set()

    def markers(self, trajectory: Trajectory | None, stamp: Time) -> MarkerArray:
        """The table; of a trajectory, objects where they start, TCP paths by arm, ghosts of objects on their way."""
        array = MarkerArray(markers=self._table(stamp))
        if trajectory is not None:
            array.markers += self._objects(trajectory, stamp) + _paths(trajectory, stamp)
        now = {(marker.ns, marker.id) for marker in array.markers}
        for space, index in sorted(self._shown - now):
            gone = Marker(ns=space, id=index, action=Marker.DELETE)
            gone.header.frame_id, gone.header.stamp = TASK_FRAME, stamp
            array.markers.append(gone)
        self._shown = now
        return array

    def _table(self, stamp: Time) -> list[Marker]:
        out = []
        for index, (_, shape) in enumerate(self._furniture):
            size = shape.size if shape.kind == "box" else (2 * shape.size[0], 2 * shape.size[0], shape.size[-1])
            out.append(_marker("planning/table", index, _TYPES[shape.kind], shape.pose, size, _TABLE, stamp))
        return out

    def _objects(self, trajectory: Trajectory, stamp: Time) -> list[Marker]:
        out = []
        for index, (name, path) in enumerate(trajectory.objects.items()):
            colour, shape = _OBSTACLE if name in self._obstacles else _OBJECT, self._shapes[name]
            out.append(_cylinder("planning/objects", index, shape, path[0], colour, stamp))
            if np.allclose(path, path[0], atol=1e-6):
                continue
            ghost = (*colour[:3], _GHOST_OPACITY)
            for number, step in enumerate(np.linspace(0, len(path) - 1, _GHOSTS + 1).astype(int)[1:]):
                out.append(_cylinder("planning/ghosts", _GHOSTS * index + number, shape, path[step], ghost, stamp))
        return out


def _paths(trajectory: Trajectory, stamp: Time) -> list[Marker]:
    out = []
    for arm, side in enumerate(ARMS):
        line = _marker("planning/path", arm, Marker.LINE_STRIP, np.eye(4), (_PATH_WIDTH, 0.0, 0.0), _PATHS[side], stamp)
        line.points = [Point(x=x, y=y, z=z) for x, y, z in trajectory.poses[:, arm, :3, 3].tolist()]
        out.append(line)
    return out


def _cylinder(
    space: str,
    index: int,
    shape: Shape,
    pose: NDArray[np.float64],
    colour: tuple[float, ...],
    stamp: Time,
) -> Marker:
    middle = pose @ geometry.make_pose(np.eye(3), [*shape.centre, shape.height / 2])
    size = (2 * shape.radius, 2 * shape.radius, shape.height)
    return _marker(space, index, Marker.CYLINDER, middle, size, colour, stamp)


def _marker(
    space: str,
    index: int,
    kind: int,
    pose: NDArray[np.float64],
    size: tuple[float, ...],
    colour: tuple[float, ...],
    stamp: Time,
) -> Marker:
    marker = Marker(ns=space, id=index, type=kind, action=Marker.ADD, pose=Pose())
    marker.header.frame_id, marker.header.stamp = TASK_FRAME, stamp
    fill_pose(marker.pose, pose)
    marker.scale.x, marker.scale.y, marker.scale.z = (float(value) for value in size)
    marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=colour[3])
    return marker
