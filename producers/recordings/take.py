"""What a reader of one format gives: signals under the source's own names; never a changed value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from kinestream.schemas.frames import Int64
from kinestream.schemas.models import RobotModel

#: What a signal is of each joint, or "channel": anything else, under its own name.
Role = Literal["position", "velocity", "effort", "command", "channel"]
#: Units of joint signals that become those of the contract; every other unit stays with a named channel.
RADIANS: Final = {"position": "rad", "velocity": "rad/s", "effort": "Nm", "command": "rad"}
DEGREES: Final = {"position": "deg", "velocity": "deg/s", "command": "deg"}
#: The source does not say it.
UNDECLARED: Final = ""
#: Units by the words that people write for them, in lower case.
UNIT_WORDS: Final = {
    **dict.fromkeys(("rad", "radian", "radians"), "rad"),
    **dict.fromkeys(("deg", "degree", "degrees", "°"), "deg"),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
}
#: Said of joints whose values are in the robot's own unit: they stay a channel.
OWN: Final = "own"

Values = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """One signal of n frames: ``values`` (n, width) as the source holds them, ``elements`` () where nobody names them.

    ``unit`` is what the source or its format declares, ``UNDECLARED`` where neither does.
    """

    role: Role
    name: str
    unit: str
    elements: tuple[str, ...]
    values: Values
    #: unit of the columns that are a hand's, where it is another
    hand_unit: str = UNDECLARED
    #: what the source declares of an element by itself, by its name; it holds for whatever part of them is left
    declared: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """One clock of a take: ``t_ns`` int64 (n,), since the epoch if ``absolute``; ``told`` says how it was read."""

    name: str
    t_ns: Int64
    resolution_ns: int
    absolute: bool
    told: str
    #: computed from an index and a rate, or fixed by the format: not measured
    synthetic: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One episode as its source holds it; the first of ``clocks`` stamps the frames."""

    source: str
    signals: tuple[Signal, ...]
    clocks: tuple[Clock, ...]
    #: frames a second the source declares; 0 = it does not
    rate_hz: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    #: steps between the source's bytes and these values, in words
    conversions: tuple[str, ...] = ()
    #: what a reader of the data should know, a sentence each
    oddities: tuple[str, ...] = ()
    #: what the source holds and this does not
    left_out: tuple[str, ...] = ()


def parted_takes(take: Take, split_s: float) -> tuple[Take, ...]:
    """A take, cut where two stamps lie more than ``split_s`` apart; 0 = whole."""
    steps = np.diff(take.clocks[0].t_ns)
    cuts: list[int] = (np.flatnonzero(steps > split_s * 1e9) + 1).tolist() if split_s else []
    if not cuts:
        return (take,)
    told = f"a gap of more than {split_s:g} s begins another episode"
    bounds = [0, *cuts, len(take.clocks[0].t_ns)]
    return tuple(
        replace(
            take,
            source=f"{take.source}#{number}",
            signals=tuple(replace(signal, values=signal.values[first:end]) for signal in take.signals),
            clocks=tuple(replace(clock, t_ns=clock.t_ns[first:end]) for clock in take.clocks),
            conversions=(told, *take.conversions),
        )
        for number, (first, end) in enumerate(pairwise(bounds))
    )


@dataclass(frozen=True, slots=True)
class Hint:
    """What a source says of its robot: ``model`` where that is a described model's id, else a name in its own words."""

    name: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What only a person can say of a recording; empty or 0 = as the recording says."""

    #: a described model's id, or "provisional:NAME" for a robot nobody has described
    model: str = ""
    #: names of columns the source does not name, in its order; ("model",) = those of the model
    joints: tuple[str, ...] = ()
    #: frames a second where the source holds no time
    rate_hz: float = 0.0
    #: unit of joint positions where the source declares none: rad, deg or own
    unit: str = ""
    #: the topic that holds the state, where there are several
    topic: str = ""
    #: a gap of so many seconds between two messages begins another episode; 0 = one episode
    split_s: float = 0.0
    #: a file that maps the source's own units to radians (producers/recordings/calibration.py)
    calibration: str = ""
    #: the description ``model`` stands for, where it is another than the one shipped here: somebody registered it
    described: RobotModel | None = None


@runtime_checkable
class Divisible(Protocol):
    """A source whose episodes can be read apart."""

    def part(self, share: int, shares: int) -> Iterator[Take]:
        """The ``share``-th of ``shares`` runs of episodes, as :meth:`Source.takes`."""
        ...


class Source(Protocol):
    """A recording of one format: how many episodes, and each of them as a :class:`Take`."""

    @property
    def name(self) -> str:
        """Name of the recording, for people."""
        ...

    @property
    def format(self) -> str:
        """The format in words, such as "LeRobot v2.1"."""
        ...

    @property
    def hint(self) -> Hint:
        """What it says of its robot."""
        ...

    @property
    def declared(self) -> tuple[int, ...]:
        """Numbers of the episodes it says it has ..."""
        ...

    @property
    def present(self) -> tuple[int, ...]:
        """... and of those that are there."""
        ...

    @property
    def frames(self) -> int:
        """Frames of the episodes present."""
        ...

    def takes(self) -> Iterator[Take]:
        """The episodes present, in order; raises :class:`RecordingError` at one that cannot be read."""
        ...
