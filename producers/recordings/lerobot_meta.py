"""What the meta folder of a LeRobot v2 or v3.0 data set declares; never opens an episode's frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.columns import read_columns
from kinestream.producers.recordings.take import UNIT_WORDS, Role
from kinestream.schemas.errors import RecordingError

STATE: Final = "observation.state"
ACTION: Final = "action"
VERSIONS: Final = ("v2.0", "v2.1", "v3.0")
#: As other tools name what LeRobot calls state and action; each says that it is of joints.
_JOINTS: Final = r"[._/](?:joints?[._/]pos(?:itions?)?|qpos)"
_POSITIONS: Final = re.compile(rf"observations?(?:[._/]states?)?{_JOINTS}", re.I)
_COMMANDS: Final = re.compile(rf"actions?{_JOINTS}", re.I)
#: Columns that count or stamp; they are no signals.
COUNTERS: Final = frozenset({"timestamp", "frame_index", "episode_index", "index", "task_index", "next.done"})


@dataclass(frozen=True, slots=True)
class EpisodeRows:
    """Where an episode's frames are: a file of its own, or ``rows`` of one it shares."""

    number: int
    path: Path
    task: str
    #: first row and the one after the last; ``None`` = the whole file
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of numbers: one name a value, () where nobody names them; ``unit`` empty where nobody declares it."""

    name: str
    width: int
    elements: tuple[str, ...]
    unit: str = ""
    role: Role = "channel"


@dataclass(frozen=True, slots=True)
class LeRobotMeta:
    """A checked meta folder."""

    folder: Path
    version: str
    robot_type: str
    fps: float
    features: tuple[Feature, ...]
    left_out: tuple[str, ...]
    episodes: tuple[EpisodeRows, ...]


def read_meta(folder: Path) -> LeRobotMeta:
    """Read the meta folder; raises :class:`RecordingError` for all but a sound v2.0, v2.1 or v3.0."""
    info = _json(folder / "meta" / "info.json")
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise RecordingError(f"{folder} is a LeRobot data set of version {version}; {', '.join(VERSIONS)} can be read")
    try:
        features = tuple(_features(folder, info["features"]))
        return LeRobotMeta(
            folder=folder,
            version=version,
            robot_type=str(info.get("robot_type") or ""),
            fps=_rate(info["fps"]),
            features=features,
            left_out=tuple(n for n in info["features"] if n not in COUNTERS and n not in {f.name for f in features}),
            episodes=tuple(_episodes_v30(folder, info) if version == "v3.0" else _episodes_v2(folder, info)),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as problem:
        raise RecordingError(
            f"{folder}: its meta folder is not that of a LeRobot {version} data set ({problem!r}); convert it anew"
        ) from problem


def _rate(fps: Any) -> float:
    rate = float(fps)
    if not 0 < rate < float("inf"):
        raise ValueError(f"fps {fps}")
    return rate


def _features(folder: Path, features: Mapping[str, Any]) -> Iterator[Feature]:
    """State and command first; raises :class:`RecordingError` where a data set holds no list of numbers at all."""
    state, action = _named(features, STATE, _POSITIONS), _named(features, ACTION, _COMMANDS)
    found = [
        _feature(name, features[name], {state: "position", action: "command"}.get(name, "channel"))  # type: ignore[arg-type]
        for name in sorted(features, key=lambda name: (name != state, name != action))
        if name in (state, action) or _is_list(name, features[name])
    ]
    if not found:
        raise RecordingError(
            f"{folder}: meta/info.json declares no {STATE} and no other list of float32, but"
            f" {', '.join(list(features)[:6]) or 'nothing'}; a motion recording needs one"
        )
    yield from found


def _named(features: Mapping[str, Any], usual: str, other: re.Pattern[str]) -> str:
    """The feature that is called as LeRobot does, else the only one that says it is of joints; empty where none is."""
    if usual in features:
        return usual
    found = [name for name in features if other.fullmatch(name)]
    return found[0] if len(found) == 1 else ""


def _is_list(name: str, feature: Mapping[str, Any]) -> bool:
    return (
        name not in COUNTERS and feature.get("dtype") in ("float32", "float64") and len(feature.get("shape", [])) == 1
    )


def _feature(name: str, feature: Mapping[str, Any], role: Role) -> Feature:
    names, shape = _flat(feature.get("names")), feature.get("shape", [])
    width = int(shape[0]) if role == "channel" else len(names) or int(shape[0])
    return Feature(name, width, names if len(names) == width else (), _unit(feature), role)


def _unit(feature: Mapping[str, Any]) -> str:
    """The one unit a converter wrote down: LeRobot itself has no field for it."""
    units = set(_flat(feature.get("unit") or feature.get("units")))
    unit = units.pop() if len(units) == 1 else ""
    return UNIT_WORDS.get(unit.lower(), unit)


def _episodes_v2(folder: Path, info: Mapping[str, Any]) -> Iterator[EpisodeRows]:
    rows = _episode_rows(folder / "meta" / "episodes.jsonl")
    rows = rows or [{"episode_index": i} for i in range(int(info["total_episodes"]))]
    for row in rows:
        number = int(row["episode_index"])
        chunk = number // int(info["chunks_size"])
        path = folder / str(info["data_path"]).format(episode_chunk=chunk, episode_index=number)
        yield EpisodeRows(number, path, "; ".join(row.get("tasks", ())))


def _episodes_v30(folder: Path, info: Mapping[str, Any]) -> Iterator[EpisodeRows]:
    """Several episodes share a file; the rows of ``meta/episodes`` count over the whole data set."""
    columns = ("episode_index", "data/chunk_index", "data/file_index", "length", "tasks")
    first_of: dict[Path, int] = {}
    for path in sorted((folder / "meta" / "episodes").glob("*/*.parquet")):
        table = read_columns(path, columns)
        tasks = table.texts("tasks")
        numbers = np.stack([table.vector(name) for name in columns[:-1]], axis=1).tolist()
        for (number, chunk, file, length), task in zip(numbers, tasks, strict=True):
            data = folder / str(info["data_path"]).format(chunk_index=chunk, file_index=file)
            first = first_of.get(data, 0)
            first_of[data] = first + length
            yield EpisodeRows(number, data, task, (first, first + length))
    if not first_of:
        raise RecordingError(f"{folder} has no meta/episodes/*/*.parquet, which say where each episode lies")


def _flat(names: Any) -> tuple[str, ...]:
    """Names come as a list, as a list in a list or under a key such as "motors", by the tool that wrote them."""
    if isinstance(names, str):
        return (names,)
    inner = names.values() if isinstance(names, Mapping) else names or ()
    return tuple(name for part in inner for name in _flat(part))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise RecordingError(f"{path} cannot be read as JSON ({problem}); copy the data set anew") from problem
    if not isinstance(content, dict):
        raise RecordingError(f"{path} holds no JSON object; copy the data set anew")
    return content


def _episode_rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
