"""The default point tracker on exact warps of real frames: TAP-Vid's delta-avg, and a moving occluder.

A picture (a frame of a real clip, or of the simulated cell where there are no clips) is moved by a homography that is
known in closed form for every frame, so the truth of every point is exact. All paths are sums of sines that begin with
the identity, already in motion; the view is 640 x 480 inside a larger picture.

- *mild*: shift up to 25 px (about 1.5 px a frame), turn up to 10 degrees, scale up to 10 %, perspective up to 3 % from
  the middle to the border; camera noise of 2 grey levels.
- *strong*: three times each of these (75 px, about 4.5 px a frame and more at the border; 30 degrees; 30 %; 9 %), the
  brightness changed by a gain up to 25 % and an offset up to 20 grey levels, noise of 5 grey levels.
- *occluder*: mild motion while a band of another picture, as wide as the middle 40 % of the points and as high as the
  image, sweeps over it, halts in the middle and leaves on the other side.

Delta-avg is that of TAP-Vid (Doersch et al. 2022): the share of truly visible points within 1, 2, 4, 8 and 16 px of the
truth, at 256 x 256, averaged over these thresholds. Distances to a point that is marked visible are in pixels of the
640 x 480 image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pad_bringup.bench.benchmark import BenchSettings, Say
from pad_parse.errors import RecordingError
from pad_parse.recording import open_recording
from pad_parse.tracking import PointTracker
from pad_parse.tracking.lucas_kanade import LucasKanadeTracker

KEYS = (
    "warp_corner_mild_davg",
    "warp_corner_strong_davg",
    "warp_any_mild_davg",
    "occluder_accuracy",
    "occluder_max_px",
)

WIDTH, HEIGHT = 640, 480
FRAMES = 75
POINTS = 32
THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_PICTURE = (800, 600)
_BORDER = 40
"""Points are chosen this far (px) inside the first image."""
_OCCLUDER = (10, 30, 45, 65)
"""Frames at which the occluder enters, halts in the middle, leaves it, and is gone."""
_OCCLUDED_SHARE = 0.4

FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """Largest shift (px), turn (rad), change of scale, perspective (1/px), brightness gain and offset (grey levels),
    and the noise (grey levels).
    """

    shift: float
    turn: float
    scale: float
    perspective: float
    gain: float
    offset: float
    noise: float


MILD = Motion(25.0, np.deg2rad(10.0), 0.10, 1e-4, 0.0, 0.0, 2.0)
STRONG = Motion(75.0, np.deg2rad(30.0), 0.30, 3e-4, 0.25, 20.0, 5.0)


@dataclass(frozen=True, eq=False)
class Warp:
    """A picture in motion.

    Attributes:
        homographies: (T, 3, 3) pixels of the first image -> those of image t.
        gains, offsets: (T,) brightness.
        noise: grey levels.
    """

    homographies: FloatArray
    gains: FloatArray
    offsets: FloatArray
    noise: float

    def truth(self, points: FloatArray) -> FloatArray:
        """(T, N, 2) where points (N, 2) of the first image are."""
        moved = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.homographies.transpose(0, 2, 1)
        return np.asarray(moved[..., :2] / moved[..., 2:])

    def images(self, picture: ImageArray, rng: np.random.Generator, cover: Cover | None = None) -> Iterator[ImageArray]:
        """The T images (480, 640, 3) of a picture (600, 800, 3) whose middle is the first one."""
        corner = np.eye(3)
        corner[:2, 2] = -(np.array(_PICTURE) - (WIDTH, HEIGHT)) / 2
        flags = cv2.INTER_LINEAR
        for t, homography in enumerate(self.homographies):
            image = cv2.warpPerspective(
                picture, homography @ corner, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT_101
            )
            if cover is not None:
                cover.draw(image, t)
            noise = self.noise * rng.standard_normal(image.shape, dtype=np.float32)
            lit = np.float32(self.gains[t]) * image + np.float32(self.offsets[t]) + noise
            yield np.clip(lit + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Cover:
    """A band of another picture (480, W, 3) whose left edge is at `left` (T,) px."""

    picture: ImageArray
    left: NDArray[np.intp]

    def draw(self, image: ImageArray, t: int) -> None:
        """Lay it over image t."""
        begin, end = max(self.left[t], 0), min(self.left[t] + self.picture.shape[1], WIDTH)
        if begin < end:
            image[:, begin:end] = self.picture[:, begin - self.left[t] : end - self.left[t]]

    def hides(self, truth: FloatArray) -> NDArray[np.bool_]:
        """(T, N) which points (T, N, 2) are under it."""
        u = np.round(truth[..., 0])
        return np.asarray((u >= self.left[:, None]) & (u < self.left[:, None] + self.picture.shape[1]))


def random_warp(motion: Motion, rng: np.random.Generator, frames: int = FRAMES) -> Warp:
    """Smooth random paths with the extent of `motion`, about the middle of the image."""

    def path(extent: float) -> FloatArray:
        t = np.linspace(0.0, 1.0, frames)
        wave = sum(
            weight * (np.sin(2 * np.pi * (k * t + phase)) - np.sin(2 * np.pi * phase))
            for k, weight, phase in zip((0.5, 1.0), rng.uniform(0.5, 1.0, 2), rng.uniform(0.0, 1.0, 2), strict=True)
        )
        return np.asarray(extent * wave / np.abs(wave).max())

    direction = rng.uniform(0.0, 2 * np.pi)
    along, across = path(motion.shift), path(0.3 * motion.shift)
    angle, scale = path(motion.turn), np.exp(path(np.log1p(motion.scale)))
    homographies = np.tile(np.eye(3), (frames, 1, 1))
    homographies[:, 0, 0] = homographies[:, 1, 1] = scale * np.cos(angle)
    homographies[:, 0, 1], homographies[:, 1, 0] = -scale * np.sin(angle), scale * np.sin(angle)
    homographies[:, 0, 2] = along * np.cos(direction) - across * np.sin(direction)
    homographies[:, 1, 2] = along * np.sin(direction) + across * np.cos(direction)
    homographies[:, 2, 0], homographies[:, 2, 1] = path(motion.perspective), path(motion.perspective)
    centre = np.eye(3)
    centre[:2, 2] = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    return Warp(centre @ homographies @ np.linalg.inv(centre), 1 + path(motion.gain), path(motion.offset), motion.noise)


def delta_average(points: FloatArray, truth: FloatArray, visible: NDArray[np.bool_]) -> float:
    """TAP-Vid's measure in per cent, of points and truth (T, N, 2) px where `visible` (T, N)."""
    error = np.linalg.norm((points - truth) * [256 / WIDTH, 256 / HEIGHT], axis=-1)[visible]
    return float(100 * np.mean([np.mean(error < limit) for limit in THRESHOLDS]))


def measure(settings: BenchSettings, say: Say) -> dict[str, float | None]:
    """All keys; from `settings.clips` if given, else from frames of the cell."""
    pictures = _pictures(settings, say)
    frames = 25 if settings.quick else FRAMES
    kinds = {
        "warp_corner_mild_davg": (MILD, _corners),
        "warp_corner_strong_davg": (STRONG, _corners),
        "warp_any_mild_davg": (MILD, _anywhere),
    }
    figures: dict[str, float | None] = {}
    for key, (motion, choose) in kinds.items():
        rng = np.random.default_rng(settings.seed)
        scores = []
        for picture in pictures:
            warp, points = random_warp(motion, rng, frames), choose(_view(picture), rng)
            truth = warp.truth(points)
            result, _ = _tracked(LucasKanadeTracker(), warp.images(picture, rng), points)
            scores.append(delta_average(result[1:], truth[1:], _inside(truth[1:])))
        say(f"{key}: {', '.join(f'{s:.1f}' for s in scores)}")
        figures[key] = float(np.mean(scores))
    return figures | _occluded(pictures, np.random.default_rng(settings.seed), say)


def _occluded(pictures: list[ImageArray], rng: np.random.Generator, say: Say) -> dict[str, float | None]:
    right, worst = [], 0.0
    for k, picture in enumerate(pictures):
        warp, points = random_warp(MILD, rng), _corners(_view(picture), rng)
        truth = warp.truth(points)
        other = np.ascontiguousarray(_view(pictures[(k + 1) % len(pictures)])[::-1, ::-1])
        cover = _cover(other, truth)
        hidden = cover.hides(truth) | ~_inside(truth)
        result, visible = _tracked(LucasKanadeTracker(), warp.images(picture, rng, cover), points)
        right.append(float(np.mean(visible[1:] != hidden[1:])))
        error = np.linalg.norm(result - truth, axis=-1)
        worst = max(worst, float(error[visible].max()))
        say(f"occluder {k}: {100 * right[-1]:.1f} % right, visible within {error[visible].max():.1f} px")
    return {"occluder_accuracy": 100 * float(np.mean(right)), "occluder_max_px": worst}


def _cover(picture: ImageArray, truth: FloatArray) -> Cover:
    """A band that covers the middle 40 % of the points while it halts."""
    halt = truth[_OCCLUDER[1] : _OCCLUDER[2], :, 0]
    low, high = np.quantile(halt, [0.5 - _OCCLUDED_SHARE / 2, 0.5 + _OCCLUDED_SHARE / 2])
    width = int(np.ceil(high - low))
    stops = [-width, int(low), int(low), WIDTH]
    left = np.interp(np.arange(len(truth)), _OCCLUDER, stops)
    return Cover(picture[:, :width], np.round(left).astype(np.intp))


def _tracked(
    tracker: PointTracker, images: Iterator[ImageArray], points: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Points (T, N, 2) and whether they are marked visible (T, N); the first image is the given one."""
    tracker.start(next(images), points)
    results = [r for k, image in enumerate(images) for r in tracker.step(image, (k + 1) / 30)]
    tracked = np.stack([points, *(r.points for r in results)])
    return tracked, np.stack([np.ones(len(points), bool), *(r.visible for r in results)])


def _inside(truth: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.all((truth >= 0) & (truth <= [WIDTH - 1, HEIGHT - 1]), axis=-1))


def _corners(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inner = np.zeros_like(grey)
    inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = 255
    found = cv2.goodFeaturesToTrack(grey, 4 * POINTS, 0.01, 12, mask=inner)[:, 0].astype(np.float64)
    return np.asarray(found[rng.permutation(len(found))[:POINTS]])


def _anywhere(image: ImageArray, rng: np.random.Generator) -> FloatArray:
    return rng.uniform([_BORDER, _BORDER], [WIDTH - 1 - _BORDER, HEIGHT - 1 - _BORDER], (POINTS, 2))


def _view(picture: ImageArray) -> ImageArray:
    left, top = (_PICTURE[0] - WIDTH) // 2, (_PICTURE[1] - HEIGHT) // 2
    return picture[top : top + HEIGHT, left : left + WIDTH]


def _pictures(settings: BenchSettings, say: Say) -> list[ImageArray]:
    """Pictures (600, 800, 3): two frames of each clip, or two renders of the cell."""
    if settings.clips is not None:
        clips = sorted(settings.clips.glob("*.mp4"))
        if not clips:
            raise RecordingError(f"no .mp4 clip in {settings.clips}; leave --clips away to use frames of the cell")
        say(f"warps of frames of {', '.join(clip.name for clip in clips)}")
        found = [picture for clip in clips for picture in _frames_of(clip)]
    else:
        say("warps of rendered frames; give a folder of real clips for real ones")
        found = list(_renders(settings.seed))
    return found[:2] if settings.quick else found


def _frames_of(clip: Path) -> list[ImageArray]:
    recording = open_recording(clip)
    wanted = {int(share * recording.frame_count) for share in (0.2, 0.7)}
    return [_fitted(frame.rgb) for k, frame in enumerate(recording.frames()) if k in wanted]


def _renders(seed: int) -> Iterator[ImageArray]:
    from pad_bringup.cell import Cell

    rng = np.random.default_rng(seed)
    cell = Cell("pour", camera_size=_PICTURE)
    try:
        for _ in range(4):
            cell.reset(None, rng)
            yield cell.render()[0].copy()
    finally:
        cell.close()


def _fitted(rgb: ImageArray) -> ImageArray:
    """The middle of an image at 4:3, as a picture."""
    height, width = rgb.shape[:2]
    w, h = min(width, height * 4 // 3), min(height, width * 3 // 4)
    top, left = (height - h) // 2, (width - w) // 2
    crop = np.ascontiguousarray(rgb[top : top + h, left : left + w])
    way = cv2.INTER_AREA if w >= _PICTURE[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, _PICTURE, interpolation=way), dtype=np.uint8)
