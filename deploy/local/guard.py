"""Owns the watch over the disk: below its floor robots are refused, above it they are let in again; it deletes nothing.

``python -m kinestream.deploy.local.guard --home DIR --keep-free N`` runs beside the broker. Refusing means that the
broker starts again without the listener that robots use: whatever client they have, to it the broker is away, which
loses nothing. Topic settings cannot do this: with one replica ``min.insync.replicas`` is capped to 1 (measured on
4.3.1), a smaller ``max.message.bytes`` and an access rule are errors that producers do not repeat, and byte quotas only
delay. Workers have a listener of their own and read on.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kinestream.deploy.local.disk import MB, size

#: Seconds between two looks: a full gigabit link writes 120 MB in one.
_EVERY_S: Final = 1.0
#: Robots are let in again only with a quarter more free than the floor, or half a gigabyte: each turn costs seconds.
_MORE_SHARE: Final = 4
_MOST_MORE: Final = 500 * MB


@dataclass(slots=True)
class Guard:
    """Closes and opens the broker's door; ``free`` tells the free bytes, ``restart`` starts the broker again."""

    home: Path
    keep_free: int
    free: Callable[[], int]
    restart: Callable[[], None]
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)

    def look(self) -> None:
        """One look; acts where the free bytes have passed a bound."""
        free, shut = self.free(), closed(self.home)
        if not shut and free < self.keep_free:
            self.say(f"disk: {size(free)} free, less than {size(self.keep_free)}: robots are refused, workers go on")
            close(self.home, f"the disk has {size(free)} free, less than {size(self.keep_free)}")
            self.restart()
        elif shut and free >= self.keep_free + min(self.keep_free // _MORE_SHARE, _MOST_MORE):
            self.say(f"disk: {size(free)} free again: robots are let in")
            reopen(self.home)
            self.restart()


def door(home: Path) -> Path:
    """The file that keeps robots out while it is there; it holds the reason."""
    return home / "kafka" / "closed"


def closed(home: Path) -> str:
    """Why robots are refused; empty when they are not."""
    try:
        return door(home).read_text().strip() or "closed"
    except FileNotFoundError:
        return ""


def close(home: Path, reason: str) -> None:
    """From the broker's next start on, robots are refused. An empty file says so on a disk that is full already."""
    door(home).touch()
    try:
        door(home).write_text(reason)
    except OSError:
        return


def reopen(home: Path) -> None:
    """From the broker's next start on, robots are let in."""
    door(home).unlink(missing_ok=True)


def main() -> None:
    """Command line of the guard process: looks until it is ended."""
    from kinestream.deploy.local.ports import Remembered
    from kinestream.deploy.local.supervise import Supervisor

    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.local.guard", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the local stack")
    parser.add_argument("--keep-free", type=int, required=True, help="free bytes below which robots are refused")
    given = parser.parse_args()
    home: Path = given.home
    supervisor = Supervisor(home, Remembered.load(home).socket)
    guard = Guard(home, given.keep_free, lambda: shutil.disk_usage(home).free, lambda: supervisor.restart("broker"))
    while True:
        guard.look()
        time.sleep(_EVERY_S)


if __name__ == "__main__":
    main()
