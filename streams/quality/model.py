"""The values that cross the border of the quality core; no computing here, and never a clock or I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from kinestream.schemas.messages import load_messages, spoken

if TYPE_CHECKING:
    from kinestream.streams.quality.tasks import TaskStatistics

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: relative slack of every comparison with a threshold: a value on the limit passes however it was summed
SLACK = 1e-9
#: nanoseconds in a second
SECOND = 1_000_000_000
NONE = float("nan")
_NOTHING = 1e-12


class Flag(StrEnum):
    """QARTOD's flags; NOT_EVALUATED is never a pass."""

    NOT_EVALUATED = "NOT_EVALUATED"
    GOOD = "GOOD"
    SUSPECT = "SUSPECT"
    FAIL = "FAIL"
    MISSING = "MISSING"


class Origin(StrEnum):
    """Whose threshold it is: a norm, the robot's description, the task's statistics, or our proposal."""

    STANDARD = "standard"
    ROBOT = "robot"
    TASK = "task"
    OURS = "ours"


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is known about an episode before its first frame.

    ``channels`` are the measured ones as (name, width). ``lower``, ``upper`` (rad, m if prismatic) and ``velocity``
    (rad/s, m/s) are float64 (J,), NaN = unknown. ``nominal_rate_hz`` 0 = unknown. ``stamp_resolution_ns`` is the
    source's own (float32 stamps are coarse); less than 1 us counts as 1 us. Masks are bool (J,), None = no joint:
    ``prismatic`` joints are in m, ``continuous`` ones have no position limit by construction, ``rests_on_stop`` are
    meant to lie on a stop (grippers; default: the prismatic ones) and are not judged for nearness.
    """

    episode_id: str
    joints: tuple[str, ...]
    channels: tuple[tuple[str, int], ...]
    lower: Floats
    upper: Floats
    velocity: Floats
    model_known: bool
    nominal_rate_hz: float = 0.0
    stamp_resolution_ns: int = 1_000
    prismatic: Mask | None = None
    continuous: Mask | None = None
    rests_on_stop: Mask | None = None
    element_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: greatest effort of each joint, Nm or N, float64 (J,), NaN = unknown
    effort: Floats | None = None
    #: the model's own joint order, and what an earlier episode or file of this robot declared; empty = unknown
    model_joints: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    channel_units: dict[str, str] = field(default_factory=dict)
    #: recorded now: False for a recording sent later, whose age on arrival means nothing
    live: bool = True
    #: which description of the model these limits are of; empty = none
    model_version: str = ""
    #: a snapshot of the task's statistics; None = no task, or too few episodes
    task: TaskStatistics | None = None

    def unit(self, joint: int) -> str:
        """``rad``, or ``m`` for a prismatic joint."""
        return "m" if self.prismatic is not None and self.prismatic[joint] else "rad"

    def measures(self, channel: str) -> bool:
        """Whether the episode carries this channel."""
        return any(name == channel for name, _ in self.channels)


@dataclass(slots=True)
class Frames:
    """Frames in ascending number: ``seq``, ``t_ns`` int64 (n,); ``channels`` float32 (n, width), read only here."""

    seq: Integers
    t_ns: Integers
    channels: dict[str, Singles]
    #: the broker's stamp of each frame's record, ns, int64 (n,); None = not known
    broker_ns: Integers | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived, counted by the assembler in frames; T5 and T6 rest on it.

    ``expected`` is n_total once known, else the highest frame number + 1 (live: the frontier). ``conflicting`` counts
    repeats with another payload. ``missing_first`` and ``conflicting_first`` are frame numbers, -1 = none.
    """

    expected: int
    unique: int
    duplicates: int = 0
    conflicting: int = 0
    status: str = "OPEN"
    missing_first: int = -1
    conflicting_first: int = -1
    #: frames that came behind a later one, -1 = not counted
    reordered: int = -1
    #: what became of the take, in words of EpisodeEnd, and who says so
    outcome: str = ""
    outcome_by: str = ""


@dataclass(slots=True)
class Span:
    """The frames judged so far: how many, the first and the last of them, and their stamps."""

    frames: int = 0
    first_seq: int = 0
    last_seq: int = -1
    first_t: int = 0
    last_t: int = 0

    @property
    def seconds(self) -> float:
        """From the first stamp to the last, s."""
        return (self.last_t - self.first_t) / SECOND


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong: where, since when, how much, against whose limit. ``value`` NaN = none, joint "" = whole."""

    finding_id: str
    metric: str
    joint: str
    flag: str
    value: float
    unit: str
    threshold: float
    origin: str
    first_seq: int
    last_seq: int
    t_start_ns: int
    t_end_ns: int
    message: str
    message_zh: str = ""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One number of an episode; joint "" = the whole episode, ``value`` NaN = none."""

    id: str
    joint: str
    value: float
    unit: str
    flag: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The final word on a frame set: ``findings`` worst first."""

    metrics: tuple[MetricValue, ...]
    findings: tuple[Finding, ...]
    verdict: str
    rule_version: str


def settled(value: float) -> float:
    """A value to nine digits, nothing below 1e-12: what sums over the same frames give however they were cut."""
    if value != value:
        return NONE
    return float(f"{value:.9g}") if abs(value) > _NOTHING else 0.0


def finding_id(episode_id: str, metric: str, joint: str, first_seq: int) -> str:
    """Hex xxh3-64 of what makes a finding the same finding (contract: "Episode rows")."""
    return xxhash.xxh3_64_hexdigest("\0".join((episode_id, metric, joint, str(first_seq))).encode())


def say(key: str, *, joint: str = "", **facts: Any) -> dict[str, str]:
    """``message`` and ``message_zh`` of a finding: the sentence of that key, ``joint`` told in words."""
    if joint:
        name = spoken(joint)
        facts |= {"joint": name.en, "joint_zh": name.zh}
    told = load_messages().say(key, **facts)
    return {"message": told.en, "message_zh": told.zh}


def make_finding(context: Context, span: Span, metric: str, **facts: Any) -> Finding:
    """A finding of ``metric`` on the frames of ``span``; joint and stamps default to the whole episode."""
    joint = facts.setdefault("joint", "")
    first = facts.setdefault("first_seq", span.first_seq)
    facts.setdefault("t_start_ns", span.first_t)
    facts.setdefault("t_end_ns", span.last_t)
    identity = finding_id(context.episode_id, metric, joint, first)
    return Finding(finding_id=identity, metric=metric, last_seq=span.last_seq, **facts)
