"""The action `/pad/generate_dataset`: one demonstration becomes a dataset, with feedback and cancel."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from pad_augment.config import GeneratorConfig
from pad_augment.errors import ConfigError, DatasetError, GenerationError, GroundingError, PlanningError, RobotError
from pad_augment.generator import GenerationProgress, generate
from pad_msgs.action import GenerateDataset
from pad_parse.demonstration import Demonstration
from pad_parse.errors import PadParseError

ACTION = "/pad/generate_dataset"
_FEEDBACK_PERIOD = 0.1  # s
_Result = GenerateDataset.Result


class _Cancelled(Exception):
    """The client, or the node's end, asks to stop; raised in the middle of generation by its progress callback."""


@dataclass
class _Job:
    """One goal, worked on in a thread of its own; `done` is set when `result` is complete."""

    handle: ServerGoalHandle
    done: Future
    stage: str = "read"
    accepted: int = 0
    told: tuple[str, int] = ("", -1)
    stopped: bool = False
    result: _Result = field(default_factory=_Result)

    def progress(self, now: GenerationProgress) -> None:
        """What the generator calls after every piece of work, which is kept by then."""
        self.accepted = now.accepted
        self.count(now.accepted, now.attempted, dict(now.rejections))
        if self.stopped or self.handle.is_cancel_requested:
            raise _Cancelled

    def count(self, accepted: int, attempted: int, rejections: dict[str, int]) -> None:
        """Put the counters into the result."""
        result = self.result
        result.accepted, result.attempted = accepted, attempted
        result.rejection_causes = sorted(rejections)
        result.rejection_counts = [rejections[cause] for cause in result.rejection_causes]


class DatasetAction:
    """Generates one dataset at a time, in worker processes; a goal that comes meanwhile is refused."""

    def __init__(self, node: Node, profile: Path, planner: str, config: GeneratorConfig, workers: int) -> None:
        self._node = node
        self._profile = profile
        self._planner = planner
        self._config = config
        self._workers = workers
        self._busy = False
        self._job: _Job | None = None
        self._server = ActionServer(
            node,
            GenerateDataset,
            ACTION,
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        node.create_timer(_FEEDBACK_PERIOD, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """Take the action away, and end what is being worked on after the piece at hand."""
        if self._job is not None:
            self._job.stopped = True
        self._server.destroy()

    def _on_goal(self, goal: GenerateDataset.Goal) -> GoalResponse:
        wrong = None
        if self._busy:
            wrong = "another dataset is being generated"
        elif not goal.output:
            wrong = "the goal names no output; give the folder of the dataset to write"
        elif goal.episodes < 1:
            wrong = "the goal asks for no episodes; ask for 1 or more"
        if wrong:
            self._node.get_logger().warning(f"goal for {goal.demonstration!r} refused: {wrong}")
            return GoalResponse.REJECT
        self._busy = True
        return GoalResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> _Result:
        job = self._job = _Job(handle, Future(executor=self._node.executor))
        threading.Thread(target=self._work, args=(job,), name="generate", daemon=True).start()
        await job.done
        self._job, self._busy = None, False
        code, output = job.result.error_code, handle.request.output
        if code == _Result.SUCCESS:
            handle.succeed()
            self._node.get_logger().info(f"{output}: {job.result.accepted} of {job.result.attempted} scenes")
        elif code == _Result.CANCELLED:
            handle.canceled()
            self._node.get_logger().info(f"{output} cancelled after {job.result.accepted} episodes")
        else:
            handle.abort()
            self._node.get_logger().warning(f"{output}: {job.result.error_message}")
        return job.result

    def _tell(self) -> None:
        job = self._job
        if job is None or job.told == (job.stage, job.accepted) or not job.handle.is_active:
            return
        job.told = (job.stage, job.accepted)
        fraction = job.accepted / job.handle.request.episodes
        job.handle.publish_feedback(GenerateDataset.Feedback(stage=job.stage, fraction=fraction, accepted=job.accepted))

    def _work(self, job: _Job) -> None:
        goal, result = job.handle.request, job.result
        try:
            path = Path(goal.output).expanduser().resolve()
            demonstration = Demonstration.load(Path(goal.demonstration).expanduser())
            job.stage = "generate"
            report = generate(
                demonstration,
                self._profile,
                path,
                goal.episodes,
                goal.seed,
                planner=self._planner,
                workers=self._workers,
                progress=job.progress,
                config=self._config,
                # Other processes, so that the node goes on answering.
                executor="processes",
            )
            job.accepted = report.accepted
            job.count(report.accepted, report.attempted, report.rejections)
            result.dataset = str(path)
            result.error_code = _Result.SUCCESS
        except _Cancelled:
            result.error_code = _Result.CANCELLED
            result.error_message = f"cancelled; the same goal goes on after the {job.accepted} episodes in {path}"
            result.dataset = str(path)
        except (PadParseError, GroundingError) as error:
            result.error_code, result.error_message = _Result.BAD_DEMONSTRATION, str(error)
        except GenerationError as error:
            result.error_code, result.error_message = _Result.TOO_MANY_REJECTIONS, str(error)
        except (ConfigError, DatasetError, PlanningError, RobotError, OSError) as error:
            result.error_code, result.error_message = _Result.BAD_REQUEST, str(error)
        except Exception as error:  # the client must not wait for ever
            result.error_code = _Result.INTERNAL
            result.error_message = f"{type(error).__name__}: {error}"
            self._node.get_logger().error(result.error_message)
        finally:
            if not job.stopped:  # else nobody waits any more
                job.done.set_result(None)
