"""Node: recordings into demonstrations, as the action `/pad/parse_demonstration` with feedback and cancel."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from pad_msgs.action import ParseDemonstration
from pad_msgs.msg import Segment as SegmentMessage
from pad_parse.demonstration import Demonstration, Segment
from pad_parse.errors import NodeError, PadParseError, RecordingError, TaskError
from pad_parse.nodes.parameters import declare
from pad_parse.nodes.running import run_node
from pad_parse.parser import parse
from pad_parse.recording import open_recording
from pad_parse.task import TaskSpec

_FEEDBACK_PERIOD = 0.1  # s
_Ground = Callable[[Demonstration], list[Segment]]


class _Cancelled(Exception):
    """The client asked to stop; raised in the middle of the parser through its progress callback."""


@dataclass
class _Job:
    """One goal, worked on in a thread of its own; `done` is set when `result` is complete."""

    handle: ServerGoalHandle
    done: Future
    stage: str = "open"
    fraction: float = 0.0
    told: tuple[str, float] = ("", -1.0)
    result: ParseDemonstration.Result = field(default_factory=ParseDemonstration.Result)

    def progress(self, stage: str, fraction: float) -> None:
        """What the parser calls now and then."""
        if self.handle.is_cancel_requested:
            raise _Cancelled
        self.stage, self.fraction = stage, fraction


class DemonstrationServer(Node):
    """Parses one recording at a time; a goal that comes meanwhile is refused.

    `fault` stays empty: a goal that fails says so in its result.
    """

    def __init__(self) -> None:
        super().__init__("demonstration_server")
        self.fault = ""
        hook = declare(
            self,
            "grounding",
            "pad_augment.grounding:ground",
            "What cuts the demonstration into segments, as module:function. Empty: it is saved without segments.",
        )
        self._ground = _load(str(hook))
        self._job: _Job | None = None
        self._server = ActionServer(
            self,
            ParseDemonstration,
            "/pad/parse_demonstration",
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self.create_timer(_FEEDBACK_PERIOD, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info("ready for goals on /pad/parse_demonstration")

    def destroy_node(self) -> None:
        """End the goal that is being worked on, if any, and the node."""
        self._server.destroy()
        super().destroy_node()

    def _on_goal(self, goal: ParseDemonstration.Goal) -> GoalResponse:
        if self._job is not None:
            self.get_logger().warning(f"{goal.recording} refused: another recording is being parsed")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ParseDemonstration.Result:
        job = self._job = _Job(handle, Future(executor=self.executor))
        threading.Thread(target=self._work, args=(job,), name="parse", daemon=True).start()
        await job.done
        self._job = None
        code = job.result.error_code
        if code == ParseDemonstration.Result.SUCCESS:
            handle.succeed()
            self.get_logger().info(f"{handle.request.recording} parsed: {job.result.demonstration}")
        elif code == ParseDemonstration.Result.CANCELLED:
            handle.canceled()
            self.get_logger().info(f"{handle.request.recording} cancelled")
        else:
            handle.abort()
            self.get_logger().warning(f"{handle.request.recording}: {job.result.error_message}")
        return job.result

    def _tell(self) -> None:
        job = self._job
        if job is not None and job.told != (job.stage, job.fraction) and job.handle.is_active:
            job.told = (job.stage, job.fraction)
            job.handle.publish_feedback(ParseDemonstration.Feedback(stage=job.stage, fraction=float(job.fraction)))

    def _work(self, job: _Job) -> None:
        codes, result = ParseDemonstration.Result, job.result
        try:
            demonstration, path = self._parsed(job)
            result.demonstration = str(path)
            result.segments = [_segment_message(segment, demonstration) for segment in demonstration.segments]
            result.error_code = codes.SUCCESS
        except _Cancelled:
            result.error_code, result.error_message = codes.CANCELLED, "cancelled; nothing was written"
        except RecordingError as error:
            result.error_code, result.error_message = codes.BAD_RECORDING, str(error)
        except TaskError as error:
            result.error_code, result.error_message = codes.BAD_TASK, str(error)
        except PadParseError as error:
            result.error_code, result.error_message = codes.PARSE_FAILED, str(error)
        except Exception as error:  # the client must not wait for ever
            result.error_code = codes.INTERNAL
            result.error_message = f"{type(error).__name__}: {error}; see the log of demonstration_server"
            self.get_logger().error(result.error_message)
        finally:
            job.done.set_result(None)

    def _parsed(self, job: _Job) -> tuple[Demonstration, Path]:
        goal = job.handle.request
        if not goal.output:
            raise TaskError("the goal names no output; give the path of the .demo.h5 file to write")
        path = Path(goal.output).expanduser().resolve()
        task = TaskSpec.load(goal.task)
        demonstration = parse(open_recording(goal.recording), task, progress=job.progress)
        if self._ground is not None:
            job.progress("ground", 0.0)
            demonstration = self._grounded(demonstration)
        job.progress("save", 0.0)
        demonstration.save(path)
        return demonstration, path

    def _grounded(self, demonstration: Demonstration) -> Demonstration:
        assert self._ground is not None
        try:
            return replace(demonstration, segments=self._ground(demonstration))
        except PadParseError:
            raise
        except Exception as error:
            raise TaskError(f"the demonstration does not fit its task: {error}") from error


def _load(hook: str) -> _Ground | None:
    """The function that `module:function` names.

    Raises:
        NodeError: there is none.
    """
    if not hook:
        return None
    module, _, name = hook.partition(":")
    try:
        found: _Ground = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise NodeError(f"parameter 'grounding' is {hook!r}, which cannot be loaded: {error}") from error
    return found


def _segment_message(segment: Segment, demonstration: Demonstration) -> SegmentMessage:
    stamps = demonstration.stamps
    end = stamps[segment.end] if segment.end < len(stamps) else stamps[-1]
    return SegmentMessage(
        arm=int(segment.arm),
        kind=int(segment.kind),
        start=_time(float(stamps[segment.start])),
        end=_time(float(end)),
        start_frame=int(segment.start),
        end_frame=int(segment.end),
        stage=segment.stage,
        object=segment.object,
        reference=segment.reference,
        confidence=float(segment.confidence),
        evidence=segment.evidence,
    )


def _time(seconds: float) -> Time:
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def main() -> None:
    """Run the node; exit code 2 and one line on a bad parameter."""
    run_node("demonstration_server", DemonstrationServer)


if __name__ == "__main__":
    main()
