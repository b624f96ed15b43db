"""Pictures and videos that are embedded in a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from pad_parse.errors import ReportError

_MIME = {".webm": "video/webm", ".mp4": "video/mp4", ".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg"}
_LARGEST = 40_000_000  # bytes of one embedded file; browsers struggle beyond


@dataclass(frozen=True)
class Media:
    """A picture or a video that is embedded in the page.

    Attributes:
        mime: media type, e.g. "video/webm".
        data: the file's bytes.
    """

    mime: str
    data: bytes

    @classmethod
    def load(cls, path: Path) -> Media:
        """Read a .webm, .mp4, .webp, .png or .jpg file.

        Raises:
            ReportError: missing, too large, or of another kind.
        """
        mime = _MIME.get(path.suffix.lower())
        if mime is None:
            raise ReportError(f"{path} cannot be shown in the report; known kinds: {', '.join(_MIME)}")
        try:
            size = path.stat().st_size
            if size > _LARGEST:
                raise ReportError(f"{path} has {size} bytes; at most {_LARGEST} are embedded in a report")
            return cls(mime, path.read_bytes())
        except OSError as error:
            raise ReportError(f"{path} cannot be read: {error.strerror}") from error

    @property
    def is_video(self) -> bool:
        """Whether it needs a player."""
        return self.mime.startswith("video/")

    @property
    def uri(self) -> str:
        """The data: address that holds all of it."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"
