"""What the paper reports of its real robot, to be printed beside what physics says here."""

from __future__ import annotations

from typing import NamedTuple

NOTE = "Paper: two real arms, 12 trials each. Ours: physics and rendered images. A simulation is not a robot."
TRIALS = 12


class Counts(NamedTuple):
    """Successes of `TRIALS` trials."""

    spatial: int
    object: int
    background: int


SUCCESSES: dict[str, Counts] = {
    "pour": Counts(12, 11, 9),
    "mix_bowl": Counts(12, 10, 7),
    "trash_in_bin": Counts(11, 9, 8),
    "open_container": Counts(10, 6, 5),
    "empty_vase": Counts(10, 9, 7),
    "paper_in_case": Counts(11, 7, 7),
}
"""arXiv 2509.20286, by the names that the tasks have here; pour is its pour_drink."""
