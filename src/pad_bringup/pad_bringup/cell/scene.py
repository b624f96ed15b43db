"""The cell as a MuJoCo model, built from the one robot description that everything else reads too.

`build_spec` makes it: with or without robots, with objects that obey physics or that are put where one wants them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_augment.description import urdf_text
from pad_augment.kinematics import ArmProfile, Robot, RobotProfile
from pad_bringup.cell import textures
from pad_bringup.cell.distractors import Distractor
from pad_bringup.cell.objects import DrinkModel, ObjectModel, TaskObjects, TextureModel, load_objects
from pad_bringup.cell.shapes import LABEL_SHARE, TexturedMesh, solid, vessel
from pad_bringup.errors import CellError
from pad_bringup.resources import resource
from pad_parse.camera import Camera

CAMERA = "camera"
TIME_STEP = 0.002
ARMS = ("left", "right")

# Contact classes: two geoms touch when the class bit of one is in the other's mask.
_LEFT, _RIGHT, _FIXED, _OUTSIDE, _WALL, _BALL, _SOLID = 1, 2, 4, 8, 16, 32, 64
_VISUAL_GROUP, _COLLISION_GROUP = 1, 3

_WALL_SEGMENTS = 14
# Servos of the UR5e's six joints: stiffness (Nm/rad), damping (Nm s/rad), effort (Nm), armature (kg m^2).
_UR5E_SERVOS = (
    (40000.0, 400.0, 150.0, 0.3),
    (40000.0, 400.0, 150.0, 0.3),
    (25000.0, 250.0, 150.0, 0.2),
    (8000.0, 80.0, 28.0, 0.05),
    (8000.0, 80.0, 28.0, 0.05),
    (4000.0, 40.0, 28.0, 0.03),
)
# The same of any other arm, per Nm of the effort limit in its description.
_SERVO_PER_EFFORT = (270.0, 2.7, 1.0, 0.005)
# s. Commands come in steps of 8 ms; unfiltered, each would shake the hand enough for a held object to slip.
_COMMAND_FILTER = 0.01
# The finger joint's servo; both fingers share its force (N).
_GRIPPER_FORCE, _GRIPPER_STIFFNESS, _GRIPPER_DAMPING = 60.0, 8000.0, 160.0
# Radius (m) of the spheres that the pads touch with.
_PAD_GRAIN = 0.004
# What a description must have besides the arms, to stand in the cell.
_NEEDED_LINKS = ("table_link", "camera_color_optical_frame", "left_pedestal_link", "right_pedestal_link")


def body_name(object_name: str) -> str:
    """The name of an object's body in the model."""
    return f"object_{object_name}"


def distractor_name(index: int) -> str:
    """The name of the body of one distractor."""
    return f"distractor_{index}"


def ball_name(index: int) -> str:
    """The name of the body of one ball of the drink."""
    return f"ball_{index}"


def build_spec(
    robots: bool = True,
    objects_dynamic: bool = True,
    *,
    task: str = "pour",
    objects: TaskObjects | None = None,
    distractors: Sequence[Distractor] = (),
    profile: RobotProfile | None = None,
    camera: Camera | None = None,
) -> mujoco.MjSpec:
    """The scene as an editable specification: table, lights, camera, objects; call `.compile()` when done adding.

    robots: whether the two arms are in it.
    objects_dynamic: True: free bodies with mass and colliders, and the drink. False: each object is a motion-captured
        body without contacts (set `data.mocap_pos`, `data.mocap_quat` (w, x, y, z) at
        `model.body(body_name(n)).mocapid[0]`), and there is no drink.
    task: which objects.
    objects: these instead of the task's own, for instance other instances of them.
    distractors: things that stand about: motion-captured bodies `distractor_name(k)` that robots and objects can touch.
    profile: the robot that stands in it; by default `ur5e_pair`.
    camera: pinhole camera; its size sets the off-screen buffer. By default `config/cameras/cell.yaml`.

    Body names: `body_name(object)`. Camera name: `CAMERA`. Visible geometry is in group 1, colliders in group 3
    (hidden), so a skin or geom that should be seen goes into group 0 to 2.

    Raises:
        CellError: unknown task, or a description that MuJoCo cannot read or that is of no cell.
        pad_augment.errors.RobotError: a description that xacro cannot read.
    """
    objects = objects or load_objects(task)
    camera = camera or default_camera()
    profile = profile or RobotProfile.load(resource("config", "robots", "ur5e_pair.yaml"))
    spec = _from_description(profile.description)
    _set_options(spec)
    _add_surroundings(spec)
    _add_camera(spec, camera)
    if robots:
        _equip_robots(spec, Robot(profile))
    else:
        for arm in ARMS:
            spec.delete(spec.body(f"{arm}_pedestal_link"))
    for name, model in objects.models.items():
        _add_object(spec, name, model, objects.rest_height(name), dynamic=objects_dynamic)
    for k, distractor in enumerate(distractors):
        _add_distractor(spec, k, distractor)
    if objects_dynamic and objects.drink is not None:
        _add_drink(spec, objects, objects.drink)
    return spec


def touch_drink_only(spec: mujoco.MjSpec, objects: TaskObjects) -> None:
    """Let objects that go where hands take them touch nothing but the drink: vessels from inside, solids all round."""
    solids = tuple(f"{name}_" for name, model in objects.models.items() if model.form == "solid")
    for geom in spec.geoms:
        if "_outside_" in geom.name or "_foot_" in geom.name:
            geom.contype, geom.conaffinity = 0, _BALL if geom.name.startswith(solids) else 0


def default_camera() -> Camera:
    """The camera of the cell, 640 x 480, with its pose."""
    return Camera.load(resource("config", "cameras", "cell.yaml"))


def scaled_camera(size: tuple[int, int]) -> Camera:
    """The cell's camera with another image size (width, height), same field of view across the height."""
    base = default_camera()
    width, height = size
    focal = base.matrix[1, 1] * height / base.height
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(matrix, width, height, base.transform_camera_to_task)


def _from_description(path: Path) -> mujoco.MjSpec:
    root = ElementTree.fromstring(urdf_text(path))
    extension = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(
        extension, "compiler", discardvisual="false", fusestatic="false", balanceinertia="true", strippath="false"
    )
    links = {link.get("name") for link in root.findall("link")}
    missing = [name for name in _NEEDED_LINKS if name not in links]
    if missing:
        raise CellError(
            f"robot description {path} has no link {missing[0]!r}; the cells sim and mock need "
            f"{', '.join(_NEEDED_LINKS)}: see description/urdf/furniture.xacro"
        )
    try:
        return mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    except ValueError as error:
        raise CellError(f"MuJoCo cannot read the robot description {path}: {error}") from error


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.modelname = "cell"
    option = spec.option
    option.timestep = TIME_STEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0
    # A grip that is not solved to the end lets the object creep.
    option.iterations = 60
    option.ls_iterations = 50
    option.tolerance = 1e-9
    # The engine's own guess depends on the scene's contents; depth precision should not.
    spec.stat.extent = 1.0
    spec.stat.center = [0.0, 0.0, 0.2]
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 8.0
    spec.visual.map.shadowclip = 1.0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = [0.42] * 3, [0.25] * 3, [0.05] * 3


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_light(
        pos=[0.5, -0.7, 1.8],
        dir=[-0.25, 0.35, -0.9],
        diffuse=[0.42] * 3,
        specular=[0.1] * 3,
        castshadow=True,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    world.add_light(
        pos=[0.4, 0.9, 1.6],
        dir=[-0.25, -0.5, -0.8],
        diffuse=[0.22] * 3,
        specular=[0.05] * 3,
        castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    _add_picture(spec, "wood", textures.wood(512, seed=5))
    table = spec.geom("table_top_visual")
    table.material = "wood"
    table.rgba = [1, 1, 1, 1]
    collider = spec.geom("table_top")
    for geom in spec.geoms:
        if geom.name.endswith("_visual"):
            geom.group, geom.contype, geom.conaffinity = _VISUAL_GROUP, 0, 0
        else:
            geom.group = _COLLISION_GROUP
            geom.contype, geom.conaffinity = 0, 0
    collider.contype, collider.conaffinity = _FIXED, _LEFT | _RIGHT | _OUTSIDE | _BALL | _SOLID
    collider.friction = [0.8, 0.01, 0.001]
    grey = spec.add_material(name="floor", rgba=[0.55, 0.57, 0.58, 1], specular=0.0, shininess=0.0)
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[4, 4, 0.1],
        pos=[0, 0, -0.74],
        material=grey.name,
        group=_VISUAL_GROUP,
        contype=_FIXED,
        conaffinity=_BALL | _OUTSIDE | _SOLID,
    )
    world.add_geom(
        name="wall",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.02, 3.0, 1.8],
        pos=[-1.9, 0, 0.5],
        rgba=[0.66, 0.69, 0.70, 1],
        group=_VISUAL_GROUP,
        contype=0,
        conaffinity=0,
    )


def _add_picture(spec: mujoco.MjSpec, name: str, picture: np.ndarray) -> None:
    """A 2-D texture and a material of the same name."""
    rows, columns, _ = picture.shape
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=columns, height=rows, nchannel=3)
    texture.data = np.ascontiguousarray(picture).tobytes()
    material = spec.add_material(name=name, specular=0.1, shininess=0.2)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_camera(spec: mujoco.MjSpec, camera: Camera) -> None:
    spec.visual.global_.offwidth, spec.visual.global_.offheight = camera.width, camera.height
    # MuJoCo's cameras look along -z with y up; optical frames look along z with y down.
    spec.body("camera_color_optical_frame").add_camera(
        name=CAMERA, quat=[0, 1, 0, 0], fovy=np.degrees(2 * np.arctan(camera.height / 2 / camera.matrix[1, 1]))
    )


def _equip_robots(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Contacts, servos and coupled fingers."""
    for body in spec.bodies:
        if body.name.startswith(("left_", "right_")):
            body.gravcomp = 1.0
    for index, (arm, own, other) in enumerate((("left", _LEFT, _RIGHT), ("right", _RIGHT, _LEFT))):
        profile = robot.arms[index]
        for geom in spec.geoms:
            if geom.name.startswith(f"{arm}_") and geom.group == _COLLISION_GROUP:
                geom.contype, geom.conaffinity = own, _FIXED | _OUTSIDE | _BALL | _SOLID | other
                geom.friction = [0.6, 0.01, 0.001]
        for finger in (f"{arm}_finger", f"{arm}_finger_mimic"):
            _add_pad_contacts(spec, finger, own)
        for name, servo_of in zip(profile.joints, _servos(spec, profile), strict=True):
            stiffness, damping, effort, armature = servo_of
            spec.joint(name).armature = armature
            servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            servo.set_to_position(kp=stiffness, kv=damping, timeconst=_COMMAND_FILTER)
            servo.forcelimited, servo.forcerange = True, [-effort, effort]
        finger, (mimic,) = profile.finger_joint, robot.mimic_joints[index]
        for name in (finger, mimic):
            spec.joint(name).armature = 0.05
        gripper = spec.add_actuator(name=finger, target=finger, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        gripper.set_to_position(kp=_GRIPPER_STIFFNESS, kv=_GRIPPER_DAMPING)
        gripper.forcelimited, gripper.forcerange = True, [-_GRIPPER_FORCE, _GRIPPER_FORCE]
        coupling = spec.add_equality(
            name=f"{arm}_fingers",
            type=mujoco.mjtEq.mjEQ_JOINT,
            objtype=mujoco.mjtObj.mjOBJ_JOINT,
            name1=mimic,
            name2=finger,
        )
        coupling.data[:5] = [0, 1, 0, 0, 0]
        coupling.solref = [0.004, 1.0]
        coupling.solimp = [0.99, 0.999, 0.001, 0.5, 2.0]


def _servos(spec: mujoco.MjSpec, arm: ArmProfile) -> Sequence[tuple[float, ...]]:
    """Per joint stiffness, damping, effort and armature of its servo."""
    if arm.ik == "ur5e":
        return _UR5E_SERVOS
    efforts = [spec.joint(name).actfrcrange[1] for name in arm.joints]
    return [tuple(share * effort for share in _SERVO_PER_EFFORT) for effort in efforts]


def _add_pad_contacts(spec: mujoco.MjSpec, finger: str, own: int) -> None:
    """Cover the face of a finger's pad with small spheres, which touch the objects in the pad's place.

    Sphere against cylinder is solved exactly and gives a patch of steady contacts; box against cylinder gives one that
    jumps, and held objects creep out of the grip.
    """
    pad = spec.geom(f"{finger}_pad")
    pad.conaffinity &= ~(_OUTSIDE | _SOLID)
    height, length = pad.size[0], pad.size[2]
    # The link's origin lies on the face, which looks against the side that the pad's box is on.
    inwards = -np.sign(pad.pos[1])
    for row, x in enumerate(np.linspace(-height + _PAD_GRAIN, height - _PAD_GRAIN, 3)):
        for column, z in enumerate(np.linspace(-length + _PAD_GRAIN, length - _PAD_GRAIN, 13)):
            spec.body(f"{finger}_link").add_geom(
                name=f"{finger}_grain_{row}_{column}",
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[_PAD_GRAIN, 0, 0],
                pos=[x, -inwards * _PAD_GRAIN, z],
                group=_COLLISION_GROUP,
                mass=0.0,
                contype=0,
                conaffinity=_OUTSIDE | _SOLID,
                condim=3,
                priority=1,
                friction=[1.3, 0.01, 0.001],
                solref=[0.006, 1.0],
                solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
            )


def _add_object(spec: mujoco.MjSpec, name: str, model: ObjectModel, height: float, *, dynamic: bool) -> None:
    x, y, yaw = model.home
    body = spec.worldbody.add_body(
        name=body_name(name), pos=[x, y, height], quat=[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)], mocap=not dynamic
    )
    _add_visual(spec, body, name, model)
    if not dynamic:
        return
    body.add_freejoint(name=body_name(name))
    body.explicitinertial = True
    hollow = model.form == "vessel"
    body.mass, body.ipos, body.inertia = _shell_inertia(model) if hollow else _solid_inertia(model)
    own, others = (_OUTSIDE, _OUTSIDE) if hollow else (_SOLID, _SOLID | _WALL)
    # Outside: cylinders for grippers and feet for the table, both exact; inside: a ring of boxes for what is in there.
    # Solids fit into vessels: they meet the walls only.
    for k, ((low, low_radius), (high, high_radius)) in enumerate(pairwise(model.outer)):
        radius = min(low_radius, high_radius)
        body.add_geom(
            name=f"{name}_outside_{k}",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[radius, (high - low) / 2, 0],
            pos=[0, 0, (low + high) / 2],
            group=_COLLISION_GROUP,
            mass=0.0,
            contype=own,
            conaffinity=others,
            friction=[1.0, 0.01, 0.001],
        )
    foot = 0.004
    ring = model.outer[0][1] - foot
    for k, angle in enumerate(np.arange(8) * np.pi / 4):
        body.add_geom(
            name=f"{name}_foot_{k}",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[foot, 0, 0],
            pos=[ring * np.cos(angle), ring * np.sin(angle), foot],
            group=_COLLISION_GROUP,
            mass=0.0,
            contype=own,
            conaffinity=_FIXED if hollow else _FIXED | _WALL,
            condim=4,
            friction=[0.8, 0.01, 0.001],
        )
    if hollow:
        _add_inner_walls(body, name, model)


def _add_inner_walls(body: mujoco.MjsBody, name: str, model: ObjectModel) -> None:
    half_angle = np.pi / _WALL_SEGMENTS
    for piece, ((z0, r0), (z1, r1)) in enumerate(pairwise(model.outer)):
        lean = np.arctan2(r0 - r1, z1 - z0)
        length = np.hypot(z1 - z0, r1 - r0)
        middle = (r0 + r1) / 2 - model.wall / 2
        for k in range(_WALL_SEGMENTS):
            angle = 2 * half_angle * k
            # Local x points outwards, then the wall leans in towards the axis.
            rotation = np.array(
                [
                    [np.cos(angle) * np.cos(lean), -np.sin(angle), -np.cos(angle) * np.sin(lean)],
                    [np.sin(angle) * np.cos(lean), np.cos(angle), -np.sin(angle) * np.sin(lean)],
                    [np.sin(lean), 0.0, np.cos(lean)],
                ]
            )
            quaternion = np.empty(4)
            mujoco.mju_mat2Quat(quaternion, rotation.ravel())
            body.add_geom(
                name=f"{name}_wall_{piece}_{k}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[model.wall / 2, max(r0, r1) * np.tan(half_angle), length / 2],
                pos=[middle * np.cos(angle), middle * np.sin(angle), (z0 + z1) / 2],
                quat=quaternion,
                group=_COLLISION_GROUP,
                mass=0.0,
                contype=_WALL,
                conaffinity=_BALL | _SOLID,
                condim=1,
            )
    body.add_geom(
        name=f"{name}_floor",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[model.outer[0][1] - 0.001, model.floor / 2, 0],
        pos=[0, 0, model.floor / 2],
        group=_COLLISION_GROUP,
        mass=0.0,
        contype=_WALL,
        conaffinity=_BALL | _SOLID,
        condim=1,
    )


def _shell_inertia(model: ObjectModel) -> tuple[float, list[float], list[float]]:
    """Mass, centre of mass and principal inertia of wall and floor, uniform density."""
    rings = []  # volume, radius, height of thin rings; the floor as discs
    for (z0, r0), (z1, r1) in pairwise(model.outer):
        for s in (np.arange(8) + 0.5) / 8:
            radius = r0 + s * (r1 - r0) - model.wall / 2
            rings.append((2 * np.pi * radius * model.wall * (z1 - z0) / 8, radius, z0 + s * (z1 - z0)))
    base = model.outer[0][1]
    floor_volume = np.pi * base**2 * model.floor
    volume, radius, height = (np.array(v) for v in zip(*rings, strict=True))
    density = model.mass / (volume.sum() + floor_volume)
    mass, floor_mass = density * volume, density * floor_volume
    centre = (np.sum(mass * height) + floor_mass * model.floor / 2) / model.mass
    axial = np.sum(mass * radius**2) + floor_mass * base**2 / 2
    across = np.sum(mass * (radius**2 / 2 + (height - centre) ** 2)) + floor_mass * (
        base**2 / 4 + (model.floor / 2 - centre) ** 2
    )
    return model.mass, [0.0, 0.0, float(centre)], [float(across), float(across), float(axial)]


def _solid_inertia(model: ObjectModel) -> tuple[float, list[float], list[float]]:
    """Mass, centre of mass and principal inertia of a solid body of uniform density, in thin discs."""
    heights = np.linspace(0.0, model.height, 65)
    middle, thickness = (heights[1:] + heights[:-1]) / 2, heights[1]
    radius = np.array([model.radius_at(z) for z in middle])
    mass = model.mass * radius**2 / np.sum(radius**2)
    centre = float(np.sum(mass * middle) / model.mass)
    axial = float(np.sum(mass * radius**2) / 2)
    across = float(np.sum(mass * (radius**2 / 4 + thickness**2 / 12 + (middle - centre) ** 2)))
    return model.mass, [0.0, 0.0, centre], [across, across, axial]


def _add_visual(spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, model: ObjectModel) -> None:
    circumference = 2 * np.pi * max(radius for _, radius in model.outer)
    mesh = vessel(model.outer, model.wall, model.floor) if model.form == "vessel" else solid(model.outer)
    _add_labelled_mesh(spec, body, name, mesh, model.texture, circumference, model.height)


def _add_distractor(spec: mujoco.MjSpec, index: int, thing: Distractor) -> None:
    name = distractor_name(index)
    body = spec.worldbody.add_body(name=name, mocap=True)
    _add_labelled_mesh(spec, body, name, thing.mesh, thing.texture, 2 * np.pi * thing.radius, thing.height)
    body.add_geom(
        name=f"{name}_outside",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[thing.radius, thing.height / 2, 0],
        pos=[0, 0, thing.height / 2],
        group=_COLLISION_GROUP,
        contype=_FIXED,
        conaffinity=_LEFT | _RIGHT | _OUTSIDE | _BALL,
    )


def _add_labelled_mesh(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    mesh: TexturedMesh,
    texture: TextureModel,
    circumference: float,
    height: float,
) -> None:
    picture = textures.label(circumference, height, texture.base, texture.inks, texture.seed)
    # MuJoCo puts v = 0 at the first row; the strip after the label is plain.
    strip = round(picture.shape[0] * (1 / LABEL_SHARE - 1))
    plain = np.full((strip, picture.shape[1], 3), texture.base, np.uint8)
    _add_picture(spec, f"{name}_label", np.concatenate([picture[::-1], plain]))
    spec.add_mesh(
        name=f"{name}_visual",
        uservert=mesh.vertices.ravel().tolist(),
        userface=mesh.faces.ravel().tolist(),
        usernormal=mesh.normals.ravel().tolist(),
        usertexcoord=mesh.texture.ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    body.add_geom(
        name=f"{name}_visual",
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=f"{name}_visual",
        material=f"{name}_label",
        group=_VISUAL_GROUP,
        contype=0,
        conaffinity=0,
        mass=0.0,
    )


def _add_drink(spec: mujoco.MjSpec, objects: TaskObjects, drink: DrinkModel) -> None:
    """Balls that slide without friction or turning: a liquid's grain needs neither, and arches would block the neck."""
    positions = drink_positions(objects.models[drink.container], drink)
    for k, (position, other) in enumerate(zip(positions, of_other_kind(positions), strict=True)):
        body = spec.worldbody.add_body(name=ball_name(k))
        home = np.array([*objects.models[drink.container].home[:2], 0.0]) + position
        for axis in range(3):
            direction = [0.0, 0.0, 0.0]
            direction[axis] = 1.0
            body.add_joint(
                name=f"{ball_name(k)}_{'xyz'[axis]}",
                type=mujoco.mjtJoint.mjJNT_SLIDE,
                axis=direction,
                damping=drink.drag,
            )
        body.pos = home
        body.add_geom(
            name=ball_name(k),
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[drink.radius, 0, 0],
            density=drink.density,
            rgba=drink.other_colour if other and drink.other_colour is not None else drink.colour,
            group=_VISUAL_GROUP,
            contype=_BALL,
            conaffinity=_BALL | _WALL | _FIXED | _LEFT | _RIGHT | _SOLID,
            condim=1,
            solref=[0.008, 1.0],
        )


def drink_positions(container: ObjectModel, drink: DrinkModel) -> np.ndarray:
    """(count, 3) m in the container's frame: balls in layers of a loose lattice, to be settled by physics."""
    pitch = 2.1 * drink.radius
    places: list[tuple[float, float, float]] = []
    height = container.floor + 1.05 * drink.radius
    while len(places) < drink.count:
        if height > container.height:
            raise CellError(f"{drink.count} balls of {drink.radius} m do not fit into the {drink.container}")
        radius = container.radius_at(height) - container.wall - 1.2 * drink.radius
        cells = np.arange(-int(radius / pitch), int(radius / pitch) + 1) * pitch
        places += [(x, y, height) for x in cells for y in cells if np.hypot(x, y) <= radius]
        height += pitch
    return np.array(places[: drink.count])


def of_other_kind(positions: np.ndarray) -> NDArray[np.bool_]:
    """(n,) whether a ball that begins at (n, 3) m in the container's frame is of the second kind: towards y > 0."""
    return (positions[:, 1] > 0) | ((positions[:, 1] == 0) & (positions[:, 0] > 0))
