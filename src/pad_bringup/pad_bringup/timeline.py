"""A timeline for the annotator to begin with: the recording is parsed and its stages are grounded."""

from __future__ import annotations

from collections.abc import Callable

from pad_augment.grounding import ground
from pad_parse.parser import parse
from pad_parse.recording import Recording
from pad_parse.task import SegmentSpec, TaskSpec
from pad_parse.timeline import to_specs


def propose_segments(recording: Recording, task: TaskSpec, progress: Callable[[str, float], None]) -> list[SegmentSpec]:
    """What grounding finds for an annotated task without segments of its own, in seconds after the first frame.

    Raises:
        PadParseError, PadAugmentError: the recording cannot be parsed, or does not do what the stages say.
    """
    demonstration = parse(recording, task, progress=progress)
    return to_specs(ground(demonstration), demonstration.stamps)
