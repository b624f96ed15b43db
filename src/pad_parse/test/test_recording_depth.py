"""Depth as it comes packed or raw: what was encoded is what is read, and damage is an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recordings import compressed, compressed_depth_data, image, rvl

from pad_parse.errors import RecordingError
from pad_parse.recording.compressed_depth import compressed_depth, decode_rvl
from pad_parse.recording.encoded import DamagedImageError
from pad_parse.recording.images import depth_image

SPARSE = arrays(
    np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 40)), elements=st.sampled_from([0, 0, 7, 900, 65535])
)


@settings(max_examples=60, deadline=None)
@given(SPARSE)
def test_rvl_gives_back_what_was_packed(values):
    assert np.array_equal(decode_rvl(rvl(values), values.size).reshape(values.shape), values)


def test_rvl_of_known_bytes():
    # By hand: 2 zeros, 1 other value of 5 (coded 10 = nibbles 1010, 0001), 1 zero, none other.
    assert decode_rvl(bytes.fromhex("0010a121"), 4).tolist() == [0, 0, 5, 0]


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_millimetres_are_kept(codec):
    values = np.arange(48 * 32, dtype=np.uint16).reshape(32, 48)
    metres = compressed_depth(compressed_depth_data(values, codec), f"16UC1; compressedDepth {codec}")
    assert metres.dtype == np.float32 and np.allclose(metres, values / 1000)


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_metres_come_back_within_the_quantisation(codec):
    # The transport's own quantisation: a = z0 (z0 + 1), b = 1 - a / max; defaults z0 = 100, max = 10 m.
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    depth = np.random.default_rng(0).uniform(0.3, 9.5, (32, 48))
    values = (a / depth + b).astype(np.uint16)
    values[0, 0] = 0
    metres = compressed_depth(compressed_depth_data(values, codec, a, b), f"32FC1; compressedDepth {codec}")
    assert metres[0, 0] == 0
    step = depth**2 / a  # one step of the quantisation, metres
    assert np.all(np.abs(metres - depth)[1:] <= 1.05 * step[1:] + 1e-6)


def test_the_older_format_without_a_codec_is_png():
    values = np.full((4, 5), 1234, np.uint16)
    assert np.allclose(compressed_depth(compressed_depth_data(values, "png"), "16UC1; compressedDepth"), 1.234)


@pytest.mark.parametrize(
    "text", ["", "16UC1; jpeg compressed", "16UC1; compressedDepth zstd", "64FC1; compressedDepth png"]
)
def test_other_formats_are_refused(text):
    with pytest.raises(RecordingError, match="is not read"):
        compressed_depth(compressed_depth_data(np.ones((2, 2), np.uint16), "png"), text)


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_damaged_depth_is_an_error_or_an_image_of_some_size(codec):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3000, (12, 16)).astype(np.uint16)
    values[rng.random(values.shape) < 0.3] = 0
    whole = compressed_depth_data(values, codec, 1.0, 0.5)
    for length in range(0, len(whole) - 5, 7):
        with pytest.raises(DamagedImageError):
            compressed_depth(whole[:length], f"32FC1; compressedDepth {codec}")
    for _ in range(150):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        try:
            metres = compressed_depth(bytes(data), f"32FC1; compressedDepth {codec}")
        except DamagedImageError:
            continue
        assert np.all(np.isfinite(metres)) and np.all(metres >= 0)


def test_a_packed_image_that_states_gigabytes_is_refused_before_it_is_made():
    data = bytearray(compressed_depth_data(np.ones((4, 4), np.uint16), "rvl"))
    data[12:20] = b"\xff\xff\x00\x00\xff\xff\x00\x00"
    with pytest.raises(DamagedImageError, match="65535 x 65535"):
        compressed_depth(bytes(data), "16UC1; compressedDepth rvl")


def test_raw_depth_of_either_byte_order_and_with_padded_rows():
    values = np.arange(6 * 4, dtype=np.uint16).reshape(4, 6) + 300
    expected = values / np.float32(1000)
    assert np.allclose(depth_image(image(0, values, "16UC1")), expected)
    message = image(0, values.astype(">u2"), "16UC1")
    message.is_bigendian = 1
    assert np.allclose(depth_image(message), expected)
    padded = image(0, np.pad(values, ((0, 0), (0, 3))), "16UC1")
    padded.width = 6
    assert np.allclose(depth_image(padded), expected)
    packed = compressed(0, compressed_depth_data(values, "png"), "16UC1; compressedDepth png")
    assert np.allclose(depth_image(packed), expected)
