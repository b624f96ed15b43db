"""The command line as people and scripts meet it: exit codes, one clear line, no traceback, JSON last."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bootstrap import commands
from pad_bringup import cli


def run(*words, **variables):
    return subprocess.run(
        [sys.executable, "-m", "pad_bringup.cli", *words],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **variables},
    )


@pytest.fixture
def here(capsys, monkeypatch, tmp_path):
    """Run a command line in this process: (exit code, stdout, lines of stderr)."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    before = signal.getsignal(signal.SIGTERM)

    def call(*words):
        code = cli.main(list(words))
        said = capsys.readouterr()
        return code, said.out, [line for line in said.err.splitlines() if line.strip()]

    yield call
    signal.signal(signal.SIGTERM, before)


def test_help_is_quick_and_lists_every_verb():
    begin = time.process_time(), time.monotonic()
    result = run("--help", COLUMNS="200")
    assert result.returncode == 0 and time.monotonic() - begin[1] < 10
    assert all(verb in result.stdout for verb in commands.CLI)
    assert "doctor" in result.stdout and "test" in result.stdout


def test_bootstrap_and_command_line_know_the_same_verbs():
    assert {c.name or c.callback.__name__ for c in cli.app.registered_commands} == set(commands.CLI)


def test_help_imports_nothing_heavy():
    script = "import sys; from pad_bringup import cli; cli.main(['-h']); print(sorted(sys.modules), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    loaded = result.stderr
    assert not any(f"'{name}'" in loaded for name in ("numpy", "torch", "cv2", "rclpy", "mujoco", "viser"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "juggle"], "there is no task 'juggle'; known tasks: "),
        (["demo", "--recording", "/nowhere.mp4"], "recording /nowhere.mp4 does not exist"),
        (["demo", "--episodes", "0"], "--episodes must be at least 1"),
        (["demo", "--robot", "hexapod"], "there is no 'hexapod' in config/robots; known: "),
        (["demo", "--sede", "1"], "No such option: --sede"),
        (["parse", "/nowhere"], "recording /nowhere does not exist"),
        (["augment", "/nowhere.demo.h5"], "demonstration /nowhere.demo.h5 does not exist"),
        (["distill", "/nowhere"], "/nowhere"),
        (["evaluate", "/nowhere"], "/nowhere"),
        (["up", "pour", "viewer=false"], "'viewer=false' is no graph argument; write name:=value"),
        (["up", "pour", "cell:=moon"], "cell cannot be 'moon'; choices: sim, mock, ur5e, none"),
        (["up", "juggle"], "there is no task 'juggle'; choices: "),
        (["view", "/nowhere"], "/nowhere does not exist"),
        (["replay", "/nowhere"], "bag /nowhere does not exist"),
    ],
)
def test_bad_input_ends_in_one_clear_line(words, message, here):
    code, out, lines = here(*words)
    assert code == 2, lines
    assert message in lines[-1] and len(lines) == 1
    assert out == ""


def test_bad_input_as_a_script_meets_it():
    result = run("demo", "juggle")
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_a_damaged_recording_leaves_nothing_behind(content, here, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(content)
    out = tmp_path / "run"
    code, _, lines = here("demo", "--recording", str(tmp_path / "clip.mp4"), "--out", str(out))
    assert code == 2 and len(lines) == 1 and "clip.mp4" in lines[0]
    assert not out.exists()


def test_a_folder_with_something_in_it_is_not_overwritten(here, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, lines = here("demo", "--out", str(tmp_path))
    assert code == 2 and "exists already and is not empty" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_policy_of_another_task_is_refused(here, tmp_path):
    (tmp_path / "policy.json").write_text('{"task": {"name": "mix_bowl"}}')
    for name in ("a.demo.h5", "camera.yaml"):
        (tmp_path / name).touch()
    code, _, lines = here(
        *("up", "pour", f"policy:={tmp_path}"),
        *(f"demonstration:={tmp_path / 'a.demo.h5'}", f"calibration:={tmp_path / 'camera.yaml'}"),
    )
    assert code == 2 and "was made for task 'mix_bowl', not 'pour'" in lines[0]


def test_faults_of_ours_are_one_line_with_the_trace_in_a_file(monkeypatch, here, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("pad_bringup.view.run_view", lambda *a, **k: {}["missing"])
    code, _, lines = here("view", "x")
    assert code == cli.INTERNAL and lines[0].startswith("pad: internal error: KeyError") and len(lines) == 1
    assert "Traceback" in (tmp_path / "pad" / "last_error.txt").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_with_their_code(number, code, tmp_path):
    script = (
        "import sys, time, pad_bringup.view as view, pad_bringup.cli as cli\n"
        "view.run_view = lambda *a, **k: (print('ready', flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['view', 'x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said


def test_json_is_one_object_on_the_last_line(monkeypatch, here):
    figures = {"success": 0.5, "episodes": 2, "report": "r.html"}
    monkeypatch.setattr("pad_bringup.demo.run_demo", lambda options, progress: figures)
    code, out, _ = here("demo", "--json")
    assert code == 0 and json.loads(out.splitlines()[-1]) == figures
    code, out, _ = here("demo")
    assert code == 0 and "1 of 2 episodes succeeded" in out
