"""The node graph as data."""

import importlib.util
import json

import pytest

from pad_bringup import names, store
from pad_bringup.errors import GraphError
from pad_bringup.graph import OnExit, Use, arguments, build_graph, resolve
from pad_bringup.reference.endpoints import endpoints


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "policy.json").write_text('{"task": {"name": "pour"}}')
    (tmp_path / "a.demo.h5").write_text("")
    (tmp_path / "camera.yaml").write_text("")
    (tmp_path / "robot.yaml").write_text("")
    return {
        "policy": str(tmp_path / "policy"),
        "demonstration": str(tmp_path / "a.demo.h5"),
        "calibration": str(tmp_path / "camera.yaml"),
        "robot": str(tmp_path / "robot.yaml"),
    }


@pytest.mark.parametrize("use", Use)
def test_every_argument_is_described_and_its_default_is_a_choice(use):
    declared = arguments(None, use)
    assert len({argument.name for argument in declared}) == len(declared)
    for argument in declared:
        assert argument.description.endswith(".") or ":" in argument.description
        assert not argument.choices or argument.default in argument.choices
    assert "task" not in {argument.name for argument in arguments("pour")}


def test_the_simulated_graph(files):
    graph = build_graph(files)
    assert [entry.name for entry in graph.nodes] == [
        "sim_cell",
        "keypoint_tracker",
        "policy_node",
        "command_gate",
        "tamp_server",
        "viewer",
    ]
    assert graph.node("policy_node").lifecycle
    assert graph.node("sim_cell").on_exit is OnExit.SHUTDOWN
    assert graph.node("command_gate").on_exit is OnExit.RESTART
    assert graph.node("policy_node").parameters["use_sim_time"] is True
    assert graph.node("sim_cell").parameters["camera_rate"] == 15.0
    with pytest.raises(GraphError, match="has no node 'x'"):
        graph.node("x")


def test_arguments_choose_the_nodes(files):
    graph = build_graph({**files, "cell": "none", "viewer": "false", "planner": "none"})
    assert [entry.name for entry in graph.nodes] == ["keypoint_tracker", "policy_node", "command_gate"]
    assert graph.node("policy_node").parameters["use_sim_time"] is False
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in graph.environment


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tsk": "pour"}, "unknown argument 'tsk'; known: task"),
        ({"task": "juggle"}, "there is no task 'juggle'; choices: .*pour"),
        ({"cell": "moon"}, "cell cannot be 'moon'; choices: sim, mock, ur5e, none"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"seed": "-1"}, "seed must be at least 0"),
        ({"camera_rate": "0"}, "camera_rate must be above 0"),
        ({"policy": "/nowhere"}, "policy: /nowhere does not exist"),
        ({"robot": "hexapod"}, "there is no 'hexapod' in config/robots"),
        ({"policy": "", "demonstration": ""}, "no demonstration is given .* run `./pad demo pour` first"),
    ],
)
def test_bad_values_are_one_clear_line(files, values, message):
    with pytest.raises(GraphError, match=message) as caught:
        build_graph({**files, **values})
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_policy(files, tmp_path):
    (tmp_path / "policy" / "policy.json").unlink()
    with pytest.raises(GraphError, match="is no policy folder"):
        build_graph(files)


def test_a_policy_of_another_task(files, tmp_path):
    (tmp_path / "policy" / "policy.json").write_text('{"task": {"name": "mix_bowl"}}')
    with pytest.raises(GraphError, match="was made for task 'mix_bowl', not 'pour'"):
        build_graph(files)


def test_the_newest_results_are_the_default(files):
    keys = ("demonstration", "policy", "calibration")
    path = store.remember("pour", store.Results(**{key: files[key] for key in keys}))
    assert json.loads(path.read_text())["policy"] == files["policy"]
    graph = build_graph({"robot": files["robot"]})
    assert graph.node("policy_node").parameters["policy"] == files["policy"]
    path.write_text("{")
    with pytest.raises(GraphError, match="no demonstration is given"):
        build_graph({"robot": files["robot"]})


def test_a_real_camera_is_where_it_was_calibrated_never_where_the_simulated_one_was(files):
    keys = ("demonstration", "policy", "calibration")
    store.remember("pour", store.Results(**{key: files[key] for key in keys}))
    real = {"robot": files["robot"], "cell": "none"}
    with pytest.raises(GraphError, match="Run `pad calibrate`"):
        build_graph(real)
    with pytest.raises(GraphError, match="pad calibrate"):
        build_graph({"robot": files["robot"]}, Use.PARSE)
    store.calibration_file().write_text("")
    expected = str(store.calibration_file())
    assert build_graph(real).node("keypoint_tracker").parameters["calibration"] == expected
    assert build_graph({"robot": files["robot"]}, Use.PARSE).node("hand_tracker").parameters["calibration"] == expected
    given = build_graph({**real, "calibration": files["calibration"]})
    assert given.node("keypoint_tracker").parameters["calibration"] == files["calibration"]
    simulated = build_graph({"robot": files["robot"]})
    assert simulated.node("keypoint_tracker").parameters["calibration"] == files["calibration"]


def test_every_entry_names_a_module_that_exists(files):
    for entry in build_graph(files).nodes:
        assert importlib.util.find_spec(entry.module) is not None, entry.module


def test_resolve_completes_with_defaults():
    assert resolve({})["cell"] == "sim"


def test_the_mock_cell_takes_the_simulated_ones_place(files):
    simulated, mock = (build_graph({**files, "cell": cell}) for cell in ("sim", "mock"))
    assert [entry.name for entry in mock.nodes][1:] == [entry.name for entry in simulated.nodes][1:]
    first, second = simulated.nodes[0], mock.nodes[0]
    assert second.name == "mock_cell" and dict(second.parameters) == dict(first.parameters)
    assert (second.topics, second.services) == (first.topics, first.services)


def test_a_namespace_is_that_of_pads_nodes_only(files):
    graph = build_graph({**files, "namespace": "lab", "cell": "none", "camera": "realsense"})
    assert graph.node("policy_node").full_name == "/lab/policy_node"
    assert graph.node("camera").full_name == "/camera"


def test_the_clock_may_be_chosen(files):
    for chosen, expected in (("auto", True), ("true", True), ("false", False)):
        graph = build_graph({**files, "use_sim_time": chosen})
        assert graph.node("command_gate").parameters["use_sim_time"] is expected


def test_recording_is_a_node_that_nothing_depends_on(files, tmp_path):
    graph = build_graph({**files, "record": "true", "record_to": str(tmp_path / "run")})
    recorder = graph.node("recorder")
    assert recorder.on_exit is OnExit.IGNORE
    assert recorder.parameters["out"] == str(tmp_path / "run")
    assert set(recorder.parameters["topics"]) <= set(names.TOPIC_TYPES)
    pytest.importorskip("rclpy", reason="needs ROS 2")
    gate = {e.name for e in endpoints("pad_policy.nodes.command_gate") if e.kind in ("publishes", "subscribes")}
    assert gate and gate <= set(recorder.parameters["topics"])
    with pytest.raises(GraphError, match=r"record_to: .* exists already"):
        build_graph({**files, "record": "true", "record_to": str(tmp_path)})


def test_the_other_uses(files):
    bag = files["policy"]
    parse = {"calibration": files["calibration"], "robot": files["robot"]}
    assert _named(parse, Use.PARSE) == ["hand_tracker", "demonstration_server", "viewer"]
    played = {**parse, "bag": bag, "demonstration": files["demonstration"]}
    assert _named(played, Use.PARSE) == ["replay", "hand_tracker", "demonstration_server", "keypoint_tracker", "viewer"]
    assert build_graph(played, Use.PARSE).node("hand_tracker").parameters["use_sim_time"] is True
    augment = {"demonstration": files["demonstration"], "robot": files["robot"], "workers": "3"}
    assert build_graph(augment, Use.AUGMENT).node("tamp_server").parameters["workers"] == 3
    assert _named({"bag": bag, "robot": files["robot"]}, Use.REPLAY) == ["replay", "viewer"]
    rviz = build_graph({"view": "run"}, Use.RVIZ)
    assert [entry.name for entry in rviz.nodes] == ["robot_state_publisher", "status_markers", "rviz"]
    assert "<robot" in rviz.node("robot_state_publisher").parameters["robot_description"]
    episode = build_graph({"view": "augment", "file": bag, "episode": "2"}, Use.RVIZ)
    assert episode.node("player").parameters["episode"] == 2
    with pytest.raises(GraphError, match="file and view:=run exclude each other"):
        build_graph({"view": "run", "file": bag}, Use.RVIZ)
    with pytest.raises(GraphError, match="replay needs bag:=PATH"):
        build_graph({"robot": files["robot"]}, Use.REPLAY)
    with pytest.raises(GraphError, match="parse needs calibration:="):
        build_graph({"robot": files["robot"]}, Use.PARSE)
    with pytest.raises(GraphError, match="exclude each other: the recording is the camera"):
        build_graph({**played, "camera": "realsense"}, Use.PARSE)
    with pytest.raises(GraphError, match="exclude each other: the cell has a camera"):
        build_graph({**files, "camera": "realsense"})


def _named(values, use):
    return [entry.name for entry in build_graph(values, use).nodes]
