"""The verbs of ./pad, known before the environment stands."""

OWN = ("setup", "doctor", "test")  # what the bootstrap does by itself

# The rest is pad_bringup.cli; a test holds the two lists together.
CLI = {
    "demo": "the main job: demonstration, parse, augment, distill, run in the cell, report   (./pad demo pour)",
    "annotate": "click and name the keypoints of a recording in the browser",
    "calibrate": "where the camera is, from images of a printed board",
    "parse": "recording -> demonstration (.demo.h5)",
    "augment": "demonstration -> dataset of many demonstrations",
    "distill": "dataset -> policy folder",
    "evaluate": "roll a policy out and count successes",
    "up": "start a node graph, as the launch files do",
    "record": "record a synthetic human who shows a task, or what runs",
    "replay": "play a recording as a live camera",
    "view": "look at a demonstration or a dataset in the browser",
    "new-task": "the files of a task of your own, to be edited; --check looks whether they can work",
    "export": "dataset -> dataset of another library (LeRobot)",
    "gallery": "one page with the clips, curves and tables of result folders",
    "bench": "measure what docs/benchmarks.md records",
    "docs": "make docs/reference from the code",
}

HELP = """\
PAD for ROS 2: from one human video to two moving arms.

usage: ./pad COMMAND [options]

{commands}

  setup      make or complete the environment, nothing else (--force: all anew)
  test       linter, type checker, tests (further words go to pytest)
  doctor     what is found, what is missing, what to do (--json)

The environment is not made yet: the first command makes it in .pad/ (a few minutes, about 3 GB; ./pad setup does only
that). Afterwards ./pad COMMAND --help lists each command's options."""


def help_text() -> str:
    """What ./pad --help says before the environment stands."""
    return HELP.format(commands="\n".join(f"  {name:<10} {text}" for name, text in CLI.items()))
