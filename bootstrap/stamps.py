"""Which steps are finished, and with which inputs."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


class Stamps:
    """One small file per finished step, holding the hash of the inputs that the step was done with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, step: str, inputs: str) -> bool:
        """Whether the step was finished with exactly these inputs."""
        try:
            return (self._folder / step).read_text() == inputs
        except OSError:
            return False

    def set(self, step: str, inputs: str) -> None:
        """Mark the step finished; call it last, the file appears whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / step, inputs)

    def clear(self, *steps: str) -> None:
        """Forget steps; without names, all of them."""
        for step in steps or [path.name for path in self._folder.glob("*")]:
            (self._folder / step).unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a killed writer, never leaves half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def digest(parts: Iterable[str | bytes]) -> str:
    """A hash of the parts in order; where one part ends and the next begins counts too."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()
