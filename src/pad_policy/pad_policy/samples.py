"""A dataset in memory and the training samples cut from it, a whole batch at a time."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pad_parse.geometry import make_pose, rotation_exp
from pad_parse.task import TaskSpec
from pad_policy.actions import displace, encode, perturb
from pad_policy.config import Horizons, ObservationNoise, Representation
from pad_policy.errors import DatasetError
from pad_policy.observation import keypoint_features, proprioception

Array = NDArray[np.floating[Any]]

#: m; a gripper whose opening varies less than this in an episode neither opens nor closes in it.
_SMALLEST_STROKE = 0.005

_ARRAYS = ("data/keypoints", "data/keypoint_states", "data/ee", "data/action", "meta/episode_ends")
SCHEMA_VERSION = 1
"""Of the datasets that are read."""
_ATTRIBUTES = ("task", "keypoint_names", "keypoint_groups", "keypoint_objects", "rate_hz")


@dataclass(frozen=True)
class Episodes:
    """Every step of a dataset, episodes one after the other.

    keypoints (S, N, 3) m; seen (S, N) bool; ee (S, 20) state; action (S, 20) command; episode_ends (E,) one past
    each episode's last step. group_indices (N,) index into `group_names`; object_indices (N,) into
    `object_names`.
    """

    keypoints: Array
    seen: NDArray[np.bool_]
    ee: Array
    action: Array
    episode_ends: NDArray[np.int64]
    rate_hz: float
    task: TaskSpec
    keypoint_names: list[str]
    keypoint_groups: list[str]
    object_names: list[str]
    object_indices: NDArray[np.int64]
    robot: str
    content_hash: str

    @classmethod
    def load(cls, path: Path) -> "Episodes":
        """Read a Zarr dataset folder whole; `DatasetError` says which part of it is missing or wrong."""
        path = Path(path)
        if not path.is_dir():
            raise DatasetError(f"{path}: no such dataset folder; make one with `pad augment`")
        try:
            store = zarr.open_group(str(path), mode="r")
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise DatasetError(f"{path}: not a Zarr dataset; make one with `pad augment`") from error
        missing = [name for name in _ARRAYS if name not in store] + [n for n in _ATTRIBUTES if n not in store.attrs]
        if missing:
            raise DatasetError(f"{path}: the dataset lacks {', '.join(missing)}; generate it again")
        version = store.attrs.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise DatasetError(f"{path}: the dataset has schema {version}; this version reads {SCHEMA_VERSION}")
        keypoints, states, ee, action, ends = (_whole(store, name, path) for name in _ARRAYS)
        steps, objects = len(keypoints), list(store.attrs["keypoint_objects"])
        if not len(store.attrs["keypoint_names"]) == len(store.attrs["keypoint_groups"]) == len(objects):
            raise DatasetError(f"{path}: its keypoints' names, groups and objects are not as many; generate it again")
        if len(ends) == 0:
            raise DatasetError(f"{path}: the dataset holds no episode; every attempt was rejected")
        if not (len(states) == len(ee) == len(action) == steps == ends[-1]) or np.any(np.diff(ends, prepend=0) < 2):
            raise DatasetError(f"{path}: array lengths and episode_ends disagree; generate the dataset again")
        if ee.shape[1:] != (20,) or action.shape[1:] != (20,) or keypoints.shape[1:] != (len(objects), 3):
            raise DatasetError(
                f"{path}: shapes are ee {ee.shape}, action {action.shape}, keypoints {keypoints.shape}; "
                f"expected (S, 20), (S, 20), (S, {len(objects)}, 3)"
            )
        digest = hashlib.sha256()
        for array in (keypoints, states, ee, action, ends):
            digest.update(np.ascontiguousarray(array).tobytes())
        names = sorted(set(objects))
        return cls(
            keypoints=keypoints.astype(np.float32),
            seen=states != 0,
            ee=ee.astype(np.float32),
            action=action.astype(np.float32),
            episode_ends=ends.astype(np.int64),
            rate_hz=float(store.attrs["rate_hz"]),
            task=_task(store.attrs["task"], path),
            keypoint_names=list(store.attrs["keypoint_names"]),
            keypoint_groups=list(store.attrs["keypoint_groups"]),
            object_names=names,
            object_indices=np.array([names.index(o) for o in objects]),
            robot=str(store.attrs.get("robot", "")),
            content_hash=digest.hexdigest(),
        )

    def first(self, count: int) -> "Episodes":
        """Only the first `count` episodes; `DatasetError` if there are fewer. `content_hash` stays the dataset's."""
        if count > len(self.episode_ends):
            raise DatasetError(
                f"the dataset has {len(self.episode_ends)} episodes, {count} were asked for; "
                "generate more demonstrations or ask for fewer"
            )
        end = self.episode_ends[count - 1]
        return replace(
            self,
            keypoints=self.keypoints[:end],
            seen=self.seen[:end],
            ee=self.ee[:end],
            action=self.action[:end],
            episode_ends=self.episode_ends[:count],
        )

    @property
    def group_names(self) -> list[str]:
        """Groups in order of first appearance; a point's group index points here."""
        return list(dict.fromkeys(self.keypoint_groups))

    @property
    def group_indices(self) -> list[int]:
        """Index of each point's group."""
        return [self.group_names.index(group) for group in self.keypoint_groups]


def _whole(store: Any, name: str, path: Path) -> NDArray[Any]:
    """An array, none of whose parts is missing: Zarr would read those as zeros."""
    array = store[name]
    if array.nchunks_initialized != array.nchunks:
        raise DatasetError(
            f"{path}: {array.nchunks - array.nchunks_initialized} of {array.nchunks} parts of {name} are missing, as "
            "after a copy that was interrupted; copy it again"
        )
    try:
        return np.asarray(array[:])
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())
        raise DatasetError(f"{path}: {name} is damaged ({said}); copy or generate the dataset again") from error


def _task(data: object, path: Path) -> TaskSpec:
    try:
        return TaskSpec.model_validate_json(data) if isinstance(data, str) else TaskSpec.model_validate(data)
    except ValueError as error:
        raise DatasetError(f"{path}: its task is not a valid TaskSpec: {error}") from error


@dataclass(frozen=True)
class Batch:
    """Raw (not normalised) network inputs and targets.

    keypoints (B, N, To, F); valid (B, N, To); proprioception (B, P); actions (B, H, 20) as the policy's frame says.
    """

    keypoints: Array
    valid: Array
    proprioception: Array
    actions: Array


class SampleCutter:
    """Cuts batches of training samples at the policy's rate out of a dataset at its own rate."""

    def __init__(self, episodes: Episodes, horizons: Horizons, representation: Representation) -> None:
        stride = episodes.rate_hz / horizons.rate_hz
        if abs(stride - round(stride)) > 1e-6 or stride < 1:
            raise DatasetError(
                f"a policy at {horizons.rate_hz:g} Hz cannot be cut from a dataset at {episodes.rate_hz:g} Hz; "
                "choose rate_hz as the dataset's rate divided by a whole number"
            )
        self.stride = round(stride)
        self.episodes = episodes
        self.horizons = horizons
        self.representation = representation
        ends = episodes.episode_ends
        lengths = np.diff(ends, prepend=0)
        self._first = np.repeat(ends - lengths, lengths)
        self._last = np.repeat(ends - 1, lengths)
        self._held = _held(episodes)
        self.episode_of_step = np.repeat(np.arange(len(ends)), lengths)

    def cut(self, steps: NDArray[np.int64], noise: ObservationNoise | None, rng: np.random.Generator | None) -> Batch:
        """Samples whose newest observation is at `steps` (B,), disturbed by `noise` unless it is None."""
        e, to, horizon = self.episodes, self.horizons.history, self.horizons.horizon
        past = steps[:, None] - self.stride * np.arange(to - 1, -1, -1)
        past = np.maximum(past, self._first[steps][:, None])
        future = np.minimum(steps[:, None] + self.stride * np.arange(1, horizon + 1), self._last[steps][:, None])
        points, valid, ee, action = e.keypoints[past], e.seen[past], e.ee[past], e.action[future]
        if noise is not None:
            if rng is None:
                raise ValueError("noise needs a numpy Generator")
            points, valid = self._disturb_keypoints(points, valid, noise, rng)
            held = self._held[past[:, 0]]
            change = _grasp_changes(held, noise, rng)[:, None]
            ee, action = displace(ee, change), displace(action, change)
            ee = self._disturb_proprioception(ee, held, noise, rng)
        return Batch(
            keypoints=keypoint_features(points, ee, self.representation),
            valid=valid.transpose(0, 2, 1).astype(np.float32),
            proprioception=proprioception(ee, self.representation),
            actions=encode(action, ee[:, -1], self.representation.action_frame),
        )

    def _disturb_keypoints(
        self, points: Array, valid: NDArray, noise: ObservationNoise, rng: np.random.Generator
    ) -> tuple[Array, NDArray]:
        batch, to, count, _ = points.shape
        stale = rng.random(batch) < noise.stale_probability
        if to > 1:
            points, valid = points.copy(), valid.copy()
            points[stale, -1], valid[stale, -1] = points[stale, -2], valid[stale, -2]
        objects = self.episodes.object_indices
        bias = rng.normal(0, noise.keypoint_bias, (batch, objects.max() + 1, 3))[:, objects]
        points = points + bias[:, None] + rng.normal(0, noise.keypoint_noise, points.shape)
        lost = rng.random((batch, to, count)) < noise.drop_probability
        lost |= rng.random((batch, 1, count)) < noise.lost_point_probability
        return points.astype(np.float32), valid & ~lost

    @staticmethod
    def _disturb_proprioception(
        ee: Array, held: NDArray[np.bool_], noise: ObservationNoise, rng: np.random.Generator
    ) -> Array:
        # Mostly one offset for the whole history: an arm that is off its path is off the same way in consecutive
        # steps, and independent noise would teach the policy to ignore the speed it sees. An arm that holds
        # something has no such offset: the way it holds the object already varies, and that must not be corrected.
        batch, to, _ = ee.shape

        def draw(size: int, sigma: float) -> NDArray:
            shared = rng.normal(0, sigma, (batch, 1, 2, size)) * ~held[:, None, :, None]
            return shared + rng.normal(0, 0.2 * sigma, (batch, to, 2, size))

        opening = rng.normal(0, noise.opening_noise, (batch, 1, 2)) + rng.normal(
            0, 0.2 * noise.opening_noise, (batch, to, 2)
        )
        return perturb(ee, draw(3, noise.position_noise), draw(3, noise.rotation_noise), opening)


def _held(episodes: Episodes) -> NDArray[np.bool_]:
    """(S, 2) whether each gripper has closed as far as it does in its episode, and so holds what it grasps.

    An episode may also begin with the object in the gripper: then it stays on the closed side throughout.
    """
    openings = episodes.ee[:, [9, 19]]
    middle = 0.5 * (openings.min(axis=0) + openings.max(axis=0))
    out = np.zeros(openings.shape, bool)
    start = 0
    for end in episodes.episode_ends:
        mine = openings[start:end]
        least, most = mine.min(axis=0), mine.max(axis=0)
        closes = most - least > _SMALLEST_STROKE
        out[start:end] = np.where(closes, mine < least + 0.05 * (most - least), most < middle)
        start = end
    return out


def _grasp_changes(held: NDArray[np.bool_], noise: ObservationNoise, rng: np.random.Generator) -> Array:
    """(B, 2, 4, 4): another grasp of the same object for the arms that hold one, in the gripper's frame.

    The object keeps its path and only the gripper sits elsewhere on it, so the policy learns to lead the object,
    however it came to lie in the gripper. The pads centre it along the closing axis (y).
    """
    shift = rng.normal(0, noise.grasp_offset, (*held.shape, 3)) * [1.0, 0.2, 1.0]
    turn = rng.normal(0, noise.grasp_turn, (*held.shape, 3)) * [1 / 3, 1.0, 1 / 3]
    mask = held[..., None]
    return make_pose(rotation_exp(turn * mask), shift * mask)
