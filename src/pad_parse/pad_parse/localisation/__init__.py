"""Find the demonstration's keypoints in a new scene."""

from pad_parse.localisation.classical import ClassicalLocaliser
from pad_parse.localisation.localisation import CONFIDENCE_LIMIT, Localisation
from pad_parse.localisation.localiser import BACKENDS, KeypointLocaliser, make_localiser

__all__ = [
    "BACKENDS",
    "CONFIDENCE_LIMIT",
    "ClassicalLocaliser",
    "KeypointLocaliser",
    "Localisation",
    "make_localiser",
]
