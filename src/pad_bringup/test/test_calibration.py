"""pad calibrate: boards that are drawn and found, and the camera of the cell found again from rendered boards."""

import json
import threading
import time
from pathlib import Path

import cv2
import mujoco
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from pad_augment.kinematics import Robot, RobotProfile
from pad_bringup.calibration.board import Board, Detection
from pad_bringup.calibration.calibrate import Limits, calibrate
from pad_bringup.calibration.poses import parse_pose, pose_from_words, still_joints
from pad_bringup.calibration.printing import black_rectangles, picture, print_board
from pad_bringup.calibration.solving import BoardView, solve_hand_eye
from pad_bringup.calibration.views import Method, Views, read_views
from pad_bringup.cell import scene
from pad_bringup.cell.rendering import RgbdRenderer
from pad_bringup.errors import CalibrationError
from pad_bringup.resources import resource
from pad_parse import geometry
from pad_parse.camera import Camera
from pad_parse.errors import PadParseError

BOARDS = ("charuco", "apriltag")
WITHIN_MM, WITHIN_DEGREES = 2.0, 0.3
_FINER = 2  # rendered finer and averaged, as a sensor's pixels do
_MARGIN = 0.01  # m of white paper around the pattern

# Of the board's centre in the task frame, m and degrees: flat on the table, propped up, turned.
PLACES = ((0.05, 0.0, 0.002, 0, 0, 90), (0.0, 0.12, 0.10, 0, 25, 100), (0.0, -0.14, 0.12, 15, 30, 75))
TRUE = scene.default_camera()


def centred(board: Board) -> NDArray:
    """(4, 4): the board's frame in a frame at its centre."""
    return geometry.make_pose(np.eye(3), [-board.size[0] / 2, -board.size[1] / 2, 0.0])


def unposed() -> Camera:
    return Camera(TRUE.matrix, TRUE.width, TRUE.height)


class Photographer:
    """Renders the cell with a board in it."""

    def __init__(self, board: Board, *, robots: bool) -> None:
        self.board = board
        size = (_FINER * TRUE.width, _FINER * TRUE.height)
        spec = scene.build_spec(robots=robots, objects_dynamic=False, camera=scene.scaled_camera(size))
        width, height = (side + 2 * _MARGIN for side in board.size)
        print_ = np.repeat(picture(board, 8000, _MARGIN)[:, :, None], 3, axis=2)
        texture = spec.add_texture(
            name="board",
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=print_.shape[1],
            height=print_.shape[0],
            nchannel=3,
        )
        texture.data = print_.tobytes()
        spec.add_material(name="board").textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "board"
        corners = np.array([[x, y, 0.0] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]) * [width / 2, height / 2, 0]
        # The back is white paper. MuJoCo puts v = 0 at the first row.
        spec.add_mesh(
            name="board",
            uservert=np.concatenate([corners, corners - [0, 0, 0.001]]).ravel().tolist(),
            userface=[0, 1, 2, 0, 2, 3, 4, 6, 5, 4, 7, 6],
            usertexcoord=[0, 1, 1, 1, 1, 0, 0, 0, *([0.001] * 8)],
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        spec.worldbody.add_body(name="board", mocap=True).add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH, meshname="board", material="board", group=1, contype=0, conaffinity=0
        )
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._renderer = RgbdRenderer(self._model, scene.CAMERA, *size)

    def shoot(self, board_in_task: NDArray, arm: dict[str, float] | None = None) -> tuple[NDArray, NDArray]:
        """Colour (480, 640, 3) and depth (480, 640) m with the board there, and joints (rad) by name."""
        centre = board_in_task @ geometry.inverse(centred(self.board))
        self._data.mocap_pos[:] = [-1.0, 0.0, 0.0]  # the objects stand aside
        mocap = self._model.body("board").mocapid[0]
        self._data.mocap_pos[mocap] = centre[:3, 3]
        self._data.mocap_quat[mocap] = np.roll(geometry.quaternion_xyzw(centre), 1)
        for name, value in (arm or {}).items():
            self._data.qpos[self._model.joint(name).qposadr[0]] = value
        mujoco.mj_forward(self._model, self._data)
        rgb, depth = self._renderer.render(self._data)
        return cv2.resize(rgb, (TRUE.width, TRUE.height), interpolation=cv2.INTER_AREA), depth[::_FINER, ::_FINER]

    def close(self) -> None:
        self._renderer.close()


def facing(place: NDArray, camera: NDArray) -> NDArray:
    """Pose (4, 4) at a place (3,) with z towards the camera and y up in its image."""
    z = camera[:3, 3] - place
    z /= np.linalg.norm(z)
    y = -camera[:3, 1] + z * (camera[:3, 1] @ z)
    y /= np.linalg.norm(y)
    return geometry.make_pose(np.stack([np.cross(y, z), y, z], axis=1), place)


def misplaced(found: Camera) -> tuple[float, float]:
    """mm by which the worst point of the workspace is misplaced, and degrees."""
    moved = found.transform_camera_to_task @ geometry.inverse(TRUE.transform_camera_to_task)
    corners = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (-0.3, 0.3) for z in (0.0, 0.2)])
    off = np.linalg.norm(geometry.transform_points(moved, corners) - corners, axis=1).max()
    return 1000 * float(off), float(np.degrees(geometry.rotation_angle(moved, np.eye(4))))


def assert_found(found: Camera) -> None:
    off, turned = misplaced(found)
    assert off < WITHIN_MM and turned < WITHIN_DEGREES, (off, turned)


@pytest.fixture(scope="module", params=BOARDS)
def on_table(request):
    """(board, [(pose, colour, depth)])."""
    board = Board.load(request.param)
    photographer = Photographer(board, robots=False)
    poses = [pose_from_words(place, "place") @ centred(board) for place in PLACES]
    photos = [(pose, *photographer.shoot(pose)) for pose in poses]
    photographer.close()
    return board, photos


@pytest.fixture(scope="module")
def in_hand():
    """(board, robot, the board's pose in the left hand, [(joints, colour)])."""
    board, robot = Board.load("charuco"), Robot(RobotProfile.load(resource("config", "robots", "ur5e_pair.yaml")))
    photographer, rng = Photographer(board, robots=True), np.random.default_rng(2)
    # The left hand over the middle of the table; the board beside it, towards the camera.
    start = robot.ik(0, geometry.make_pose(robot.fk(0, robot.home[0])[:3, :3], [-0.10, 0.15, 0.20]))
    front = facing(np.array([0.02, 0.08, 0.22]), TRUE.transform_camera_to_task)
    held = geometry.inverse(robot.fk(0, start)) @ front @ centred(board)
    photos = []
    for _ in range(9):
        joints = start + rng.uniform(-1, 1, 6) * [0.08, 0.08, 0.08, 0.4, 0.4, 0.4]
        arm = dict(zip(robot.joint_names[:6], joints, strict=True))
        photos.append((joints, photographer.shoot(robot.fk(0, joints) @ held, arm)[0]))
    photographer.close()
    return board, robot, held, photos


def write_images(folder: Path, images: list[NDArray]) -> list[str]:
    folder.mkdir()
    unposed().save(folder / "camera.yaml")
    for k, rgb in enumerate(images):
        cv2.imwrite(str(folder / f"{k}.png"), rgb[:, :, ::-1])
    return [f"{k}.png" for k in range(len(images))]


# -- the camera of the cell


def test_boards_at_known_places_give_the_camera(on_table) -> None:
    board, photos = on_table
    found = Views(unposed())
    for k, (pose, rgb, depth) in enumerate(photos):
        assert found.add(str(k), rgb, depth, board, pose)
    result = calibrate(found, Limits(), in_hand=False)
    assert_found(result.camera)
    assert result.solution.millimetres < 0.5
    assert result.solution.depth_scale == pytest.approx(1.0, abs=0.01)
    assert not result.notes


def test_one_image_is_enough_and_says_what_it_cannot_know(on_table) -> None:
    board, photos = on_table
    found = Views(unposed())
    pose, rgb, _ = photos[0]
    found.add("one", rgb, None, board, pose)
    result = calibrate(found, Limits(), in_hand=False)
    assert_found(result.camera)
    assert "one place" in result.notes[0]


def test_a_board_in_the_hand_gives_the_camera(in_hand) -> None:
    board, robot, held, photos = in_hand
    found = Views(unposed())
    for k, (joints, rgb) in enumerate(photos):
        found.add(str(k), rgb, None, board, robot.fk(0, joints))
    assert len(found.views) >= 7
    result = calibrate(found, Limits(), in_hand=True)
    assert_found(result.camera)
    assert np.linalg.norm(result.solution.board_to_carrier[:3, 3] - held[:3, 3]) < 0.002
    assert np.degrees(geometry.rotation_angle(result.solution.board_to_carrier, held)) < WITHIN_DEGREES


# -- what is refused


def corners_of(board: Board) -> NDArray:
    columns, rows = np.meshgrid(np.arange(1, 8), np.arange(1, 5))
    return np.column_stack([columns.ravel(), rows.ravel(), np.zeros(28)]) * board.layout.square


def seen(pose: NDArray, points: NDArray, rng: np.random.Generator, noise: float = 0.2) -> Detection:
    pixels = geometry.project(
        geometry.transform_points(geometry.inverse(TRUE.transform_camera_to_task) @ pose, points), TRUE.matrix
    )
    return Detection(points, pixels + rng.normal(0, noise, pixels.shape))


def held_views(rng: np.random.Generator, held: NDArray, axes: int, count: int = 8) -> list[BoardView]:
    """Views of a board that a hand turns about this many axes, by corners with noise."""
    board = Board.load("charuco")
    start = facing(np.array([0.0, 0.0, 0.2]), TRUE.transform_camera_to_task)
    views = []
    for k in range(count):
        turn = np.zeros(3)
        turn[:axes] = rng.uniform(-0.4, 0.4, axes)
        moved = geometry.make_pose(geometry.rotation_exp(turn), rng.uniform(-0.1, 0.1, 3))
        pose = start @ moved @ centred(board)
        views.append(BoardView(str(k), seen(pose, corners_of(board), rng), pose @ geometry.inverse(held)))
    return views


@pytest.mark.parametrize("seed", range(6))
def test_hand_eye_keeps_what_it_states(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = geometry.make_pose(geometry.rotation_exp(rng.uniform(-2, 2, 3)), rng.uniform(-0.2, 0.2, 3))
    solution = solve_hand_eye(held_views(rng, held, 3), TRUE.matrix)
    off, turned = misplaced(TRUE.with_extrinsics(solution.camera_to_task))
    assert turned < 5 * solution.uncertainty_degrees < 0.5
    assert off < 5 * (solution.uncertainty_mm + 400 * np.radians(solution.uncertainty_degrees)) < 10
    assert solution.pixels == pytest.approx(0.2 * np.sqrt(2), rel=0.2)


def test_a_hand_that_turns_about_one_axis_is_refused() -> None:
    views = held_views(np.random.default_rng(0), np.eye(4), axes=1)
    with pytest.raises(CalibrationError, match="about one axis only"):
        solve_hand_eye(views, TRUE.matrix)
    with pytest.raises(CalibrationError, match="at least 4"):
        solve_hand_eye(views[:3], TRUE.matrix)


def test_a_tiny_board_far_away_is_refused() -> None:
    points = np.array([[x, y, 0.0] for x in (0, 0.02) for y in (0, 0.02)])
    pose = facing(np.array([-0.3, 0.0, 0.0]), TRUE.transform_camera_to_task)
    view = BoardView("far", seen(pose, points, np.random.default_rng(1)), pose)
    with pytest.raises(CalibrationError, match=r"explain the images|open"):
        solution = Views(unposed(), [view], [], np.zeros((480, 640, 3), np.uint8))
        calibrate(solution, Limits(), in_hand=False)


@pytest.mark.parametrize("fault", ["pose", "intrinsics", "size", "nothing"])
def test_wrong_input_is_refused_with_the_reason(on_table, fault: str) -> None:
    board, photos = on_table
    matrix = TRUE.matrix.copy()
    if fault == "intrinsics":
        matrix[:2, :2] *= 1.1
    found = Views(Camera(matrix, TRUE.width, TRUE.height))
    for k, (pose, rgb, depth) in enumerate(photos):
        moved = geometry.make_pose(np.eye(3), [0.03 if fault == "pose" and k == 1 else 0.0, 0, 0])
        found.add(str(k), np.zeros_like(rgb) if fault == "nothing" else rgb, depth, board, moved @ pose)
    if fault == "size":  # one place, all lengths 5 % too small: only the depth camera can tell
        first = found.views[0]
        shrunk = Detection(0.95 * first.detection.points, first.detection.pixels)
        found.views = [BoardView("0", shrunk, first.pose, first.depth)]
    scale = "depth camera sees the board at"
    reasons = {"size": f"{scale} 105", "intrinsics": f"residual|{scale}", "nothing": "seen in no image"}
    with pytest.raises(CalibrationError, match=reasons.get(fault, "residual")):
        calibrate(found, Limits(), in_hand=False)


# -- paper


@pytest.mark.parametrize("name", BOARDS)
def test_the_printed_board_is_opencvs_in_true_size(name: str, tmp_path: Path) -> None:
    board = Board.load(name)
    drawn = picture(board, 5000)
    expected = board._board.generateImage(drawn.shape[::-1])
    assert np.mean(drawn != expected) < 0.01  # edges that fall between pixels
    path = tmp_path / "board.pdf"
    print_board(board, path)
    lines = path.read_text().splitlines()
    rectangles = [tuple(map(float, line.split()[:4])) for line in lines if line.endswith(" re")]
    np.testing.assert_allclose(rectangles, black_rectangles(board), atol=1e-6)
    scale, _, _, vertical, left, bottom = map(float, next(line for line in lines if line.endswith(" cm")).split()[:6])
    page = 72 / 0.0254 * np.array([0.297, 0.210])
    assert scale == vertical == pytest.approx(72 / 0.0254)
    np.testing.assert_allclose([2 * left + scale * board.size[0], 2 * bottom + scale * board.size[1]], page, atol=1e-3)
    # Every entry of the table of contents points at its object.
    data, start = path.read_bytes(), int(lines[-2])
    assert data[start:].startswith(b"xref")
    for number, line in enumerate(data[start:].splitlines()[3:8], 1):
        assert data[int(line[:10]) :].startswith(b"%d 0 obj" % number)
    print_board(board, tmp_path / "board.png")
    sheet = cv2.imread(str(tmp_path / "board.png"))
    assert sheet.shape[:2] == (4200, 5940)
    with pytest.raises(CalibrationError, match=r"written as \.pdf or \.png"):
        print_board(board, tmp_path / "board.svg")


def test_boards_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    good = {"kind": "charuco", "columns": 8, "rows": 5, "square": 0.03, "marker": 0.02, "dictionary": "DICT_4X4_50"}
    for change, said in (
        ({"marker": 0.04}, "smaller than square"),
        ({"dictionary": "DICT_9X9"}, "known: DICT_4X4"),
        ({"columns": 30}, "larger dictionary"),
        ({"kind": "chess"}, "charuco"),
        ({"colour": 1}, "Extra inputs"),
    ):
        path.write_text(yaml.safe_dump(good | change))
        with pytest.raises(CalibrationError, match=said):
            Board.load(path)


# -- poses


def test_poses_are_metres_and_degrees_about_fixed_axes() -> None:
    pose = parse_pose("0.1, 0.2 0.3, 90, 0, 90", "pose")
    np.testing.assert_allclose(pose[:3, 3], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(pose[:3, :3] @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    for wrong in ("1 2 3", "a b c d e f", "1 2 3 4 5 nan"):
        with pytest.raises(CalibrationError, match="x, y, z in metres"):
            parse_pose(wrong, "pose")


def test_an_arm_that_moves_gives_no_view() -> None:
    stamps = np.arange(0, 1, 0.01)
    joints = np.zeros((100, 6))
    joints[50:, 2] = 0.2
    assert still_joints(stamps, joints, 0.1, 0.4) is not None
    assert still_joints(stamps, joints, 0.4, 0.6) is None
    assert still_joints(stamps, joints, 2.0, 3.0) is None


# -- the command


def test_a_folder_of_images_becomes_the_file_that_nodes_read(on_table, tmp_path: Path, here) -> None:
    board, photos = on_table
    names = write_images(tmp_path / "images", [rgb for _, rgb, _ in photos])
    views = []
    for name, (pose, _, _), place in zip(names, photos, PLACES, strict=True):
        views.append({"image": name, "board_pose": [*map(float, pose[:3, 3]), *map(float, place[3:])]})
    (tmp_path / "images" / "views.yaml").write_text(yaml.safe_dump({"views": views}))
    out = tmp_path / "camera.yaml"
    words = ("calibrate", tmp_path / "images", "--board", board.layout.kind, "--out", out)
    code, said, complaint = here(*words, "--json")
    assert code == 0, complaint
    figures = json.loads(said.splitlines()[-1])
    assert figures["views"] == 3 and figures["residual_px"] < 1 and figures["residual_mm"] < 1
    assert_found(Camera.load(out))
    assert cv2.imread(figures["picture"]).shape == (480, 640, 3)
    out.write_text(out.read_text().replace("640", "641"))
    code, _, complaint = here("calibrate", tmp_path / "images", "--check", "--out", out)
    assert code == 2 and "another resolution" in complaint
    code, _, complaint = here(*words, "--max-pixels", "0.05")
    assert code == 2 and "refused" in complaint and "641" in out.read_text()  # nothing was written


def test_the_check_draws_the_axes_where_they_are(on_table, tmp_path: Path, here) -> None:
    _, photos = on_table
    TRUE.save(tmp_path / "camera.yaml")
    write_images(tmp_path / "images", [photos[0][1]])
    code, _, complaint = here(
        "calibrate",
        tmp_path / "images" / "0.png",
        "--check",
        "--out",
        tmp_path / "camera.yaml",
        "--picture",
        tmp_path / "x.png",
    )
    assert code == 0, complaint
    drawn = cv2.imread(str(tmp_path / "x.png"))[:, :, ::-1]
    for axis, colour in enumerate(((230, 60, 60), (60, 190, 60), (70, 120, 255))):
        middle = np.zeros((1, 3))
        middle[0, axis] = 0.05
        column, row = np.rint(TRUE.task_to_pixels(middle)[0]).astype(int)
        near = drawn[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).astype(int)
        assert np.abs(near - colour).sum(axis=1).min() < 40


def test_what_is_missing_is_one_line(on_table, tmp_path: Path, here) -> None:
    _, photos = on_table
    write_images(tmp_path / "images", [photos[0][1]])
    image, camera = tmp_path / "images" / "0.png", tmp_path / "images" / "camera.yaml"
    for words, said in (
        ((image, "--camera", camera), "--board-pose"),
        ((image, "--board-pose", "0,0,0,0,0,0"), "--camera FILE.yaml"),
        ((image, "--board-pose", "0,0,0,0,0,0", "--arm", "left"), "exclude each other"),
        ((image, "--arm", "middle"), "choices: left, right"),
        ((image, "--arm", "left", "--camera", camera), "joints nor hand_pose"),
        ((image, "--board", "chess"), "known: apriltag, charuco"),
        ((tmp_path / "none", "--board-pose", "0,0,0,0,0,0"), "does not exist"),
    ):
        code, _, complaint = here("calibrate", *words, "--out", tmp_path / "out.yaml")
        assert code == 2 and complaint.count("\n") == 1 and said in complaint, complaint
    assert not (tmp_path / "out.yaml").exists()


def test_joints_of_another_robot_are_one_line(on_table, tmp_path: Path, here) -> None:
    _, photos = on_table
    images = tmp_path / "images"
    write_images(images, [photos[0][1]])
    (images / "views.yaml").write_text(f"views: [{{image: 0.png, joints: {[0.0] * 7}}}]\n")
    code, _, complaint = here("calibrate", images, "--arm", "left", "--out", tmp_path / "out.yaml")
    assert code == 2 and "7 joints; an arm of ur5e_pair has 6" in complaint, complaint


# -- recordings and the running robot


@pytest.fixture(scope="module")
def hand_bag(in_hand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs as a bag: the arm stands for 1 s at each, with an image in the middle, and one while it moves."""
    import recordings

    _, robot, _, photos = in_hand
    types, messages = recordings.T, []
    info = recordings.camera_info()
    info.k, info.width, info.height = TRUE.matrix.ravel().copy(), TRUE.width, TRUE.height
    messages.append((recordings.INFO, "sensor_msgs/msg/CameraInfo", 0.0, info))
    for k, (joints, rgb) in enumerate(photos):
        for step in range(20):
            at = 1.0 * k + 0.05 * step
            shown = joints if step < 16 else joints + 0.1 * (step - 15)
            message = types["sensor_msgs/msg/JointState"](
                header=recordings.header(at),
                name=["other_joint", *robot.joint_names[:6]],
                position=np.concatenate([[0.0], shown]),
                velocity=np.zeros(0),
                effort=np.zeros(0),
            )
            messages.append(("/joint_states", "sensor_msgs/msg/JointState", at, message))
            if step in (8, 18):
                messages.append((recordings.COLOUR, "sensor_msgs/msg/Image", at, recordings.image(at, rgb, "rgb8")))
    return recordings.write_bag(tmp_path_factory.mktemp("hand") / "bag", messages)


def test_a_recording_of_the_arm_gives_the_camera(hand_bag: Path, tmp_path: Path, here) -> None:
    code, said, complaint = here("calibrate", hand_bag, "--arm", "left", "--out", tmp_path / "camera.yaml", "--json")
    assert code == 0, complaint
    assert json.loads(said.splitlines()[-1])["views"] >= 7
    assert_found(Camera.load(tmp_path / "camera.yaml"))
    with pytest.raises((CalibrationError, PadParseError), match="joint_states"):
        read_views(hand_bag, Board.load("charuco"), Method.of(None, "right", "ur5e_pair"))


def test_the_live_camera_and_robot_give_the_camera(in_hand, tmp_path: Path, here, monkeypatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from sensor_msgs.msg import CameraInfo, Image, JointState

    from pad_bringup import names
    from pad_bringup.camera_messages import camera_info_message, image_message
    from pad_bringup.domain import private_domain
    from pad_bringup.session import Session
    from pad_parse import qos

    _, robot, _, photos = in_hand
    with private_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        with Session("robot", {"ROS_DOMAIN_ID": str(domain)}) as session:
            node, over = session.node, threading.Event()
            arm = node.create_publisher(JointState, names.JOINT_STATES, qos.JOINT_STATES)
            colour = node.create_publisher(Image, names.COLOR_IMAGE, qos.CAMERA_OUT)
            info = node.create_publisher(CameraInfo, names.COLOR_INFO, qos.CAMERA_OUT)

            def work() -> None:
                k, since = 0, time.monotonic()
                stated, pictures = camera_info_message(TRUE), [image_message(rgb, "rgb8", 3) for _, rgb in photos]
                while not over.is_set():
                    if time.monotonic() - since > 1.0:
                        k, since = (k + 1) % len(photos), time.monotonic()
                    stamp = node.get_clock().now().to_msg()
                    state = JointState(name=robot.joint_names[:6], position=photos[k][0].tolist())
                    state.header.stamp = stated.header.stamp = pictures[k].header.stamp = stamp
                    arm.publish(state)
                    info.publish(stated)
                    colour.publish(pictures[k])
                    over.wait(0.1)

            thread = threading.Thread(target=work)
            thread.start()
            try:
                words = ("--out", tmp_path / "camera.yaml")
                code, said, complaint = here("calibrate", "--arm", "left", "--views", 5, *words, "--json")
                assert code == 0, complaint
                code, _, complaint = here("calibrate", "--check", *words, "--seconds", 1)
                assert code == 0, complaint
            finally:
                over.set()
                thread.join()
    assert json.loads(said.splitlines()[-1])["views"] == 5
    assert_found(Camera.load(tmp_path / "camera.yaml"))
    assert cv2.imread(str(tmp_path / "camera.check.png")).shape == (480, 640, 3)
