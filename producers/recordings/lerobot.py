"""The reader of LeRobot v2 and v3.0 data sets (Parquet); never alters a value or invents a stamp.

Action is the command. Stamps: ``t_ns = rint(float64(timestamp) * 1e9)`` of the float32 column ``timestamp``, seconds
from the start of the episode; their resolution is the float32 spacing at the last stamp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kinestream.producers.recordings.clocks import seconds_clock
from kinestream.producers.recordings.columns import Columns, check_file, read_columns
from kinestream.producers.recordings.identify import MODELS
from kinestream.producers.recordings.lerobot_meta import STATE, EpisodeRows, Feature, LeRobotMeta, read_meta
from kinestream.producers.recordings.take import RADIANS, UNDECLARED, Hint, Signal, Take
from kinestream.schemas.errors import RecordingError

#: Names of columns of a state that are not joints' positions.
_QUANTITY: Final = re.compile(r".+[._/](vel|velocity|effort|torque|tau|current|force|temp|temperature)", re.I)


class LeRobot:
    """A data set as a :class:`Source`; ``only`` limits a v2 to one of its episode files."""

    def __init__(self, folder: Path, only: Path | None = None) -> None:
        self._meta = read_meta(folder)
        self._columns = (*(f.name for f in self._meta.features), "timestamp", "frame_index")
        self.name, self.format = folder.resolve().name, f"LeRobot {self._meta.version}"
        self.hint = Hint(self._meta.robot_type)
        declared = self._meta.episodes if only is None else _of_file(self._meta, only)
        self.declared = tuple(e.number for e in declared)
        self._there = tuple(e for e in declared if e.path.is_file())
        self.present = tuple(e.number for e in self._there)
        if not self.present:
            raise RecordingError(f"{folder} holds none of its {len(self.declared)} declared episodes; copy them too")
        rows = {path: check_file(path, self._columns) for path in dict.fromkeys(e.path for e in self._there)}
        self.frames = sum(_length(e, rows[e.path]) for e in self._there)
        self._kept: Columns | None = None

    def takes(self) -> Iterator[Take]:
        """The episodes present, in order; raises :class:`RecordingError` at one that cannot be read."""
        return self.part(0, 1)

    def part(self, share: int, shares: int) -> Iterator[Take]:
        """The ``share``-th of ``shares`` runs of episodes: files that several share are read by few processes."""
        count = len(self._there)
        for episode in self._there[count * share // shares : count * (share + 1) // shares]:
            yield self._take(episode, self._table(episode))

    def _table(self, episode: EpisodeRows) -> Columns:
        """Its rows; a file that several share is kept for the next, and no file longer than that."""
        if episode.rows is None:
            return read_columns(episode.path, self._columns)
        if self._kept is None or self._kept.path != episode.path:
            self._kept = None
            self._kept = read_columns(episode.path, self._columns)
        return self._kept.rows(*episode.rows)

    def _take(self, episode: EpisodeRows, table: Columns) -> Take:
        signals = tuple(s for feature in self._meta.features for s in self._signals(feature, table))
        place = f"{self.name}/{episode.path.relative_to(self._meta.folder).as_posix()}"
        return Take(
            source=f"{place}#{episode.number}" if episode.rows else place,
            signals=signals,
            clocks=(seconds_clock(table.path, "timestamp", table.vector("timestamp")),),
            rate_hz=self._meta.fps,
            labels={"task": episode.task, "robot_type": self._meta.robot_type},
            conversions=(*table.conversions, *_renumbered(table)),
            oddities=_doubts(self._meta.features),
            left_out=self._meta.left_out,
        )

    def _signals(self, feature: Feature, table: Columns) -> Iterator[Signal]:
        """A feature as one signal; columns of a state or command that name another quantity are channels of it."""
        values = table.matrix(feature.name, feature.width)
        declared = feature.role != "channel" and self._meta.robot_type in MODELS
        unit = RADIANS[feature.role] if declared else feature.unit
        hand_unit = "1" if declared else UNDECLARED
        other = _other_quantities(feature)
        rest = [c for c in range(feature.width) if c not in other]
        if not other:
            yield Signal(feature.role, feature.name, unit, feature.elements, values, hand_unit)
            return
        if rest:
            names = tuple(feature.elements[c] for c in rest)
            yield Signal(feature.role, feature.name, unit, names, values[:, rest], hand_unit)
        for quantity in dict.fromkeys(other.values()):
            part = [c for c, of in other.items() if of == quantity]
            names = tuple(feature.elements[c] for c in part)
            yield Signal("channel", f"{feature.name}.{quantity}", UNDECLARED, names, values[:, part])


def _other_quantities(feature: Feature) -> dict[int, str]:
    """Columns of a joint signal that are no positions by their names (``x.vel``), and of what they are."""
    if feature.role == "channel":
        return {}
    found = {c: _QUANTITY.fullmatch(name) for c, name in enumerate(feature.elements)}
    return {c: match[1].lower() for c, match in found.items() if match}


def _doubts(features: Sequence[Feature]) -> tuple[str, ...]:
    """What of the data set is no joint signal though a reader would look for one, a sentence each."""
    told = [
        f"{f.name}: {', '.join(f.elements[c] for c in other)} are no positions by their names: kept as channels"
        for f in features
        if (other := _other_quantities(f))
    ]
    if not any(f.role == "position" for f in features):
        told.append(f"there is no {STATE}, and no other feature that says it is joints' positions: all are channels")
    return tuple(told)


def _length(episode: EpisodeRows, rows: int) -> int:
    if episode.rows is None:
        return rows
    first, end = episode.rows
    if not 0 <= first < end <= rows:
        raise RecordingError(f"{episode.path} has {rows} rows, but episode {episode.number} is said to end at {end}")
    return end - first


def _of_file(meta: LeRobotMeta, path: Path) -> tuple[EpisodeRows, ...]:
    path = path.resolve()
    found = tuple(episode for episode in meta.episodes if episode.path.resolve() == path)
    if not found:
        raise RecordingError(f"{path} is no episode that {meta.folder} declares; publish the folder to see what it has")
    return found


def _renumbered(table: Columns) -> tuple[str, ...]:
    numbers = table.vector("frame_index")
    told = "frames renumbered from 0: frame_index was not 0, 1, 2 ..."
    return () if np.array_equal(numbers, np.arange(len(numbers))) else (told,)
