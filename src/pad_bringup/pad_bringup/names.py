"""Names on the wire that pad_bringup uses: topics, services and nodes, each written once."""

from __future__ import annotations

from typing import Final

COLOR_IMAGE: Final = "/camera/color/image_raw"
COLOR_INFO: Final = "/camera/color/camera_info"
ALIGNED_DEPTH_IMAGE: Final = "/camera/aligned_depth_to_color/image_raw"
JOINT_STATES: Final = "/joint_states"
CLOCK: Final = "/clock"

KEYPOINTS: Final = "/pad/keypoints"
HANDS: Final = "/pad/hands"
MARKERS: Final = "/pad/markers"
ACTION_CHUNK: Final = "/pad/action_chunk"
JOINT_CHUNK: Final = "/pad/joint_chunk"
SAFETY: Final = "/pad/safety"

ENABLE: Final = "/pad/enable"
STOP: Final = "/pad/stop"
LOCALISE_KEYPOINTS: Final = "/pad/localise_keypoints"
GENERATE_TRAJECTORY: Final = "/pad/generate_trajectory"

CELL_RESET: Final = "/cell/reset"
CELL_OUTCOME: Final = "/cell/outcome"

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


def arm_command_topic(arm: str) -> str:
    """The topic that takes the six joint position commands (rad) of "left" or "right"."""
    return f"/{arm}_forward_position_controller/commands"


def gripper_command_topic(arm: str) -> str:
    """The topic that takes the finger joint position command (m) of "left" or "right"."""
    return f"/{arm}_gripper_position_controller/commands"
