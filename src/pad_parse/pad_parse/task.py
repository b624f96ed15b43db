"""The symbolic task template: objects, keypoint groups, stages; read from YAML."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pad_parse.errors import TaskError
from pad_parse.files import write_atomically
from pad_parse.plain_yaml import PlainYamlError, load_plain_yaml

TASK_FILE = "task.yaml"
"""The task in a folder of its own, which has the task's name."""
TASK_PATH = "PAD_TASK_PATH"
"""Environment variable: folders in which the user's task folders lie."""

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
Interval = tuple[float, float]
Count = Annotated[int, Field(ge=1, le=64)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Region(_Model):
    """Where an object may stand at the start: intervals (low, high) in the task frame, metres and radians."""

    x: Interval
    y: Interval
    yaw: Interval = (0.0, 0.0)

    @field_validator("x", "y", "yaw")
    @classmethod
    def _ordered(cls, value: Interval) -> Interval:
        if value[0] > value[1]:
            raise ValueError(f"interval {value} has its low end above its high end")
        return value


class ObjectSpec(_Model):
    """One object: the number of keypoints of each of its groups, and where it may stand.

    `round`: it is the same from all sides, so that hands take it from the demonstrated side however it is turned.
    """

    groups: dict[str, Count] = Field(min_length=1, max_length=32)
    region: Region
    round: bool = False


class StageSpec(_Model):
    """One stage: which arm moves which object relative to which reference object.

    `kind` grasp closes a gripper on `object`; skill moves the held `object` relative to `reference`. `sync` marks a
    stage in which both arms keep the demonstration's relative motion.
    """

    name: str = Field(max_length=64)
    arm: Literal["left", "right", "both"]
    object: str
    reference: str
    kind: Literal["grasp", "skill"]
    sync: bool = False


class KeypointSpec(_Model):
    """One annotated keypoint.

    `pixel` is (u, v) in the recording's first frame; `position_in_object` is metres in the object's frame. Either may
    be missing.
    """

    name: str = Field(max_length=64)
    object: str
    group: str
    pixel: tuple[float, float] | None = None
    position_in_object: tuple[float, float, float] | None = None


class SegmentSpec(_Model):
    """One part of one arm's timeline, set by hand; `start` and `end` are seconds after the recording's first frame.

    Only what matters has to be given: grounding fills the gaps between an arm's segments.
    """

    arm: Literal["left", "right"]
    kind: Literal["motion", "idle", "async_skill", "sync_skill"]
    start: float = Field(ge=0.0, le=86400.0)
    end: float = Field(ge=0.0, le=86400.0)
    stage: str = Field(default="", max_length=64)
    object: str = ""
    reference: str = ""


class TaskSpec(_Model):
    """A bimanual task: the template of its stages, its objects, and (once annotated) its keypoints.

    Keypoints are ordered as in `keypoints`; a template without annotation orders them by object, then by group.
    `segments` is the timeline of one recording where a person has set it; empty lets grounding find it. `swap_sides`:
    half of the scenes are seen in a mirror, y to -y, so that each object stands on the other hand's side.
    """

    name: str
    description: str = Field(default="", max_length=2000)
    objects: dict[str, ObjectSpec] = Field(min_length=1, max_length=16)
    swap_sides: bool = False
    stages: tuple[StageSpec, ...] = Field(default=(), max_length=64)
    keypoints: tuple[KeypointSpec, ...] = Field(default=(), max_length=1024)
    segments: tuple[SegmentSpec, ...] = Field(default=(), max_length=1024)
    success: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        for name in (self.name, *self.objects, *(g for spec in self.objects.values() for g in spec.groups)):
            if not _NAME.match(name):
                raise ValueError(f"{name!r} is no valid name: use lower case letters, digits and _, a letter first")
        doubles = _doubles(g for spec in self.objects.values() for g in spec.groups)
        if doubles:
            raise ValueError(f"groups {doubles} belong to more than one object; name them apart")
        known = ", ".join(self.objects)
        for stage in self.stages:
            if ":" in stage.name:  # what failed where is told as "... in stage NAME: ..."
                raise ValueError(f"stage name {stage.name!r} contains ':'; leave it out")
            for role in (stage.object, stage.reference):
                if role not in self.objects:
                    raise ValueError(f"stage {stage.name!r} uses unknown object {role!r}; known: {known}")
            if stage.sync and stage.arm != "both":
                raise ValueError(f"stage {stage.name!r} is in sync but uses one arm; sync needs arm: both")
        doubles = _doubles(stage.name for stage in self.stages)
        if doubles:
            raise ValueError(f"stage names {doubles} occur more than once")
        if self.keypoints:
            self._check_keypoints()
        self._check_segments()
        return self

    def _check_segments(self) -> None:
        stages = [stage.name for stage in self.stages]
        for segment in self.segments:
            where = f"segment of the {segment.arm} arm from {segment.start:g} to {segment.end:g} s"
            if segment.start >= segment.end:
                raise ValueError(f"{where} ends before it begins")
            for role in (segment.object, segment.reference):
                if role and role not in self.objects:
                    raise ValueError(f"{where} uses unknown object {role!r}; known: {', '.join(self.objects)}")
            if segment.stage and segment.stage not in stages:
                raise ValueError(f"{where} uses unknown stage {segment.stage!r}; known: {', '.join(stages) or 'none'}")
        for arm in ("left", "right"):
            mine = sorted((s for s in self.segments if s.arm == arm), key=lambda s: s.start)
            for before, after in zip(mine, mine[1:]):
                if after.start < before.end:
                    raise ValueError(
                        f"segments of the {arm} arm overlap: {before.start:g} to {before.end:g} s and "
                        f"{after.start:g} to {after.end:g} s"
                    )

    def _check_keypoints(self) -> None:
        doubles = _doubles(k.name for k in self.keypoints)
        if doubles:
            raise ValueError(f"keypoint names {doubles} occur more than once")
        for keypoint in self.keypoints:
            if keypoint.object not in self.objects:
                raise ValueError(
                    f"keypoint {keypoint.name!r}: unknown object {keypoint.object!r}; known: {', '.join(self.objects)}"
                )
            groups = self.objects[keypoint.object].groups
            if keypoint.group not in groups:
                raise ValueError(
                    f"keypoint {keypoint.name!r}: {keypoint.object} has no group {keypoint.group!r}; "
                    f"known: {', '.join(groups)}"
                )
        counts = Counter(k.group for k in self.keypoints)
        for spec in self.objects.values():
            for group, count in spec.groups.items():
                if counts[group] != count:
                    raise ValueError(f"group {group!r} needs {count} keypoints; {counts[group]} are given")

    @property
    def object_names(self) -> list[str]:
        """Names of the objects, in the file's order."""
        return list(self.objects)

    @property
    def group_names(self) -> list[str]:
        """Names of all keypoint groups, by object, in the file's order."""
        return [group for spec in self.objects.values() for group in spec.groups]

    @property
    def keypoint_names(self) -> list[str]:
        """Name of each of the N keypoints."""
        if self.keypoints:
            return [k.name for k in self.keypoints]
        return [
            group if count == 1 else f"{group}_{i}"
            for spec in self.objects.values()
            for group, count in spec.groups.items()
            for i in range(count)
        ]

    @property
    def keypoint_groups(self) -> list[str]:
        """Group of each of the N keypoints."""
        if self.keypoints:
            return [k.group for k in self.keypoints]
        return [g for spec in self.objects.values() for g, count in spec.groups.items() for _ in range(count)]

    @property
    def keypoint_objects(self) -> list[str]:
        """Object of each of the N keypoints."""
        if self.keypoints:
            return [k.object for k in self.keypoints]
        return [name for name, spec in self.objects.items() for count in spec.groups.values() for _ in range(count)]

    @property
    def keypoint_count(self) -> int:
        """N."""
        return sum(count for spec in self.objects.values() for count in spec.groups.values())

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> TaskSpec:
        """Read a task from a YAML file, or a known task by its name (see `known_tasks`).

        Raises:
            TaskError: unknown name, missing file, no YAML, unknown keys, inconsistent content.
        """
        path = _find(path_or_name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TaskError(f"task file {path} cannot be read: {_one_line(error)}") from error
        return cls.from_yaml(text, source=str(path))

    @classmethod
    def from_yaml(cls, text: str, source: str = "text") -> TaskSpec:
        """Read a task from YAML text; `source` is named in errors.

        Raises:
            TaskError: no YAML, unknown keys, inconsistent content.
        """
        try:
            content = load_plain_yaml(text)
        except PlainYamlError as error:
            raise TaskError(f"task {source} is no YAML: {_one_line(error)}") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            keys = f"; known keys: {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise TaskError(f"task {source}: {where + ': ' if where else ''}{first['msg']}{keys}") from error

    def to_yaml(self) -> str:
        """The task as YAML text, readable by `from_yaml`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the task as YAML; an existing file is replaced as a whole."""
        path = Path(path)
        try:
            write_atomically(path, self.to_yaml())
        except OSError as error:
            raise TaskError(f"task file {path} cannot be written: {_one_line(error)}") from error


def task_directories() -> list[Path]:
    """Folders that hold the known tasks: pad_bringup's installed share, then the source tree; existing ones only."""
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    candidates = [prefix / "share" / "pad_bringup" / "tasks" for prefix in prefixes]
    candidates.append(Path(__file__).resolve().parents[2] / "pad_bringup" / "tasks")
    return [path for path in candidates if path.is_dir()]


def user_tasks() -> dict[str, Path]:
    """Name -> YAML file of the user's own tasks: `NAME/task.yaml` in the folders of $PAD_TASK_PATH, then in the user's
    data folder ($XDG_DATA_HOME/pad/tasks, else ~/.local/share/pad/tasks)."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pad" / "tasks"
    found: dict[str, Path] = {}
    for folder in (*(Path(p) for p in os.environ.get(TASK_PATH, "").split(os.pathsep) if p), data):
        for path in sorted(folder.glob(f"*/{TASK_FILE}")):
            found.setdefault(path.parent.name, path)
    return found


def known_tasks() -> dict[str, Path]:
    """Name -> YAML file of every known task: the package's, then the user's own."""
    found: dict[str, Path] = {}
    for folder in task_directories():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    for name, path in user_tasks().items():
        found.setdefault(name, path)
    return found


def _find(path_or_name: str | os.PathLike[str]) -> Path:
    text = os.fspath(path_or_name)
    is_path = not isinstance(path_or_name, str) or os.sep in text or text.endswith((".yaml", ".yml"))
    if is_path:
        path = Path(text)
        if not path.is_file():
            raise TaskError(f"task file {path} does not exist")
        return path
    tasks = known_tasks()
    if text not in tasks:
        known = ", ".join(sorted(tasks)) or "none (is pad_bringup installed and its workspace sourced?)"
        raise TaskError(f"there is no task {text!r}; known tasks: {known}; or give the path of a task YAML file")
    return tasks[text]


def _doubles(names: Any) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
