"""The fault matrix as figures: what was put into which take against what was found in it. Values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kinestream.deploy.bench.trial import explains
from kinestream.deploy.demo.measurement import CLEARED, Latency
from kinestream.producers.fleet.faults import KINDS, Fault
from kinestream.producers.fleet.matrix import MODES


@dataclass(frozen=True, slots=True)
class Sent:
    """A take as it was sent: ``known_ns`` is when its fault could be known (UTC), ``ended_ns`` its end mark."""

    episode_id: str
    model_id: str
    mode: str
    cell: str
    fault: Fault | None
    known_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as the store showed it: when first (UTC), and the state it is in at the end."""

    episode_id: str
    metric: str
    joint: str
    flag: str
    state: str
    message: str
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of a fault that is in ``of`` takes: ``found`` in so many, in ``live`` of them before the take closed.

    ``metric`` and ``joint`` are those of the first finding that caught one (of all, the most frequent metric);
    ``right_joint`` is None where no joint is meant, ``delay_ms`` the longest delay.
    """

    caught: bool
    metric: str
    joint: str
    right_joint: bool | None
    delay_ms: float | None
    found: int
    live: int
    of: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Both modes by fault; what was found in clean takes; the delays of all that was caught."""

    single: Mapping[str, Caught]
    systemic: Mapping[str, Caught]
    clean_episodes: int
    false_alarm_list: Sequence[Mapping[str, Any]]
    latency_ms: Latency

    @property
    def false_alarms(self) -> int:
        """Clean takes in which anything was found, if only for a moment."""
        return len({one["episode_id"] for one in self.false_alarm_list})

    @property
    def whole(self) -> bool:
        """Everything was caught, and nothing else."""
        return (
            all(one.caught for mode in (self.single, self.systemic) for one in mode.values()) and not self.false_alarms
        )

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        modes = {name: {fault: asdict(one) for fault, one in getattr(self, name).items()} for name in MODES}
        return {
            **modes,
            "clean_episodes": self.clean_episodes,
            "false_alarms": self.false_alarms,
            "false_alarm_list": list(self.false_alarm_list),
            "latency_ms": asdict(self.latency_ms),
        }


def matrix_of(takes: Iterable[Sent], findings: Iterable[Seen]) -> Matrix:
    """Put together what was sent and what was found."""
    takes = list(takes)
    of_take: dict[str, list[Seen]] = {take.episode_id: [] for take in takes}
    for seen in findings:
        of_take.setdefault(seen.episode_id, []).append(seen)
    delays: list[int] = []
    modes: dict[str, dict[str, Caught]] = {mode: {} for mode in MODES}
    for mode, names in modes.items():
        for name in KINDS:
            faulty = [take for take in takes if take.fault and (take.mode, take.cell) == (mode, name)]
            names[name] = _caught(name, faulty, of_take, delays)
    clean = [take for take in takes if take.fault is None]
    alarms = [_alarm(take, seen) for take in clean for seen in of_take[take.episode_id]]
    return Matrix(modes["single"], modes["systemic"], len(clean), alarms, Latency.of(delays))


def _caught(name: str, takes: Sequence[Sent], of_take: Mapping[str, Sequence[Seen]], delays: list[int]) -> Caught:
    first = [found for take in takes if (found := _first(take, of_take[take.episode_id]))]
    late = [max(seen.seen_ns - take.known_ns, 0) for take, seen in first]
    delays += late
    metrics = Counter(seen.metric for _, seen in first)
    joint = first[0][1].joint if first else ""
    right = bool(first) and all(seen.joint == take.fault.joint for take, seen in first if take.fault)
    return Caught(
        caught=bool(takes) and len(first) == len(takes),
        metric=metrics.most_common(1)[0][0] if metrics else "",
        joint=joint,
        right_joint=right if KINDS[name].of_joint else None,
        delay_ms=round(max(late) / 1e6, 1) if late else None,
        found=len(first),
        live=sum(seen.seen_ns < take.ended_ns + _READABLE_NS for take, seen in first),
        of=len(takes),
    )


def _first(take: Sent, findings: Sequence[Seen]) -> tuple[Sent, Seen] | None:
    """The finding that caught its fault first, and holds at the end."""
    fault = take.fault
    if fault is None:
        return None
    held = [seen for seen in findings if explains(fault, seen.metric, seen.joint) and seen.state != CLEARED]
    return (take, min(held, key=lambda seen: seen.seen_ns)) if held else None


#: A finding of a take's last moments can be read so much after its end mark was sent, ns: a close is later.
_READABLE_NS = 1_000_000_000


def _alarm(take: Sent, seen: Seen) -> dict[str, Any]:
    names = ("episode_id", "metric", "joint", "flag", "state", "message")
    return {"model": take.model_id, "cell": f"{take.mode} {take.cell}", **{name: getattr(seen, name) for name in names}}
