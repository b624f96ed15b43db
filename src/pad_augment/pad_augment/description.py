"""From the robot profile's xacro to URDF text; made once per process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import xacro

from pad_augment.errors import RobotError


@lru_cache(maxsize=8)
def urdf_text(path: Path) -> str:
    """URDF of a `.xacro` or `.urdf` file, as text.

    Raises:
        RobotError: the file is missing or is no valid xacro.
    """
    if not path.is_file():
        raise RobotError(f"robot description {path} does not exist")
    try:
        return str(xacro.process_file(str(path)).toxml())
    except Exception as error:  # xacro raises its own and expat's errors
        raise RobotError(f"robot description {path} is no valid xacro: {' '.join(str(error).split())}") from error
