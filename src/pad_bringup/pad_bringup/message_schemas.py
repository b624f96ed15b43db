"""Message types by name: their classes, and the texts that describe them in a recording."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pad_bringup.errors import RecordingError


def message_class(name: str) -> Any:
    """The rclpy class of "package/msg/Type".

    Raises:
        RecordingError: it is not installed.
    """
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError):
        raise RecordingError(f"message type {name} is not installed; source the workspace that has {package}") from None


class MessageSchemas:
    """Definitions of message types: those of ROS 2 Jazzy, and those of installed packages."""

    def __init__(self) -> None:
        self._types = get_typestore(Stores.ROS2_JAZZY)

    def text(self, message_type: str) -> str:
        """The definition of "package/msg/Type" with all that it refers to; "" where it is not installed as text."""
        if not self._known(message_type):
            return ""
        return self._types.generate_msgdef(message_type, ros_version=2)[0]

    def _known(self, message_type: str) -> bool:
        if message_type in self._types.fielddefs:
            return True
        package, _, name = message_type.partition("/msg/")
        prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
        files = [prefix / "share" / package / "msg" / f"{name}.msg" for prefix in prefixes]
        path = next((file for file in files if file.is_file()), None)
        if path is None:
            return False
        found = get_types_from_msg(path.read_text(encoding="utf-8"), message_type)
        if not all(self._known_field(kind) for _, fields in found.values() for _, kind in fields):
            return False
        self._types.register(found)
        return True

    def _known_field(self, kind: tuple[Nodetype, Any]) -> bool:
        """Whether a field's type is basic or known."""
        node, detail = kind
        if node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            return self._known_field(detail[0])
        return node is not Nodetype.NAME or self._known(detail)
