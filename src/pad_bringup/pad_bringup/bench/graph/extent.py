"""What runs and for how long: the options of the benchmarks of the running graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pad_bringup import store
from pad_bringup.bench.extent import BenchExtent
from pad_bringup.errors import BenchError
from pad_bringup.resources import resource


class Extent(BenchExtent):
    """`--set NAME=VALUE`. Shorter is not for the record."""

    quick: ClassVar[dict[str, Any]] = {
        "chunks": 1000,
        "starts": 1,
        "latency_s": 8.0,
        "rates_s": 8.0,
        "trials": 1,
        "soak_s": 40.0,
    }

    task: str = Field("pour", description="task that the arms do")
    policy: Path | None = Field(None, description="policy folder; none: the newest of the task")
    demonstration: Path | None = Field(None, description="its demonstration; none: the newest of the task")
    chunks: int = Field(1_000_000, ge=1, description="fuzzed chunks")
    starts: int = Field(3, ge=1, description="times that the graph is started")
    latency_s: float = Field(60.0, gt=0, description="s in which commands are followed back to their images")
    rates_s: float = Field(300.0, gt=0, description="s in which commands are counted")
    trials: int = Field(10, ge=1, description="stops, and holds for each cause")
    soak_s: float = Field(1800.0, gt=0, description="s of the soak")
    faults: tuple[str, ...] = Field((), description="faults to inject, by name, with commas between; none: all")

    def graph_values(self) -> dict[str, str]:
        """Arguments of the graph: the simulated cell, with every node that `pad up` starts.

        Raises:
            BenchError: there is no policy or demonstration; the message says how to get one.
        """
        newest = None if self.policy and self.demonstration else store.newest(self.task)
        files = {}
        for name in ("policy", "demonstration"):
            given = getattr(self, name) or (newest and getattr(newest, name))
            if not given:
                raise BenchError(
                    f"no {name} of task {self.task!r} yet: run `./pad demo {self.task}` first, or give "
                    f"--set {name}=PATH"
                )
            files[name] = str(Path(given).expanduser().resolve())
        calibration = str(resource("config", "cameras", "cell.yaml"))
        return {"task": self.task, "calibration": calibration, **files}
