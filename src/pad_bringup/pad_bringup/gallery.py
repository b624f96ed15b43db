"""`pad gallery`: one page with the clips, curves and tables of result folders; nothing is loaded from outside."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from pad_bringup.errors import ReportError
from pad_bringup.evaluation import paper
from pad_bringup.evaluation.protocol import ProtocolResult
from pad_bringup.evaluation.result import EpisodeRecord, Evaluation
from pad_bringup.report import charts
from pad_bringup.report.collect import machine
from pad_bringup.report.page import template
from pad_bringup.splits import SPLITS
from pad_bringup.video import write_webm
from pad_parse.files import write_atomically
from pad_parse.report.media import Media
from pad_parse.report.page import base_style
from pad_policy.bundle import LOSSES, MANIFEST

STAGES = ("recording", "parse", "augment", "distill", "rollout")
CLIPS = 12
"""of a task at most: pages of many megabytes open slowly."""
_LARGE = 600_000
"""bytes from which a clip is drawn smaller, with half of its images."""
_WIDTH = 320


@dataclass(frozen=True)
class GalleryClip:
    """A video, and what it shows."""

    media: Media
    label: str


@dataclass
class GalleryTask:
    """What the page shows of one task.

    stages: runs with the seconds of their stages. causes: (cause, count for each of `columns`). curves: of training.
    left_out: clips that were found and are not on the page.
    """

    name: str
    stages: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    causes: list[tuple[str, list[int]]] = field(default_factory=list)
    curves: list[tuple[str, charts.Curve]] = field(default_factory=list)
    clips: list[GalleryClip] = field(default_factory=list)
    left_out: int = 0


def write_gallery(folders: Sequence[Path], out: Path) -> list[str]:
    """Write the page; returns the names of the tasks on it.

    folders: of runs (`pad demo`), of benchmarks, or any with results of `pad evaluate --out`; looked through wholly.

    Raises:
        ReportError: a folder is missing, or nothing was found.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f"{folder} is no folder with results")
    gallery = _Gallery()
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            gallery.take(path, folder)
    if not gallery.tasks:
        raise ReportError(
            f"there are no results in {', '.join(map(str, folders))}: neither runs nor policies nor files of "
            "pad evaluate --out"
        )
    for name, table in gallery.failures.items():
        gallery.tasks[name].columns = list(table)
        kinds = sorted({cause for counts in table.values() for cause in counts})
        gallery.tasks[name].causes = [(cause, [counts.get(cause, 0) for counts in table.values()]) for cause in kinds]
    write_atomically(out, _page(gallery))
    return list(gallery.tasks)


class _Gallery:
    def __init__(self) -> None:
        self.tasks: dict[str, GalleryTask] = {}
        self.protocols: list[dict[str, Any]] = []
        self.failures: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)

    def take(self, path: Path, root: Path) -> None:
        """Take in a file, if it is one of ours."""
        source = str(path.parent.relative_to(root.parent))
        if path.name == "run.json":
            self._take_run(path.parent, json.loads(path.read_text(encoding="utf-8")), source)
        elif path.name == MANIFEST and (path.parent / LOSSES).is_file():
            task = str(json.loads(path.read_text(encoding="utf-8"))["task"]["name"])
            losses = np.loadtxt(path.parent / LOSSES, delimiter=",", skiprows=1, ndmin=2)
            curve = charts.loss_curve(losses)
            if curve is not None:
                self._task(task).curves.append((source, curve))
        else:
            text = path.read_text(encoding="utf-8")
            if (protocol := _read(ProtocolResult, text)) is not None:
                self._take_protocol(protocol, source)
            elif (evaluation := _read(Evaluation, text)) is not None:
                self._take_evaluation(evaluation, f"{path.stem}, {evaluation.mode}")

    def _task(self, name: str) -> GalleryTask:
        return self.tasks.setdefault(name, GalleryTask(name))

    def _take_run(self, folder: Path, content: dict[str, Any], source: str) -> None:
        name = Path(str(content["options"]["task"])).name
        stages = content["stages"]
        rollout = stages.get("rollout", {}).get("values", {})
        self._task(name).stages.append(
            {
                "source": source,
                "seconds": [f"{stages[s]['seconds']:.0f} s" if s in stages else "-" for s in STAGES],
                "graph": f"{rollout['successes']}/{rollout['episodes']}" if "successes" in rollout else "-",
            }
        )
        for file, label in (
            ("overlay.webm", "the recording, with tracks and hands"),
            ("clip.webm", "in the node graph"),
        ):
            self._add_clip(name, folder / file, f"{label} ({source})")

    def _take_protocol(self, result: ProtocolResult, source: str) -> None:
        cells = []
        for split in SPLITS:
            found = result.splits.get(split)
            theirs = "-" if result.paper is None else f"{result.paper[split]}/{paper.TRIALS}"
            if found is None:
                cells.append({"ours": "-", "interval": "", "paper": theirs})
                continue
            low, high = (round(100 * bound) for bound in found.wilson95)
            ours = f"{round(found.success * found.episodes)}/{found.episodes}"
            cells.append({"ours": ours, "interval": f"{low} to {high} %", "paper": theirs})
            self._take_evaluation(found, f"{split}, {result.mode}")
        lost = "-" if result.tracks_lost is None else f"{100 * result.tracks_lost:.0f} %"
        row = {"task": result.task, "mode": result.mode, "cells": cells, "tracks_lost": lost, "source": source}
        self.protocols.append(row)

    def _take_evaluation(self, result: Evaluation, column: str) -> None:
        self._task(result.task)
        if result.causes:
            counts = self.failures[result.task].setdefault(column, {})
            for cause, count in result.causes.items():
                counts[cause] = counts.get(cause, 0) + count
        for record in sorted(result.results, key=lambda r: r.success):
            if record.clip is not None:
                self._add_clip(result.task, Path(record.clip), f"{column}, {record.seed}: {_verdict(record)}")

    def _add_clip(self, task: str, path: Path, label: str) -> None:
        if not path.is_file():
            return
        shown = self._task(task)
        if len(shown.clips) >= CLIPS:
            shown.left_out += 1
            return
        shown.clips.append(GalleryClip(_media(path), label))


def _media(path: Path) -> Media:
    """A clip for the page."""
    if path.suffix != ".webm" or path.stat().st_size < _LARGE:
        return Media.load(path)
    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS) or 1.0
    frames = []
    while True:
        good, image = video.read()
        if not good:
            break
        frames.append(image)
    video.release()
    if not frames:
        raise ReportError(f"{path} holds no images")
    size = (_WIDTH, 2 * round(frames[0].shape[0] * _WIDTH / frames[0].shape[1] / 2))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)[:, :, ::-1] for image in frames[::2]]
    with tempfile.TemporaryDirectory(prefix="pad-gallery-") as folder:
        return Media.load(
            write_webm([np.ascontiguousarray(image) for image in small], rate / 2, Path(folder, "small.webm"))
        )


def _verdict(record: EpisodeRecord) -> str:
    return f"success after {record.duration:.0f} s" if record.success else record.detail or record.cause


def _read(kind: type[Any], text: str) -> Any:
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return None


def _page(gallery: _Gallery) -> str:
    return template("gallery.html.j2").render(
        style=base_style(),
        created=time.strftime("%Y-%m-%d %H:%M"),
        machine=machine(),
        tasks=list(gallery.tasks.values()),
        protocols=gallery.protocols,
        splits=SPLITS,
        stage_names=STAGES,
        note=paper.NOTE,
    )
