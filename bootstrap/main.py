"""The entry of ./pad: decides what the environment is needed for, makes it, and hands over."""

import os
import signal
import sys
from pathlib import Path

from bootstrap import assembly, checks, commands, doctor
from bootstrap.environment import command_environment
from bootstrap.errors import SetupError
from bootstrap.layout import Layout
from bootstrap.ros_host import sourced_ros

HELP_WORDS = ("--help", "-h", "help")


def main(arguments: list[str]) -> int:
    """Run `./pad ARGUMENTS`; the exit status: 0 success, 1 failure, 2 bad input or surroundings, 130 interrupted."""
    layout = Layout(Path(__file__).resolve().parents[1])
    # Also where the caller's shell has set it to be ignored, as shells do for background jobs; a terminated start ends
    # its children like an interrupted one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _dispatch(layout, arguments)
    except SetupError as error:
        print(f"pad: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _dispatch(layout: Layout, arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb == "doctor" and not set(arguments) & set(HELP_WORDS):
        return doctor.report(layout, arguments[1:])
    if verb == "setup" and set(arguments[1:]) - {"--force", *HELP_WORDS}:
        raise SetupError(f"setup does not know {' '.join(arguments[1:])!r}; it takes --force only")
    wants_help = verb in HELP_WORDS or (verb != "test" and set(arguments) & {"--help", "-h"})
    if verb in ("setup", "doctor") and wants_help:
        print(commands.help_text())
        return 0
    host = sourced_ros(os.environ)
    if not assembly.is_ready(layout, assembly.make_plan(layout, host)):
        if wants_help:
            print(commands.help_text())
            return 0
        known = (*commands.CLI, *commands.OWN)
        if verb not in known:
            raise SetupError(f"no command {verb!r}; known: {', '.join(known)}")
    seconds = assembly.ensure(layout, host, force=verb == "setup" and "--force" in arguments)
    if verb == "setup":
        print(f"environment ready in {layout.home} ({seconds:.1f} s)")
        return 0
    environment = command_environment(layout, host)
    environment["PAD_SETUP_SECONDS"] = f"{seconds:.1f}"
    environment["PAD_ROOT"] = str(layout.root)
    if verb == "test":
        return checks.run_checks(layout, environment, arguments[1:])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout.flush()
    os.execve(layout.python, [str(layout.python), "-m", "pad_bringup.cli", *arguments], environment)
