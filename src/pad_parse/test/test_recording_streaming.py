"""Long recordings are streams: memory does not grow with their length, and opening one does not read it."""

import tracemalloc
from pathlib import Path

import pytest
from recordings import large_messages, write_bag, write_folder, write_video
from rosbags.rosbag2 import StoragePlugin

from pad_parse.recording import open_recording
from pad_parse.recording.pairing import pair_by_stamp
from pad_parse.recording.report import Tally

COUNTS = (40, 200)


def bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


def peak_memory(recording, count):
    """Bytes that reading all frames needs at most at one time."""
    tracemalloc.start()
    try:
        assert sum(1 for _ in recording.frames()) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes with Linux's /proc/self/io")
def test_bags(tmp_path, storage):
    peaks = []
    for count in COUNTS:
        bag = write_bag(tmp_path / f"bag{count}", large_messages(count), storage)
        before = bytes_read()
        recording = open_recording(bag)
        opening = bytes_read() - before
        peaks.append(peak_memory(recording, count))
    assert peaks[1] < 1.2 * peaks[0] + 500_000
    assert opening < 0.3 * sum(file.stat().st_size for file in bag.iterdir())


@pytest.mark.parametrize("kind", ["folder", "video", "cut bag"])
def test_other_kinds(tmp_path, kind):
    peaks = []
    for count in COUNTS:
        if kind == "folder":
            path = write_folder(tmp_path / f"rec{count}", count)
        elif kind == "video":
            path = write_video(tmp_path / f"clip{count}.mp4", count)
        else:
            bag = write_bag(tmp_path / f"bag{count}", large_messages(count))
            path = tmp_path / f"cut{count}.mcap"
            path.write_bytes(next(bag.glob("*.mcap")).read_bytes()[:-500])
        peaks.append(peak_memory(open_recording(path), count))
    assert peaks[1] < 1.2 * peaks[0] + 500_000


def test_images_that_wait_for_a_partner_are_few():
    class Image:
        alive = most = 0

        def __init__(self):
            Image.alive += 1
            Image.most = max(Image.most, Image.alive)

        def __del__(self):
            Image.alive -= 1

    for kind in ("colour", "depth"):
        tally = Tally()
        assert not list(pair_by_stamp(((kind, i / 30, Image()) for i in range(1000)), 0.02, tally))
        assert tally.unpaired_colour + tally.unpaired_depth == 1000
    assert Image.most <= 18


def test_the_report_holds_no_more_for_a_long_recording():
    tally = Tally()
    for i in range(20_000):
        tally.frame(i / 30 + (i // 50) * 0.2)
    report = tally.report()
    assert report.frames == 20_000 and len(report.gaps) == 20
    assert 399 <= report.dropped / 6 <= 401 and abs(report.period - 1 / 30) < 1e-6
