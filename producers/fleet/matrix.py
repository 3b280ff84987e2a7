"""The floor of the fault matrix: each fault in one of a robot's takes, and in every take of another; never a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinestream.producers.fleet.faults import KINDS, Fault
from kinestream.producers.fleet.floor import MODELS, Floor, Order, Post, make_take
from kinestream.producers.fleet.take import Take
from kinestream.schemas.errors import ContractError

MODES: Final = ("single", "systemic")
RATE_HZ: Final = 100.0
#: Lengths of a take, of the pause after it and of the one before the first, s.
TAKE, PAUSE, BEGIN = (4.0, 5.0), (0.3, 0.8), (0.0, 5.0)
#: Other motions that are tried where one has no room for a fault.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """What one robot shows."""

    mode: str
    fault: str


class MatrixFloor(Floor):
    """A robot for each fault and mode, over ``models`` in turn; each does ``episodes`` takes.

    Single: one of its takes has the fault. Systemic: every one; these robots begin about when the others have done
    theirs. A robot that repeats takes begins with the one it repeats, and does one more. The seed fixes everything.
    """

    def __init__(self, *, seed: int, models: Sequence[str] = MODELS, episodes: int = 20) -> None:
        if episodes < 1:
            raise ContractError(f"{episodes} takes a fault and mode: give at least one")
        self.cells = tuple(Cell(mode, fault) for fault in KINDS for mode in MODES)
        self._episodes = episodes
        super().__init__(len(self.cells), rate_hz=RATE_HZ, seed=seed, models=models)

    def cell(self, post: Post) -> Cell:
        """What a robot shows."""
        return self.cells[post.index]

    def takes(self, post: Post) -> int:
        """As many as each robot does."""
        return self._episodes + self._original(post)

    def _original(self, post: Post) -> int:
        return int(self.cell(post).fault == "duplicate")

    def fault_of(self, post: Post, number: int) -> str:
        """In every take, or in the one the seed names; a take that is repeated later has none."""
        cell, place = self.cell(post), number - self._original(post)
        if cell.mode == "systemic":
            return cell.fault if place >= 0 else ""
        chosen = int(np.random.default_rng([self.seed, post.index, 1_000_003]).integers(self._episodes))
        return cell.fault if place == chosen else ""

    def order(self, post: Post, number: int) -> Order:
        """The robot's ``number``-th take, from 0; raises :class:`ContractError` where its model leaves no room."""
        rng = np.random.default_rng([self.seed, post.index, number])
        name, pause_s = self.fault_of(post, number), float(rng.uniform(*(PAUSE if number else BEGIN)))
        if not number and self.cell(post).mode == "systemic":
            pause_s += self._episodes * (sum(TAKE) + sum(PAUSE)) / 2
        skill, area, operator = self.labels(rng, post)
        if name == "duplicate":
            take = self.order(post, number - 1).take
            return Order(skill, area, operator, pause_s, take, Fault(name, "", 0, len(take) - 1))
        take, fault = self._made(rng, post, name)
        return Order(skill, area, operator, pause_s, take, fault)

    def _made(self, rng: np.random.Generator, post: Post, name: str) -> tuple[Take, Fault | None]:
        share = 0.5 if name == "half_idle" else 1.0
        for _ in range(_TRIES):
            seconds = share * float(rng.uniform(*TAKE))
            take, fault = make_take(rng, post.model, seconds, self.rate_hz, name, post.sensors)
            if fault is not None or not name:
                return take, fault
        raise ContractError(
            f"{post.model.model_id}: none of {_TRIES} motions has room for the fault {name}: name another model"
        )
