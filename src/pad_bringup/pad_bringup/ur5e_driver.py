"""Cell ur5e: Universal Robots' ROS 2 driver for two arms, ros2_control, grippers and the robot's description.

Written against ur_robot_driver of ROS 2 Jazzy; nobody has tried it on arms yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from pad_bringup import names
from pad_bringup.errors import GraphError
from pad_bringup.graph_types import NodeEntry, OnExit
from pad_bringup.resources import resource

ACTIVE_CONTROLLERS = (
    "joint_state_broadcaster",
    *(f"{arm}_forward_position_controller" for arm in names.ARMS),
    *(f"{arm}_gripper_position_controller" for arm in names.ARMS),
)
"""Started: what the command gate writes to."""
INACTIVE_CONTROLLERS = tuple(f"{arm}_scaled_joint_trajectory_controller" for arm in names.ARMS)
"""Loaded beside them; MoveIt and a planned approach switch to these."""
STATUS_CONTROLLERS = tuple(
    f"{arm}_{kind}" for arm in names.ARMS for kind in ("speed_scaling_state_broadcaster", "io_and_status_controller")
)
"""Started with real arms only."""
_SPAWNER_TIMEOUT = "60"  # s; the arms' controllers take long to connect


def driver_description(given: Mapping[str, str]) -> str:
    """URDF of the pair with its ros2_control hardware, for the arguments of the graph.

    Raises:
        GraphError: an address or the gripper's plugin is missing, or Universal Robots' packages are not installed.
    """
    mock = given["use_mock_hardware"] == "true"
    mappings = {"use_mock_hardware": given["use_mock_hardware"]}
    for arm in names.ARMS:
        address = given[f"{arm}_robot_ip"]
        if not (mock or address):
            raise GraphError(
                f"cell:=ur5e needs {arm}_robot_ip:=ADDRESS of the {arm} arm's controller, or use_mock_hardware:=true"
            )
        mappings[f"{arm}_robot_ip"] = address or "0.0.0.0"
        if given[f"{arm}_kinematics"]:
            mappings[f"{arm}_kinematics"] = given[f"{arm}_kinematics"]
    if not (mock or given["gripper_plugin"]):
        raise GraphError(
            "cell:=ur5e needs gripper_plugin:=CLASS, the ros2_control hardware plugin of your grippers "
            "(joints left_finger_joint and right_finger_joint, in m), or use_mock_hardware:=true"
        )
    if given["gripper_plugin"]:
        mappings["gripper_plugin"] = given["gripper_plugin"]
    import xacro

    path = resource("description", "ur5e_pair_driver.urdf.xacro")
    try:
        return str(xacro.process_file(str(path), mappings=mappings).toxml())
    except Exception as error:  # xacro raises its own, expat's and the package index's errors
        raise GraphError(
            f"cell:=ur5e: {' '.join(str(error).split())}; Universal Robots' driver has to be installed: "
            "apt install ros-jazzy-ur"
        ) from error


def driver_nodes(given: Mapping[str, str]) -> tuple[list[NodeEntry], str]:
    """The driver's nodes, and the robot's description that they work with.

    Raises:
        GraphError: as `driver_description`.
    """
    description = driver_description(given)
    mock = given["use_mock_hardware"] == "true"
    controllers = str(resource("config", "controllers", "ur5e_pair.yaml"))
    nodes = [
        NodeEntry(
            name=names.CONTROLLER_MANAGER,
            package="controller_manager",
            executable="ros2_control_node",
            module="",
            parameters={"robot_description": description},
            parameter_files=(controllers,),
            services=("/controller_manager/load_controller",),
            own_name=True,
        )
    ]
    if not mock:
        for arm in names.ARMS:
            nodes.append(
                NodeEntry(
                    name=f"{arm}_dashboard_client",
                    package="ur_robot_driver",
                    executable="dashboard_client",
                    module="",
                    parameters={"robot_ip": given[f"{arm}_robot_ip"]},
                    on_exit=OnExit.RESTART,
                )
            )
    active = ACTIVE_CONTROLLERS if mock else (*ACTIVE_CONTROLLERS, *STATUS_CONTROLLERS)
    nodes.append(_spawner("controllers_active", controllers, active, ()))
    nodes.append(_spawner("controllers_inactive", controllers, INACTIVE_CONTROLLERS, ("--inactive",)))
    return nodes, description


def _spawner(name: str, file: str, controllers: tuple[str, ...], options: tuple[str, ...]) -> NodeEntry:
    return NodeEntry(
        name=name,
        package="controller_manager",
        executable="spawner",
        module="",
        arguments=(
            *controllers,
            *("--controller-manager", f"/{names.CONTROLLER_MANAGER}"),
            *("--controller-manager-timeout", _SPAWNER_TIMEOUT),
            *("--param-file", file),
            *options,
        ),
        on_exit=OnExit.FINISHES,
        own_name=True,
        anonymous=True,
    )
