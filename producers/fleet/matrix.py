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
#: Lengths of a take and of the pause after it, s; of one with a stop, half of it.
TAKE, PAUSE = (5.2, 6.4), (0.3, 0.8)
#: Other motions that are tried where one has no room for a fault.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """What one robot shows."""

    mode: str
    fault: str


class MatrixFloor(Floor):
    """A robot for each fault and mode, over ``models`` in turn, each with ``episodes`` takes; the seed fixes all.

    A robot that repeats a take begins with the one it repeats, so it does one more.
    """

    def __init__(self, *, seed: int, models: Sequence[str] = MODELS, episodes: int = 20) -> None:
        self.cells = tuple(Cell(mode, fault) for fault in KINDS for mode in MODES)
        self.episodes = episodes
        if episodes < 1:
            raise ContractError(f"{episodes} takes a robot: at least one is needed")
        super().__init__(len(self.cells), rate_hz=RATE_HZ, seed=seed, models=models)

    def takes(self, post: Post) -> int:
        """As many as each robot does."""
        return self.episodes + (self.cells[post.index].fault == "duplicate")

    def fault_of(self, post: Post, number: int) -> str:
        """In every take, or in the one the seed names; a take that is repeated later has none."""
        cell = self.cells[post.index]
        first = int(cell.fault == "duplicate")
        if cell.mode == "systemic":
            return cell.fault if number >= first else ""
        chosen = int(np.random.default_rng([self.seed, post.index, 1_000_003]).integers(self.episodes)) + first
        return cell.fault if number == chosen else ""

    def order(self, post: Post, number: int) -> Order:
        """The robot's ``number``-th take, from 0; raises :class:`ContractError` where its model leaves no room."""
        rng = np.random.default_rng([self.seed, post.index, number])
        name, pause_s = self.fault_of(post, number), float(rng.uniform(*PAUSE))
        skill, area, operator = self.labels(rng, post)
        if name == "duplicate":
            take = self.order(post, number - 1).take
            return Order(skill, area, operator, pause_s, take, Fault(name, "", 0, len(take) - 1))
        take, fault = self._made(rng, post, name)
        return Order(skill, area, operator, pause_s, take, fault)

    def _made(self, rng: np.random.Generator, post: Post, name: str) -> tuple[Take, Fault | None]:
        for _ in range(_TRIES):
            take, fault = make_take(rng, post.model, rng.uniform(*TAKE), self.rate_hz, name, post.sensors)
            if fault is not None or not name:
                return take, fault
        raise ContractError(
            f"{post.model.model_id}: none of {_TRIES} motions has room for the fault {name}: name another model"
        )
