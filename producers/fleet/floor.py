"""Who does what on the simulated floor: robots, skills, lengths and faults, all fixed by one seed; never a clock."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinestream.producers.fleet import faulty_delivery, faulty_motion, faulty_values
from kinestream.producers.fleet.faults import Fault, FaultPlan
from kinestream.producers.fleet.motion import Body, known_model, plan_reaches
from kinestream.producers.fleet.take import Sensors, Take, sense, stamps
from kinestream.schemas.errors import ContractError
from kinestream.schemas.skills import load_skills

#: Models of the floor unless others are named: eight, of which six are humanoids; every limit known.
MODELS = (
    "unitree-g1-29-dof",
    "fourier-gr-1-t1",
    "booster-robotics-t1-29-dof",
    "x-humanoid-tienkung-2-0-lite",
    "pal-robotics-talos-reduced",
    "booster-robotics-k1-22-dof",
    "kuka-dual-iiwa-14",
    "roboparty-atom01",
)
#: Lengths of a take and of the pause after it, s.
TAKE = (4.0, 8.0)
PAUSE = (0.5, 1.5)
#: How far a robot's clock is from the hub's, s.
CLOCK_OFF = 0.02


def fresh_seed() -> int:
    """One that no run had, as far as chance goes: its takes repeat nobody's."""
    return secrets.randbelow(1_000_000_000)


def repeats(seed: int) -> str:
    """What a person who gave a seed has to know."""
    return (
        f"seed {seed} was given: these takes are, frame by frame, those of every run with it and the same robots, rate,"
        " faults and models; a hub that has stored them rejects each as D1, an exact duplicate (without --seed every"
        " run differs)"
    )


@dataclass(frozen=True, slots=True)
class Post:
    """A robot's place on the floor; ``clock_off_s`` is what its clock is ahead of the hub's."""

    index: int
    robot_id: str
    model: Body
    sensors: Sensors
    clock_off_s: float


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
        self,
        robots: int,
        *,
        rate_hz: float,
        seed: int,
        plan: FaultPlan | None = None,
        models: Sequence[str] = MODELS,
    ) -> None:
        if robots < 1 or not 5 <= rate_hz <= 1000 or not models:
            raise ContractError(
                f"{robots} robots at {rate_hz} Hz of {len(models)} models: at least one robot and model and 5 to"
                " 1000 Hz are needed"
            )
        chosen = [known_model(model_id) for model_id in models]
        self.rate_hz, self.seed, self._plan = rate_hz, seed, plan or FaultPlan()
        self.posts = tuple(self._post(i, chosen[i % len(chosen)], len(chosen)) for i in range(robots))
        vocabulary = load_skills()
        self._skills = [skill.id for skill in vocabulary.skills]
        self._areas = [area.id for area in vocabulary.areas]

    def _post(self, index: int, model: Body, models: int) -> Post:
        rng = np.random.default_rng([self.seed, index])
        robot_id = f"sim-{model.model_id}-{index // models + 1}"
        return Post(index, robot_id, model, Sensors.drawn(rng), float(rng.uniform(-CLOCK_OFF, CLOCK_OFF)))

    def takes(self, post: Post) -> int | None:
        """How many takes a robot does; None = until its shift is over."""
        return None

    def order(self, post: Post, number: int) -> Order:
        """The robot's ``number``-th take, from 0."""
        rng = np.random.default_rng([self.seed, post.index, number])
        name = self.fault_of(post, number)
        seconds = rng.uniform(faulty_delivery.GAP_TAKE if name == "gap" else TAKE[0], TAKE[1])
        skill, area, operator = self.labels(rng, post)
        pause_s = float(rng.uniform(0.0, PAUSE[1]) if number == 0 else rng.uniform(*PAUSE))
        if name == "duplicate" and number:
            take = self.order(post, number - 1).take
            fault: Fault | None = Fault("duplicate", "", 0, len(take) - 1)
        else:
            take, fault = make_take(rng, post.model, seconds, self.rate_hz, name, post.sensors)
        return Order(skill, area, operator, pause_s, take, fault)

    def labels(self, rng: np.random.Generator, post: Post) -> tuple[str, str, str]:
        """Skill, area and operator of a take."""
        return str(rng.choice(self._skills)), str(rng.choice(self._areas)), f"trainer-{post.index % 7 + 1}"

    def fault_of(self, post: Post, number: int) -> str:
        """Faults are spread evenly over the takes of each round, each kind in turn, so that a short run sees all."""
        robots = len(self.posts)
        place = int(np.random.default_rng([self.seed, number]).permutation(robots)[post.index]) + number * robots
        return self._plan.name(place)


def make_take(
    rng: np.random.Generator,
    body: Body,
    seconds: float,
    rate_hz: float,
    name: str = "",
    sensors: Sensors | None = None,
) -> tuple[Take, Fault | None]:
    """A take of ``seconds`` (twice that for a robot that stops), with the named fault if it has room for it."""
    sensors = sensors or Sensors()
    frames = round(seconds * rate_hz)
    t_ns, fault = stamps(rng, frames, rate_hz), None
    plan = plan_reaches(rng, body, seconds + faulty_delivery.GAP[1])
    driven: int | None = None
    if name == "gap":
        t_ns, fault = faulty_delivery.open_gap(rng, t_ns)
    elif name == "jitter":
        t_ns, fault = faulty_delivery.shake_stamps(rng, frames, rate_hz)
    elif name == "half_idle":
        t_ns = stamps(rng, 2 * frames, rate_hz)
        plan, stops = faulty_motion.stop_for_half(rng, plan, seconds)
        known = np.searchsorted(t_ns, [stops * 1e9, (stops + 0.5) * 1e9])
        fault = Fault(name, "", int(known[0]), int(known[1]))
    elif name == "lag":
        fault = Fault(name, "", 0, int(np.searchsorted(t_ns, 2_000_000_000)))
        sensors = sensors.later(faulty_values.LATE_S)
    elif name == "position_limit" and (left := faulty_motion.leave_limits(rng, body, plan)):
        plan, driven = left
    take = sense(rng, body, plan, t_ns, sensors)
    if driven is not None:
        fault = faulty_motion.find_beyond(body, take, driven)
    return take, fault or _spoilt(rng, body, take, name, sensors)


def _spoilt(rng: np.random.Generator, body: Body, take: Take, name: str, sensors: Sensors) -> Fault | None:
    """The fault put into what was measured."""
    if name in _OF_VALUES:
        return _OF_VALUES[name](rng, body, take)
    if name in _OF_DELIVERY:
        return _OF_DELIVERY[name](rng, take)
    if name == "velocity_limit":
        return faulty_motion.race(rng, body, take, sensors)
    return faulty_values.copy_state(take) if name == "action_is_state" else None


_OF_VALUES = {
    "nan": faulty_values.lose_position,
    "spike": faulty_values.teleport,
    "frozen": faulty_values.freeze,
    "noise": faulty_values.shake,
    "degrees": faulty_values.degrees,
    "offset": faulty_values.miscalibrate,
}
_OF_DELIVERY = {
    "swapped_stamps": faulty_delivery.swap_stamps,
    "loss": faulty_delivery.lose_frames,
    "repeated_numbers": faulty_delivery.repeat_numbers,
}
