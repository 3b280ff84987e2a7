"""Sends what a robot left in its spool, without the robot; records nothing new but the end of a take cut off."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from kinestream.producers.spool.outlet import SpooledDelivery
from kinestream.producers.spool.places import TABLES
from kinestream.producers.spool.store import Owner, Spool
from kinestream.producers.spool.tables import Tables
from kinestream.producers.status import robot_status
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

#: Seconds between two lines about what is left.
_TELL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended."""

    robot_id: str
    #: everything is acknowledged, and receipts are here or the hub writes none
    drained: bool
    #: in a sentence
    text: str
    #: takes that were sent or were waiting, and what is left of them
    episodes: int
    unsent_episodes: int
    without_receipt: int


def drain_spool(
    folder: Path, settings: Settings, kafka: str, timeout_s: float, tell: Callable[[str], None] = lambda _: None
) -> Drained:
    """Send everything in a spool and wait for receipts, for at most ``timeout_s``.

    Raises :class:`SpoolError` while its robot runs, :class:`SettingError` without a broker.
    """
    if not kafka:
        raise SettingError("no broker: give --kafka host:port or set KINESTREAM_KAFKA")
    owner = _owner(folder)
    spool = Spool(folder, owner)
    identity = asdict(owner)
    outlet = SpooledDelivery(spool, kafka, settings, lambda *facts: robot_status(identity, "", *facts))
    episodes, deadline = len(outlet.waiting()), time.monotonic() + timeout_s
    said = time.monotonic()
    try:
        while not outlet.emptied and time.monotonic() < deadline:
            outlet.poll(0.05)
            if time.monotonic() - said > _TELL_S:
                said = time.monotonic()
                why = f" ({outlet.trouble})" if outlet.trouble else ""
                tell(f"{owner.robot_id}: {len(outlet.unsent())} takes to send, {len(outlet.waiting())} in all{why}")
        return _result(owner.robot_id, outlet, episodes)
    finally:
        outlet.close(0.0)


def _result(robot_id: str, outlet: SpooledDelivery, episodes: int) -> Drained:
    unsent, waiting = len(outlet.unsent()), len(outlet.waiting())
    if unsent:
        text = f"{unsent} of {episodes} takes are not acknowledged: {outlet.trouble or 'give it more --timeout'}"
    elif not waiting:
        text = f"{episodes} takes, the hub has them all"
    elif outlet.emptied:
        text = f"{episodes} takes are acknowledged; this hub writes no receipts, they are kept for a while"
    else:
        text = f"{waiting} of {episodes} takes are acknowledged and have no receipt yet: is a worker running?"
    return Drained(robot_id, outlet.emptied, text, episodes, unsent, waiting - unsent)


def _owner(folder: Path) -> Owner:
    tables = Tables(folder / TABLES)
    try:
        tenant, robot_id, model_id = (str(tables.fact(name, "")) for name in ("tenant", "robot_id", "model_id"))
    finally:
        tables.close()
    return Owner(tenant, robot_id, model_id, boot_id=str(uuid.uuid4()))
