"""The annotator: a local web page on which a person clicks and names the keypoints of a recording."""

from pad_parse.annotator.annotate import Annotator, annotate
from pad_parse.annotator.by_hand import annotate_like, ask_for_pixels

__all__ = ["Annotator", "annotate", "annotate_like", "ask_for_pixels"]
