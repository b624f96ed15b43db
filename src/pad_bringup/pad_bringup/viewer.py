"""The live picture in the browser (viser, loopback only): robot, keypoints, grippers, camera image."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import viser
from numpy.typing import NDArray

from pad_bringup import names
from pad_bringup.errors import ViewerError
from pad_bringup.urdf_scene import UrdfScene
from pad_bringup.viewer_markers import MarkerScene
from pad_parse import geometry
from pad_parse.colours import group_colours
from pad_parse.demonstration import KeypointState

HOST = "127.0.0.1"
_PORTS_TRIED = 20
_LOST = (90, 90, 90)
_OBSTACLE = (150, 110, 90)


class Viewer:
    """A viser server that shows one scene. Cheap: it sends only what has changed."""

    def __init__(self, port: int = 8080, title: str = "PAD") -> None:
        """Serve on 127.0.0.1.

        port: first port to try; the next free one of twenty is taken.

        Raises:
            ViewerError: none of them is free.
        """
        self.port = _free_port(port)
        self._server = viser.ViserServer(host=HOST, port=self.port, label=title, verbose=False)
        scene = self._server.scene
        scene.set_up_direction("+z")
        scene.add_grid("/grid", width=2.0, height=2.0, cell_size=0.1, position=(0.0, 0.0, -0.002))
        self._server.initial_camera.position = (1.5, 0.0, 1.1)
        self._server.initial_camera.look_at = (-0.1, 0.0, 0.25)
        self._scene: UrdfScene | None = None
        self._links: dict[str, viser.FrameHandle] = {}
        self._frames: dict[str, viser.FrameHandle] = {}
        self.markers = MarkerScene(scene, names.TASK_FRAME)
        self._points: viser.PointCloudHandle | None = None
        self._lines: dict[str, viser.LineSegmentsHandle] = {}
        self._image: viser.GuiImageHandle | None = None
        self._text: viser.GuiMarkdownHandle | None = None

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://{HOST}:{self.port}"

    @property
    def watched(self) -> bool:
        """Whether any browser is connected."""
        return bool(self._server.get_clients())

    def add_robot(self, scene: UrdfScene, axes: Sequence[str] = ()) -> None:
        """Show a robot description, all joints at zero. axes: links whose frames are shown too."""
        self._scene = scene
        for link, pose in scene.link_poses({}).items():
            self._links[link] = self._server.scene.add_frame(
                f"/robot/{link}", show_axes=link in axes, axes_length=0.06, axes_radius=0.003
            )
            _place(self._links[link], pose)
        for i, shape in enumerate(scene.shapes):
            self._server.scene.add_mesh_simple(
                f"/robot/{shape.link}/shape_{i}", shape.vertices, shape.faces, color=shape.colour, flat_shading=True
            )

    def set_joints(self, positions: Mapping[str, float]) -> None:
        """Move the robot: joint name -> rad or m; joints that are not named are at zero.

        Raises:
            ViewerError: there is no robot yet.
        """
        if self._scene is None:
            raise ViewerError("there is no robot to move: call add_robot first")
        poses = self._scene.link_poses(positions)
        with self._server.atomic():
            for link, handle in self._links.items():
                _place(handle, poses[link])

    def set_keypoints(
        self, points_in_task: NDArray[np.floating], states: NDArray[np.integer], groups: Sequence[str]
    ) -> None:
        """Show keypoints: lost ones grey, filled ones pale.

        points_in_task: (N, 3) m; states: (N,) values of KeypointState; groups: N names, which decide the colours.
        """
        colours = group_colours(groups)
        shown = np.array([colours[group] for group in groups], np.float64).reshape(-1, 3)
        states = np.asarray(states)
        shown[states == KeypointState.FILLED] = 0.5 * shown[states == KeypointState.FILLED] + 127
        shown[states == KeypointState.LOST] = _LOST
        points = np.asarray(points_in_task, np.float32).reshape(-1, 3)
        keep = np.isfinite(points).all(axis=1)
        points, shown = points[keep], shown[keep].astype(np.uint8)
        if self._points is None:
            self._points = self._server.scene.add_point_cloud(
                "/keypoints", points, shown, point_size=0.012, point_shape="circle"
            )
        else:
            # Changing what is there keeps pace with the joints; adding it anew lags behind in a slow browser.
            with self._server.atomic():
                self._points.points, self._points.colors = points, shown

    def set_lines(self, name: str, points: NDArray[np.floating], colour: tuple[int, int, int]) -> None:
        """Show a polyline through points (K, 3) m in the task frame; fewer than two points hide it."""
        points = np.asarray(points, np.float32).reshape(-1, 3)
        segments = np.stack([points[:-1], points[1:]], axis=1) if len(points) > 1 else np.zeros((0, 2, 3), np.float32)
        shown = self._lines.get(name)
        if shown is not None and shown.points.shape == segments.shape:
            shown.points = segments
            return
        self._lines[name] = self._server.scene.add_line_segments(
            f"/{name}", segments, colour, thickness=2.0, thickness_units="screen"
        )

    def set_frame(self, name: str, pose: NDArray[np.floating], length: float = 0.06) -> None:
        """Show a pose (4, 4) in the task frame as axes of `length` metres."""
        if name not in self._frames:
            self._frames[name] = self._server.scene.add_frame(f"/{name}", axes_length=length, axes_radius=length / 20)
        _place(self._frames[name], np.asarray(pose, np.float64))

    def set_markers(self, markers: Iterable[Any], now: float) -> None:
        """Take the markers of a MarkerArray, and take away what has expired at `now` (s, real time)."""
        with self._server.atomic():
            self.markers.update(markers, now)
            self.markers.expire(now)

    def set_image(self, rgb: NDArray[np.uint8], label: str = "camera") -> None:
        """Show an image (H, W, 3) uint8 beside the scene."""
        if self._image is None:
            self._image = self._server.gui.add_image(rgb, label=label, format="jpeg", jpeg_quality=70)
        else:
            self._image.image = rgb

    def set_text(self, markdown: str) -> None:
        """Show a text beside the scene."""
        if self._text is None:
            self._text = self._server.gui.add_markdown(markdown)
        elif self._text.content != markdown:
            self._text.content = markdown

    def set_cylinder(self, name: str, pose: NDArray[np.floating], radius: float, height: float) -> None:
        """Show an upright cylinder, in metres, on the plane z = 0 of `pose` (4, 4) in the task frame."""
        centre = np.asarray(pose, np.float64) @ geometry.make_pose(np.eye(3), [0.0, 0.0, height / 2])
        _place(self._server.scene.add_cylinder(f"/{name}", radius, height, color=_OBSTACLE, opacity=0.5), centre)

    def set_label(self, name: str, text: str, position: NDArray[np.floating]) -> None:
        """Show a text at a position (3,) m in the task frame."""
        self._server.scene.add_label(f"/{name}", text, position=np.asarray(position, np.float64))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is changed within (`with viewer.at_once():`) reaches the browser together."""
        try:
            with self._server.atomic():
                yield
        except RuntimeError as error:
            # viser wakes its sender from our thread, which may be adding a waiter just then; what was queued stays so,
            # the rest of this drawing comes with the next one.
            if "deque mutated during iteration" not in str(error):
                raise

    def add_tabs(self, *names: str) -> list[AbstractContextManager[object]]:
        """Tabs beside the scene; what is added within one (`with tab:`) is shown in it."""
        group = self._server.gui.add_tab_group()
        return [group.add_tab(name) for name in names]

    def add_html(self, html: str) -> None:
        """Show HTML beside the scene; whoever makes it escapes what comes from outside."""
        self._server.gui.add_html(f"<div style='padding:0 0.7em'>{html}</div>")

    def add_slider(self, label: str, count: int) -> viser.GuiInputHandle[int]:
        """A slider over 0 .. count - 1."""
        return self._server.gui.add_slider(label, min=0, max=max(1, count - 1), step=1, initial_value=0)

    def add_switch(self, label: str, value: bool) -> viser.GuiInputHandle[bool]:
        """A check box."""
        return self._server.gui.add_checkbox(label, initial_value=value)

    def close(self) -> None:
        """Stop serving."""
        self._server.stop()


def _place(handle: viser.SceneNodeHandle, pose: NDArray[np.float64]) -> None:
    handle.position = pose[:3, 3]
    handle.wxyz = np.roll(geometry.quaternion_xyzw(pose), 1)


def _free_port(first: int) -> int:
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ViewerError(f"no port from {first} to {first + _PORTS_TRIED - 1} is free on {HOST}; give another one")
