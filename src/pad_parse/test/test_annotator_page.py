"""The annotator as a person meets it: real clicks and keys in a real browser, and the file that comes out."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from chromium import chromium, watched_page

from pad_parse.annotator import Annotator, ask_for_pixels
from pad_parse.annotator import server as annotator_server
from pad_parse.camera import Camera
from pad_parse.demonstration import Reference
from pad_parse.errors import AnnotationError
from pad_parse.recording import open_recording
from pad_parse.task import SegmentSpec, TaskSpec

WIDTH, HEIGHT, FRAMES = 320, 240, 30
BOX, MUG = (40, 60), (200, 110)  # corners of the two textured squares in the first frame
SIDE = 60


def frame(i, rng_seed=3):
    """Two textured squares drift to the right; a plain bar passes over the left one from frame 10 to 20."""
    rng = np.random.default_rng(rng_seed)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for x, y in (BOX, MUG):
        patch = cv2.resize(rng.integers(0, 255, (15, 15, 3), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        image[y : y + SIDE, x + i : x + i + SIDE] = patch
    if 10 <= i < 20:
        image[BOX[1] - 5 : BOX[1] + SIDE + 5, BOX[0] : BOX[0] + SIDE + 40] = 30
    return image


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 15, (WIDTH, HEIGHT))
    for i in range(FRAMES):
        writer.write(frame(i))
    writer.release()
    return open_recording(path)


@pytest.fixture
def template():
    region = {"x": [-0.1, 0.1], "y": [-0.1, 0.1]}
    return TaskSpec.model_validate(
        {
            "name": "stack",
            "objects": {
                "box": {"groups": {"box_corner": 2, "box_lid": 1}, "region": region},
                "mug": {"groups": {"mug_rim": 3}, "region": region},
            },
            "stages": [{"name": "take", "arm": "right", "object": "box", "reference": "box", "kind": "grasp"}],
        }
    )


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def expect(*what):
    """playwright's waiting assertion; imported late, because it may be missing."""
    from playwright.sync_api import expect

    return expect(*what)


def canvas_place(page, canvas, pixel, size=(WIDTH, HEIGHT)):
    """Where on the page a pixel of an image lies that fills its canvas."""
    box = page.locator(canvas).bounding_box()
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = box["x"] + (box["width"] - scale * size[0]) / 2, box["y"] + (box["height"] - scale * size[1]) / 2
    return left + scale * (pixel[0] + 0.5), top + scale * (pixel[1] + 0.5)


def says(page, words):
    """Wait until the page's status line says so."""
    expect(page.locator("#status")).to_contain_text(words, timeout=45000)


def ready(page):
    page.wait_for_selector("#objects .group")
    expect(page.locator("#frame")).to_have_attribute("max", str(FRAMES - 1), timeout=45000)


def test_click_preview_time_line_save(browser, recording, template):
    corner, other, lid = (45.0, 65.0), (95.0, 70.0), (70.0, 90.0)
    rims = ((205.0, 120.0), (250.0, 125.0), (230.0, 165.0))

    def propose(task, progress):
        progress("think", 0.5)
        return [SegmentSpec(arm="right", kind="async_skill", start=0.2, end=0.8, stage="take", object="box")]

    with (
        Annotator(recording, template, propose=propose) as annotator,
        watched_page(browser, annotator.url) as page,
    ):
        ready(page)

        def click(pixel):
            page.mouse.click(*canvas_place(page, "#image", pixel))

        page.click("#save")
        says(page, "box_corner and box_lid of box have no point yet")
        for pixel in (corner, other, (300.0, 30.0), *rims):
            click(pixel)  # the group that is complete gives way to the next one
        says(page, "All points are set")
        # the lid went astray: take it where it belongs
        page.mouse.move(*canvas_place(page, "#image", (300.0, 30.0)))
        page.mouse.down()
        page.mouse.move(*canvas_place(page, "#image", (200.0, 60.0)), steps=3)
        page.mouse.move(*canvas_place(page, "#image", lid), steps=3)
        page.mouse.up()
        click((10.0, 10.0))
        page.click("#undo")
        page.click("#undo")
        page.click("#redo")  # the point at (10, 10) is gone again, the lid is back on the box
        name = page.locator("[data-key='group-0-0']")
        name.fill("box_edge")
        page.click("[data-key='add-group-0']")  # leaves the field and presses a button in one
        page.click("[data-key='remove-group-0-2']")
        assert page.locator("#objects .points button").all_inner_texts() == [
            *("box_edge_0", "box_edge_1", "box_lid", "mug_rim_0", "mug_rim_1", "mug_rim_2"),
        ]

        page.click("#preview")
        page.wait_for_selector("#tracks-result table", timeout=45000)
        rows = page.locator("#tracks-result tr").all_inner_texts()
        hidden = next(row for row in rows if row.startswith("box_edge"))
        assert "filled" in hidden or "lost" in hidden
        seen = next(row for row in rows if row.startswith("mug_rim"))
        assert "100 %" in seen and "lost" not in seen
        page.locator("#frame").fill("14")
        expect(page.locator("#time")).to_contain_text("0.93 s")

        page.click("#propose")
        says(page, "1 segments proposed")
        end = page.locator("#timeline button[data-index='0'] b.r").bounding_box()
        lane = page.locator("#timeline .lane").first.bounding_box()
        page.mouse.move(end["x"] + 3, end["y"] + 5)
        page.mouse.down()
        page.mouse.move(end["x"] + 3 + lane["width"] / 4, end["y"] + 5, steps=4)
        page.mouse.up()
        page.click("[aria-label='Add segment of the left arm']")
        page.select_option("[data-key='segment-kind']", "idle")
        page.click("[aria-label='Add segment of the left arm']")
        says(page, "there is a segment of the left arm at this time already")
        page.locator("#frame").fill("2")
        expect(page.locator("#time")).to_contain_text("0.13 s")
        page.click("[aria-label='Add segment of the left arm']")
        expect(page.locator("#timeline button[data-index]")).to_have_count(3)
        page.click("[data-key='segment-remove']")
        expect(page.locator("#timeline button[data-index]")).to_have_count(2)
        page.click("#save")
        says(page, "Saved")
        assert page.inner_text("#save") == "Save"
        page.click("#finish")
        assert annotator.wait(30)

    saved = open_recording(recording.path).annotation
    assert saved is not None and saved.name == "stack"
    assert saved.objects["box"].groups == {"box_edge": 2, "box_lid": 1}
    names = ["box_edge_0", "box_edge_1", "box_lid", "mug_rim_0", "mug_rim_1", "mug_rim_2"]
    assert [k.name for k in saved.keypoints] == names
    for keypoint, pixel in zip(saved.keypoints, (corner, other, lid, *rims), strict=True):
        assert np.allclose(keypoint.pixel, pixel, atol=0.6)
    assert saved.stages == template.stages
    left, right = sorted(saved.segments, key=lambda s: s.arm)
    assert (left.arm, left.kind) == ("left", "idle") and left.start == pytest.approx(0.933, abs=0.01)
    assert (right.stage, right.kind, right.start) == ("take", "async_skill", 0.2)
    assert right.end == pytest.approx(0.8 + FRAMES / 15 / 4, abs=0.05)


def test_the_keyboard_alone_is_enough(browser, recording, template):
    with Annotator(recording, template) as annotator, watched_page(browser, annotator.url) as page:
        ready(page)
        keys = page.keyboard
        for _ in range(20):  # past the tools to the image
            keys.press("Tab")
            if page.evaluate("document.activeElement.id") == "image":
                break
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert page.evaluate("document.activeElement.id") == "image"
        keys.press("?")
        assert page.is_visible("#keys")
        keys.press("Escape")
        # the cross-hair begins in the middle: (160, 120)
        for _ in range(11):
            keys.press("Shift+ArrowLeft")
        for _ in range(5):
            keys.press("Shift+ArrowUp")
        for key in ("Enter", "ArrowRight", "ArrowRight", "Enter", "g", "g", "g", "ArrowDown", "Enter"):
            keys.press(key)
        for _ in range(16):
            keys.press("Shift+ArrowRight")
        for key in ("Enter", "Shift+ArrowDown", "Enter", "Shift+ArrowDown", "Enter", "Enter", "Control+z"):
            keys.press(key)
        keys.press("b")  # the last rim point
        for key in ("ArrowDown", "ArrowDown", "m"):
            keys.press(key)
        says(page, "chosen")
        page.locator("[data-key='add-right']").focus()
        keys.press("Enter")
        keys.press("Control+s")
        says(page, "Saved")
    saved = open_recording(recording.path).annotation
    assert [k.pixel for k in saved.keypoints] == [(50, 70), (52, 70), (52, 71), (212, 71), (212, 81), (212, 93)]
    assert [s.arm for s in saved.segments] == ["right"]


def test_an_existing_annotation_is_gone_on_with_and_survives_bad_input(browser, recording, template):
    keypoints = [
        ("box", "box_corner"),
        ("box", "box_corner"),
        ("box", "box_lid"),
        ("mug", "mug_rim"),
        ("mug", "mug_rim"),
        ("mug", "mug_rim"),
    ]
    content = template.model_dump(mode="json")
    content["keypoints"] = [
        {"name": f"point_{i}", "object": o, "group": g, "pixel": [50 + 30 * i, 80 + 5 * i]}
        for i, (o, g) in enumerate(keypoints)
    ]
    path = recording.path.with_name("clip.task.yaml")
    TaskSpec.model_validate(content).save(path)
    before = path.read_bytes()
    again = open_recording(recording.path)
    with Annotator(again, template) as annotator, watched_page(browser, annotator.url) as page:
        ready(page)
        assert page.locator("#objects .points button").all_inner_texts() == [f"point_{i}" for i in range(6)]
        page.locator("text=point_2").click()
        page.keyboard.press("Delete")
        page.click("#save")
        says(page, "Not saved: box_lid of box has no point yet")
        assert path.read_bytes() == before
        page.click("#undo")
        page.fill("#task-name", "No Name!")
        page.click("#save")
        says(page, "'No Name!' is no valid name")
        assert path.read_bytes() == before
        page.click("#undo")
        page.click("#save")
        says(page, "Saved")
    assert TaskSpec.load(path) == TaskSpec.model_validate(content)
    other = template.model_copy(update={"name": "pour"})
    with pytest.raises(AnnotationError, match=r"annotated for task 'stack', not 'pour'; move clip\.task\.yaml away"):
        Annotator(open_recording(recording.path), other)


def test_the_same_points_in_a_new_scene(browser, monkeypatch):
    pixels = np.array([[45.0, 65.0], [95.0, 70.0], [205.0, 120.0]])
    camera = Camera.from_horizontal_fov(WIDTH, HEIGHT, 1.0)
    reference = Reference(frame(0), None, camera, pixels, np.zeros((3, 3)))
    told, found = [], []
    start = np.array([[np.nan, np.nan], [100.0, 71.0], [np.nan, np.nan]])
    asking = threading.Thread(
        target=lambda: found.append(
            ask_for_pixels(
                *(reference, ["edge_0", "edge_1", "rim"], ["edge", "edge", "rim"], frame(12)),
                start=start,
                browser=False,
                tell=told.append,
                seconds=60,
            )
        )
    )
    asking.start()
    while not told:
        asking.join(0.05)
    with watched_page(browser, told[0].split()[-1]) as page:
        says(page, "Click edge_0 in the new scene; 2 to go")
        page.mouse.click(*canvas_place(page, "#scene", (57.0, 65.0)))
        says(page, "Click rim")
        for key in ("Shift+ArrowRight", "Enter"):
            page.keyboard.press(key)
        says(page, "All points are set")
        page.click("#done")
        says(page, "Done")
    asking.join(10)
    assert np.allclose(found[0], [[57, 65], [100, 71], [67, 65]], atol=0.6)
    assert annotator_server.HOST == "127.0.0.1"
