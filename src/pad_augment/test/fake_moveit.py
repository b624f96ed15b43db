"""What PAD uses of moveit_py 2.12 (ROS 2 Jazzy) and moveit_msgs, for machines without MoveIt.

It stands in at the import boundary only: names, argument names, types and the order of calls are as strict as the real
bindings (which raise TypeError), and collisions and searches are roboplan's. Traps that the real one has are kept: a
state that is not updated must not be checked, what is attached belongs to the state and not to the scene, objects that
cannot be taken are only logged, a scene needs request parameters, and joints come back in an order of their own.
"""

import copy
import types
import xml.etree.ElementTree as ElementTree
from typing import Any, ClassVar

import numpy as np
import roboplan.core as rp
import roboplan.rrt as rrt
import yaml
from geometry_msgs.msg import Pose, Quaternion
from scipy.spatial.transform import Rotation
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pad_parse import geometry

FINGERS = ("gripper_base_link", "finger_link", "finger_mimic_link")
_FRAME = "task_frame"


def _expect(value: object, kind: type | tuple[type, ...], what: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{what} is a {type(value).__name__}: incompatible function arguments")


def _message(value: object, name: str) -> None:
    """The real type casters look at the name of a message's class."""
    if type(value).__name__ != name:
        raise TypeError(f"a {type(value).__name__} is no {name}: incompatible function arguments")


class _Message:
    """Fields as in the .msg files: unknown ones, and values of another type, are refused as rosidl does."""

    FIELDS: ClassVar[dict[str, Any]] = {}

    def __init__(self, **given: Any) -> None:
        for name, default in self.FIELDS.items():
            setattr(self, name, given.pop(name) if name in given else copy.deepcopy(default))
        assert not given, f"Invalid arguments passed to constructor: {', '.join(given)}"

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        assert isinstance(value, type(self.FIELDS[name])), f"{name} must be a {type(self.FIELDS[name]).__name__}"
        object.__setattr__(self, name, value)


class CollisionObject(_Message):
    ADD, REMOVE, APPEND, MOVE = 0, 1, 2, 3
    FIELDS: ClassVar[dict[str, Any]] = {
        "header": Header(),
        "pose": Pose(),
        "id": "",
        "primitives": [],
        "primitive_poses": [],
        "operation": 0,
    }


class AttachedCollisionObject(_Message):
    FIELDS: ClassVar[dict[str, Any]] = {"link_name": "", "object": CollisionObject(), "touch_links": [], "weight": 0.0}


class AllowedCollisionMatrix:
    def __init__(self) -> None:
        self.entries: dict[frozenset[str], bool] = {}

    def set_entry(self, name1: str, name2: str, allowed: bool) -> None:
        _expect(name1, str, "name1")
        _expect(name2, str, "name2")
        _expect(allowed, bool, "allowed")
        self.entries[frozenset((name1, name2))] = allowed


class RobotModel:
    def __init__(self, urdf: str, srdf: str) -> None:
        self.urdf, self.srdf = urdf, srdf
        self._tree = ElementTree.fromstring(urdf)
        scene = self.fresh()
        self.joints = [name for name in scene.getJointNames() if name not in ("universe",)]
        self.groups = {name: list(scene.getJointGroupInfo(name).joint_names) for name in GROUPS}
        self.scenes: dict[Any, rp.Scene] = {}

    def fixed_pose(self, link: str) -> np.ndarray:
        """(4, 4) of a link in the last moving link before it, which is what roboplan places geometries in."""
        pose = np.eye(4)
        joints = {joint.find("child").get("link"): joint for joint in self._tree.findall("joint")}
        while link in joints and joints[link].get("type") == "fixed":
            origin = joints[link].find("origin")
            given = {"xyz": "0 0 0", "rpy": "0 0 0", **(origin.attrib if origin is not None else {})}
            turn = Rotation.from_euler("xyz", [float(v) for v in given["rpy"].split()]).as_matrix()
            pose = geometry.make_pose(turn, [float(v) for v in given["xyz"].split()]) @ pose
            link = joints[link].find("parent").get("link")
        return pose if link in joints else np.eye(4)

    def fresh(self) -> rp.Scene:
        scene = rp.Scene("fake", rp.loadUrdfSceneDescriptionFromXml(self.urdf))
        scene.importSrdf(self.srdf)
        return scene


GROUPS = ("both_arms", "left_arm", "right_arm")


class RobotState:
    def __init__(self, model: RobotModel) -> None:
        _expect(model, RobotModel, "robot_model")
        self._model = model
        self._positions = dict.fromkeys(model.joints, 0.0)
        self._dirty = True
        self.attached: dict[str, AttachedCollisionObject] = {}

    def __deepcopy__(self, memo: dict) -> "RobotState":
        other = RobotState(self._model)
        other._positions, other._dirty = dict(self._positions), self._dirty
        other.attached = dict(self.attached)
        return other

    @property
    def dirty(self) -> bool:
        return self._dirty

    @property
    def joint_positions(self) -> dict[str, float]:
        return dict(self._positions)

    @joint_positions.setter
    def joint_positions(self, values: dict[str, float]) -> None:
        _expect(values, dict, "joint_positions")
        for name, value in values.items():
            _expect(value, float, name)
            if name not in self._positions:
                raise RuntimeError(f"Variable '{name}' is not known to model")
            self._positions[name] = value
        self._dirty = True

    def update(self, force: bool = False, type: str = "all") -> None:
        _expect(force, bool, "force")
        if type not in ("all", "links_only", "collisions_only"):
            raise ValueError("Invalid category")
        self._dirty = False


class PlanningScene:
    def __init__(self, model: RobotModel) -> None:
        self._model = model
        self._world: dict[str, CollisionObject] = {}
        self._matrix = AllowedCollisionMatrix()
        self._state = RobotState(model)

    def __deepcopy__(self, memo: dict) -> "PlanningScene":
        other = PlanningScene(self._model)
        other._world = dict(self._world)
        other._matrix.entries = dict(self._matrix.entries)
        other._state = copy.deepcopy(self._state)
        return other

    @property
    def planning_frame(self) -> str:
        return _FRAME

    @property
    def current_state(self) -> RobotState:
        return self._state

    @property
    def allowed_collision_matrix(self) -> AllowedCollisionMatrix:
        return self._matrix

    @allowed_collision_matrix.setter
    def allowed_collision_matrix(self, value: AllowedCollisionMatrix) -> None:
        _expect(value, AllowedCollisionMatrix, "allowed_collision_matrix")
        self._matrix = value

    def apply_collision_object(self, collision_object_msg: Any, color_msg: Any = None) -> None:
        _message(collision_object_msg, "CollisionObject")
        # Like the real one it says nothing, except in its log, where it takes no object.
        if collision_object_msg.header.frame_id == _FRAME and _solid(collision_object_msg):
            self._world[collision_object_msg.id] = copy.deepcopy(collision_object_msg)

    def process_attached_collision_object(self, object: Any) -> bool:
        _message(object, "AttachedCollisionObject")
        link = object.link_name
        if f'link name="{link}"' not in self._model.urdf or object.object.header.frame_id != link:
            return False
        if not _solid(object.object):
            return False
        self._world.pop(object.object.id, None)
        self._state.attached[object.object.id] = copy.deepcopy(object)
        return True

    def remove_all_collision_objects(self) -> None:
        self._world.clear()

    def knows_frame_transform(self, frame_id: str) -> bool:
        _expect(frame_id, str, "frame_id")
        return frame_id in self._world or frame_id in self._state.attached

    def is_state_colliding(self, robot_state: RobotState, joint_model_group_name: str, verbose: bool = False) -> bool:
        _expect(robot_state, RobotState, "robot_state")
        if joint_model_group_name not in self._model.groups:
            raise RuntimeError(f"Group '{joint_model_group_name}' not found")
        if robot_state.dirty:
            raise RuntimeError("the state's transforms are not up to date")
        scene = self.backend(robot_state)
        return bool(scene.hasCollisions(configuration(scene, robot_state)))

    def backend(self, state: RobotState) -> rp.Scene:
        """roboplan's scene of the same bodies."""
        bodies = [(o.id, _FRAME, o, ()) for o in self._world.values()]
        bodies += [(o.object.id, o.link_name, o.object, tuple(o.touch_links)) for o in state.attached.values()]
        matrix = frozenset(pair for pair, allowed in self._matrix.entries.items() if allowed)
        key = (tuple((name, link, _numbers(o), touch) for name, link, o, touch in bodies), matrix)
        if key not in self._model.scenes:
            if len(self._model.scenes) > 64:
                self._model.scenes.clear()
            self._model.scenes[key] = self._build(bodies, matrix)
        return self._model.scenes[key]

    def _build(self, bodies: list, matrix: frozenset) -> rp.Scene:
        scene = self._model.fresh()
        colour = np.array([0.5, 0.5, 0.5, 1.0])
        there: list[str] = []
        standing = {name for name, link, *_ in bodies if link == _FRAME}
        for name, link, item, touch in bodies:
            height, radius = item.primitives[0].dimensions
            pose = self._model.fixed_pose(link) @ _matrix(item.pose) @ _matrix(item.primitive_poses[0])
            frame = "universe" if link == _FRAME else link
            scene.addCylinderGeometry(name, frame, rp.Cylinder(radius, height), np.asfortranarray(pose), colour)
            excused = {*touch, *(other for pair in matrix if name in pair for other in pair - {name})}
            if name in standing:
                excused |= standing  # bodies of the world are not checked against each other
            links = {other for other in excused if f'link name="{other}"' in self._model.urdf}
            scene.setCollisions([(other, name) for other in links | (excused & set(there))], False)
            there.append(name)
        return scene


def _solid(item: CollisionObject) -> bool:
    return (
        bool(item.id)
        and item.operation == CollisionObject.ADD
        and len(item.primitives) == len(item.primitive_poses) == 1
        and item.primitives[0].type == SolidPrimitive.CYLINDER
        and len(item.primitives[0].dimensions) == 2
    )


def _numbers(item: CollisionObject) -> tuple[float, ...]:
    poses = [_matrix(item.pose), _matrix(item.primitive_poses[0])]
    return tuple(np.concatenate([p.ravel() for p in poses]).tolist()) + tuple(item.primitives[0].dimensions)


def _matrix(pose: Pose) -> np.ndarray:
    p, q = pose.position, pose.orientation
    assert isinstance(q, Quaternion)
    return geometry.make_pose(geometry.from_quaternion_xyzw([q.x, q.y, q.z, q.w]), [p.x, p.y, p.z])


def configuration(scene: rp.Scene, state: RobotState) -> np.ndarray:
    positions = state.joint_positions
    return np.array([positions[name] for name in scene.getJointNames() if name in positions])


class _Locked:
    def __init__(self, scene: PlanningScene) -> None:
        self._scene = scene

    def __enter__(self) -> PlanningScene:
        return self._scene

    def __exit__(self, type: object, value: object, traceback: object) -> None:
        pass


class PlanningSceneMonitor:
    def __init__(self, model: RobotModel) -> None:
        self._scene = PlanningScene(model)

    def read_write(self) -> _Locked:
        return _Locked(self._scene)


class RobotTrajectory:
    """Without times until it is given some."""

    def __init__(self, names: list[str], corners: np.ndarray, limits: dict[str, dict[str, float]]) -> None:
        self._names, self._path, self._limits = names, corners, limits
        self._times = np.zeros(len(corners))

    def apply_totg_time_parameterization(
        self,
        velocity_scaling_factor: float,
        acceleration_scaling_factor: float,
        *,
        path_tolerance: float = 0.1,
        resample_dt: float = 0.1,
        min_angle_change: float = 0.001,
    ) -> bool:
        for value in (velocity_scaling_factor, acceleration_scaling_factor, path_tolerance, resample_dt):
            _expect(value, float, "argument")
        speed = np.array([self._limits[name]["max_velocity"] for name in self._names])
        push = np.array([self._limits[name]["max_acceleration"] for name in self._names])
        legs = np.abs(np.diff(self._path, axis=0))
        # One cubic per leg, at rest at the corners, that just keeps the limits: coarser steps through it do not.
        seconds = np.maximum((1.5 * legs / speed).max(1), np.sqrt((6.0 * legs / push).max(1))) + 1e-3
        nodes = np.r_[0.0, np.cumsum(seconds)]
        times = np.unique(np.r_[np.arange(0.0, nodes[-1], resample_dt), nodes[-1]])
        leg = np.clip(np.searchsorted(nodes, times, side="right") - 1, 0, len(seconds) - 1)
        s = (times - nodes[leg]) / seconds[leg]
        s = s**2 * (3 - 2 * s)
        self._path = self._path[leg] + s[:, None] * (self._path[leg + 1] - self._path[leg])
        self._times = times
        return True

    def get_robot_trajectory_msg(self, joint_filter: list[str] | None = None) -> Any:
        assert not joint_filter, "the whole group is asked for"
        order = np.argsort(self._names)  # not the group's
        message = JointTrajectory(joint_names=[self._names[i] for i in order])
        for time, row in zip(self._times, self._path, strict=True):
            point = JointTrajectoryPoint(positions=[float(row[i]) for i in order])
            point.time_from_start.sec = int(time)
            point.time_from_start.nanosec = round((time - int(time)) * 1e9)
            message.points.append(point)
        return types.SimpleNamespace(joint_trajectory=message)


class MotionPlanResponse:
    def __init__(self, code: int, trajectory: RobotTrajectory | None = None) -> None:
        self.error_code = types.SimpleNamespace(val=code)
        self.trajectory = trajectory

    def __bool__(self) -> bool:
        return self.error_code.val == 1


class PlanRequestParameters:
    def __init__(self, moveit_cpp: "MoveItPy", ns: str, /) -> None:
        _expect(moveit_cpp, MoveItPy, "moveit_cpp")
        _expect(ns, str, "ns")
        given = moveit_cpp.parameters["plan_request_params"]
        self.planner_id: str = given["planner_id"]
        self.planning_pipeline: str = given["planning_pipeline"]
        self.planning_attempts: int = given["planning_attempts"]
        self.planning_time: float = given["planning_time"]
        self.max_velocity_scaling_factor: float = given["max_velocity_scaling_factor"]
        self.max_acceleration_scaling_factor: float = given["max_acceleration_scaling_factor"]


class PlanningComponent:
    def __init__(self, group: str, moveit: "MoveItPy") -> None:
        self._group, self._moveit = group, moveit
        self._start: RobotState | None = None
        self._goal: RobotState | None = None

    def set_start_state(self, configuration_name: str | None = None, robot_state: RobotState | None = None) -> bool:
        if (configuration_name is None) == (robot_state is None):
            raise ValueError("Must specify at least one argument")
        _expect(robot_state, RobotState, "robot_state")
        self._start = copy.deepcopy(robot_state)
        return True

    def set_goal_state(
        self,
        configuration_name: str | None = None,
        robot_state: RobotState | None = None,
        pose_stamped_msg: Any = None,
        pose_link: str | None = None,
        motion_plan_constraints: Any = None,
    ) -> bool:
        _expect(robot_state, RobotState, "robot_state")
        self._goal = copy.deepcopy(robot_state)
        return True

    def plan(
        self,
        single_plan_parameters: PlanRequestParameters | None = None,
        multi_plan_parameters: Any = None,
        planning_scene: PlanningScene | None = None,
        solution_selection_function: Any = None,
        stopping_criterion_callback: Any = None,
    ) -> MotionPlanResponse:
        if single_plan_parameters is None:
            raise ValueError("Cannot specify planning scene without specifying plan parameters")
        _expect(single_plan_parameters, PlanRequestParameters, "single_plan_parameters")
        _expect(planning_scene, PlanningScene, "planning_scene")
        if single_plan_parameters.planning_pipeline not in self._moveit.pipelines:
            return MotionPlanResponse(99999)
        start, goal = self._start, self._goal
        assert planning_scene is not None and start is not None
        if goal is None:
            return MotionPlanResponse(-17)
        # As the real one does: what the start state carries is attached in the scene.
        planning_scene._state = copy.deepcopy(start)
        start.update()
        goal.update()
        if planning_scene.is_state_colliding(start, self._group):
            return MotionPlanResponse(-10)
        if planning_scene.is_state_colliding(goal, self._group):
            return MotionPlanResponse(-12)
        return self._searched(planning_scene.backend(start), start, goal)

    def _searched(self, scene: rp.Scene, start: RobotState, goal: RobotState) -> MotionPlanResponse:
        names = self._moveit.model.groups[self._group]
        scene.setJointPositions(configuration(scene, start))
        ends = [np.array([state.joint_positions[name] for name in names]) for state in (start, goal)]
        options = rrt.RRTOptions(
            group_name=self._group, max_nodes=2000, collision_check_step_size=0.05, rrt_connect=True
        )
        search = rrt.RRT(scene, options)
        search.setRngSeed(int(self._moveit.rng.integers(1, 2**31 - 1)))
        try:
            path = search.plan(*(rp.JointConfiguration(names, end) for end in ends))
        except RuntimeError:
            return MotionPlanResponse(-6)
        short = rp.PathShortcuttingOptions(group_name=self._group, max_step_size=0.05, max_iters=100, seed=1)
        path = rp.PathShortcutter(scene, short).shortcut(path)
        order = [path.joint_names.index(name) for name in names]
        corners = np.array([np.asarray(corner)[order] for corner in path.positions])
        return MotionPlanResponse(1, RobotTrajectory(names, corners, self._moveit.limits))


class MoveItPy:
    def __init__(
        self,
        node_name: str = "moveit_py",
        name_space: str = "",
        launch_params_filepaths: list[str] | None = None,
        config_dict: dict[str, Any] | None = None,
        provide_planning_service: bool = True,
        remappings: dict[str, str] | None = None,
    ) -> None:
        _expect(node_name, str, "node_name")
        _expect(config_dict, dict, "config_dict")
        # The real one writes a file of parameters and reads it back.
        self.parameters = yaml.safe_load(yaml.dump(config_dict, default_flow_style=False))
        check_parameters(self.parameters, "")
        self.model = RobotModel(self.parameters["robot_description"], self.parameters["robot_description_semantic"])
        self.limits = self.parameters["robot_description_planning"]["joint_limits"]
        self.pipelines = self.parameters["planning_pipelines"]["pipeline_names"]
        for name in self.pipelines:
            if not self.parameters[name]["planning_plugins"]:
                raise RuntimeError("Failed to load planning pipelines from parameter server")
        self.rng = np.random.default_rng(0)
        self._monitor = PlanningSceneMonitor(self.model)

    def get_planning_component(self, planning_component_name: str) -> PlanningComponent:
        if planning_component_name not in self.model.groups:
            raise RuntimeError(f"Could not find joint model group '{planning_component_name}'.")
        return PlanningComponent(planning_component_name, self)

    def get_planning_scene_monitor(self) -> PlanningSceneMonitor:
        return self._monitor

    def get_robot_model(self) -> RobotModel:
        return self.model

    def shutdown(self) -> None:
        pass


def check_parameters(value: object, where: str) -> None:
    """Refuse what a ROS parameter cannot be: nothing, an empty list, a list of several types."""
    if isinstance(value, dict):
        for name, item in value.items():
            _expect(name, str, where)
            check_parameters(item, f"{where}.{name}")
    elif isinstance(value, list):
        if not value or len({type(item) for item in value}) > 1:
            raise RuntimeError(f"parameter {where} is no list of one type")
        check_parameters(value[0], where)
    else:
        _expect(value, (bool, int, float, str), where)


def modules() -> dict[str, types.ModuleType]:
    """Name -> module, for sys.modules."""
    content = {
        "moveit": {},
        "moveit.planning": {"MoveItPy": MoveItPy, "PlanRequestParameters": PlanRequestParameters},
        "moveit_msgs": {},
        "moveit_msgs.msg": {"CollisionObject": CollisionObject, "AttachedCollisionObject": AttachedCollisionObject},
    }
    out = {}
    for name, members in content.items():
        out[name] = types.ModuleType(name)
        for member, value in members.items():
            setattr(out[name], member, value)
    return out
