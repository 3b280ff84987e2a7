"""Little recordings of every format, written by the formats' own libraries: 3 joints of a UR5e and what each adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mcap.writer import Writer as McapWriter
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from kinestream.producers.recordings import Choices
from tests.plugins.recordings import NAMES, columns, write_episode

FRAMES = 6
JOINTS = ("elbow_joint", "shoulder_pan_joint", "wrist_1_joint")
START_NS = 1_700_000_000_000_000_000
JOINT_STATE = "sensor_msgs/msg/JointState"


def values(width: int = 3, seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (frames, width))


def joint_state(store: Any, names: Any, position: Any, stamp_ns: int, velocity: Any = ()) -> Any:
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    old = {"seq": 0} if "seq" in types["std_msgs/msg/Header"].__dataclass_fields__ else {}
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="", **old)
    return types[JOINT_STATE](
        header=header,
        name=list(names),
        position=np.ascontiguousarray(position, np.float64),
        velocity=np.asarray(velocity, np.float64),
        effort=np.zeros(0),
    )


def messages(store: Any) -> Any:
    """State and command, the command in another order and a millisecond before; the robot's clock is an hour ahead."""
    for k, (state, command) in enumerate(zip(values(), values(seed=1), strict=True)):
        at = START_NS + k * 20_000_000
        yield "/joint_cmd", at - 1_000_000, joint_state(store, JOINTS[::-1], command[::-1], at - 1_000_000)
        yield "/joint_states", at, joint_state(store, JOINTS, state, at + 3600 * 10**9)


def mcap(folder: Path) -> Path:
    store, path = get_typestore(Stores.ROS2_HUMBLE), folder / "arm.mcap"
    definition = store.generate_msgdef(JOINT_STATE, ros_version=2)[0].encode()
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        schema = writer.register_schema(JOINT_STATE, "ros2msg", definition)
        channels = {t: writer.register_channel(t, "cdr", schema) for t in ("/joint_cmd", "/joint_states")}
        for topic, at, message in messages(store):
            writer.add_message(channels[topic], at, bytes(store.serialize_cdr(message, JOINT_STATE)), at)
        writer.finish()
    return path


def interleaved(path: Path, sets: list[list[str]]) -> Path:
    """One topic on which several nodes publish, each its own joints."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    definition = store.generate_msgdef(JOINT_STATE, ros_version=2)[0].encode()
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        schema = writer.register_schema(JOINT_STATE, "ros2msg", definition)
        channel = writer.register_channel("/joint_states", "cdr", schema)
        for k in range(FRAMES):
            for j, names in enumerate(sets):
                at = START_NS + k * 20_000_000 + j
                message = joint_state(store, names, [0.1 * k + i for i in range(len(names))], at)
                raw = bytes(store.serialize_cdr(message, JOINT_STATE))
                writer.add_message(channel, at, raw, at)
        writer.finish()
    return path


def bag2(plugin: StoragePlugin) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        store, path = get_typestore(Stores.ROS2_HUMBLE), folder / "bag2"
        with rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
            topics = {
                t: writer.add_connection(t, JOINT_STATE, typestore=store) for t in ("/joint_cmd", "/joint_states")
            }
            for topic, at, message in messages(store):
                writer.write(topics[topic], at, store.serialize_cdr(message, JOINT_STATE))
        return path

    return write


def bag1(folder: Path) -> Path:
    store, path = get_typestore(Stores.ROS1_NOETIC), folder / "arm.bag"
    with rosbag1.Writer(path) as writer:
        topics = {t: writer.add_connection(t, JOINT_STATE, typestore=store) for t in ("/joint_cmd", "/joint_states")}
        for topic, at, message in messages(store):
            writer.write(topics[topic], at, store.serialize_ros1(message, JOINT_STATE))
    return path


def lerobot_v1(folder: Path) -> Path:
    path = folder / "set.arrow"
    lists = pa.FixedSizeListArray.from_arrays
    table = pa.table(
        {
            "observation.state": lists(pa.array(values(frames=8).astype(np.float32).ravel()), 3),
            "action": lists(pa.array(values(seed=1, frames=8).astype(np.float32).ravel()), 3),
            "episode_index": pa.array([0] * 3 + [1] * 5),
            "frame_index": pa.array([*range(3), *range(5)]),
            "timestamp": pa.array(np.array([*range(3), *range(5)], np.float32) / 50),
        }
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return path


def _lerobot(folder: Path, version: str, data_path: str) -> Path:
    root = folder / "set"
    (root / "meta").mkdir(parents=True)
    features = {n: {"dtype": "float32", "shape": [3], "names": NAMES} for n in ("observation.state", "action")}
    info = {"codebase_version": version, "robot_type": "Unitree_G1_Inspire", "total_episodes": 2, "chunks_size": 1000}
    info |= {"fps": 30, "data_path": data_path, "features": features}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    return root


def lerobot_v21(folder: Path) -> Path:
    root = _lerobot(folder, "v2.1", "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet")
    for number in range(2):
        write_episode(root, number, columns(seed=number))
    return root


def lerobot_v30(folder: Path) -> Path:
    root = _lerobot(folder, "v3.0", "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet")
    frames = [columns(3, seed=0), columns(5, seed=1)]
    data, meta = (root / part / "chunk-000" / "file-000.parquet" for part in ("data", "meta/episodes"))
    for path in (data, meta):
        path.parent.mkdir(parents=True)
    joined = {name: [row for part in frames for row in part[name]] for name in frames[0]}
    pq.write_table(pa.table({name: pa.array(rows) for name, rows in joined.items()}), data)
    rows = [
        {"episode_index": i, "tasks": [f"task {i}"], "length": n, "data/chunk_index": 0, "data/file_index": 0}
        for i, n in enumerate((3, 5))
    ]
    pq.write_table(pa.Table.from_pylist(rows), meta)
    return root


def act(folder: Path) -> Path:
    path = folder / "episode_0.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = True
        for seed, name in enumerate(("observations/qpos", "observations/qvel", "action")):
            file.create_dataset(name, data=values(14, seed).astype(np.float32), chunks=True, compression="gzip")
    return path


def robomimic(folder: Path) -> Path:
    path = folder / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(12):
            group = file.create_group(f"data/demo_{number}")
            group["obs/robot0_joint_pos"] = values(3, number)
            group["obs/agentview_image"] = np.zeros((FRAMES, 4, 4, 3), np.uint8)
            group["actions"] = values(4, number + 1)
        file["data"].attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
    return path


def dm_control(folder: Path) -> Path:
    path = folder / "clips.h5"
    with h5py.File(path, "w") as file:
        clip = file.create_group("CMU_001_01")
        clip.attrs["dt"], clip.attrs["num_steps"] = 0.03, FRAMES
        walker = clip.create_group("walkers/walker_0")
        for seed, (name, width) in enumerate(
            {"joints": 5, "joints_velocity": 5, "position": 3, "quaternion": 4}.items()
        ):
            walker[name] = values(width, seed).T
    return path


def csv(folder: Path) -> Path:
    path = folder / "arm.csv"
    rows = [f"{0.02 * k:.6f},{a!r},{b!r},{c!r},ok" for k, (a, b, c) in enumerate(values().tolist())]
    path.write_text("\n".join(["t_s,q0,q1,q2,status", *rows]) + "\n")
    return path


def npz(folder: Path) -> Path:
    path = folder / "motion.npz"
    motion = {"joint_pos": values(), "joint_vel": values(seed=1), "body_quat_w": values(8, 2).reshape(-1, 2, 4)}
    np.savez(path, fps=np.array([50]), **motion)
    return path


def amp(folder: Path) -> Path:
    path = folder / "walk.txt"
    position = values(20, frames=40)
    velocity = np.vstack([np.zeros(20), np.diff(position, axis=0) * 50])
    frames = np.hstack([position, velocity, values(12, 3, 40)]).tolist()
    path.write_text(json.dumps({"LoopMode": "Wrap", "FrameDuration": 0.02, "Frames": frames}))
    return path


def bvh(folder: Path) -> Path:
    path = folder / "figure.bvh"
    rows = [" ".join(map(repr, row)) for row in (values(9) * 90).tolist()]
    path.write_text(
        "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 6 "
        "Xposition Yposition Zposition Zrotation Yrotation Xrotation\n"
        "JOINT Leg\n{\nOFFSET 0 1 0\nCHANNELS 3 Zrotation Yrotation Xrotation\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n}\n"
        f"MOTION\nFrames: {FRAMES}\nFrame Time: 0.0083333\n" + "\n".join(rows) + "\n"
    )
    return path


def amc(folder: Path) -> Path:
    path = folder / "01_01.amc"
    (folder / "01.asf").write_text(
        ":version 1.10\n:units\n  angle deg\n:root\n  order TX TY TZ RX RY RZ\n:bonedata\n  begin\n    name femur\n"
        "    dof rx ry\n  end\n"
    )
    rows = [
        f"{k}\nroot {' '.join(map(repr, row[:6]))}\nfemur {row[6]!r} {row[7]!r}\n"
        for k, row in enumerate((values(8) * 90).tolist(), start=1)
    ]
    path.write_text(":FULLY-SPECIFIED\n:DEGREES\n" + "".join(rows))
    return path


_UR = Choices(model="universal-robots-ur5e")
#: Format -> its writer and what a person has to say of the file.
FORMATS: dict[str, tuple[Callable[[Path], Path], Choices]] = {
    "lerobot-v1": (lerobot_v1, Choices()),
    "lerobot-v2.1": (lerobot_v21, Choices()),
    "lerobot-v3.0": (lerobot_v30, Choices()),
    "mcap": (mcap, _UR),
    "rosbag2-mcap": (bag2(StoragePlugin.MCAP), _UR),
    "rosbag2-db3": (bag2(StoragePlugin.SQLITE3), _UR),
    "rosbag1": (bag1, _UR),
    "act": (act, Choices()),
    "robomimic": (robomimic, Choices()),
    "dm_control": (dm_control, Choices()),
    "csv": (csv, Choices(unit="rad")),
    "npz": (npz, Choices()),
    "amp": (amp, Choices()),
    "bvh": (bvh, Choices()),
    "amc": (amc, Choices(rate_hz=120)),
}
