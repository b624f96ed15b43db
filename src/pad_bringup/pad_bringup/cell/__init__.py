"""The simulated cell: two arms at a table in MuJoCo, objects, a camera, and a judge of the outcome."""

from pad_bringup.cell.cell import CameraView, Cell
from pad_bringup.cell.outcome import Outcome

__all__ = ["CameraView", "Cell", "Outcome"]
