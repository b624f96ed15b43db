"""./pad test: linter, type checker, tests."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bootstrap.layout import Layout

#: Processes that run tests at most: each test of the node graph is several processes itself.
_MOST_WORKERS = 4


def run_checks(layout: Layout, environment: Mapping[str, str], pytest_arguments: list[str]) -> int:
    """Run ruff, mypy and pytest in the environment; pytest's summary comes last. 0 only when all three pass."""
    failed = []
    for name, arguments in (("ruff", ["check", "--quiet", "."]), ("mypy", [])):
        print(f"pad: {name} ...", file=sys.stderr, flush=True)
        if _module(layout, environment, name, arguments) != 0:
            failed.append(name)
    if failed:
        print(
            f"pad: {' and '.join(failed)} found something, see above; the tests run all the same",
            file=sys.stderr,
            flush=True,
        )
    # The whole suite on all cores, a file's tests in one process; what somebody picks is run one by one.
    workers = ["-n", str(min(os.cpu_count() or 1, _MOST_WORKERS)), "--dist", "loadfile"]
    status = _module(layout, environment, "pytest", pytest_arguments or workers)
    if failed:
        print(f"pad: not passed because of {' and '.join(failed)}, see the top", file=sys.stderr, flush=True)
    return status or bool(failed)


def _module(layout: Layout, environment: Mapping[str, str], name: str, arguments: list[str]) -> int:
    command: list[str | Path] = [layout.python, "-m", name, *arguments]
    return subprocess.run(command, cwd=layout.root, env=dict(environment), check=False).returncode
