"""One demonstration becomes many.

Takes the demonstration of pad_parse, divides it by the task template (grounding), moves its parts to new object
placements (SE(3) equivariance), plans the rest for two arms (motion planning, inverse kinematics, collision checks)
and writes what passed as a dataset for pad_policy. Imports pad_parse only; knows no policy and no cell.
"""

__version__ = "0.1.0"
