"""What the page sends, made into a complete task or refused with a sentence for the person."""

from __future__ import annotations

import json
from typing import Any

from pad_parse.errors import AnnotationError, TaskError
from pad_parse.task import KeypointSpec, TaskSpec


def annotated_task(content: Any, width: int, height: int) -> TaskSpec:
    """The task that a draft describes: a TaskSpec as JSON, every keypoint at a pixel of the first frame.

    The number of points of each group is the number that was clicked; keypoints are put in the order of objects and
    groups.

    Raises:
        AnnotationError: incomplete, inconsistent, or points outside the image of `width` x `height` px.
    """
    if not isinstance(content, dict):
        raise AnnotationError("the page sent no task")
    try:
        task = TaskSpec.from_yaml(json.dumps(_counted(content)), source="on the page")
    except TaskError as error:
        raise AnnotationError(str(error)) from error
    if not task.keypoints:
        raise AnnotationError("there is no point yet; click the named points in the first frame")
    _check_pixels(task.keypoints, width, height)
    order = {group: i for i, group in enumerate(task.group_names)}
    ordered = sorted(task.keypoints, key=lambda k: order[k.group])
    return task.model_copy(update={"keypoints": tuple(ordered)})


def clicked_part(content: Any, width: int, height: int) -> TaskSpec:
    """The part of an unfinished draft that is clicked already: its objects, groups and points, and the stages of those
    objects.

    Raises:
        AnnotationError: nothing is clicked, or the part is no task.
    """
    if not isinstance(content, dict):
        raise AnnotationError("the page sent no task")
    keypoints = [k for k in _list(content, "keypoints") if isinstance(k, dict) and k.get("pixel") is not None]
    if not keypoints:
        raise AnnotationError("there is no point yet; click at least one in the first frame")
    used = {k.get("group") for k in keypoints if isinstance(k.get("group"), str)}
    objects = {}
    for name, spec in content["objects"].items() if isinstance(content.get("objects"), dict) else ():
        groups = spec.get("groups") if isinstance(spec, dict) else None
        kept = {g: n for g, n in groups.items() if g in used} if isinstance(groups, dict) else {}
        if kept:
            objects[name] = {**spec, "groups": kept}
    stages = [s for s in _list(content, "stages") if isinstance(s, dict) and s.get("object") in [*objects]]
    part = {
        "name": "preview",
        "objects": objects,
        "keypoints": keypoints,
        "stages": [s for s in stages if s.get("reference") in [*objects]],
    }
    return annotated_task(part, width, height)


def _list(content: dict[str, Any], key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []


def _counted(content: dict[str, Any]) -> dict[str, Any]:
    """The draft with each group's count as clicked; a group without a point is refused here, in plain words."""
    keypoints, objects = content.get("keypoints"), content.get("objects")
    if not isinstance(keypoints, list) or not isinstance(objects, dict):
        return content
    groups = [k.get("group") for k in keypoints if isinstance(k, dict)]
    counted = {}
    for name, spec in objects.items():
        if not isinstance(spec, dict) or not isinstance(spec.get("groups"), dict):
            return content
        empty = [group for group in spec["groups"] if group not in groups]
        if empty:
            raise AnnotationError(
                f"{' and '.join(empty)} of {name} {'has' if len(empty) == 1 else 'have'} no point yet; "
                "click one in the first frame, or remove the group"
            )
        counted[name] = {**spec, "groups": {group: groups.count(group) for group in spec["groups"]}}
    return {**content, "objects": counted}


def _check_pixels(keypoints: tuple[KeypointSpec, ...], width: int, height: int) -> None:
    for keypoint in keypoints:
        if keypoint.pixel is None:
            raise AnnotationError(f"{keypoint.name} has no place in the first frame; click it")
        u, v = keypoint.pixel
        if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
            raise AnnotationError(
                f"{keypoint.name} at ({u:.0f}, {v:.0f}) lies outside the image of {width} x {height} pixels; move it"
            )
