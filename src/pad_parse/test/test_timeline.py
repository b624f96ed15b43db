"""The hand-set timeline of a task file against the frames of a demonstration."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse.demonstration import Segment, SegmentKind
from pad_parse.errors import TaskError
from pad_parse.task import SegmentSpec, TaskSpec
from pad_parse.timeline import to_segments, to_specs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.005, 0.2), min_size=8, max_size=40),
    st.floats(0, 1e6),
    st.lists(st.integers(0, 8), min_size=2, max_size=6, unique=True),
    st.sampled_from(list(SegmentKind)),
)
def test_frames_survive_the_way_through_seconds(steps, offset, borders, kind):
    stamps = offset + np.cumsum(steps)
    borders = sorted(borders)
    segments = [Segment(arm, kind, a, b) for arm in (0, 1) for a, b in zip(borders, borders[1:])]
    again = to_segments(to_specs(segments, stamps), stamps)
    assert [(s.arm, s.kind, s.start, s.end) for s in again] == [(s.arm, s.kind, s.start, s.end) for s in segments]


def test_what_lies_outside_the_recording_is_cut_or_left_out():
    stamps = np.arange(10) / 10
    specs = [
        SegmentSpec(arm="right", kind="idle", start=0.5, end=9.0),
        SegmentSpec(arm="left", kind="motion", start=8.0, end=9.0),
    ]
    assert [(s.arm, s.start, s.end) for s in to_segments(specs, stamps)] == [(1, 5, 10)]


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ({"start": 2.0, "end": 1.0}, "ends before it begins"),
        ({"start": 0.5, "end": 1.5}, "segments of the left arm overlap"),
        ({"start": 1.0, "end": 2.0, "object": "teapot"}, "unknown object 'teapot'; known: bottle, cup"),
        ({"start": 1.0, "end": 2.0, "stage": "stir"}, "unknown stage 'stir'; known: grasp_bottle"),
        ({"start": float("nan"), "end": 2.0}, "finite"),
    ],
)
def test_a_timeline_that_cannot_be_is_refused(segment, message):
    content = TaskSpec.load("pour").model_dump(mode="json")
    first = {"arm": "left", "kind": "motion", "start": 0.0, "end": 1.0}
    content["segments"] = [first, {"arm": "left", "kind": "async_skill", **segment}]
    with pytest.raises(TaskError, match=message):
        TaskSpec.from_yaml(yaml.safe_dump(content))
