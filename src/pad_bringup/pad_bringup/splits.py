"""The three splits of the paper's protocol, by name; free of everything heavy, for the graph's arguments know them."""

from __future__ import annotations

from typing import Literal

Split = Literal["spatial", "object", "background"]
SPLITS: tuple[Split, ...] = ("spatial", "object", "background")
"""Unseen placements; other instances of the objects; other things, table and light around them."""
