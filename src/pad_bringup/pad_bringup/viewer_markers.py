"""Shows markers as RViz does (visualization_msgs/Marker) in the browser: what other nodes say is worth a look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import viser
from numpy.typing import NDArray

# Constants of visualization_msgs/Marker, so that nothing here needs ROS.
CUBE: Final = 1
SPHERE: Final = 2
CYLINDER: Final = 3
LINE_STRIP: Final = 4
LINE_LIST: Final = 5
SPHERE_LIST: Final = 7
POINTS: Final = 8
TEXT: Final = 9
_ADD, _DELETE, _DELETE_ALL = 0, 2, 3
_LINES, _CLOUDS, _SOLIDS = (LINE_STRIP, LINE_LIST), (SPHERE_LIST, POINTS), (CUBE, SPHERE, CYLINDER)
_BACKGROUND = 255
_THIN = 0.01  # m


class MarkerScene:
    """The markers that are there now, by namespace and id."""

    def __init__(self, scene: viser.SceneApi, frame: str) -> None:
        """frame: markers in other frames are left out, because only this one is known here."""
        self._scene = scene
        self._frame = frame
        self._shown: dict[tuple[str, int], tuple[int, viser.SceneNodeHandle]] = {}
        self._looks: dict[tuple[str, int], bytes] = {}
        self._expires: dict[tuple[str, int], float] = {}
        self.left_out: set[str] = set()
        """What was not shown: frames and kinds of markers."""

    @property
    def names(self) -> set[tuple[str, int]]:
        """Namespace and id of what is shown."""
        return set(self._shown)

    def update(self, markers: Iterable[Any], now: float) -> None:
        """Take the markers of a MarkerArray. now: real time in s, from which their lifetimes count."""
        for marker in markers:
            key = (marker.ns, marker.id)
            if marker.action == _DELETE_ALL:
                for shown in list(self._shown):
                    self._remove(shown)
            elif marker.action == _DELETE:
                self._remove(key)
            elif marker.action == _ADD:
                self._add(key, marker)
                life = marker.lifetime.sec + 1e-9 * marker.lifetime.nanosec
                self._expires[key] = now + life if life > 0 else float("inf")

    def expire(self, now: float) -> None:
        """Take away what has outlived its lifetime."""
        for key in [key for key, end in self._expires.items() if end < now]:
            self._remove(key)

    def _remove(self, key: tuple[str, int]) -> None:
        self._looks.pop(key, None)
        self._expires.pop(key, None)
        if key in self._shown:
            self._shown.pop(key)[1].remove()

    def _add(self, key: tuple[str, int], marker: Any) -> None:
        if marker.header.frame_id != self._frame:
            self.left_out.add(f"frame {marker.header.frame_id!r}")
            return
        look = _look(marker)
        if self._looks.get(key) == look:
            return
        kind, handle = self._shown.get(key, (None, None))
        if kind == marker.type and isinstance(handle, viser.PointCloudHandle | viser.LineSegmentsHandle):
            points, colours = _cloud(marker) if marker.type in _CLOUDS else _segments(marker)
            if handle.points.shape == points.shape:
                handle.points, handle.colors = points, colours
                self._looks[key] = look
                return
        if kind != marker.type:
            self._remove(key)
        made = self._make(f"/markers/{marker.ns}/{marker.id}", marker)
        if made is not None:
            self._shown[key], self._looks[key] = (marker.type, made), look

    def _make(self, name: str, marker: Any) -> viser.SceneNodeHandle | None:
        p, q = marker.pose.position, marker.pose.orientation
        place = {"position": (p.x, p.y, p.z), "wxyz": (q.w, q.x, q.y, q.z)}
        size, colour = marker.scale, _rgb(marker.color)
        if marker.type in _CLOUDS:
            points, colours = _cloud(marker)
            return self._scene.add_point_cloud(
                name, points, colours, point_size=float(size.x), point_shape="circle", precision="float32", **place
            )
        if marker.type in _LINES:
            lines, colours = _segments(marker)
            # Thin lines fade to white in world units.
            thin = size.x < _THIN
            return self._scene.add_line_segments(
                name,
                lines,
                colours,
                thickness=2.5 if thin else float(size.x),
                thickness_units="screen" if thin else "world",
                **place,
            )
        if marker.type in _SOLIDS:
            shared: dict[str, Any] = {"color": colour, "opacity": float(marker.color.a), **place}
            if marker.type == CUBE:
                return self._scene.add_box(name, dimensions=(size.x, size.y, size.z), **shared)
            if marker.type == SPHERE:
                return self._scene.add_icosphere(name, radius=size.x / 2, **shared)
            return self._scene.add_cylinder(name, radius=size.x / 2, height=size.z, **shared)
        if marker.type == TEXT:
            return self._scene.add_label(name, marker.text, anchor="center-center", position=place["position"])
        self.left_out.add(f"marker type {marker.type}")
        return None


def _look(marker: Any) -> bytes:
    """Everything that decides what a marker looks like."""
    p, q, s, c = marker.pose.position, marker.pose.orientation, marker.scale, marker.color
    numbers = [marker.type, p.x, p.y, p.z, q.x, q.y, q.z, q.w, s.x, s.y, s.z, c.r, c.g, c.b, c.a]
    colours = [value for colour in marker.colors for value in (colour.r, colour.g, colour.b, colour.a)]
    return np.array([*numbers, *_points(marker).ravel(), *colours]).tobytes() + marker.text.encode()


def _points(marker: Any) -> NDArray[np.float32]:
    return np.array([(p.x, p.y, p.z) for p in marker.points], np.float32).reshape(-1, 3)


def _cloud(marker: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """(N, 3) m and (N, 3) colours; points that are not finite are left out."""
    points, colours = _points(marker), _colours(marker)
    keep = np.isfinite(points).all(axis=1)
    return points[keep], colours[keep]


def _segments(marker: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """(K, 2, 3) m and colours of the same shape."""
    points, colours = _points(marker), _colours(marker, pale=False)
    if marker.type == LINE_STRIP:
        ends = np.stack([np.arange(len(points) - 1), np.arange(1, len(points))], axis=1) if len(points) > 1 else []
    else:
        ends = np.arange(len(points) // 2 * 2).reshape(-1, 2)
    ends = np.asarray(ends, np.int64).reshape(-1, 2)
    keep = np.isfinite(points[ends]).all(axis=(1, 2))
    return points[ends][keep], colours[ends][keep]


def _colours(marker: Any, pale: bool = True) -> NDArray[np.uint8]:
    """(N, 3). pale: half transparent ones, because points have no opacity here; thin lines could not be seen then."""
    each = marker.colors if len(marker.colors) == len(marker.points) else [marker.color] * len(marker.points)
    return np.array([_rgb(colour, colour.a if pale else 1.0) for colour in each], np.uint8).reshape(-1, 3)


def _rgb(colour: Any, opacity: float = 1.0) -> tuple[int, int, int]:
    r, g, b = (round(opacity * 255 * v + (1 - opacity) * _BACKGROUND) for v in (colour.r, colour.g, colour.b))
    return r, g, b
