"""Pairing of two streams by stamp, as properties over any two streams."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_parse.recording.pairing import in_order, pair_by_stamp
from pad_parse.recording.report import Tally

MILLISECONDS = st.integers(0, 2000).map(lambda ms: ms / 1000)
STREAM = st.lists(MILLISECONDS, max_size=60)


def merged(colour, depth):
    """Both streams as a recorder writes them: by stamp, images are their own stamps."""
    images = [("colour", stamp, stamp) for stamp in colour] + [("depth", stamp, stamp) for stamp in depth]
    return sorted(images, key=lambda item: item[1])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STREAM, STREAM, st.sampled_from([0.0, 0.005, 0.02, 0.1]))
def test_every_image_is_paired_with_the_nearest_or_counted(colour, depth, tolerance):
    tally = Tally()
    pairs = list(pair_by_stamp(merged(colour, depth), tolerance, tally))
    stamps = [stamp for stamp, _, _ in pairs]
    assert all(a < b for a, b in zip(stamps, stamps[1:], strict=False))
    expected = []
    for stamp in sorted(set(colour)):
        gaps = np.abs(np.array(sorted(set(depth))) - stamp)
        if gaps.size and gaps.min() <= tolerance:
            expected.append((stamp, gaps.min()))
    assert [(stamp, abs(d - c)) for stamp, c, d in pairs] == expected
    assert len(set(colour)) == len(pairs) + tally.unpaired_colour
    assert len(set(depth)) == len({d for _, _, d in pairs}) + tally.unpaired_depth
    assert tally.duplicates == len(colour) - len(set(colour)) + len(depth) - len(set(depth))
    assert tally.worst_pairing == max((gap for _, gap in expected), default=0.0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(STREAM, STREAM, st.randoms(use_true_random=False))
def test_in_any_order_no_image_is_lost_from_the_count(colour, depth, random):
    images = merged(colour, depth)
    random.shuffle(images)
    tally = Tally()
    pairs = list(pair_by_stamp(images, 0.02, tally))
    stamps = [stamp for stamp, _, _ in pairs]
    assert all(a < b for a, b in zip(stamps, stamps[1:], strict=False))
    assert all(abs(c - d) <= 0.02 for _, c, d in pairs)
    used = len({d for _, _, d in pairs})
    left_out = tally.unpaired_colour + tally.unpaired_depth + tally.duplicates + tally.out_of_order
    assert len(pairs) + used + left_out == len(images)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(STREAM)
def test_a_single_stream_increases(colour):
    tally = Tally()
    stamps = [stamp for stamp, _ in in_order((("colour", stamp, None) for stamp in colour), tally)]
    assert all(a < b for a, b in zip(stamps, stamps[1:], strict=False))
    assert len(stamps) + tally.duplicates + tally.out_of_order == len(colour)
