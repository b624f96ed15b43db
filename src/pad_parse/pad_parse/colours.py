"""Colours of keypoint groups, the same in the annotator, the overlay, the viewer and the reports."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's palette: told apart by colour-blind people as well.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (213, 94, 0),
    (240, 228, 66),
    (120, 120, 120),
)


def group_colours(groups: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """A colour (r, g, b; 0 to 255) for every group, in order of first appearance."""
    distinct = list(dict.fromkeys(groups))
    return {group: PALETTE[i % len(PALETTE)] for i, group in enumerate(distinct)}


def as_hex(colour: tuple[int, int, int]) -> str:
    """`#rrggbb` of a colour (r, g, b; 0 to 255)."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
