"""Writes small bags, videos and RGB-D folders for tests, and packs depth as the compressedDepth transport does."""

import json
import struct
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from pad_parse import geometry

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
COLOUR, DEPTH, INFO = (
    "/camera/color/image_raw",
    "/camera/aligned_depth_to_color/image_raw",
    "/camera/color/camera_info",
)
WIDTH, HEIGHT = 48, 32
PAD_MSGS = Path(__file__).resolve().parents[2] / "pad_msgs" / "msg"


def header(stamp, frame="camera_color_optical_frame"):
    nanoseconds = round(stamp * 1e9)
    time = T["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return T["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def image(stamp, array, encoding):
    array = np.ascontiguousarray(array)
    return T["sensor_msgs/msg/Image"](
        header=header(stamp),
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array.strides[0],
        data=array.view(np.uint8).reshape(-1),
    )


def colour_frame(i, width=WIDTH):
    return np.full((HEIGHT, width, 3), [i, 10, 200], np.uint8)


def depth_frame(i, width=WIDTH):
    return np.full((HEIGHT, width), 500 + i, np.uint16)


def camera_info(width=WIDTH):
    k = np.array([50.0, 0, 24, 0, 50, 16, 0, 0, 1])
    return T["sensor_msgs/msg/CameraInfo"](
        header=header(0),
        height=HEIGHT,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=T["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def transforms(*edges):
    messages = []
    for parent, child, pose in edges:
        q, p = geometry.quaternion_xyzw(pose), pose[:3, 3]
        transform = T["geometry_msgs/msg/Transform"](
            translation=T["geometry_msgs/msg/Vector3"](*p), rotation=T["geometry_msgs/msg/Quaternion"](*q)
        )
        messages.append(
            T["geometry_msgs/msg/TransformStamped"](header=header(0, parent), child_frame_id=child, transform=transform)
        )
    return T["tf2_msgs/msg/TFMessage"](transforms=messages)


def write_bag(path, messages, storage=StoragePlugin.MCAP, *, packed=False):
    """`messages`: (topic, type, receive time in s, message). packed: chunks are compressed with zstd."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if packed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, kind, stamp, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], round(stamp * 1e9) + 10**9, STORE.serialize_cdr(message, kind))
    return path


def rgbd_messages(count, *, info=True, colour=True, depth=True, depth_offset=0.0):
    messages = [(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info())] if info else []
    for i in range(count):
        stamp = i / 30
        if colour:
            messages.append((COLOUR, "sensor_msgs/msg/Image", stamp, image(stamp, colour_frame(i), "rgb8")))
        if depth:
            shifted = stamp + depth_offset
            messages.append((DEPTH, "sensor_msgs/msg/Image", stamp, image(shifted, depth_frame(i), "16UC1")))
    return messages


def large_messages(count, width=640):
    """So large that the writer closes a chunk (1 MB) every few frames."""
    messages = [(INFO, "sensor_msgs/msg/CameraInfo", 0.0, camera_info(width))]
    rng = np.random.default_rng(0)
    for i in range(count):
        rgb = rng.integers(0, 255, (HEIGHT, width, 3), dtype=np.uint8)
        rgb[0, 0, 0] = i % 256
        depth = np.full((HEIGHT, width), 500 + i, np.uint16)
        messages.append((COLOUR, "sensor_msgs/msg/Image", i / 30, image(i / 30, rgb, "rgb8")))
        messages.append((DEPTH, "sensor_msgs/msg/Image", i / 30, image(i / 30, depth, "16UC1")))
    return messages


def data_file(bag):
    return next(item for item in bag.iterdir() if item.name != "metadata.yaml")


def truth_messages(count):
    """Ground truth of one keypoint, one object and the right hand, in the project's own message types."""
    names = ("Keypoint", "KeypointArray", "ObjectPose", "ObjectPoseArray", "Hand", "HandArray")
    for name in names:
        if f"pad_msgs/msg/{name}" not in STORE.fielddefs:
            text = (PAD_MSGS / f"{name}.msg").read_text()
            STORE.register(get_types_from_msg(text, f"pad_msgs/msg/{name}"))
    make = {name: T[f"pad_msgs/msg/{name}"] for name in names}
    point = T["geometry_msgs/msg/Point"](x=0.1, y=0.2, z=0.3)
    pose = T["geometry_msgs/msg/Pose"](
        position=point, orientation=T["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    )
    messages = []
    for i in range(count):
        head = header(i / 30, "task_frame")
        stated = {"name": "tip", "group": "tip", "object": "cup", "position": point, "state": 1}
        numbers = {item.name: 0.0 for item in fields(make["Keypoint"]) if item.init and item.name not in stated}
        keypoint = make["Keypoint"](**stated, **numbers)
        hand = make["Hand"](side=1, gripper_pose=pose, opening=0.05, state=1, presence=1.0, landmarks=[point] * 21)
        for topic, kind, message in (
            ("keypoints", "KeypointArray", make["KeypointArray"](header=head, task="pour", keypoints=[keypoint])),
            (
                "objects",
                "ObjectPoseArray",
                make["ObjectPoseArray"](header=head, poses=[make["ObjectPose"](name="cup", pose=pose, confidence=1.0)]),
            ),
            ("hands", "HandArray", make["HandArray"](header=head, hands=[hand])),
        ):
            messages.append((f"/ground_truth/{topic}", f"pad_msgs/msg/{kind}", i / 30, message))
    return messages


def compressed(stamp, data, image_format):
    return T["sensor_msgs/msg/CompressedImage"](
        header=header(stamp), format=image_format, data=np.frombuffer(bytes(data), np.uint8)
    )


def png(array):
    return cv2.imencode(".png", np.ascontiguousarray(array))[1].tobytes()


def jpeg(rgb):
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def rvl(values):
    """RVL data of uint16 values, number by number as the paper states it."""
    numbers, previous, rest = [], 0, [int(v) for v in np.ravel(values)]
    while rest:
        zeros = next((i for i, v in enumerate(rest) if v), len(rest))
        rest = rest[zeros:]
        others = next((i for i, v in enumerate(rest) if not v), len(rest))
        numbers += [zeros, others]
        for value in rest[:others]:
            difference = value - previous
            numbers.append(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
        rest = rest[others:]
    nibbles = []
    for number in numbers:
        while True:
            low, number = number & 7, number >> 3
            nibbles.append(low | (8 if number else 0))
            if not number:
                break
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)]
    return np.array(words, "<u4").tobytes()


def compressed_depth_data(values, codec, a=0.0, b=0.0):
    """The data of a compressedDepth message of quantised or millimetre values (H, W) uint16."""
    head = struct.pack("<iff", 0, a, b)
    if codec == "png":
        return head + png(values)
    return head + struct.pack("<II", values.shape[1], values.shape[0]) + rvl(values)


def write_video(path, count=20):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((48, 64, 3), [10, 10, 10 * i], np.uint8))
    writer.release()
    return path


def write_folder(path, count=6, *, depth=True, suffix=".png", **camera):
    """An RGB-D folder of `count` frames at 30 Hz, depth 4 ms after colour; `camera` overrides keys of camera.json."""
    matrix = [[50.0, 0, 24], [0, 50.0, 16], [0, 0, 1]]
    (path / "colour").mkdir(parents=True)
    (path / "camera.json").write_text(json.dumps({"width": WIDTH, "height": HEIGHT, "matrix": matrix} | camera))
    for i in range(count):
        data = png(colour_frame(i)[..., ::-1]) if suffix == ".png" else jpeg(colour_frame(i))
        (path / "colour" / f"{i / 30:.6f}{suffix}").write_bytes(data)
        if depth:
            (path / "depth").mkdir(exist_ok=True)
            (path / "depth" / f"depth_{i / 30 + 0.004:.6f}.png").write_bytes(png(depth_frame(i)))
    return path
