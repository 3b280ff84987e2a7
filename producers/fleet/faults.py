"""The faults of the floor: their names, what may find them, and which takes get one; never how one is made.

Each changes one take and says where: ``seq`` is the first faulty frame. Nothing else a judge looks at changes enough to
be called a fault of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kinestream.schemas.errors import ContractError


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault by name: the metrics of which any finding catches it, and whether it sits in one joint."""

    metrics: tuple[str, ...]
    of_joint: bool = False


#: The matrix of docs/metrics.md, in its order.
KINDS: Final[dict[str, Kind]] = {
    "nan": Kind(("I1",), True),
    "swapped_stamps": Kind(("T8",)),
    "gap": Kind(("T4",)),
    "loss": Kind(("T5",)),
    "repeated_numbers": Kind(("T6",)),
    "jitter": Kind(("T2",)),
    "frozen": Kind(("I6",), True),
    "spike": Kind(("I8", "I9"), True),
    "noise": Kind(("C1", "I9", "S6", "I4"), True),
    "position_limit": Kind(("I3",), True),
    "velocity_limit": Kind(("I4",), True),
    "lag": Kind(("K3", "K1")),
    "action_is_state": Kind(("K4",)),
    "degrees": Kind(("I3", "C1", "I11"), True),
    "offset": Kind(("K2",), True),
    "half_idle": Kind(("E1", "E2")),
    "duplicate": Kind(("D1",)),
}
#: What a demonstration shows: each is found by one metric, and nothing else is.
SHOWN: Final = ("nan", "position_limit", "spike", "gap")
#: Share of takes with a fault unless the plan says another.
SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Fault:
    """Ground truth: ``decisive_seq`` is the frame at which a judge can know at the earliest; joint "" = no joint."""

    name: str
    joint: str
    seq: int
    decisive_seq: int

    @property
    def metric(self) -> str:
        """The metric that says it best."""
        return KINDS[self.name].metrics[0]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults there are, in turn, and the share of takes that get one."""

    names: tuple[str, ...] = ()
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """``none``, ``all``, ``shown`` or names parted by commas, each with ``:SHARE`` behind it, such as
        ``nan,spike:0.1``; raises :class:`ContractError` with the names there are.
        """
        listed, _, share = text.partition(":")
        if listed in ("none", ""):
            return cls()
        names = {"all": tuple(KINDS), "shown": SHOWN}.get(listed, tuple(n.strip() for n in listed.split(",")))
        if unknown := [name for name in names if name not in KINDS]:
            raise ContractError(
                f"fault {unknown[0]!r} in {text!r}: there are {', '.join(KINDS)}; or say all, shown or none"
            )
        try:
            given = float(share) if share else SHARE
        except ValueError:
            given = -1.0
        if not 0 <= given <= 1:
            raise ContractError(f"share {share!r} in {text!r}: give a number from 0 to 1, as in nan,spike:0.1")
        return cls(names, given)

    def name(self, place: int) -> str:
        """The fault of the ``place``-th take of all, "" = none: spread evenly, the names in turn."""
        before, after = int(place * self.share), int((place + 1) * self.share)
        return self.names[before % len(self.names)] if after > before and self.names else ""
