"""Node: a cell, simulated or mock, under the real robot's names. It is the graph's clock and keeps to real time.

One thread runs physics and all callbacks; another renders a copy of the state, so that a picture delays no command.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose
from numpy.typing import NDArray
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from pad_augment.errors import PadAugmentError
from pad_bringup import names
from pad_bringup.camera_messages import camera_info_message, image_message
from pad_bringup.cell.cell import Cell
from pad_bringup.cell.failure import EpisodeWatch
from pad_bringup.cell.outcome import Outcome
from pad_bringup.errors import CellError, PadBringupError
from pad_bringup.splits import SPLITS
from pad_msgs.msg import CellOutcome, Keypoint, KeypointArray, ObjectPose, ObjectPoseArray
from pad_msgs.srv import ResetCell
from pad_parse import qos
from pad_parse.errors import PadParseError
from pad_parse.nodes.running import LOOK_EVERY, Interruption
from pad_parse.ros_transforms import fill_pose

BEAT = 0.008
"""s of simulated time between two joint states (125 Hz)."""
_OUTCOME_BEATS = 12
_CLOCK_BEATS = 4
"""Every node wakes for each `/clock`; only the command gate, which beats with the cell, follows `/cell/clock`."""
_LARGEST_BACKLOG = 0.02
"""s; physics that falls further behind real time slows the clock down rather than racing to catch up: no robot does,
and the command gate cannot answer beats that come faster than its own.
"""
_LARGEST_BURST = 2
"""beats in a row without looking for commands."""


class CellNode(Node):
    """Wires a cell to topics and services."""

    def __init__(self, name: str, make: Callable[..., Cell]) -> None:
        """name: of the node. make: called with task, and profile by name; gives the cell."""
        super().__init__(name)
        self._make = make
        self._declare("task", "pour", "Task whose objects stand on the table.")
        self._declare("robot", "ur5e_pair", "Robot profile: a name in config/robots, or the path of a YAML file.")
        self._declare(
            "split", "none", f"What is new in each episode's scene: {', '.join(SPLITS)}; none: the task's own scene."
        )
        self.declare_parameter(
            "seed",
            0,
            ParameterDescriptor(
                description="Seed of the first placement.",
                read_only=True,
                integer_range=[IntegerRange(from_value=0, to_value=2**62, step=1)],
            ),
        )
        self._declare_number("camera_rate", 15.0, 0.5, 60.0, "Frames per simulated second.")
        self._declare_number("speed", 1.0, 0.05, 20.0, "Simulated seconds per real second, where the machine can.")

    def _declare(self, name: str, default: str, description: str) -> None:
        self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))

    def _declare_number(self, name: str, default: float, low: float, high: float, description: str) -> None:
        self.declare_parameter(
            name,
            default,
            ParameterDescriptor(
                description=f"{description} From {low} to {high}.",
                read_only=True,
                floating_point_range=[FloatingPointRange(from_value=low, to_value=high, step=0.0)],
            ),
        )

    def start(self) -> None:
        """Build the cell and open the topics; raises typed errors."""
        self._split = self.get_parameter("split").value
        if self._split not in ("none", *SPLITS):
            raise CellError(f"there is no split {self._split!r}; there are: none, {', '.join(SPLITS)}")
        self._build(self.get_parameter("seed").value)
        self._speed = self.get_parameter("speed").value
        self._camera_beats = max(1, round(1 / (self.get_parameter("camera_rate").value * BEAT)))
        self._seed = self.get_parameter("seed").value
        self._epoch = 0.0
        self._beats = 0
        self._place(self._seed, {})
        self._joint_names = [*self.cell.joint_names, *self.cell.finger_names]
        self._commands = {"joints": self.cell.commanded[0], "openings": self.cell.commanded[1]}

        self._clock_out = self.create_publisher(ClockMessage, names.CLOCK, qos.LATEST)
        self._beat_out = self.create_publisher(ClockMessage, names.CELL_CLOCK, qos.LATEST)
        self._joints_out = self.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
        self._outcome_out = self.create_publisher(CellOutcome, names.CELL_OUTCOME, qos.STATUS)
        self._color_out = self.create_publisher(Image, names.COLOR_IMAGE, qos.CAMERA_OUT)
        self._info_out = self.create_publisher(CameraInfo, names.COLOR_INFO, qos.CAMERA_OUT)
        self._depth_out = self.create_publisher(Image, names.ALIGNED_DEPTH_IMAGE, qos.CAMERA_OUT)
        self._true_keypoints_out = self.create_publisher(KeypointArray, names.TRUE_KEYPOINTS, qos.STATUS)
        self._true_objects_out = self.create_publisher(ObjectPoseArray, names.TRUE_OBJECTS, qos.STATUS)
        for arm, side in enumerate(names.ARMS):
            self.create_subscription(
                Float64MultiArray, names.arm_command_topic(side), lambda m, a=arm: self._on_arm(a, m), qos.COMMAND
            )
            self.create_subscription(
                Float64MultiArray,
                names.gripper_command_topic(side),
                lambda m, a=arm: self._on_gripper(a, m),
                qos.COMMAND,
            )
        self.create_service(ResetCell, names.CELL_RESET, self._on_reset)

        self._factor = 1.0
        self._second_began = (time.monotonic(), self._now)
        self._start_renderer()
        self._due = time.monotonic()
        self.create_timer(BEAT / self._speed, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(
            f"cell for task {self.cell.task!r} is up: {', '.join(self.cell.objects.models)}; seed {self._seed}"
        )

    def _build(self, seed: int) -> None:
        """The cell, with the scene that `seed` has in this split."""
        scene = {} if self._split == "none" else {"variation": (self._split, seed)}
        self.cell = self._make(self.get_parameter("task").value, profile=self.get_parameter("robot").value, **scene)
        self._watch = EpisodeWatch(self.cell)

    def _start_renderer(self) -> None:
        self._frames: queue.Queue[tuple[float, NDArray[np.float64]] | None] = queue.Queue(maxsize=1)
        self._renderer = threading.Thread(target=self._render, name="render", daemon=True)
        self._renderer.start()

    def stop(self) -> None:
        """End the render thread."""
        try:
            self._frames.get_nowait()  # a waiting picture is not drawn any more; there is room for the end mark now
        except queue.Empty:
            pass
        self._frames.put_nowait(None)
        self._renderer.join(timeout=2.0)

    @property
    def _now(self) -> float:
        """Simulated s since the node began; resets do not turn it back."""
        return self._epoch + self.cell.time

    def _on_timer(self) -> None:
        beat = BEAT / self._speed
        now = time.monotonic()
        if now - self._due > _LARGEST_BACKLOG:
            self._due = now - beat
        for _ in range(_LARGEST_BURST):  # a late timer loses beats; catch up, but let commands in between
            if now < self._due:
                break
            self._due += beat
            self._beat()

    def _beat(self) -> None:
        self.cell.command(self._commands["joints"], self._commands["openings"])
        self.cell.step(BEAT)
        self._watch.look()
        self._beats += 1
        stamp = _stamp(self._now)
        clock = ClockMessage(clock=stamp)
        self._beat_out.publish(clock)
        if self._beats % _CLOCK_BEATS == 0:
            self._clock_out.publish(clock)
        self._joints_out.publish(self._joint_state(stamp))
        if self._beats % self._camera_beats == 0:
            if self._is_watched:
                try:
                    self._frames.put_nowait((self._now, self.cell.data.qpos.copy()))
                except queue.Full:
                    pass  # the last picture is still being drawn; this one is left out
            self._publish_truth(stamp)
        if self._beats % _OUTCOME_BEATS == 0:
            self._publish_outcome(stamp)

    @property
    def _is_watched(self) -> bool:
        """Whether anybody looks at the camera: drawing is half of the cell's work."""
        cameras = (self._color_out, self._depth_out, self._info_out)
        return any(publisher.get_subscription_count() for publisher in cameras)

    def _joint_state(self, stamp: Time) -> JointState:
        message = JointState(name=self._joint_names)
        message.header.stamp = stamp
        message.position = np.concatenate([self.cell.joint_positions, self.cell.openings / 2]).tolist()
        message.velocity = np.concatenate([self.cell.joint_velocities, self.cell.finger_velocities]).tolist()
        return message

    def _publish_truth(self, stamp: Time) -> None:
        objects = self.cell.objects
        keypoints = KeypointArray(task=self.cell.task)
        keypoints.header.stamp, keypoints.header.frame_id = stamp, names.TASK_FRAME
        points = self.cell.keypoints()
        pixels = self.cell.camera.task_to_pixels(points)
        columns = (objects.keypoint_names, objects.keypoint_groups, objects.keypoint_objects, points, pixels)
        for name, group, owner, point, pixel in zip(*columns, strict=True):
            keypoints.keypoints.append(
                Keypoint(
                    name=name,
                    group=group,
                    object=owner,
                    position=Point(x=point[0], y=point[1], z=point[2]),
                    state=Keypoint.VISIBLE,
                    confidence=1.0,
                    u=float(pixel[0]),
                    v=float(pixel[1]),
                )
            )
        self._true_keypoints_out.publish(keypoints)
        poses = ObjectPoseArray(poses=self._object_poses())
        poses.header = keypoints.header
        self._true_objects_out.publish(poses)

    def _publish_outcome(self, stamp: Time) -> None:
        real, simulated = self._second_began
        if time.monotonic() - real >= 1.0:
            self._factor = (self._now - simulated) / (time.monotonic() - real)
            self._second_began = (time.monotonic(), self._now)
            if self._factor < 0.9 * self._speed:
                self.get_logger().warn(
                    f"real-time factor {self._factor:.2f}: the machine is too busy; simulated time goes slower",
                    throttle_duration_sec=10.0,
                )
        outcome = self.cell.outcome()
        message = CellOutcome(
            seed=self._seed,
            time=self.cell.time,
            success=bool(outcome.success),
            cause="" if outcome.success else self._watch.failure().words(outcome.cause),
            real_time_factor=self._factor,
        )
        if isinstance(outcome, Outcome):  # only a pour has a drink
            message.fraction_in_cup = float(outcome.fraction_in_cup)
            message.bottle_upright, message.cup_upright = bool(outcome.bottle_upright), bool(outcome.cup_upright)
        message.header.stamp, message.header.frame_id = stamp, names.TASK_FRAME
        self._outcome_out.publish(message)

    def _object_poses(self) -> list[ObjectPose]:
        return [
            ObjectPose(name=name, pose=_pose(self.cell.object_pose(name)), confidence=1.0)
            for name in self.cell.objects.models
        ]

    def _on_arm(self, arm: int, message: Float64MultiArray) -> None:
        values = np.asarray(message.data, dtype=np.float64)
        count = len(self.cell.joint_names) // 2
        if values.shape != (count,) or not np.isfinite(values).all():
            self._refuse(f"{names.arm_command_topic(names.ARMS[arm])} needs {count} finite joint positions")
            return
        self._commands["joints"][count * arm : count * (arm + 1)] = values

    def _on_gripper(self, arm: int, message: Float64MultiArray) -> None:
        values = np.asarray(message.data, dtype=np.float64)
        if values.shape != (1,) or not np.isfinite(values).all():
            self._refuse(f"{names.gripper_command_topic(names.ARMS[arm])} needs 1 finite finger position")
            return
        self._commands["openings"][arm] = 2 * values[0]

    def _refuse(self, what: str) -> None:
        self.get_logger().warn(f"command ignored: {what}", throttle_duration_sec=1.0)

    def _on_reset(self, request: ResetCell.Request, response: ResetCell.Response) -> ResetCell.Response:
        places = {}
        for item in request.objects:
            p, q = item.pose.position, item.pose.orientation
            places[item.name] = (p.x, p.y, float(np.arctan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y**2 + q.z**2))))
        before = self._now
        try:
            if self._split != "none":
                self._build(int(request.seed))
                self.stop()  # it draws the scene before
                self._start_renderer()
            self._place(int(request.seed), places)
        except CellError as error:
            response.message = str(error)
            return response
        # a little later than anything published before, so that no stamp comes twice
        self._epoch = before + BEAT
        self._commands = {"joints": self.cell.commanded[0], "openings": self.cell.commanded[1]}
        self._due = time.monotonic()
        response.success = True
        response.objects = self._object_poses()
        return response

    def _place(self, seed: int, places: dict[str, tuple[float, float, float]]) -> None:
        rng = np.random.default_rng(seed)
        swapped = seed % 2 == 1 if self._split == "spatial" and self.cell.template.swap_sides else None
        self.cell.reset(places or self.cell.sample_placements(rng, swapped=swapped), np.random.default_rng(seed))
        self._watch.reset()
        self._seed = seed

    def _render(self) -> None:
        view = self.cell.camera_view()
        info = camera_info_message(self.cell.camera)
        try:
            while (item := self._frames.get()) is not None:
                when, qpos = item
                rgb, depth = view.render(qpos)
                stamp = _stamp(when)
                millimetres = np.clip(np.rint(depth * 1000.0), 0, 65535).astype("<u2")
                info.header.stamp = stamp
                self._color_out.publish(image_message(rgb, "rgb8", 3, stamp))
                self._depth_out.publish(image_message(millimetres, "16UC1", 2, stamp))
                self._info_out.publish(info)
        finally:
            view.close()


def _pose(matrix: NDArray[np.float64]) -> Pose:
    message = Pose()
    fill_pose(message, matrix)
    return message


def _stamp(seconds: float) -> Time:
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def run(name: str, make: Callable[..., Cell]) -> int:
    """Run a cell's node until it is told to stop; 2 on bad parameters. name, make: as of `CellNode`."""
    interruption = Interruption()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = CellNode(name, make)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    started = False
    try:
        node.start()
        started = True
        interruption.started()
        while not interruption.came:
            executor.spin_once(timeout_sec=LOOK_EVERY)
    except (PadBringupError, PadParseError, PadAugmentError) as error:
        node.get_logger().fatal(str(error))
        return 2
    except KeyboardInterrupt:
        pass
    finally:
        if started:
            node.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def main() -> int:
    """The simulated cell."""
    return run("sim_cell", Cell)


if __name__ == "__main__":
    sys.exit(main())
