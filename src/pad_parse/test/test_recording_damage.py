"""Recorders that were killed, files that were cut short: what is there is read and said, the rest is a clear error."""

import numpy as np
import pytest
from recordings import COLOUR, DEPTH, INFO, data_file, large_messages, rgbd_messages, write_bag
from rosbags.rosbag2 import StoragePlugin

from pad_parse.errors import RecordingError
from pad_parse.recording import open_recording
from pad_parse.recording.mcap_scan import McapScan


@pytest.fixture(scope="module")
def long_bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("long") / "bag", large_messages(80))


@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_bag_whose_recorder_was_killed_is_read_up_to_there(long_bag, tmp_path, with_metadata):
    raw = data_file(long_bag).read_bytes()
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bag_0.mcap").write_bytes(raw[: len(raw) * 2 // 3])
    if with_metadata:
        (bag / "metadata.yaml").write_text((long_bag / "metadata.yaml").read_text().replace("bag.mcap", "bag_0.mcap"))
    recording = open_recording(bag)
    frames = list(recording.frames())
    assert 40 <= len(frames) < 54 and recording.frame_count == len(frames)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == list(range(len(frames)))
    assert [round(1000 * float(f.depth[0, 0])) - 500 for f in frames] == list(range(len(frames)))
    assert np.isclose(recording.duration, (len(frames) - 1) / 30, atol=0.04)
    assert any("no usable index" in text for text in recording.report.recovered)
    assert "no usable index" in recording.report.summary()


def test_the_index_of_a_cut_file_is_found_without_unpacking_its_chunks(long_bag, tmp_path):
    raw = data_file(long_bag).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(raw[: len(raw) - 1000])
    whole = McapScan.of(cut)
    assert {whole.channels[number].topic: count for number, count in whole.counts.items()} == {
        INFO: 1,
        COLOUR: 80,
        DEPTH: 80,
    }
    assert np.isclose((whole.end - whole.start) * 1e-9, 79 / 30)


def test_a_damaged_chunk_of_a_cut_file_is_left_out(tmp_path):
    messages = large_messages(80)
    raw = bytearray(data_file(write_bag(tmp_path / "bag", messages, packed=True)).read_bytes()[:-1000])
    # Noise is packed as it is, so a picture is found in its chunk.
    place = raw.index(messages[81][3].data[1000:1016].tobytes())
    raw[place - 5000 : place + 5000] = bytes(10000)
    (tmp_path / "cut.mcap").write_bytes(raw)
    recording = open_recording(tmp_path / "cut.mcap")
    numbers = [int(f.rgb[0, 0, 0]) for f in recording.frames()]
    assert 40 not in numbers and 50 < len(numbers) < 80 and sorted(numbers) == numbers
    assert recording.report.dropped == 80 - len(numbers) and recording.report.gaps


def test_a_file_that_holds_no_whole_chunk_is_an_error(long_bag, tmp_path):
    raw = data_file(long_bag).read_bytes()
    for size in (1, 8, 60, 400_000):
        (tmp_path / "cut.mcap").write_bytes(raw[:size])
        with pytest.raises(RecordingError, match=r"truncated|does not begin as one|no message"):
            open_recording(tmp_path / "cut.mcap")


def test_split_bags_without_metadata_are_read_in_order(tmp_path):
    messages = rgbd_messages(12)
    bag = tmp_path / "bag"
    bag.mkdir()
    for i, part in enumerate([messages[:11], messages[11:17], messages[17:]]):
        piece = data_file(write_bag(tmp_path / f"part{i}", part))
        piece.rename(bag / f"bag_{i + 8}.mcap")  # bag_10 comes after bag_9
    recording = open_recording(bag)
    assert [int(f.rgb[0, 0, 0]) for f in recording.frames()] == list(range(12))
    (bag / "bag_11.mcap").touch()
    recording = open_recording(bag)
    assert len(list(recording.frames())) == 12
    assert any("bag_11.mcap was left out" in text and "0 bytes" in text for text in recording.report.recovered)


def test_damaged_metadata_is_done_without(tmp_path):
    bag = write_bag(tmp_path / "bag", rgbd_messages(4))
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: nine}")
    recording = open_recording(bag)
    assert len(list(recording.frames())) == 4 and "read one by one" in recording.report.summary()


def test_no_database_is_one_clear_line(tmp_path):
    (tmp_path / "bag.db3").write_bytes(b"SQLite format 3\0" + bytes(2000))
    (tmp_path / "text.db3").write_text("this is no database " * 20)
    for name in ("bag.db3", "text.db3"):
        with pytest.raises(RecordingError, match="truncated, corrupt or no rosbag2") as caught:
            open_recording(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_messages_left_in_the_write_ahead_log_are_said(tmp_path):
    bag = write_bag(tmp_path / "bag", rgbd_messages(4), StoragePlugin.SQLITE3)
    log = data_file(bag)
    log.with_name(f"{log.name}-wal").write_bytes(b"x" * 100)
    recording = open_recording(bag)
    assert len(list(recording.frames())) == 4
    assert any("wal_checkpoint" in text for text in recording.report.recovered)


def test_damaged_images_in_a_bag_are_left_out_and_counted(tmp_path):
    messages = rgbd_messages(20)
    for place in (5, 9):
        broken = messages[place][3]
        broken.data = broken.data[: broken.data.size // 2]
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    assert len(list(recording.frames())) == 18 and recording.report.damaged == 2
    for place in range(1, 41, 2):
        messages[place][3].data = messages[place][3].data[:7]
    with pytest.raises(RecordingError, match="11 images are damaged, 0 are good"):
        open_recording(write_bag(tmp_path / "worse", messages))
