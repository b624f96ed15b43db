"""Node `recorder`: writes topics into a rosbag2 folder (MCAP) that is whole at any time. It only listens."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any, NoReturn

import yaml
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from pad_bringup.errors import PadBringupError, RecordingError
from pad_bringup.mcap_file import McapFile
from pad_bringup.message_schemas import MessageSchemas, message_class
from pad_parse.errors import PadParseError
from pad_parse.files import write_atomically
from pad_parse.nodes.parameters import declare, required
from pad_parse.nodes.running import run_node

_LOOK_EVERY = 0.5  # s between looks for topics that are new
_FLUSH_EVERY = 0.5  # s; what a killed recorder loses at most
_MOST_WAITING = 512 * 2**20  # bytes in memory; a disk that slow will not catch up


class Recorder(Node):
    """Takes messages as bytes; a thread of its own writes them, so that a slow disk delays nobody.

    Stamps are the node's clock, which is the simulated one where there is one, as a player needs them.
    """

    def __init__(self) -> None:
        super().__init__("recorder")
        declare(self, "out", "", "Folder to write; must not exist.")
        described = ParameterDescriptor(description="Topics to record; at least one.", read_only=True)
        self.declare_parameter("topics", Parameter.Type.STRING_ARRAY, described)
        megabytes = declare(
            self,
            "reserve",
            200.0,
            "Megabytes of the disk that are left free: with less, recording ends.",
            limits=(0.0, 1e9),
        )
        self._reserve = float(megabytes) * 1e6
        self.fault = ""
        self._wanted = set(self.get_parameter_or("topics", Parameter("topics", value=[""])).value) - {""}
        if not self._wanted:
            raise RecordingError("no topics are named: give the parameter topics, e.g. -p topics:=[/joint_states]")
        self._folder = Path(required(self, "out", "FOLDER")).expanduser()
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise RecordingError(f"{self._folder} cannot be made: {error.strerror}") from error
        self._file = McapFile(self._folder / f"{self._folder.name}_0.mcap", "pad")
        self._schemas = MessageSchemas()
        self._known: dict[str, tuple[str, str]] = {}
        self._early: list[tuple[str, bytes]] = []
        self._inbox: list[tuple[str, int, bytes]] = []
        self._size = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._subscriptions_kept: list[Any] = []
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look()
        self.create_timer(_LOOK_EVERY, self._look, clock=steady)
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)
        self._writer.start()
        self.get_logger().info(f"recording to {self._folder}")

    def destroy_node(self) -> None:
        """Write what waits and close the file."""
        self._end.set()
        self._writer.join(timeout=10.0)
        counts = self._file.counts
        if not self.fault:
            self.get_logger().info(f"recorded {sum(counts.values())} messages of {len(counts)} topics: {self._folder}")
        super().destroy_node()

    def _look(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if topic in self._wanted and self.get_publishers_info_by_topic(topic):
                self._wanted.discard(topic)
                self._subscribe(topic, types[0])

    def _subscribe(self, topic: str, kind: str) -> None:
        try:
            message = message_class(kind)
        except RecordingError as error:
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return
        profile = _matching([info.qos_profile for info in self.get_publishers_info_by_topic(topic)])
        with self._lock:
            metadata = {"offered_qos_profiles": _qos_text(profile)}
            self._file.add_topic(topic, kind, self._schemas.text(kind), metadata)
            self._known[topic] = kind, metadata["offered_qos_profiles"]

        def take(data: bytes) -> None:
            self._take(topic, data)

        self._subscriptions_kept.append(self.create_subscription(message, topic, take, profile, raw=True))

    def _take(self, topic: str, data: bytes) -> None:
        if self.fault:
            return
        now = self.get_clock().now().nanoseconds
        if now == 0:  # the simulated clock has not begun; what is latched must not get lost
            self._early.append((topic, data))
            return
        with self._lock:
            for name, message in self._early:
                self._inbox.append((name, now, message))
            self._early.clear()
            self._inbox.append((topic, now, data))
            self._size += len(data)
        if self._size > _MOST_WAITING:
            self.fault = f"the disk of {self._folder} is too slow; what was recorded is whole"

    def _write(self) -> None:
        try:
            while not self._end.wait(_FLUSH_EVERY):
                self._flush()
            self._flush()
        except RecordingError as error:
            self.fault = str(error)
            self.get_logger().error(f"recording has ended: {error}")
        finally:
            with self._lock:
                try:
                    self._file.close()
                except RecordingError:
                    pass  # said already

    def _flush(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < self._reserve + self._size:
            raise RecordingError(
                f"the disk of {self._folder} is full: {free / 1e6:.0f} MB free, {self._reserve / 1e6:.0f} MB are left "
                "alone (parameter reserve); what was recorded is whole"
            )
        with self._lock:
            messages, self._inbox, self._size = self._inbox, [], 0
            for topic, stamp, data in messages:
                self._file.add(topic, stamp, data)
            self._file.flush()
            known = dict(self._known)
        try:
            write_atomically(self._folder / "metadata.yaml", _metadata(self._file, known))
        except OSError as error:
            raise RecordingError(f"{self._folder}/metadata.yaml cannot be written: {error.strerror}") from error


def _matching(offered: list[QoSProfile]) -> QoSProfile:
    """What gets every message of publishers with these profiles."""
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _qos_text(profile: QoSProfile) -> str:
    """As rosbag2 writes it (metadata version 9)."""
    endless = {"sec": 9223372036, "nsec": 854775807}
    content = {
        "history": "keep_last",
        "depth": profile.depth,
        "reliability": "reliable" if profile.reliability == ReliabilityPolicy.RELIABLE else "best_effort",
        "durability": "transient_local" if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else "volatile",
        "deadline": endless,
        "lifespan": endless,
        "liveliness": "automatic",
        "liveliness_lease_duration": endless,
        "avoid_ros_namespace_conventions": False,
    }
    return yaml.safe_dump([content], sort_keys=False)


def _metadata(file: McapFile, known: dict[str, tuple[str, str]]) -> str:
    """metadata.yaml of a rosbag2 folder."""
    counts, (first, last) = file.counts, file.span
    total = sum(counts.values())
    span = {"duration": {"nanoseconds": last - first}, "starting_time": {"nanoseconds_since_epoch": first}}
    topics = [
        {
            "topic_metadata": {
                "name": topic,
                "type": kind,
                "serialization_format": "cdr",
                "offered_qos_profiles": yaml.safe_load(profiles),
                "type_description_hash": "",
            },
            "message_count": counts.get(topic, 0),
        }
        for topic, (kind, profiles) in known.items()
    ]
    information = {
        "version": 9,
        "storage_identifier": "mcap",
        **span,
        "message_count": total,
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file.path.name],
        "files": [{"path": file.path.name, **span, "message_count": total}],
        "custom_data": None,
        "ros_distro": os.environ.get("ROS_DISTRO", "jazzy"),
    }
    return yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop; ends with 2 on bad parameters or a disk that takes no more."""
    run_node("recorder", Recorder, (PadBringupError, PadParseError), args)


if __name__ == "__main__":
    main()
