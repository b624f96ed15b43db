"""Find the demonstration's keypoints on the same objects in a new scene."""

from pad_parse.localisation.localise import CONFIDENCE_LIMIT, Localisation, Localiser, localise

__all__ = ["CONFIDENCE_LIMIT", "Localisation", "Localiser", "localise"]
