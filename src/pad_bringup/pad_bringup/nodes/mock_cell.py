"""Node: the mock cell. Everything that the simulated cell offers, without physics."""

from __future__ import annotations

import sys

from pad_bringup.cell.mock import MockCell
from pad_bringup.nodes.sim_cell import run


def main() -> int:
    """Run the node until it is told to stop; 2 on bad parameters."""
    return run("mock_cell", MockCell)


if __name__ == "__main__":
    sys.exit(main())
