"""`pad new-task`: the files of a task of one's own, to begin with; and a quick look at whether they can work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pad_augment.errors import PadAugmentError
from pad_augment.kinematics import Robot
from pad_bringup import store
from pad_bringup.errors import PadBringupError, ResourceError
from pad_bringup.resources import resource, share_directory
from pad_bringup.user_tasks import task_file, use_task
from pad_parse.task import TASK_FILE, TaskSpec, known_tasks, user_tasks

PREVIEW = "preview.png"
_RATE = 30.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LAUNCH = '''"""The whole node graph for the task `{name}`: `ros2 launch {name}.launch.py` in this folder."""

from pathlib import Path

from pad_bringup.launch_description import graph_description
from pad_bringup.user_tasks import use_task


def generate_launch_description():
    """Every argument of the graph except `task` is an argument here; `--show-args` lists them."""
    return graph_description(use_task(Path(__file__).parent))
'''


def templates() -> list[str]:
    """The package's tasks that a new one can begin from: those whose demonstration is a file."""
    return sorted(path.stem for path in (share_directory() / "config" / "demonstrations").glob("*.yaml"))


def make_task(name: str, folder: Path, like: str, *, left: str | None = None, right: str | None = None) -> Path:
    """Write the folder of a task and make it known by its name; it works as it is, as `like` with other names.

    folder: in which the task's own folder is made. left, right: the new name of the object of each hand; None: as in
    `like`.

    Raises:
        ResourceError: a bad name, one that is taken, or no such template.
    """
    for word in (name, left, right):
        if word is not None and not _NAME.fullmatch(word):
            raise ResourceError(f"{word!r} is no valid name: use lower case letters, digits and _, a letter first")
    if name in known_tasks():
        raise ResourceError(f"there is a task {name!r} already: {known_tasks()[name]}")
    if like not in templates():
        raise ResourceError(f"a new task cannot begin from {like!r}; choices: {', '.join(templates())}")
    place = folder.expanduser().resolve() / name
    if place.exists():
        raise ResourceError(f"{place} exists already; choose another name or folder")
    link = store.data_home() / "tasks" / name
    if link.is_symlink() or link.exists():
        raise ResourceError(f"{link} exists already and points to {link.resolve()}; remove it")
    from pad_bringup.cell.demonstrations import held_objects

    renames = {old: new for old, new in zip(held_objects(like), (left, right), strict=True) if new is not None}
    sources = {
        TASK_FILE: resource("tasks", f"{like}.yaml"),
        "objects.yaml": task_file(like, "objects"),
        "demonstration.yaml": task_file(like, "demonstrations"),
    }
    place.mkdir(parents=True)
    for file, source in sources.items():
        (place / file).write_text(_renamed(source.read_text(encoding="utf-8"), {like: name, **renames}), "utf-8")
    (place / f"{name}.launch.py").write_text(_LAUNCH.format(name=name), "utf-8")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(place, target_is_directory=True)
    return place


def _renamed(text: str, names: dict[str, str]) -> str:
    """Names, and those that begin with one and a `_` (keypoint groups, stages that end with one), by the new ones."""
    for old, new in names.items():
        text = re.sub(rf"(?<![a-z0-9]){re.escape(old)}(?![a-z0-9])", new, text)
    return text


@dataclass(frozen=True)
class TaskCheck:
    """success: whether the synthetic human can do it, and whether it meets the goal when the robots do it by script.

    cause: why not.

    preview: an image of the scene as the camera sees it, keypoints marked.
    """

    success: bool
    cause: str
    preview: Path


def check_task(task: str, robot: str = "ur5e_pair") -> TaskCheck:
    """Load everything about a task, draw its scene and let the robots do the demonstration by script.

    task: name or folder.

    Raises:
        ResourceError, CellError, PadParseError: a file is missing or wrong.
    """
    from pad_bringup.cell import Cell
    from pad_bringup.cell.human.motion import demonstrate
    from pad_bringup.cell.scripted import scripted_run

    name = use_task(task)
    own = user_tasks().get(name)
    preview = (store.cache_home() / name if own is None else own.parent) / PREVIEW
    TaskSpec.load(name)
    cell = Cell(name, profile=robot)
    try:
        image = cell.render()[0][:, :, ::-1].copy()
        for point in cell.camera.task_to_pixels(cell.keypoints()):
            cv2.circle(image, (round(point[0]), round(point[1])), 4, (0, 0, 255), 1, cv2.LINE_AA)
        preview.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(preview), image):
            raise ResourceError(f"{preview} cannot be written")
        homes = {thing: model.home for thing, model in cell.objects.models.items()}
        try:
            demonstrate(cell.objects, homes, np.random.default_rng(0), _RATE)
        except PadBringupError as error:
            return TaskCheck(False, f"the synthetic human cannot do it: {error}", preview)
        try:
            outcome = scripted_run(cell, Robot(cell.profile)).outcome
        except PadAugmentError as error:
            return TaskCheck(False, f"the robots cannot follow it: {error}", preview)
    finally:
        cell.close()
    return TaskCheck(outcome.success, "" if outcome.success else f"by script the robots fail: {outcome.cause}", preview)
