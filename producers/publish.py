"""Recordings through the robot SDK, as if a robot sent them; never alters a value or a difference between stamps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from kinestream.producers.episode import Episode
from kinestream.producers.labels import EpisodeLabels
from kinestream.producers.recordings import (
    Choices,
    Oddities,
    RecordedEpisode,
    Recording,
    missing_note,
    open_recording,
)
from kinestream.producers.robot import Robot
from kinestream.schemas.errors import ContractError, RecordingError
from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import Channel
from kinestream.schemas.settings import Settings
from kinestream.schemas.stamps import iso_ns

#: Frames handed over in one go when the speed is a figure: what the bulk lane puts in one chunk.
_SLICE: Final = 64
#: Seconds the broker is waited for once everything is handed over.
_FLUSH_S: Final = 60.0
#: As fast as the broker takes it.
MAX: Final = "max"


@dataclass(frozen=True, slots=True)
class PublishedEpisode:
    """One episode the broker has, whole."""

    episode_id: str
    source: str
    frames: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a publication is, in frames handed over."""

    source: str
    frames: int
    frames_total: int


@dataclass(slots=True)
class PublishReport:
    """What was published: ``bytes`` are those of the records the broker took."""

    episodes: list[PublishedEpisode] = field(default_factory=list)
    frames: int = 0
    bytes: int = 0
    seconds: float = 0.0
    #: what the reader should know, a sentence each: episodes that are declared but not there
    notes: list[str] = field(default_factory=list)
    #: what is odd of the recordings, a sentence each, as `kinestream inspect` words it
    oddities: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; ``notes`` hold the oddities too, each after ``odd: ``."""
        told = asdict(self)
        told["notes"] += map(odd, told.pop("oddities"))
        return told


def odd(oddity: str) -> str:
    """An oddity among sentences of another kind: conversions, notes, lines on a terminal."""
    return f"odd: {oddity}"


def publish(
    paths: Sequence[Path | str],
    *,
    model: str = "",
    choices: Choices | None = None,
    skill: str = "",
    area: str = "",
    robot: str = "",
    speed: str | float = MAX,
    keep_time: bool = False,
    settings: Settings | None = None,
    kafka: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> PublishReport:
    """Publish every episode of the recordings at ``paths`` on the bulk lane; returns when the broker has them all.

    ``speed``: "max", or a multiple of real time. The first stamp of an episode becomes now unless ``keep_time``; stamps
    keep their differences to the nanosecond. Each episode's conversions tell by how much its stamps were moved,
    and what is odd of it. ``model`` overrides the recordings' own,
    ``choices`` says all else of them that only a person knows. ``robot``: id of the sender,
    "replay-<model>-1" unless given. Every run mints new episode ids. All recordings are opened before anything is sent.
    Raises :class:`RecordingError`, ``UnknownModelError``, ``SettingError`` and ``DeliveryError``.
    """
    pace = _pace(speed)
    begun = time.monotonic()
    recordings = [open_recording(path, model, choices) for path in paths]
    report = PublishReport(notes=[told for recording in recordings if (told := missing_note(recording, "published"))])
    progress = _Counted(sum(recording.frames for recording in recordings), on_progress)
    sent: list[tuple[Episode, str]] = []
    with _Sender(robot, settings or Settings.from_env(), kafka) as sender:
        for recorded, oddities in _episodes(recordings, sent, report):
            robot_now = sender.robot_for(recorded)
            t_ns = recorded.t_ns if keep_time else recorded.t_ns - recorded.t_ns[0] + time.time_ns()
            further = (*_moved(recorded, int(t_ns[0])), *map(odd, oddities))
            with robot_now.episode(**_labels(recorded, skill, area, further)) as episode:
                _replay(episode, recorded, pace, t_ns, progress)
            sent.append((episode, recorded.source))
    report.episodes = [PublishedEpisode(e.id, source, e.frames, e.content_hash or "") for e, source in sent]
    report.frames = sum(episode.frames for episode, _ in sent)
    report.bytes = sum(episode.ledger.bytes for episode, _ in sent)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


class _Sender:
    """The robot whose takes are replayed; a recording of another layout is sent by another boot of it."""

    def __init__(self, robot_id: str, settings: Settings, kafka: str | None) -> None:
        self._robot_id, self._settings, self._kafka = robot_id, settings, kafka
        self._robot: Robot | None = None
        self._layout: tuple[str, tuple[str, ...], tuple[Channel, ...]] | None = None

    def robot_for(self, recorded: RecordedEpisode) -> Robot:
        layout = (recorded.model_id, recorded.joints, recorded.channels)
        if self._robot is None or self._layout != layout:
            self.close()
            self._layout = layout
            self._robot = Robot(
                self._robot_id or f"replay-{recorded.model_id}-1",
                model_id=recorded.model_id,
                joints=recorded.joints,
                channels={channel.name: channel for channel in recorded.channels},
                kafka=self._kafka,
                lane="bulk",
                spool=None,  # the recording is the spool: whoever is interrupted publishes it again
                settings=self._settings,
            )
        return self._robot

    def close(self) -> None:
        """Wait until the broker has everything; raises :class:`DeliveryError` where it does not."""
        if self._robot is not None:
            self._robot.close(_FLUSH_S)

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Counted:
    total: int
    tell: Callable[[Progress], None] | None
    frames: int = 0

    def add(self, source: str, frames: int) -> None:
        self.frames += frames
        if self.tell:
            self.tell(Progress(source, self.frames, self.total))


def _episodes(
    recordings: Sequence[Recording], sent: Sequence[object], report: PublishReport
) -> Iterator[tuple[RecordedEpisode, tuple[str, ...]]]:
    """Each episode with what is odd of it; the report tells it once a recording."""
    try:
        for recording in recordings:
            odd_here = Oddities()
            for recorded in recording:
                yield recorded, odd_here.add(recorded)
            report.oddities += [text for text in odd_here.told() if text not in report.oddities]
    except RecordingError as problem:
        raise RecordingError(f"{problem}; the {len(sent)} episodes before it were published") from problem


def _replay(episode: Episode, recorded: RecordedEpisode, pace: float, t_ns: Int64, progress: _Counted) -> None:
    """Hand over one episode: whole if ``pace`` is 0, else each slice when its last stamp would be due."""
    begun, step = time.monotonic(), _SLICE if pace else len(recorded)
    for first in range(0, len(recorded), step):
        part = slice(first, min(first + step, len(recorded)))
        if pace:
            due = begun + float(t_ns[part.stop - 1] - t_ns[0]) * 1e-9 / pace
            time.sleep(max(due - time.monotonic(), 0.0))
        _send(episode, recorded, part, t_ns)
        progress.add(recorded.source, part.stop - part.start)


def _send(episode: Episode, recorded: RecordedEpisode, part: slice, t_ns: Int64) -> None:
    def cut(values: Float32 | None) -> Float32 | None:
        return None if values is None else values[part]

    episode.send_many(
        cut(recorded.position),
        t_ns[part],
        velocity=cut(recorded.velocity),
        effort=cut(recorded.effort),
        command=cut(recorded.command),
        channels={name: values[part] for name, values in recorded.further.items()},
    )


def _moved(recorded: RecordedEpisode, begins: int) -> tuple[str, ...]:
    """That the stamps were moved and now begin at ``begins`` ns, behind the sentence that says what they were."""
    first = int(recorded.t_ns[0])
    if begins == first:
        return ()
    began = (
        f"{first} ns ({iso_ns(first)})" if recorded.absolute_time else f"{first} ns of its own time, which has no date"
    )
    return (f"published as of now: every t_ns moved by {begins - first:+d} ns; the recording's first was {began}",)


def _labels(recorded: RecordedEpisode, skill: str, area: str, told: Sequence[str]) -> EpisodeLabels:
    return EpisodeLabels(
        skill=skill,
        area=area,
        task=recorded.labels.get("task", ""),
        calibration_id=recorded.labels.get("calibration_id", ""),
        source=recorded.source,
        # a recording whose stamps count from its own start does not say when it was made
        source_started_at_ns=int(recorded.t_ns[0]) if recorded.absolute_time else None,
        nominal_rate_hz=recorded.nominal_rate_hz,
        stamp_resolution_ns=recorded.stamp_resolution_ns,
        conversions=[*recorded.conversions, *told],
    )


def _pace(speed: str | float) -> float:
    """A multiple of real time; 0 = as fast as the broker takes it."""
    if speed == MAX:
        return 0.0
    with contextlib.suppress(ValueError):
        pace = float(speed)
        if 0 < pace < float("inf"):
            return pace
    raise ContractError(f"speed {speed!r}: allowed are {MAX} and a number above 0, such as 2 for twice real time")
