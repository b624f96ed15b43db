"""The command line: `pad VERB ...`, over the same functions as the nodes. Imports wait until they are needed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

OK, INTERNAL, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

# typer brings its own copy of click in some versions and uses the package in others; this is whichever it is.
_UsageProblem = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_ERROR_BASES = (
    ("pad_parse.errors", "PadParseError"),
    ("pad_augment.errors", "PadAugmentError"),
    ("pad_policy.errors", "PolicyError"),
    ("pad_bringup.errors", "PadBringupError"),
)

app = typer.Typer(
    name="pad",
    help="PAD for ROS 2: from one human video to two moving arms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`./pad setup`, `./pad test` and `./pad doctor` are done by ./pad itself.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Seed = Annotated[int, typer.Option(help="Decides everything that is random.", min=0)]
RobotOption = Annotated[str, typer.Option("--robot", help="Robot profile: a name in config/robots, or a path.")]
PlannerOption = Annotated[
    str,
    typer.Option(
        "--planner",
        help="roboplan or moveit: proved on the robot; auto: moveit where it is installed, else roboplan; "
        "straight_line: end-effector poses only, no robot.",
    ),
]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _chosen(planner: str) -> str:
    """The planner that is taken; where that is not what was typed, it is said."""
    from pad_augment.planning import choose_planner

    taken, why = choose_planner(planner)
    if taken != planner:
        _say(why)
    return taken


def _task(given: str) -> str:
    """A task's name; one given by its folder is known by its name from now on. A lone YAML file stays a path."""
    from pad_bringup.user_tasks import use_task
    from pad_parse.task import TASK_FILE

    path = Path(given)
    if path.suffix in (".yaml", ".yml") and path.name != TASK_FILE:
        return given
    return use_task(given)


def _result(values: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Print the outcome: for machines one JSON object, for people a few lines."""
    if as_json:
        typer.echo(json.dumps(values, allow_nan=False))
    else:
        for line in lines:
            typer.echo(line)


@app.command()
def demo(
    task: Annotated[str, typer.Argument(help="Task: its name, or the folder of one's own.")] = "pour",
    recording: Annotated[
        Path | None, typer.Option(help="rosbag2 or video of a human; without it a synthetic human shows the task.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Rollouts through the running node graph.")] = 10,
    seed: Seed = 0,
    demos: Annotated[int, typer.Option(help="Augmented demonstrations.")] = 300,
    updates: Annotated[int | None, typer.Option(help="Optimiser steps; without it the training's default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; without it a new one in runs/.")] = None,
    viewer: Annotated[bool, typer.Option("--viewer/--no-viewer", help="Live viewer in the browser.")] = True,
    robot: RobotOption = "ur5e_pair",
    planner: PlannerOption = "roboplan",
    time_limit: Annotated[float, typer.Option(help="Simulated seconds after which an episode has failed.")] = 30.0,
    as_json: Json = False,
) -> None:
    """The main job: demonstration, parse, augment, distill, node graph on the simulated cell, report."""
    from pad_bringup.demo import DemoOptions, run_demo
    from pad_bringup.progress import StageProgress

    options = DemoOptions(
        task=_task(task),
        recording=recording,
        episodes=episodes,
        seed=seed,
        demos=demos,
        updates=updates,
        out=out,
        viewer=viewer,
        robot=robot,
        planner=_chosen(planner),
        time_limit=time_limit,
    )
    with StageProgress() as progress:
        figures = run_demo(options, progress)
    good = round(figures["success"] * figures["episodes"])
    _result(figures, as_json, [f"{good} of {figures['episodes']} episodes succeeded", f"report: {figures['report']}"])


@app.command()
def annotate(
    recording: Annotated[Path, typer.Argument(help="Recording (bag, RGB-D folder or video) to annotate.")],
    task: Annotated[
        str | None,
        typer.Option(help="Task whose objects, groups and stages to begin with: name, folder or YAML file."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="Demonstration (.demo.h5) whose points to click in this recording, side by side with it."),
    ] = None,
    port: Annotated[int, typer.Option(help="First port on 127.0.0.1 to try.", min=1, max=65535)] = 8090,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    seconds: Annotated[float | None, typer.Option(help="End by itself after this many seconds.")] = None,
    as_json: Json = False,
) -> None:
    """Click and name the keypoints of a recording in the browser, look at their tracks, edit the time line."""
    from pad_augment.errors import PadAugmentError
    from pad_bringup.timeline import propose_segments
    from pad_parse.annotator import annotate as serve
    from pad_parse.annotator import annotate_like
    from pad_parse.demonstration import Demonstration
    from pad_parse.errors import AnnotationError, PadParseError
    from pad_parse.recording import open_recording
    from pad_parse.task import TaskSpec

    if like is not None and task is not None:
        raise AnnotationError("--task and --like exclude each other: a demonstration brings its own task")
    source = open_recording(recording)
    saved: Path | None
    if like is not None:
        shown = Demonstration.load(like)
        saved = annotate_like(source, shown, port=port, browser=browser, seconds=seconds, tell=_say)
    else:
        saved = serve(
            source,
            TaskSpec.load(_task(task)) if task is not None else None,
            port=port,
            browser=browser,
            seconds=seconds,
            tell=_say,
            propose=lambda spec, progress: propose_segments(source, spec, progress),
            errors=(PadParseError, PadAugmentError),
        )
    values = {"annotation": str(saved.resolve()) if saved is not None else None}
    _result(values, as_json, [f"annotation: {saved}" if saved is not None else "nothing was saved"])


@app.command()
def calibrate(
    source: Annotated[
        Path | None, typer.Argument(help="Image, folder of images or recording; without it the live camera's topics.")
    ] = None,
    board: Annotated[str, typer.Option(help="charuco, apriltag, or the YAML file of your own.")] = "charuco",
    board_pose: Annotated[
        str | None,
        typer.Option(
            help="The board's pose in the task frame: X,Y,Z,ROLL,PITCH,YAW (m, degrees). Its origin: the lower left "
            "corner of the pattern, x to the right, y up, z out of the paper."
        ),
    ] = None,
    arm: Annotated[str | None, typer.Option(help="left or right: this arm's gripper holds the board.")] = None,
    robot: RobotOption = "ur5e_pair",
    camera: Annotated[
        Path | None, typer.Option(help="Camera YAML with the intrinsics, where images lack them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Camera file to write (--check: to read); without it this machine's.")
    ] = None,
    views: Annotated[int, typer.Option(help="Most views to take of a recording or live.", min=1, max=200)] = 15,
    max_pixels: Annotated[float, typer.Option(help="Residual (px) above which it is refused.", min=0.05, max=10)] = 1.0,
    max_mm: Annotated[float, typer.Option(help="Residual on the board (mm) above which it is refused.", min=0.1)] = 2.0,
    check: Annotated[
        bool, typer.Option("--check", help="Calibrate nothing: draw the task frame on SOURCE, or on the live image.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Where the image with the task frame goes (.png); without it beside the file.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Live: end after this many seconds.", min=1)] = None,
    print_board: Annotated[
        Path | None, typer.Option(help="Only write the board in true size, to be printed (.pdf or .png).")
    ] = None,
    paper: Annotated[str, typer.Option(help="--print-board: a4, a3, a2 or letter.")] = "a4",
    as_json: Json = False,
) -> None:
    """Where the camera is in the task frame: from a board at a known pose, or in a gripper (--arm)."""
    from pad_bringup import store
    from pad_bringup.calibration.board import Board
    from pad_bringup.calibration.calibrate import Limits, check_picture
    from pad_bringup.calibration.calibrate import calibrate as solve
    from pad_bringup.calibration.overlay import save_picture
    from pad_bringup.calibration.printing import print_board as write_board
    from pad_bringup.calibration.views import Method, read_views
    from pad_parse.camera import Camera

    used = Board.load(board)
    if print_board is not None:
        write_board(used, print_board, paper)
        _result({"board": str(print_board.resolve())}, as_json, [f"{used.words}: {print_board}"])
        return
    target = out if out is not None else store.calibration_file()
    shown = picture if picture is not None else target.with_suffix(".check.png")
    if check:
        known = Camera.load(target)
        if source is not None:
            drawn = check_picture(source, known)
        else:
            from pad_bringup.calibration.live import live_check

            drawn = live_check(known, _say, seconds)
        save_picture(drawn, shown)
        _result({"picture": str(shown.resolve())}, as_json, [f"the task frame as {target} has it: {shown}"])
        return
    method = Method.of(board_pose, arm, robot)
    intrinsics = None if camera is None else Camera.load(camera)
    if source is not None:
        found = read_views(source, used, method, intrinsics, most=views)
    else:
        from pad_bringup.calibration.live import live_views

        found = live_views(used, method, views, _say, intrinsics, seconds)
    result = solve(found, Limits(pixels=max_pixels, millimetres=max_mm), in_hand=method.in_hand)
    result.save(target)
    save_picture(result.picture, shown)
    solution = result.solution
    values = {
        "calibration": str(target.resolve()),
        "picture": str(shown.resolve()),
        "views": len(result.views),
        "residual_px": solution.pixels,
        "residual_mm": solution.millimetres,
        "uncertainty_mm": solution.uncertainty_mm,
        "uncertainty_degrees": solution.uncertainty_degrees,
        "depth_scale": solution.depth_scale,
        "notes": list(result.notes),
    }
    lines = [
        f"{len(result.views)} views, residual {solution.pixels:.2f} px, {solution.millimetres:.2f} mm; known to "
        f"{solution.uncertainty_mm:.2f} mm, {solution.uncertainty_degrees:.3f} degrees (one standard deviation)",
        *(f"note: {note}" for note in result.notes),
        f"calibration: {target}",
        f"look at it: {shown}",
    ]
    _result(values, as_json, lines)


@app.command()
def parse(
    recording: Annotated[Path, typer.Argument(help="rosbag2, RGB-D folder or video.")],
    task: Annotated[str, typer.Option(help="Task: its name, its folder, or its YAML file.")] = "pour",
    out: Annotated[Path | None, typer.Option(help="Demonstration file; without it beside the recording.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write the recording with tracks drawn on (.webm).")] = None,
    report: Annotated[Path | None, typer.Option(help="Report (.html); without it beside the demonstration.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    hands: Annotated[
        str, typer.Option(help="onnx (on the images), recorded (/pad/hands), recorded:/TOPIC or recorded:FILE.npz.")
    ] = "onnx",
    tracker: Annotated[
        str,
        typer.Option(help="What follows points: objects (rigid; default), lucas_kanade, cotracker or tapir."),
    ] = "objects",
    tracker_weights: Annotated[
        Path | None, typer.Option(help="cotracker, tapir: file of the weights, which you install yourself.")
    ] = None,
    pairing_tolerance: Annotated[
        float, typer.Option(help="Colour and depth stamped further apart than this (s) are no pair.", min=0.0, max=1.0)
    ] = 0.02,
    as_json: Json = False,
) -> None:
    """Recording -> demonstration (.demo.h5), with a report on whether it can be trusted (.report.html)."""
    from dataclasses import replace

    from pad_augment.grounding import ground
    from pad_bringup.progress import StageProgress
    from pad_parse.demonstration import FILE_SUFFIX
    from pad_parse.hands.choice import choose_estimator
    from pad_parse.parser import parse as parse_recording
    from pad_parse.recording import open_recording
    from pad_parse.report import judge, write_parse_report
    from pad_parse.task import TaskSpec
    from pad_parse.tracking import make_point_tracker

    spec = TaskSpec.load(_task(task))
    source = open_recording(recording, pairing_tolerance=pairing_tolerance)
    points = None if tracker == "objects" else make_point_tracker(tracker, checkpoint=tracker_weights)
    name = recording.resolve()
    target = out if out is not None else name.with_name(name.stem + FILE_SUFFIX)
    page = None
    if not no_report:
        page = (
            report if report is not None else target.with_name(f"{target.name.removesuffix(FILE_SUFFIX)}.report.html")
        )
    began = time.monotonic()
    with StageProgress() as progress:
        with progress.stage("parse") as update:
            demonstration = parse_recording(
                source,
                spec,
                estimator=choose_estimator(hands, source),
                progress=lambda stage, fraction: update(fraction, stage),
                overlay_path=overlay,
                point_tracker=points,
            )
            demonstration.save(target)
            update(1.0, str(target))
        seconds = time.monotonic() - began
        try:
            demonstration = replace(demonstration, segments=ground(demonstration))
            demonstration.save(target)
        finally:
            # A demonstration that cannot be grounded is one to look at.
            if page is None:
                verdict = judge(demonstration)
            else:
                with progress.stage("report") as update:
                    verdict = write_parse_report(
                        *(source, demonstration, page),
                        created=time.strftime("%Y-%m-%d %H:%M"),
                        progress=lambda stage, fraction: update(fraction, stage),
                    )
                    update(1.0, str(page))
    values = {
        "demonstration": str(target.resolve()),
        "report": str(page.resolve()) if page is not None else None,
        "verdict": verdict.level.words,
        "reasons": [finding.reason for finding in verdict.reasons],
        "frames": len(demonstration.stamps),
        "segments": len(demonstration.segments),
        "parse_s": round(seconds, 2),
        "measures": _finite(demonstration.measures),
    }
    lines = [f"{values['frames']} frames, {values['segments']} segments: {target}", f"verdict: {verdict.summary()}"]
    _result(values, as_json, lines + ([f"report: {page}"] if page is not None else []))


@app.command()
def augment(
    demonstration: Annotated[Path, typer.Argument(help="Demonstration (.demo.h5).")],
    out: Annotated[Path, typer.Option(help="Dataset folder; an interrupted run is gone on with.")] = Path("dataset"),
    demos: Annotated[int, typer.Option("--demos", "-n", help="Demonstrations to generate.")] = 300,
    seed: Seed = 0,
    robot: RobotOption = "ur5e_pair",
    planner: PlannerOption = "roboplan",
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.", min=0)] = 0,
    executor: Annotated[str | None, typer.Option(help="local, processes or ray; without it by the workers.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the generator, e.g. obstacles=3; repeatable.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset made of something else.")] = False,
    as_json: Json = False,
) -> None:
    """Demonstration -> dataset of many demonstrations, each proved on the robot."""
    from pad_augment.config import GeneratorConfig
    from pad_augment.generator import generate
    from pad_bringup.progress import StageProgress
    from pad_bringup.resources import named_or_path
    from pad_parse.demonstration import Demonstration

    source = Demonstration.load(demonstration)
    profile = named_or_path(robot, "config", "robots")
    with StageProgress() as progress, progress.stage("augment") as update:
        report = generate(
            source,
            profile,
            out,
            demos,
            seed,
            planner=_chosen(planner),
            workers=workers or len(os.sched_getaffinity(0)),
            progress=lambda p: update(
                p.accepted / max(1, demos),
                f"{p.accepted} of {demos}, {p.attempted} attempts, {p.rate:.1f} a second"
                + ("" if p.remaining is None else f", {p.remaining:.0f} s left"),
            ),
            config=GeneratorConfig.from_assignments(options or []),
            executor=executor,
            overwrite=overwrite,
        )
    values = {
        "dataset": str(out.resolve()),
        "demos": report.accepted,
        "attempted": report.attempted,
        "resumed": report.resumed,
        "rejections": report.rejections,
        "augment_s": round(report.seconds, 2),
    }
    _result(values, as_json, [f"{report.accepted} demonstrations from {report.attempted} attempts: {out}"])


@app.command()
def distill(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    out: Annotated[Path, typer.Option(help="Policy folder.")] = Path("policy"),
    updates: Annotated[int | None, typer.Option(help="Optimiser steps; without it the default.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Use only the dataset's first episodes.")] = None,
    network: Annotated[str, typer.Option(help="kp_rdt or mlp.")] = "kp_rdt",
    size: Annotated[str, typer.Option(help="tiny, small or base.")] = "tiny",
    objective: Annotated[str, typer.Option(help="flow_matching, ddpm or regression.")] = "flow_matching",
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="torch device; taken as said, never replaced.")] = "cpu",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the training, e.g. noise.keypoint_noise=0; repeatable."),
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard files into the policy folder.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a training is unfinished.")] = False,
    as_json: Json = False,
) -> None:
    """Dataset -> policy folder. The same command after an interruption goes on where it was."""
    from pad_bringup.progress import StageProgress
    from pad_policy.bundle import PolicyBundle
    from pad_policy.config import TrainingConfig
    from pad_policy.training import train

    options: dict[str, object] = {
        "tensorboard": tensorboard,
        "episodes": episodes,
        "network": network,
        "size": size,
        "objective": objective,
        "seed": seed,
        "device": device,
    }
    if updates is not None:
        options["updates"] = updates
    config = TrainingConfig.from_assignments(assignments or [], **options)
    began = time.monotonic()
    with StageProgress() as progress, progress.stage("distill") as update:
        train(
            dataset,
            out,
            config,
            progress=lambda done, total, loss, left: update(
                done / total, f"update {done} of {total}, loss {loss:.4f}, {left:.0f} s left"
            ),
            overwrite=overwrite,
            notice=progress.say,
        )
    manifest = PolicyBundle.load(out).manifest
    error = manifest.held_out_action_error
    values = {
        "policy": str(out.resolve()),
        "updates": config.updates,
        "distill_s": round(time.monotonic() - began, 2),
        "measures": _finite(manifest.measures),
        "held_out_action_error": None if error is None else error.model_dump(),
        "data_checks": [finding.model_dump() for finding in manifest.data_checks],
    }
    lines = [f"policy after {config.updates} updates: {out}"]
    if error is not None:
        lines.append(
            f"held-out action error (not success): {1000 * error.position_m:.1f} mm on {error.episodes} episodes; "
            f"pad evaluate {out} measures success"
        )
    _result(values, as_json, lines)


@app.command()
def evaluate(
    policy: Annotated[Path, typer.Argument(help="Policy folder.")],
    mode: Annotated[
        str | None,
        typer.Option(
            help="state: true keypoints with a tracker's errors; vision: through the camera; both as fast "
            "as it goes. graph: the node graph in real time. Without it state, with --protocol vision."
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(help="Placements to try.")] = 20,
    protocol: Annotated[
        str | None,
        typer.Option(help="paper: unseen placements, other objects, other surroundings; beside the paper's figures."),
    ] = None,
    trials: Annotated[int, typer.Option(help="--protocol: trials of each split.", min=1)] = 12,
    graph: Annotated[bool, typer.Option("--graph", help="The same as --mode graph.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first placement; without it 1000, with --protocol 2000.", min=0)
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes (state, vision); 0: one per core.", min=0)] = 0,
    disturb: Annotated[
        bool, typer.Option("--disturb", help="An object is moved 10 cm by hand while the arms reach for it.")
    ] = False,
    smoothing: Annotated[
        str, typer.Option(help="What a new chunk makes of those before: none, blend or ensemble.")
    ] = "none",
    clips: Annotated[Path | None, typer.Option(help="Folder for a video of every failure and one success.")] = None,
    demonstration: Annotated[
        Path | None,
        typer.Option(help="Demonstration whose keypoints are looked for (vision, graph) and open_loop replays."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Also try open_loop or nearest_neighbour on the same placements; repeatable."),
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="Dataset whose demonstrations baselines replay.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for all results (.json).")] = None,
    time_limit: Annotated[float, typer.Option(help="Simulated seconds after which an episode has failed.")] = 30.0,
    robot: RobotOption = "ur5e_pair",
    as_json: Json = False,
) -> None:
    """Roll a policy out in the cell: success with its interval, and why episodes failed."""
    from typing import cast

    from pad_bringup.errors import EvaluationError
    from pad_bringup.evaluation.baselines import Baseline
    from pad_bringup.evaluation.evaluate import FIRST_UNSEEN, EvaluationOptions
    from pad_bringup.evaluation.evaluate import evaluate as run
    from pad_bringup.evaluation.kept import Kept
    from pad_bringup.evaluation.protocol import FIRST_TRIAL, PROTOCOLS, ProtocolOptions, evaluate_by_protocol
    from pad_bringup.evaluation.result import Mode
    from pad_bringup.progress import StageProgress
    from pad_policy.smoothing import Smoothing

    if graph and mode not in (None, "graph"):
        raise EvaluationError(f"--graph and --mode {mode} exclude each other")
    mode = "graph" if graph else mode
    cores = workers or len(os.sched_getaffinity(0))
    if protocol is not None:
        if protocol not in PROTOCOLS:
            raise EvaluationError(f"there is no protocol {protocol!r}; there are: {', '.join(PROTOCOLS)}")
        if disturb or baseline or smoothing != "none":
            raise EvaluationError("--protocol goes with none of --disturb, --baseline and --smoothing")
        with Kept(out, _say) as keep, StageProgress() as progress:
            table = evaluate_by_protocol(
                ProtocolOptions(
                    policy,
                    trials=trials,
                    mode=cast(Mode, mode or "vision"),
                    seed=FIRST_TRIAL if seed is None else seed,
                    workers=cores,
                    robot=robot,
                    time_limit=time_limit,
                    clips=clips,
                    demonstration=demonstration,
                ),
                progress,
                keep,
            )
        if out is not None:
            table.save(out)
        _result(table.model_dump(mode="json"), as_json, table.table())
        return
    options = EvaluationOptions(
        policy,
        mode=cast(Mode, mode or "state"),
        episodes=episodes,
        seed=FIRST_UNSEEN if seed is None else seed,
        workers=cores,
        robot=robot,
        time_limit=time_limit,
        disturbed=disturb,
        clips=clips,
        demonstration=demonstration,
        baselines=cast(tuple[Baseline, ...], tuple(baseline or ())),
        dataset=dataset,
        smoothing=cast(Smoothing, smoothing),
    )
    with Kept(out, _say) as keep, StageProgress() as progress:
        result = run(options, progress, keep)
    if out is not None:
        result.save(out)
    lines = [f"{result.mode}: {result.words()}"]
    lines += [f"  {count} x {cause}" for cause, count in result.causes.items()]
    lines += [f"  clip: {record.clip}" for record in result.results if record.clip]
    lines += [f"{other.method}: {other.words()}{other.beside(result)}" for other in result.baselines]
    _result(result.model_dump(mode="json"), as_json, lines)


@app.command()
def up(
    task: Annotated[str, typer.Argument(help="Task: its name, or the folder of one's own.")] = "pour",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments of the graph as name:=value, the same as of the launch file.")
    ] = None,
    use: Annotated[str, typer.Option(help="run (the policy moves the arms), parse, augment or rviz.")] = "run",
    start: Annotated[bool, typer.Option("--start", help="Also find the keypoints and let the arms move.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End by itself after this many seconds.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for the nodes' logs.")] = None,
    show_args: Annotated[bool, typer.Option("--show-args", help="List the graph's arguments and end.")] = False,
) -> None:
    """Start the node graph, as the launch file does, until Ctrl-C."""
    from pad_bringup.errors import GraphError
    from pad_bringup.graph import Use
    from pad_bringup.graph import arguments as declared

    task = _task(task)
    if use not in (known := [u.value for u in Use]):
        raise GraphError(f"there is no use {use!r} of a graph; choices: {', '.join(known)}")
    if show_args:
        for argument in declared(task, Use(use)):
            choices = f" One of: {', '.join(argument.choices)}." if argument.choices else ""
            typer.echo(f"  {argument.name}:={argument.default or '...'}  {argument.description}{choices}")
        return
    from pad_bringup.up import run_up

    values = {"task": task, **_graph_values(arguments)}
    run_up(values, logs or _log_folder(), use=Use(use), start=start, seconds=seconds, tell=_say)


def _graph_values(words: list[str] | None) -> dict[str, str]:
    """Arguments of a graph, written as name:=value."""
    from pad_bringup.errors import GraphError

    values = {}
    for word in words or []:
        name, sign, value = word.partition(":=")
        if not sign:
            raise GraphError(f"{word!r} is no graph argument; write name:=value (--show-args lists them)")
        values[name] = value
    return values


def _log_folder() -> Path:
    from pad_bringup import store

    return store.cache_home() / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


@app.command()
def record(
    out: Annotated[Path, typer.Argument(help="Folder of the rosbag2 to write.")],
    task: Annotated[str, typer.Option(help="Task: its name, or the folder of one's own.")] = "pour",
    seed: Seed = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Record the running graph until Ctrl-C: inputs, chunks, commands, safety.")
    ] = False,
    repair: Annotated[
        Path | None, typer.Option(help="Write what is whole of this .mcap file, whose recorder was killed, to OUT.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Record a synthetic human who shows a task in the simulated cell (rosbag2 with ground truth), or what runs."""
    if live and repair is not None:
        raise typer.BadParameter("--live and --repair exclude each other")
    if live:
        _record_live(out)
        return
    if repair is not None:
        from pad_bringup.mcap_repair import repair as rescue

        count = rescue(repair, out)
        _result({"recording": str(out.resolve()), "messages": count}, as_json, [f"{count} messages are whole: {out}"])
        return
    from pad_bringup.cell.human.recorder import record_demonstration
    from pad_bringup.cell.objects import load_objects
    from pad_bringup.errors import DemoError
    from pad_bringup.progress import StageProgress
    from pad_parse.task import TaskSpec

    task = _task(task)
    TaskSpec.load(task)
    load_objects(task)
    if out.exists():
        raise DemoError(f"{out} exists already; choose another folder")
    began = time.monotonic()
    with StageProgress() as progress, progress.stage("record") as update:
        path = record_demonstration(out, seed=seed, task=task, progress=lambda stage, fraction: update(fraction, stage))
    values = {"recording": str(Path(path).resolve()), "record_s": round(time.monotonic() - began, 2)}
    _result(values, as_json, [f"recording: {path}"])


def _record_live(out: Path) -> None:
    """Record the graph that runs in this domain; ends the process."""
    from pad_bringup.graph import environment
    from pad_bringup.graph_entries import RECORDED_TOPICS

    for name, value in environment().items():
        os.environ.setdefault(name, value)
    from pad_bringup.nodes import recorder

    topics = f"[{','.join(RECORDED_TOPICS)}]"
    recorder.main(["--ros-args", "-p", f"out:='{out.resolve()}'", "-p", f"topics:={topics}"])


@app.command()
def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder or .mcap file.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="name:=value of replay.launch.py (pad up --use replay --show-args): with any, its graph."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Recorded seconds per real second.", min=0.01, max=100.0)] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False,
) -> None:
    """Play a recording's camera topics with /clock, as a live camera."""
    from pad_bringup.graph import Use, environment

    if arguments:
        from pad_bringup.up import run_up

        given = {"bag": str(bag), "rate": str(rate), "loop": str(loop).lower()}
        run_up({**given, **_graph_values(arguments)}, _log_folder(), use=Use.REPLAY, tell=_say)
        return
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    from pad_bringup.nodes import replay as node

    flag = "true" if loop else "false"
    code = node.run(["--ros-args", "-p", f"bag:='{bag.resolve()}'", "-p", f"rate:={rate}", "-p", f"loop:={flag}"])
    if code:
        raise typer.Exit(code)


@app.command()
def view(
    file: Annotated[Path, typer.Argument(help="Demonstration (.demo.h5) or dataset folder.")],
    port: Annotated[int, typer.Option(help="First port on 127.0.0.1 to try.", min=1, max=65535)] = 8080,
    robot: RobotOption = "ur5e_pair",
    seconds: Annotated[float | None, typer.Option(help="End by itself after this many seconds.")] = None,
) -> None:
    """Look at a demonstration or a dataset in the browser."""
    from pad_bringup.view import run_view

    run_view(file, robot=robot, port=port, tell=_say, seconds=seconds)


@app.command()
def export(
    library: Annotated[str, typer.Argument(help="Library whose format to write: lerobot.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Dataset -> dataset of another library, written by that library (pip install lerobot)."""
    from pad_augment.dataset import Dataset
    from pad_augment.errors import ExportError
    from pad_augment.export import FORMATS
    from pad_bringup.progress import StageProgress

    if library not in FORMATS:
        raise ExportError(f"there is no export {library!r}; known: {', '.join(FORMATS)}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is written here is nobody else's business
    source = Dataset.open(dataset)
    with StageProgress() as progress, progress.stage("export") as update:
        report = FORMATS[library](source, out, lambda done, total: update(done / total, f"{done} of {total}"))
    values = {
        "dataset": str(out.resolve()),
        "format": f"{library} {report.version}",
        "episodes": report.episodes,
        "steps": report.steps,
        "features": list(report.features),
    }
    _result(values, as_json, [f"{report.episodes} episodes, {report.steps} steps ({values['format']}): {out}"])


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Benchmark: parse, augment, policy, aloha, tasks, graph or faults.")],
    only: Annotated[list[str] | None, typer.Option(help="Only this section; may be given several times.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few samples, to see that it runs; not for the record.")
    ] = False,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of real clips.", envvar="PAD_REAL_CLIPS", exists=True, file_okay=False)
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder to keep; the same command after an interruption goes on in it (policy, tasks)."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="policy, tasks, graph, faults: NAME=VALUE of its extent, e.g. trials=3."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure; every figure belongs into docs/benchmarks.md together with the machine."""
    import tempfile
    from contextlib import nullcontext

    from pad_bringup.bench.benchmark import BenchSettings, run

    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with nullcontext(str(work)) if work is not None else tempfile.TemporaryDirectory(prefix="pad-bench-") as folder:
        settings = BenchSettings(Path(folder), seed=seed, quick=quick, clips=clips, assignments=tuple(options or ()))
        figures = _finite(run(name, only or [], settings, _say))
    lines = [f"{key:<32} {'-' if value is None else f'{value:.6g}'}" for key, value in figures.items()]
    _result(figures, as_json, lines)


@app.command("new-task")
def new_task(
    name: Annotated[str, typer.Argument(help="Name of the new task; with --check also the folder of one's own.")],
    folder: Annotated[Path, typer.Option("--in", help="Folder in which the task's folder is made.")] = Path("tasks"),
    like: Annotated[str, typer.Option(help="Task of the package to begin from.")] = "trash_in_bin",
    left: Annotated[str | None, typer.Option(help="Name of the left hand's object.")] = None,
    right: Annotated[str | None, typer.Option(help="Name of the right hand's object.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make nothing: look whether the task's files can work (seconds).")
    ] = False,
    robot: RobotOption = "ur5e_pair",
    as_json: Json = False,
) -> None:
    """The files of a task of one's own, to be edited; known by its name from then on (docs/new_task.md)."""
    from pad_bringup.new_task import check_task, make_task

    if not check:
        place = make_task(name, folder, like, left=left, right=right)
        files = ", ".join(sorted(path.name for path in place.iterdir()))
        _result(
            {"task": name, "folder": str(place)},
            as_json,
            [f"task {name}: {place}", f"edit {files}", f"then pad new-task {name} --check, and pad demo {name}"],
        )
        return
    found = check_task(name, robot)
    values = {"success": found.success, "cause": found.cause, "preview": str(found.preview)}
    verdict = "the synthetic human can do it, and so can the robots, by script" if found.success else found.cause
    _result(values, as_json, [verdict, f"look at it: {found.preview}"])
    if not found.success:
        raise typer.Exit(BAD_INPUT)


@app.command()
def gallery(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with results: runs, benchmarks, evaluations (--out).")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page (.html).")] = Path("gallery.html"),
    as_json: Json = False,
) -> None:
    """One self-contained page of clips, curves and tables; without folders of everything in runs/."""
    from pad_bringup.gallery import write_gallery

    tasks = write_gallery(folders or [Path("runs")], out)
    values = {"gallery": str(out.resolve()), "tasks": tasks}
    _result(values, as_json, [f"{', '.join(tasks)}: {out} ({out.stat().st_size / 1e6:.1f} MB)"])


@app.command()
def docs(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say which pages are not up to date.")] = False,
    as_json: Json = False,
) -> None:
    """Make docs/reference from the code: nodes, parameters, topics, the command line."""
    from pad_bringup.errors import DocsError
    from pad_bringup.reference import pages

    place = pages.folder()
    if check:
        old = pages.stale(place)
        if old:
            raise DocsError(f"not what the code says: {', '.join(old)} in {place}; run {pages.COMMAND}")
        _result({"pages": []}, as_json, [f"{place} is up to date"])
        return
    written = pages.write(place)
    _result({"pages": [str(path) for path in written]}, as_json, [str(path) for path in written])


def _finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON knows no nan."""
    return {
        name: value if value is not None and value == value and abs(value) != float("inf") else None
        for name, value in values.items()
    }


def _known_error(error: BaseException) -> bool:
    """Whether an exception is one that our packages raise on purpose; looks only at what is imported already."""
    bases = (getattr(sys.modules.get(module), name, None) for module, name in _ERROR_BASES)
    return any(isinstance(base, type) and isinstance(error, base) for base in bases)


def _complain(message: str) -> None:
    print(f"pad: {' '.join(message.split())}", file=sys.stderr)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 only on success, 2 with one clear line on bad input."""
    signal.signal(signal.SIGTERM, _terminated)
    # Threads that spin while they wait slow each other down by ten and more on a machine that is busy otherwise.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == INTERRUPTED:  # typer makes a code of Ctrl-C by itself
            raise KeyboardInterrupt
    except typer.Exit as end:
        return int(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("stopped; what was finished is kept")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL
    except Exception as error:
        if isinstance(error, _UsageProblem):
            return _usage_problem(error)
        if _known_error(error):
            _complain(str(error))
            return BAD_INPUT
        return _internal(error)
    return code if isinstance(code, int) else OK


def _usage_problem(error: Any) -> int:
    """A mistake on the command line; asking for nothing at all gets the help, which is printed already."""
    if type(error).__name__ != "NoArgsIsHelpError":
        _complain(f"{error.format_message()} (see pad --help)")
    return BAD_INPUT


def _internal(error: Exception) -> int:
    """A fault of ours: one line, and the trace in a file for the report of it."""
    from pad_bringup import store

    trace = "".join(traceback.format_exception(error))
    path = store.cache_home() / "last_error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(trace, encoding="utf-8")
        where = f"; details in {path}"
    except OSError:
        where = ""
    _complain(f"internal error: {type(error).__name__}: {error}{where}")
    return INTERNAL


if __name__ == "__main__":
    sys.exit(main())
