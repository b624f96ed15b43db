"""Names on the wire that pad_bringup uses: topics, services and nodes, each written once."""

from __future__ import annotations

from typing import Final

COLOR_IMAGE: Final = "/camera/color/image_raw"
COLOR_INFO: Final = "/camera/color/camera_info"
ALIGNED_DEPTH_IMAGE: Final = "/camera/aligned_depth_to_color/image_raw"
JOINT_STATES: Final = "/joint_states"
CLOCK: Final = "/clock"
CELL_CLOCK: Final = "/cell/clock"
TF: Final = "/tf"
TF_STATIC: Final = "/tf_static"
DIAGNOSTICS: Final = "/diagnostics"
ROBOT_DESCRIPTION: Final = "/robot_description"

KEYPOINTS: Final = "/pad/keypoints"
HANDS: Final = "/pad/hands"
MARKERS: Final = "/pad/markers"
PLANNED_PATH: Final = "/display_planned_path"
ACTION_CHUNK: Final = "/pad/action_chunk"
JOINT_CHUNK: Final = "/pad/joint_chunk"
APPROACH_CHUNK: Final = "/pad/approach_chunk"
PREVIEW: Final = "/pad/preview"
SAFETY: Final = "/pad/safety"
PLANNED_TRAJECTORY: Final = "/pad/planned_trajectory"
PARSE_DEMONSTRATION: Final = "/pad/parse_demonstration"

ENABLE: Final = "/pad/enable"
STOP: Final = "/pad/stop"
LOCALISE_KEYPOINTS: Final = "/pad/localise_keypoints"
GENERATE_TRAJECTORY: Final = "/pad/generate_trajectory"

CELL_RESET: Final = "/cell/reset"
CELL_OUTCOME: Final = "/cell/outcome"
TRUE_KEYPOINTS: Final = "/ground_truth/keypoints"
TRUE_OBJECTS: Final = "/ground_truth/objects"

TASK_FRAME: Final = "task_frame"
CAMERA_FRAME: Final = "camera_color_optical_frame"
ARMS: Final = ("left", "right")

SIM_CELL: Final = "sim_cell"
MOCK_CELL: Final = "mock_cell"
KEYPOINT_TRACKER: Final = "keypoint_tracker"
HAND_TRACKER: Final = "hand_tracker"
POLICY_NODE: Final = "policy_node"
COMMAND_GATE: Final = "command_gate"
TAMP_SERVER: Final = "tamp_server"
VIEWER: Final = "viewer"
REPLAY: Final = "replay"
PLAYER: Final = "player"
STATUS_MARKERS: Final = "status_markers"
RECORDER: Final = "recorder"
DEMONSTRATION_SERVER: Final = "demonstration_server"
CONTROLLER_MANAGER: Final = "controller_manager"


def arm_command_topic(arm: str) -> str:
    """The topic that takes the joint position commands (rad) of "left" or "right"."""
    return f"/{arm}_forward_position_controller/commands"


def gripper_command_topic(arm: str) -> str:
    """The topic that takes the finger joint position command (m) of "left" or "right"."""
    return f"/{arm}_gripper_position_controller/commands"


TOPIC_TYPES: Final = {
    COLOR_IMAGE: "sensor_msgs/msg/Image",
    COLOR_INFO: "sensor_msgs/msg/CameraInfo",
    ALIGNED_DEPTH_IMAGE: "sensor_msgs/msg/Image",
    JOINT_STATES: "sensor_msgs/msg/JointState",
    CLOCK: "rosgraph_msgs/msg/Clock",
    CELL_CLOCK: "rosgraph_msgs/msg/Clock",
    TF: "tf2_msgs/msg/TFMessage",
    TF_STATIC: "tf2_msgs/msg/TFMessage",
    DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray",
    ROBOT_DESCRIPTION: "std_msgs/msg/String",
    KEYPOINTS: "pad_msgs/msg/KeypointArray",
    HANDS: "pad_msgs/msg/HandArray",
    MARKERS: "visualization_msgs/msg/MarkerArray",
    PLANNED_PATH: "moveit_msgs/msg/DisplayTrajectory",
    ACTION_CHUNK: "pad_msgs/msg/ActionChunk",
    JOINT_CHUNK: "trajectory_msgs/msg/JointTrajectory",
    APPROACH_CHUNK: "trajectory_msgs/msg/JointTrajectory",
    PREVIEW: "sensor_msgs/msg/JointState",
    SAFETY: "pad_msgs/msg/SafetyState",
    PLANNED_TRAJECTORY: "trajectory_msgs/msg/JointTrajectory",
    CELL_OUTCOME: "pad_msgs/msg/CellOutcome",
    TRUE_KEYPOINTS: "pad_msgs/msg/KeypointArray",
    TRUE_OBJECTS: "pad_msgs/msg/ObjectPoseArray",
    **{arm_command_topic(arm): "std_msgs/msg/Float64MultiArray" for arm in ARMS},
    **{gripper_command_topic(arm): "std_msgs/msg/Float64MultiArray" for arm in ARMS},
}
"""Topic -> message type, of every topic that PAD reads or writes."""
