"""What a recording is to those who publish it: episodes as arrays in the contract's form; never a file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import Channel


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEpisode:
    """One recorded trajectory of n frames and J joints, its values those of the source after ``conversions``.

    ``position`` float32 (n, J), rad or m, and ``velocity``, ``effort``, ``command`` alike, ``None`` where not measured;
    ``further`` holds float32 (n, width) for each of ``channels``. ``t_ns`` int64 (n,): ns since the epoch if
    ``absolute_time``, else from the start of the recording. A recording whose units are not known to be the contract's
    has no joints: everything it holds is a further channel.
    """

    #: where it was read: the recording's folder name and the path within it
    source: str
    model_id: str
    #: canonical names, in the model's order
    joints: tuple[str, ...]
    #: the further channels
    channels: tuple[Channel, ...]
    nominal_rate_hz: float
    t_ns: Int64
    #: resolution of the source's stamps, ns
    stamp_resolution_ns: int
    absolute_time: bool
    position: Float32 | None
    velocity: Float32 | None = None
    effort: Float32 | None = None
    command: Float32 | None = None
    further: Mapping[str, Float32] = field(default_factory=dict)
    #: what the source says of the episode: ``task`` and whatever else it names
    labels: Mapping[str, str] = field(default_factory=dict)
    #: every step between the source's values and these, in words
    conversions: tuple[str, ...] = ()
    #: names of its clocks; the first stamps the frames
    clocks: tuple[str, ...] = ()
    #: what a reader of the data should know, a sentence each
    oddities: tuple[str, ...] = ()
    #: what the source holds and this does not
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.t_ns)


class Recording(Protocol):
    """A file or folder of episodes; iterating reads one episode at a time."""

    #: name of the recording, for people
    name: str
    #: its format in words, such as "LeRobot v2.1"
    format: str
    #: numbers of the episodes the recording says it has ...
    declared: tuple[int, ...]
    #: ... of those that are there ...
    present: tuple[int, ...]
    #: ... and of those that are not
    missing: tuple[int, ...]
    #: frames of the episodes present
    frames: int

    @property
    def divisible(self) -> bool:
        """Whether parts of it can be read without what is before them."""
        ...

    def __iter__(self) -> Iterator[RecordedEpisode]:
        """The episodes present, in order; raises :class:`RecordingError` at one that cannot be read."""
        ...

    def part(self, share: int, shares: int) -> Iterator[RecordedEpisode]:
        """The ``share``-th of ``shares`` runs of episodes; a recording that is not divisible has one share."""
        ...


def missing_note(recording: Recording, done: str) -> str:
    """That episodes are declared and not there, in a sentence; ``done`` says what was done with the others."""
    if not recording.missing:
        return ""
    return (
        f"{recording.name} declares {len(recording.declared)} episodes; {len(recording.present)} are there and were"
        f" {done}, {len(recording.missing)} are not ({_ranges(recording.missing)})"
    )


def _ranges(numbers: Sequence[int]) -> str:
    """``3, 60-99``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
