"""Where everything that the bootstrap makes lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below the repository root `root`; all of them are absolute."""

    root: Path

    @property
    def home(self) -> Path:
        """The one folder that the bootstrap writes to, ignored by git; deleting it undoes everything."""
        return self.root / ".pad"

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def workspace(self) -> Path:
        """The colcon workspace's output; apart from build/ and install/ that a person may make with plain colcon."""
        return self.home / "ws"

    @property
    def install(self) -> Path:
        return self.workspace / "install"

    @property
    def stamps(self) -> Path:
        return self.home / "stamps"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def environment(self) -> Path:
        """The cached environment variables of the finished workspace (JSON)."""
        return self.home / "environment.json"

    @property
    def setup_script(self) -> Path:
        """The same environment for an interactive shell: source .pad/setup.bash."""
        return self.home / "setup.bash"

    @property
    def pins(self) -> Path:
        return self.root / "requirements" / "pins.txt"

    @property
    def source(self) -> Path:
        return self.root / "src"
