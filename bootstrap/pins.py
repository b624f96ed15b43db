"""The one file of pins."""

import re
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import SetupError

SECTIONS = ("ros", "build", "run", "files", "check")


@dataclass(frozen=True)
class Pin:
    """One package at one version, e.g. numpy==2.4.6."""

    name: str
    version: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def key(self) -> str:
        """The name as registries compare it."""
        return normalised(self.name)


def normalised(name: str) -> str:
    """A package name as registries compare it: lower case, runs of -, _ and . as one -."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, list[Pin]]:
    """The pins by section. Raises SetupError when a line is not `name==version` below a known section mark."""
    sections: dict[str, list[Pin]] = {name: [] for name in SECTIONS}
    current = None
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SetupError(f"cannot read the pins {path}: {error.strerror}; is this a complete clone?") from None
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        mark = re.match(r"#\s*\[(\w+)\]", text)
        if mark:
            current = mark[1]
            if current not in sections:
                raise SetupError(f"{path}:{number}: unknown section [{current}]; known: {', '.join(SECTIONS)}")
        elif text and not text.startswith("#"):
            pin = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)", text)
            if pin is None or current is None:
                raise SetupError(f"{path}:{number}: expected name==version below a section mark, found {text!r}")
            sections[current].append(Pin(pin[1], pin[2]))
    return sections
