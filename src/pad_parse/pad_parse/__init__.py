"""Parse a recording of two hands into a keypoint-action demonstration."""
