"""What the meta folder of a LeRobot v2.1 data set declares; never opens an episode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinestream.schemas.errors import RecordingError

STATE = "observation.state"
ACTION = "action"
VERSION = "v2.1"


@dataclass(frozen=True, slots=True)
class LeRobotMeta:
    """A checked meta folder: ``names`` are those of one frame's values, the same for state and action."""

    folder: Path
    robot_type: str
    fps: float
    names: tuple[str, ...]
    episodes: tuple[int, ...]
    tasks: Mapping[int, str]
    data_path: str
    chunk_size: int

    def file_of(self, episode: int) -> Path:
        """Where the frames of an episode are."""
        return self.folder / self.data_path.format(episode_chunk=episode // self.chunk_size, episode_index=episode)


def read_meta(folder: Path) -> LeRobotMeta:
    """Read meta/info.json and meta/episodes.jsonl; raises :class:`RecordingError` for all but a sound v2.1."""
    info = _json(folder / "meta" / "info.json")
    version = info.get("codebase_version")
    if version != VERSION:
        raise RecordingError(f"{folder} is a LeRobot data set of version {version}; only {VERSION} can be read")
    try:
        rows = _episode_rows(folder / "meta" / "episodes.jsonl") or [{"episode_index": i} for i in _count(info)]
        meta = LeRobotMeta(
            folder=folder,
            robot_type=str(info.get("robot_type", "")),
            fps=float(info["fps"]),
            names=_names(folder, info["features"]),
            episodes=tuple(int(row["episode_index"]) for row in rows),
            tasks={int(row["episode_index"]): "; ".join(row.get("tasks", ())) for row in rows},
            data_path=str(info["data_path"]),
            chunk_size=int(info["chunks_size"]),
        )
        meta.file_of(0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError) as problem:
        raise RecordingError(
            f"{folder}: its meta folder is not that of a LeRobot {VERSION} data set ({problem!r}); convert it anew"
        ) from problem
    return meta


def _count(info: Mapping[str, Any]) -> range:
    return range(int(info["total_episodes"]))


def _names(folder: Path, features: Mapping[str, Any]) -> tuple[str, ...]:
    for column in (STATE, ACTION):
        if column not in features:
            raise RecordingError(f"{folder}: meta/info.json declares no {column}; a motion recording needs it")
    state, action = (_flat(features[column]["names"]) for column in (STATE, ACTION))
    if not state or state != action:
        raise RecordingError(
            f"{folder}: {STATE} and {ACTION} must name the same joints; they name {state} and {action}"
        )
    return state


def _flat(names: Any) -> tuple[str, ...]:
    """Names come as a list, as a list in a list or under a key such as "motors", by the tool that wrote them."""
    if isinstance(names, str):
        return (names,)
    inner = names.values() if isinstance(names, Mapping) else names or ()
    return tuple(name for part in inner for name in _flat(part))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise RecordingError(f"{path} cannot be read as JSON ({problem}); copy the data set anew") from problem
    if not isinstance(content, dict):
        raise RecordingError(f"{path} holds no JSON object; copy the data set anew")
    return content


def _episode_rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
