"""Who does what on the simulated floor: robots, skills, lengths and faults, all fixed by one seed; never a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinestream.producers.fleet import faults
from kinestream.producers.fleet.faults import Fault
from kinestream.producers.fleet.motion import known_model, plan_reaches
from kinestream.producers.fleet.take import Take, sense, stamps
from kinestream.schemas.errors import ContractError
from kinestream.schemas.models import RobotModel
from kinestream.schemas.skills import load_skills

#: Models of the floor unless others are named: eight, of which six are humanoids; every limit known.
MODELS = (
    "unitree-g1-29-dof",
    "fourier-gr-1-t1",
    "booster-robotics-t1-29-dof",
    "x-humanoid-tienkung-2-0-lite",
    "pal-robotics-talos-reduced",
    "hightorque-hi-25-dof",
    "kuka-dual-iiwa-14",
    "roboparty-atom01",
)
#: Lengths of a take and of the pause after it, s.
TAKE = (4.0, 8.0)
PAUSE = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Post:
    """A robot's place on the floor."""

    index: int
    robot_id: str
    model: RobotModel


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """One take to be done: what it is called, its frames, the pause before it, and what is wrong with it."""

    skill: str
    area: str
    operator: str
    pause_s: float
    take: Take
    fault: Fault | None


class Floor:
    """``robots`` posts over ``models`` in turn; the same seed gives the same takes, whenever they are asked for."""

    def __init__(
        self, robots: int, *, rate_hz: float, seed: int, fault_share: float, models: Sequence[str] = MODELS
    ) -> None:
        if robots < 1 or not 5 <= rate_hz <= 1000 or not 0 <= fault_share <= 1 or not models:
            raise ContractError(
                f"{robots} robots at {rate_hz} Hz, fault share {fault_share}, {len(models)} models: at least one robot"
                " and model, 5 to 1000 Hz and a share of 0 to 1 are needed"
            )
        chosen = [known_model(model_id) for model_id in models]
        self._rate_hz, self._seed, self._share = rate_hz, seed, fault_share
        self.posts = tuple(self._post(i, chosen[i % len(chosen)], len(chosen)) for i in range(robots))
        vocabulary = load_skills()
        self._skills = [skill.id for skill in vocabulary.skills]
        self._areas = [area.id for area in vocabulary.areas]

    @staticmethod
    def _post(index: int, model: RobotModel, models: int) -> Post:
        return Post(index, f"sim-{model.model_id}-{index // models + 1}", model)

    def order(self, post: Post, number: int) -> Order:
        """The robot's ``number``-th take, from 0."""
        rng = np.random.default_rng([self._seed, post.index, number])
        metric = self._metric(post.index, number)
        seconds = rng.uniform(faults.GAP_TAKE if metric == "T4" else TAKE[0], TAKE[1])
        take, fault = make_take(rng, post.model, seconds, self._rate_hz, metric)
        return Order(
            skill=str(rng.choice(self._skills)),
            area=str(rng.choice(self._areas)),
            operator=f"trainer-{post.index % 7 + 1}",
            pause_s=float(rng.uniform(0.0, PAUSE[1]) if number == 0 else rng.uniform(*PAUSE)),
            take=take,
            fault=fault,
        )

    def _metric(self, robot: int, number: int) -> str:
        """Faults are spread evenly over the takes of each round, which metric in turn, so that a short run sees all."""
        robots = len(self.posts)
        place = int(np.random.default_rng([self._seed, number]).permutation(robots)[robot]) + number * robots
        before, after = int(place * self._share), int((place + 1) * self._share)
        return faults.METRICS[before % len(faults.METRICS)] if after > before else ""


def make_take(
    rng: np.random.Generator, model: RobotModel, seconds: float, rate_hz: float, metric: str = ""
) -> tuple[Take, Fault | None]:
    """A take of ``seconds``, with a fault of ``metric`` if one is named and this take has room for it."""
    t_ns = stamps(rng, round(seconds * rate_hz), rate_hz)
    plan = plan_reaches(rng, model, seconds + faults.GAP[1])
    fault: Fault | None = None
    joint: int | None = None
    if metric == "T4":
        t_ns, fault = faults.open_gap(rng, t_ns)
    if metric == "I3" and (driven := faults.leave_limits(rng, model, plan)):
        plan, joint = driven
    take = sense(rng, model, plan, t_ns)
    if joint is not None:
        fault = faults.find_beyond(model, take, joint)
    elif metric == "I1":
        fault = faults.lose_position(rng, model, take)
    elif metric == "I8":
        fault = faults.teleport(rng, model, take)
    return take, fault
