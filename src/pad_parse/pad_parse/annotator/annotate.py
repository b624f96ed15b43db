"""`pad annotate`: the page on which the keypoints, their names and the timeline of a recording are set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pad_parse.annotator.draft import annotated_task, clicked_part
from pad_parse.annotator.job import Job, Progress
from pad_parse.annotator.pictures import Pictures
from pad_parse.annotator.server import Answer, PageServer, open_in_browser
from pad_parse.annotator.tracks import preview_tracks
from pad_parse.colours import PALETTE, as_hex
from pad_parse.errors import AnnotationError, PadParseError
from pad_parse.recording import Recording
from pad_parse.recording.sidecar import sidecar_path
from pad_parse.task import SegmentSpec, TaskSpec

Propose = Callable[[TaskSpec, Progress], list[SegmentSpec]]
"""(annotated task, progress) -> a timeline to begin with."""


class Annotator:
    """One recording's annotation page. Use as a context, or call `close`."""

    def __init__(
        self,
        recording: Recording,
        task: TaskSpec | None = None,
        *,
        port: int = 0,
        propose: Propose | None = None,
        errors: tuple[type[Exception], ...] = (PadParseError,),
    ) -> None:
        """Read the first frame and serve the page.

        Args:
            task: the template whose objects, groups and stages are offered. An annotation of the same task that lies
                beside the recording is gone on with. None: that annotation, else an empty task.
            port: first port to try on 127.0.0.1; 0: any free one.
            propose: makes a timeline; None offers none.
            errors: kinds of exception of `propose` whose text is meant for people.

        Raises:
            AnnotationError: the recording is annotated for another task, or no port is free.
            RecordingError: the recording has no frame.
        """
        self.recording = recording
        self.path = sidecar_path(recording.path, "task.yaml")
        self.saved: TaskSpec | None = None
        self._start = _starting_point(recording, task, self.path)
        self._propose = propose
        self._pictures = Pictures(recording)
        self._tracks, self._proposal = Job(), Job(errors)
        self._finished = threading.Event()
        self._saving = threading.Lock()
        try:
            self._server = PageServer(
                "annotate.html",
                get={
                    "state": lambda _: Answer.json(self._state()),
                    "frame": self._frame,
                    "pictures": lambda _: Answer.json(self._pictures.status()),
                    "tracks": lambda _: Answer.json(self._tracks.status()),
                    "proposal": lambda _: Answer.json(self._proposal.status()),
                },
                post={
                    "tracks": self._start_tracks,
                    "tracks/stop": lambda _: self._tracks.stop(),
                    "proposal": self._start_proposal,
                    "proposal/stop": lambda _: self._proposal.stop(),
                    "save": self._save,
                    "finish": lambda _: self._finished.set(),
                },
                port=port,
            )
        except AnnotationError:
            self._pictures.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address of the page, with its secret."""
        return self._server.url

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the person has finished, at most `seconds`; whether they have."""
        return self._finished.wait(seconds)

    def close(self) -> None:
        """Stop all work and the page; what was saved stays."""
        self._server.close()
        self._tracks.stop()
        self._proposal.stop()
        self._pictures.close()

    def _state(self) -> dict[str, Any]:
        recording = self.recording
        return {
            "recording": recording.path.name,
            "file": str(self.path),
            "width": recording.camera.width,
            "height": recording.camera.height,
            "depth": recording.has_depth,
            "duration": recording.duration,
            "notes": recording.assumptions,
            "proposals": self._propose is not None,
            "colours": [as_hex(colour) for colour in PALETTE],
            "task": self._start.model_dump(mode="json") if self._start is not None else None,
        }

    def _frame(self, rest: str) -> Answer | None:
        found = self._pictures.picture(int(rest)) if rest.isdecimal() and len(rest) < 9 else None
        return None if found is None else Answer(*found)

    def _size(self) -> tuple[int, int]:
        return self.recording.camera.width, self.recording.camera.height

    def _start_tracks(self, content: Any) -> None:
        task = clicked_part(content, *self._size())
        self._tracks.start(lambda progress: preview_tracks(self.recording, task, progress))

    def _start_proposal(self, content: Any) -> None:
        if self._propose is None:
            raise AnnotationError("no proposals are offered here; start the page with `pad annotate`")
        propose = self._propose
        task = annotated_task(content, *self._size()).model_copy(update={"segments": ()})
        self._proposal.start(lambda progress: [s.model_dump(mode="json") for s in propose(task, progress)])

    def _save(self, content: Any) -> dict[str, str]:
        task = annotated_task(content, *self._size())
        with self._saving:
            task.save(self.path)
            self.saved = TaskSpec.load(self.path)
        return {"file": str(self.path)}


def annotate(
    recording: Recording,
    task: TaskSpec | None = None,
    *,
    port: int = 0,
    browser: bool = True,
    seconds: float | None = None,
    tell: Callable[[str], None] = print,
    propose: Propose | None = None,
    errors: tuple[type[Exception], ...] = (PadParseError,),
) -> Path | None:
    """Serve the annotation page until the person finishes, or for `seconds`; see `Annotator`.

    browser: open it where there is a screen. tell: is given the address.

    Returns the file that was saved; None if nothing was.
    """
    with Annotator(recording, task, port=port, propose=propose, errors=errors) as annotator:
        tell(f"annotate {recording.path.name}: {annotator.url} (Ctrl-C ends it)")
        if browser:
            open_in_browser(annotator.url)
        annotator.wait(seconds)
        return annotator.path if annotator.saved is not None else None


def _starting_point(recording: Recording, task: TaskSpec | None, path: Path) -> TaskSpec | None:
    annotation = recording.annotation
    if annotation is None or task is None:
        return annotation or task
    if annotation.name != task.name:
        raise AnnotationError(
            f"{recording.path} is annotated for task {annotation.name!r}, not {task.name!r}; move {path.name} away to "
            f"annotate it anew, or give --task {annotation.name}"
        )
    return annotation
