"""Whether a service that ended by itself is a failure: a rule over supervisord's log and the plan; it reads no file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Seconds a broker may take to recover once the plan lets go of it: it reads its log for 15 to 24 s first.
RECOVERY_S: Final = 30.0
#: Who may give up under an interference: Kafka ends by itself when it is frozen for some 29 s while it starts. A worker
#: or a store must wait, whatever is done to it.
_MAY_GIVE_UP: Final = frozenset({"broker"})
_EXITED: Final = re.compile(r"^(\S+ \S+) \S+ exited: (\S+) \(exit status ([1-9]\d*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exit:
    """``name`` ended by itself at ``at_s`` (UTC seconds) with an error: kills and ordered stops are none."""

    at_s: float
    name: str
    status: int


@dataclass(frozen=True, slots=True)
class Interference:
    """What the plan did to ``name``, in UTC seconds; a kill has no length, and what still lasts no end (inf)."""

    name: str
    begun_s: float
    ended_s: float


def read_exits(log: str) -> list[Exit]:
    """The ends with an error that supervisord's log tells of, in its order; its stamps are local time."""
    return [
        Exit(datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp(), name, int(status))
        for stamp, name, status in _EXITED.findall(log)
    ]


def excused(exit_: Exit, interferences: Iterable[Interference]) -> bool:
    """Whether the plan brought it about: a broker, within an interference with it or the recovery behind that."""
    return exit_.name in _MAY_GIVE_UP and any(
        one.name == exit_.name and one.begun_s <= exit_.at_s <= one.ended_s + RECOVERY_S for one in interferences
    )
