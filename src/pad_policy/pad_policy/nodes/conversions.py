"""Between ROS messages and the cores' types. Nothing here decides anything."""

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import Marker, MarkerArray

from pad_msgs.msg import ActionChunk, ArmAction, KeypointArray
from pad_parse.ros_transforms import fill_pose
from pad_policy.actions import poses, split
from pad_policy.chunking import JointChunk
from pad_policy.environment import JointMeasurement, KeypointObservation

TASK_FRAME = "task_frame"
_COLOURS = ((0.15, 0.45, 0.95), (0.95, 0.5, 0.1))  # left, right


def seconds(stamp: Time) -> float:
    """Seconds of a message stamp."""
    return stamp.sec + 1e-9 * stamp.nanosec


def time_message(stamp: float) -> Time:
    """Message stamp of seconds."""
    nanoseconds = round(stamp * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def duration_message(length: float) -> Duration:
    """Message duration of seconds."""
    nanoseconds = round(length * 1e9)
    return Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def joint_measurement(
    message: JointState, arm_joints: Sequence[str], finger_joints: Sequence[str]
) -> JointMeasurement | None:
    """Measurement in the robot's order, or None when the message lacks one of the joints."""
    index = {name: k for k, name in enumerate(message.name)}
    wanted = [*arm_joints, *finger_joints]
    if len(message.position) != len(message.name) or any(name not in index for name in wanted):
        return None
    values = np.array([message.position[index[name]] for name in wanted])
    return JointMeasurement(seconds(message.header.stamp), values[:-2], 2.0 * values[-2:])


def keypoint_observation(message: KeypointArray) -> KeypointObservation:
    """Keypoints in the message's order; positions (N, 3) in the task frame."""
    points = [(k.position.x, k.position.y, k.position.z) for k in message.keypoints]
    return KeypointObservation(
        stamp=seconds(message.header.stamp),
        points_in_task=np.array(points, np.float64).reshape(-1, 3),
        states=np.array([k.state for k in message.keypoints], np.uint8),
    )


def trajectory_message(chunk: JointChunk) -> JointTrajectory:
    """Joints and fingers (finger position = opening / 2); points at their time after the observation."""
    message = JointTrajectory(joint_names=list(chunk.joint_names))
    message.header.stamp = time_message(chunk.stamp)
    message.header.frame_id = TASK_FRAME
    for time, joints, openings in zip(chunk.times, chunk.positions, chunk.openings, strict=True):
        positions = [*joints.tolist(), *(0.5 * openings).tolist()]
        message.points.append(JointTrajectoryPoint(positions=positions, time_from_start=duration_message(float(time))))
    return message


def joint_chunk(message: JointTrajectory) -> JointChunk:
    """The chunk in a trajectory. Points of a wrong length become an array that the gate refuses by its shape."""
    rows = [list(point.positions) for point in message.points]
    regular = bool(rows) and all(len(row) == len(rows[0]) for row in rows)
    values = np.array(rows, np.float64) if regular else np.empty((0, 0))
    return JointChunk(
        stamp=seconds(message.header.stamp),
        joint_names=list(message.joint_names),
        times=np.array([p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in message.points]),
        positions=values[:, :-2],
        openings=2.0 * values[:, -2:],
    )


def action_message(task: str, stamp: float, period: float, ee: NDArray[np.float64]) -> ActionChunk:
    """Predicted end effectors (H, 20) for people to look at."""
    message = ActionChunk(task=task, period=period)
    message.header.stamp = time_message(stamp)
    message.header.frame_id = TASK_FRAME
    _, _, openings = split(ee)
    gripper_poses = poses(ee)
    for arm, target in enumerate((message.left, message.right)):
        target.extend(
            ArmAction(pose=_pose(pose), opening=float(opening))
            for pose, opening in zip(gripper_poses[:, arm], openings[:, arm], strict=True)
        )
    return message


def path_markers(stamp: float, ee: NDArray[np.float64], unreachable: NDArray[np.bool_]) -> MarkerArray:
    """Predicted TCP paths (H, 20) as lines, with a red sphere on every target out of reach (2, H)."""
    markers = MarkerArray()
    positions, _, _ = split(ee)
    for arm, name in enumerate(("left", "right")):
        points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in positions[:, arm]]
        line = _marker(stamp, f"policy/{name}", Marker.LINE_STRIP, 0.006, (*_COLOURS[arm], 0.9))
        line.points = points
        spheres = _marker(stamp, f"policy/{name}_unreachable", Marker.SPHERE_LIST, 0.02, (0.9, 0.1, 0.1, 0.9))
        spheres.points = [p for p, out in zip(points, unreachable[arm], strict=True) if out]
        if not spheres.points:
            spheres.action = Marker.DELETE
        markers.markers.extend((line, spheres))
    return markers


def _marker(stamp: float, namespace: str, kind: int, size: float, colour: tuple[float, ...]) -> Marker:
    marker = Marker(ns=namespace, id=0, type=kind, action=Marker.ADD)
    marker.header.stamp = time_message(stamp)
    marker.header.frame_id = TASK_FRAME
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = colour
    marker.lifetime = duration_message(2.0)
    return marker


def _pose(pose: NDArray[np.float64]) -> Pose:
    message = Pose()
    fill_pose(message, pose)
    return message
