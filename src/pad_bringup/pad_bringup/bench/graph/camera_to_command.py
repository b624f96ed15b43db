"""From a camera image's stamp to the first joint command that rests on it.

Stamps are followed: `/pad/keypoints` and `/pad/joint_chunk` carry the image's. The image's instant on this machine's
clock is when the cell sent `/cell/clock` with that stamp. The gate answers a chunk at its next beat: the first command
that left `_TAKEN` after the chunk did is counted, which is one beat too late where the gate was quicker.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pad_bringup import names
from pad_bringup.bench.benchmark import BenchSettings
from pad_bringup.bench.graph.extent import Extent
from pad_bringup.bench.graph.live import live_graph, ros_is_missing
from pad_bringup.errors import BenchError

KEYS = ("camera_to_command_p50_ms", "camera_to_command_p95_ms")

_TAKEN = 0.002  # s
_EPISODE = 20.0  # s, after which the scene is set up anew

Array = NDArray[np.float64]


def measure(settings: BenchSettings, say: Callable[[str], None]) -> dict[str, float | None]:
    """Over every chunk of `latency_s` seconds in which the policy moves the arms."""
    missing = ros_is_missing()
    if missing:
        say(missing)
        return dict.fromkeys(KEYS)
    from pad_bringup.bench.graph.traffic import ClockMap, Traffic

    extent = Extent.of(settings)
    clock = ClockMap()
    keypoints: list[tuple[float, float]] = []  # stamp, when it left
    chunks: list[tuple[float, float]] = []
    commands: list[float] = []
    with (
        live_graph(extent, settings.work / "camera_to_command", say) as live,
        Traffic(
            live.running.session.node,
            {
                names.CELL_CLOCK: clock.take,
                names.KEYPOINTS: lambda p: keypoints.append((p.stamp, p.left)),
                names.JOINT_CHUNK: lambda p: chunks.append((p.stamp, p.left)),
                names.arm_command_topic("left"): lambda p: commands.append(p.left),
            },
        ),
    ):
        left = extent.latency_s
        while left > 0:
            live.hand_over()
            live.rest(min(left, _EPISODE))
            left -= _EPISODE
    if len(chunks) < 5 or len(commands) < 5:
        raise BenchError(f"only {len(chunks)} chunks and {len(commands)} commands came; logs in {settings.work}")
    seen = followed(np.array(chunks), np.array(keypoints), np.array(commands), clock.at)
    total = 1e3 * seen.sum(axis=1)
    for name, part in zip(("image to keypoints", "keypoints to chunk", "chunk to command"), seen.T, strict=True):
        say(f"{name}: p50 {1e3 * np.median(part):.1f}, p95 {1e3 * np.percentile(part, 95):.1f} ms")
    say(f"{len(total)} chunks of {len(keypoints)} images followed; largest {total.max():.1f} ms")
    return {
        "camera_to_command_p50_ms": float(np.median(total)),
        "camera_to_command_p95_ms": float(np.percentile(total, 95)),
    }


def followed(chunks: Array, keypoints: Array, commands: Array, real: Callable[[Array], Array]) -> Array:
    """(N, 3) s from image to keypoints, to chunk, to command, of the chunks that a command came after.

    chunks (N, 2), keypoints (M, 2): stamp, and when it left. commands (K,): when they left, increasing. real: stamps to
    the clock of the other times.
    """
    leave = dict(keypoints.tolist())
    chunks = np.array([row for row in chunks if row[0] in leave])
    after = np.searchsorted(commands, chunks[:, 1] + _TAKEN)
    chunks, after = chunks[after < len(commands)], after[after < len(commands)]
    image = real(chunks[:, 0])
    seen = np.array([leave[stamp] for stamp in chunks[:, 0]])
    return np.stack([seen - image, chunks[:, 1] - seen, commands[after] - chunks[:, 1]], axis=1)
