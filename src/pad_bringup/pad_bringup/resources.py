"""Where the package's own files are: tasks, robots, cameras, description; in the source tree or installed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pad_bringup.errors import ResourceError


def share_directory() -> Path:
    """The folder that holds `tasks/`, `config/`, `description/`, `launch/` and `rviz/`.

    The source tree that this module lies in comes first, so that an edit is never hidden by an older build;
    then every prefix of AMENT_PREFIX_PATH.

    Raises:
        ResourceError: none of the places has it.
    """
    candidates = [Path(__file__).resolve().parents[1]]
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    candidates += [Path(prefix) / "share" / "pad_bringup" for prefix in prefixes if prefix]
    for candidate in candidates:
        if (candidate / "tasks").is_dir():
            return candidate
    raise ResourceError(
        f"the files of pad_bringup were not found in {', '.join(map(str, candidates))}; "
        "build the workspace and source its install/setup.bash, or run through ./pad"
    )


def resource(*parts: str) -> Path:
    """The path of one file of the package, e.g. `resource("config", "robots", "ur5e_pair.yaml")`.

    Raises:
        ResourceError: it does not exist; the message lists its neighbours.
    """
    path = share_directory().joinpath(*parts)
    if not path.exists():
        neighbours = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise ResourceError(f"{path} does not exist; in the same folder: {', '.join(neighbours) or 'nothing'}")
    return path


def named_or_path(value: str, *folder: str) -> Path:
    """A file given by path, or by the name of a YAML file in one of the package's folders.

    value: a path (has a separator or ends in .yaml) or a bare name, e.g. "ur5e_pair".
    folder: the package's folder to look a name up in, e.g. "config", "robots".

    Raises:
        ResourceError: no such file or name; the message lists the known names.
    """
    if os.sep in value or value.endswith((".yaml", ".yml")):
        path = Path(value).expanduser()
        if not path.is_file():
            raise ResourceError(f"{path} does not exist")
        return path.resolve()
    directory = share_directory().joinpath(*folder)
    path = directory / f"{value}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in directory.glob("*.yaml"))) or "none"
        raise ResourceError(f"there is no {value!r} in {'/'.join(folder)}; known: {known}; or give a path")
    return path


def message_definitions(package: str, messages: Iterable[str]) -> dict[str, str]:
    """Message name -> text of its .msg file, from the source tree beside this package or an installed share.

    Raises:
        ResourceError: no such message anywhere.
    """
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    folders = [Path(__file__).resolve().parents[2] / package / "msg"]
    folders += [prefix / "share" / package / "msg" for prefix in prefixes]
    found = {}
    for name in messages:
        path = next((folder / f"{name}.msg" for folder in folders if (folder / f"{name}.msg").is_file()), None)
        if path is None:
            raise ResourceError(
                f"{package}/msg/{name} was not found in {', '.join(map(str, folders))}; build and source the workspace"
            )
        found[name] = path.read_text(encoding="utf-8")
    return found
