"""Tasks of the user's own: a folder each, anywhere, with the same files as the package's tasks.

`task.yaml` (objects, regions, stages, success), `objects.yaml` (shapes, masses, keypoints) and `demonstration.yaml`
(what the synthetic human does). A folder is known by its path; it is known by its name too once it is linked in the
user's data folder, as `pad new-task` does, or lies in a folder of $PAD_TASK_PATH.
"""

from __future__ import annotations

import os
from pathlib import Path

from pad_bringup.errors import ResourceError
from pad_bringup.resources import resource
from pad_parse.task import TASK_FILE, TASK_PATH, TaskSpec, user_tasks

_FOLDERS = {"objects": "objects.yaml", "demonstrations": "demonstration.yaml"}


def task_file(task: str, folder: str) -> Path:
    """The file of a task for the cell. folder: "objects" or "demonstrations".

    Raises:
        ResourceError: neither the package nor the user has one.
    """
    try:
        return resource("config", folder, f"{task}.yaml")
    except ResourceError:
        own = user_tasks().get(task)
        if own is None or not (own.parent / _FOLDERS[folder]).is_file():
            raise
        return own.parent / _FOLDERS[folder]


def use_task(task: str | os.PathLike[str]) -> str:
    """The name of a task that is given by its name, its folder or the `task.yaml` in it.

    A task given by path is known by its name from now on, in this process and in those that it starts.

    Raises:
        ResourceError: the folder is no task of the cell.
        pad_parse.errors.TaskError: its `task.yaml` is wrong.
    """
    text = os.fspath(task)
    if isinstance(task, str) and os.sep not in text and not Path(text, TASK_FILE).is_file():
        return text
    path = Path(text).expanduser().resolve()
    folder = path if path.is_dir() else path.parent
    if not (folder / TASK_FILE).is_file():
        raise ResourceError(f"{path} is no task: there is no {TASK_FILE} in {folder}; pad new-task makes such a folder")
    name = TaskSpec.load(folder / TASK_FILE).name
    if name != folder.name:
        raise ResourceError(f"the task in {folder} calls itself {name!r}; folder and name must be the same")
    known = os.environ.get(TASK_PATH, "").split(os.pathsep)
    os.environ[TASK_PATH] = os.pathsep.join([str(folder.parent), *(part for part in known if part)])
    return name
