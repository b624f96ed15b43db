"""Markers in the browser viewer: what is shown, changed and taken away; and the page in a real browser."""

import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from chromium import chromium, watched_page

from pad_bringup.viewer import Viewer
from pad_bringup.viewer_markers import CUBE, CYLINDER, LINE_LIST, LINE_STRIP, SPHERE, SPHERE_LIST, TEXT

RED = (1.0, 0.0, 0.0, 1.0)


def xyz(x, y, z):
    return SimpleNamespace(x=float(x), y=float(y), z=float(z))


def rgba(r, g, b, a):
    return SimpleNamespace(r=r, g=g, b=b, a=a)


def marker(kind, space="m", index=0, points=(), size=(0.1, 0.1, 0.1), action=0, life=0, colours=(), **rest):
    """As visualization_msgs/Marker, at the origin and red unless told."""
    base = {"frame_id": "task_frame", "text": "", "at": (0, 0, 0), **rest}
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=base["frame_id"]),
        ns=space,
        id=index,
        type=kind,
        action=action,
        pose=SimpleNamespace(position=xyz(*base["at"]), orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)),
        scale=xyz(*size),
        color=rgba(*RED),
        points=[xyz(*p) for p in points],
        colors=[rgba(*c) for c in colours],
        text=base["text"],
        lifetime=SimpleNamespace(sec=life, nanosec=0),
    )


@pytest.fixture
def viewer():
    made = Viewer(8950)
    yield made
    made.close()


LINE = [(0, 0, 0), (0.1, 0, 0), (0.1, 0.1, 0)]


def test_every_kind_of_marker_is_shown(viewer):
    kinds = (CUBE, SPHERE, CYLINDER, LINE_STRIP, LINE_LIST, SPHERE_LIST, TEXT)
    viewer.set_markers([marker(kind, index=kind, points=LINE, text="gate: holding") for kind in kinds], 0.0)
    assert viewer.markers.names == {("m", kind) for kind in kinds} and not viewer.markers.left_out
    shown = {key[1]: handle for key, (_, handle) in viewer.markers._shown.items()}
    assert shown[LINE_STRIP].points.shape == (2, 2, 3) and shown[LINE_LIST].points.shape == (1, 2, 3)
    assert shown[SPHERE_LIST].points.shape == (3, 3)


def test_markers_change_expire_and_go(viewer):
    viewer.set_markers([marker(SPHERE_LIST, points=LINE, life=2), marker(CUBE, "box", 1)], 10.0)
    moved = marker(SPHERE_LIST, points=[(9, 9, 9), *LINE[1:]], colours=[(0.0, 0.0, 1.0, 0.5)] * 3, life=2)
    viewer.set_markers([moved], 11.0)
    cloud = viewer.markers._shown["m", 0][1]
    np.testing.assert_allclose(cloud.points[0], 9)
    np.testing.assert_array_equal(cloud.colors[0], [128, 128, 255])
    viewer.set_markers([], 12.5)
    assert ("m", 0) in viewer.markers.names
    viewer.set_markers([], 13.5)
    assert viewer.markers.names == {("box", 1)}
    viewer.set_markers([marker(TEXT, "box", 1, text="x")], 14.0)  # another kind under the same name
    assert viewer.markers._shown["box", 1][0] == TEXT
    viewer.set_markers([marker(CUBE, "box", 1, action=2)], 15.0)
    viewer.set_markers([marker(CUBE, "a"), marker(CUBE, "b"), marker(CUBE, action=3)], 16.0)
    assert not viewer.markers.names


def test_what_cannot_be_shown_is_left_out(viewer):
    nan = float("nan")
    viewer.set_markers(
        [
            marker(CUBE, "other", frame_id="left_tcp"),
            marker(11, "mesh"),
            marker(SPHERE_LIST, "lost", points=[(nan, 0, 0), (0, 0, 0.1)]),
        ],
        0.0,
    )
    assert viewer.markers.names == {("lost", 0)}
    assert len(viewer.markers._shown["lost", 0][1].points) == 1
    assert viewer.markers.left_out == {"frame 'left_tcp'", "marker type 11"}


def test_the_page_shows_markers_and_text(viewer):
    with chromium() as browser, watched_page(browser, viewer.url, viewport={"width": 640, "height": 480}) as page:
        viewer.set_text("**gate** holding: keypoints are stale")
        page.get_by_text("keypoints are stale").wait_for(timeout=20000)
        assert red_share(page) < 1e-3
        viewer.set_markers([marker(CUBE, size=(0.5, 0.5, 0.5), at=(0, 0, 0.25))], 0.0)
        deadline = time.monotonic() + 60  # software rendering on a busy machine
        while red_share(page) < 0.01 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert red_share(page) > 0.01


def red_share(page):
    """Share of the page's pixels that are strongly red."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), np.int32)
    return float(((pixels[..., 0] > 120) & (pixels[..., 1:].max(axis=-1) < 70)).mean())
