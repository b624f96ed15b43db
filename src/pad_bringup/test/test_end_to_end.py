"""The real loop, short: recording, parse, augment, distill, the node graph as processes, report; then faults in it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("pad_msgs.msg", reason="pad_msgs is not built; build the workspace and source it")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
KEYS = ("setup_s", "parse_s", "augment_s", "distill_s", "rollout_s", "demos", "success", "episodes", "report")


def start(*words, folder, **variables):
    """A command line as its own process; the user's cache is shared, their results are not."""
    return subprocess.Popen(
        [sys.executable, "-m", "pad_bringup.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), **variables},
    )


def nodes_of(folder: Path) -> dict[str, int]:
    """Node name -> process id of everything that was started with parameter files in `folder`."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        for word in words:
            if word.startswith(str(folder)) and word.endswith(".yaml"):
                found[Path(word).stem] = int(entry.name)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    out = folder / "run"
    process = start(
        *("demo", "pour", "--json", "--no-viewer", "--out", str(out)),
        *("--demos", "12", "--updates", "30", "--episodes", "1", "--time-limit", "4"),
        folder=folder,
        PAD_SETUP_SECONDS="1.5",
    )
    stdout, stderr = process.communicate(timeout=380)
    assert process.returncode == 0, stderr
    return folder, out, stdout, stderr


def test_the_loop_runs_and_says_so_in_one_json_object(run):
    _, out, stdout, stderr = run
    assert len(stdout.splitlines()) == 1 and "Traceback" not in stderr
    figures = json.loads(stdout)
    assert tuple(figures) == KEYS
    assert figures["setup_s"] == 1.5 and figures["demos"] == 12 and figures["episodes"] == 1
    assert all(figures[key] > 0 for key in KEYS if key.endswith("_s"))
    assert Path(figures["report"]) == out / "report.html"


def test_every_stage_left_its_result(run):
    from pad_augment.dataset import Dataset
    from pad_parse.demonstration import Demonstration
    from pad_policy.bundle import PolicyBundle

    _, out, *_ = run
    demonstration = Demonstration.load(out / "demonstration.demo.h5")
    assert len(demonstration.segments) > 2
    assert len(Dataset.open(out / "dataset")) == 12
    assert PolicyBundle.load(out / "policy").task.name == "pour"
    stages = json.loads((out / "run.json").read_text())["stages"]
    assert list(stages) == ["recording", "parse", "augment", "distill", "rollout", "report"]
    episodes = json.loads((out / "episodes.json").read_text())
    assert [e["seed"] for e in episodes] == [1000] and not episodes[0]["cause"].startswith("not localised")
    page = (out / "report.html").read_text()
    assert all(part in page for part in ("data:video/webm", "<canvas", "Training loss", "Episodes"))
    assert not nodes_of(out)


def test_live_trackers_agree_with_the_parse(run, tmp_path):
    """The recording again, played to the live nodes: keypoints within 2 mm and hand landmarks within 6 mm (medians)."""
    from live_parse import play_live

    from pad_bringup.resources import resource
    from pad_parse.demonstration import Demonstration

    _, out, *_ = run
    parsed = Demonstration.load(out / "demonstration.demo.h5")
    bag = Path(parsed.source.splitlines()[0])
    calibration = resource("config", "cameras", "cell.yaml")
    frames = {round(float(stamp), 4): k for k, stamp in enumerate(parsed.stamps)}
    for rate in (0.5, 0.2):  # a busy machine drops images, and the hands' networks go on from what they saw last
        keypoints, hands = play_live(bag, out / "demonstration.demo.h5", calibration, tmp_path, rate)
        if min(len(keypoints), len(hands)) > 0.97 * len(frames):
            break
    assert min(len(keypoints), len(hands)) > 0.8 * len(frames)
    apart = [np.linalg.norm(p - parsed.keypoints[frames[round(s, 4)]], axis=1) for s, p in keypoints.items()]
    assert np.nanmedian(apart) < 0.002 and np.nanpercentile(apart, 95) < 0.006
    for side in (0, 1):
        apart = [
            np.linalg.norm(both[side] - parsed.landmarks[frames[round(s, 4)], side], axis=1)
            for s, both in hands.items()
            if side in both
        ]
        assert len(apart) > 0.5 * len(hands) and np.nanmedian(apart) < 0.006


@pytest.fixture
def graph(run, tmp_path):
    """`pad up` on the results of the run: the process, and the ids of its nodes."""
    folder, *_ = run
    process = start("up", "pour", "viewer_port:=8590", "--start", "--logs", str(tmp_path), folder=folder)
    said = []
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C ends everything" in line:
            break
    nodes = nodes_of(tmp_path)
    assert len(nodes) == 6, "".join(said)
    yield process, nodes, "".join(said)
    process.kill()
    process.communicate()


def gone(nodes, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in nodes.values()):
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_leaves_no_process(graph):
    process, nodes, said = graph
    assert "6 nodes are up after" in said and "live viewer: http://127.0.0.1:" in said
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=90)
    assert process.returncode == 130 and "Traceback" not in rest
    assert gone(nodes, 5.0)


def test_a_dead_cell_takes_the_graph_down(graph):
    process, nodes, _ = graph
    os.kill(nodes["sim_cell"], signal.SIGKILL)
    _, rest = process.communicate(timeout=90)
    assert process.returncode == 2 and "sim_cell was ended by signal 9" in rest.splitlines()[-1]
    assert gone(nodes, 5.0)


def test_nodes_do_not_outlive_a_killed_supervisor(graph):
    process, nodes, _ = graph
    process.kill()
    process.wait()
    assert gone(nodes)
