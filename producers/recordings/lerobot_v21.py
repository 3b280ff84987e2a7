"""The reader of LeRobot v2.1 data sets (one Parquet file an episode); never alters a value or invents a stamp.

Action is the command. Stamps: ``t_ns = rint(float64(timestamp) * 1e9)`` of the float32 column ``timestamp``, seconds
from the start of the episode; their resolution is the float32 spacing at the last stamp.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kinestream.producers.recordings.columns import Columns, check_file, read_columns
from kinestream.producers.recordings.lerobot_meta import ACTION, STATE, LeRobotMeta, read_meta
from kinestream.producers.recordings.recording import RecordedEpisode
from kinestream.schemas.errors import RecordingError
from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import Channel
from kinestream.schemas.models import RobotModel, load_model

#: The model a data set's robot_type stands for.
MODELS = {"Unitree_G1_Inspire": "unitree-g1-29-dof"}

_COLUMNS = (STATE, ACTION, "timestamp", "frame_index")
_STAMPS = "t_ns = rint(float64(timestamp) * 1e9), seconds from the start of the episode"


class LeRobotV21:
    """A LeRobot v2.1 data set as a :class:`Recording`; ``only`` limits it to one of its episode files."""

    def __init__(self, folder: Path, model_id: str = "", only: Path | None = None) -> None:
        self._meta = read_meta(folder)
        self._model = _model_of(self._meta, model_id)
        self._columns = _Split(self._meta, self._model)
        self.name = folder.resolve().name
        self.declared = self._meta.episodes if only is None else (_episode_of(self._meta, only),)
        self.present = tuple(i for i in self.declared if self._meta.file_of(i).is_file())
        self.missing = tuple(i for i in self.declared if i not in set(self.present))
        if not self.present:
            raise RecordingError(f"{folder} holds none of its {len(self.declared)} declared episodes; copy them too")
        self.frames = sum(check_file(self._meta.file_of(i), _COLUMNS) for i in self.present)

    def __iter__(self) -> Iterator[RecordedEpisode]:
        """The episodes present, in order; raises :class:`RecordingError` at one that cannot be read."""
        return (self._read(episode) for episode in self.present)

    def _read(self, episode: int) -> RecordedEpisode:
        path, split = self._meta.file_of(episode), self._columns
        table = read_columns(path, _COLUMNS)
        state = table.matrix(STATE, len(self._meta.names))
        action = table.matrix(ACTION, len(self._meta.names))
        t_ns, resolution = _stamps(table)
        task = self._meta.tasks.get(episode, "")
        return RecordedEpisode(
            source=f"{self.name}/{path.relative_to(self._meta.folder).as_posix()}",
            model_id=self._model.model_id,
            joints=split.joints,
            channels=split.channels,
            nominal_rate_hz=self._meta.fps,
            t_ns=t_ns,
            stamp_resolution_ns=resolution,
            absolute_time=False,
            position=_take(state, split.joint_columns),
            command=_take(action, split.joint_columns),
            further=split.hands(state, action),
            labels={"task": task, "robot_type": self._meta.robot_type},
            conversions=(*split.conversions, _STAMPS, *table.conversions, *_renumbered(table)),
        )


class _Split:
    """Which of a frame's values are joints of the model, and which are the hands'."""

    def __init__(self, meta: LeRobotMeta, model: RobotModel) -> None:
        named = [(model.canonical(name), column) for column, name in enumerate(meta.names)]
        order = {joint.name: place for place, joint in enumerate(model.joints)}
        joints = sorted(((j, c) for j, c in named if j is not None), key=lambda pair: order[pair[0]])
        self.joints = tuple(joint for joint, _ in joints)
        self.joint_columns = [column for _, column in joints]
        self._hand_columns = [column for joint, column in named if joint is None]
        hands = tuple(meta.names[column] for column in self._hand_columns)
        strange = [name for name in hands if "hand" not in name.lower()]
        if strange or not joints or len(set(self.joints)) != len(joints):
            raise RecordingError(
                f"{meta.folder}: {', '.join(strange or meta.names)} are no joints of {model.model_id};"
                " name the robot's model with --model"
            )
        names = ("hand_position", "hand_command") if hands else ()
        self.channels = tuple(Channel(name, len(hands), "1", hands) for name in names)
        self.conversions = self._told(meta, hands)

    def hands(self, state: Float32, action: Float32) -> dict[str, Float32]:
        if not self.channels:
            return {}
        return {"hand_position": _take(state, self._hand_columns), "hand_command": _take(action, self._hand_columns)}

    def _told(self, meta: LeRobotMeta, hands: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(self.joint_columns, self.joints, strict=True)
        renamed = [f"{meta.names[c]} -> {joint}" for c, joint in pairs if meta.names[c] != joint]
        told = [f"{STATE} -> position, {ACTION} -> command"]
        told += [f"names: {', '.join(renamed)}"] if renamed else []
        told += [f"{', '.join(hands)} -> hand_position, hand_command"] if hands else []
        return tuple(told)


def _model_of(meta: LeRobotMeta, model_id: str) -> RobotModel:
    model_id = model_id or MODELS.get(meta.robot_type, "")
    if not model_id:
        raise RecordingError(
            f"{meta.folder} is of robot type {meta.robot_type!r}, known are {', '.join(MODELS)};"
            " name the robot's model with --model"
        )
    return load_model(model_id)


def _episode_of(meta: LeRobotMeta, path: Path) -> int:
    path = path.resolve()
    for episode in meta.episodes:
        if meta.file_of(episode).resolve() == path:
            return episode
    raise RecordingError(f"{path} is no episode that {meta.folder} declares; publish the folder to see what it has")


def _stamps(table: Columns) -> tuple[Int64, int]:
    seconds = table.vector("timestamp")
    if not np.isfinite(seconds).all():
        raise RecordingError(
            f"{table.path}: the column timestamp holds NaN or infinity; a frame without a time is none"
        )
    resolution = int(np.ceil(float(np.spacing(np.abs(seconds).max())) * 1e9))
    return np.rint(seconds.astype(np.float64) * 1e9).astype(np.int64), max(resolution, 1)


def _renumbered(table: Columns) -> tuple[str, ...]:
    numbers = table.vector("frame_index")
    told = "frames renumbered from 0: frame_index was not 0, 1, 2 ..."
    return () if np.array_equal(numbers, np.arange(len(numbers))) else (told,)


def _take(values: Float32, columns: list[int]) -> Float32:
    taken: Any = np.ascontiguousarray(values[:, columns])
    return taken
