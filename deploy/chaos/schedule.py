"""When what is killed: a seeded plan of a run, made before it begins; it touches no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

#: What is done to whom. KILL is SIGKILL; PAUSE is SIGSTOP, then SIGCONT; OUTAGE is stopped or frozen for a while.
KILL, PAUSE, OUTAGE, JOIN, LEAVE, POISON = "kill", "pause", "outage", "join", "leave", "poison"
#: Shares of the kills.
_SHARES: Final = {"worker": 0.4, "store": 0.2, "broker": 0.15, "robot": 0.25}
#: Seconds that an outage lasts, at most: what docs/contract.md calls a short one.
LONGEST_OUTAGE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens ``at_s`` seconds after the start and lasts ``for_s``."""

    at_s: float
    kind: str
    target: str
    for_s: float = 0.0
    #: an outage by SIGSTOP: connections stay open and nothing answers
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """What the plan may touch: a test broker lives in memory and has one worker, which nobody may join."""

    durable_broker: bool
    workers: int
    session_s: float


def plan(seed: int, kills: int, seconds: float, site: Site) -> list[Act]:
    """The acts of a run, in order, spread over ``seconds`` in even steps, each a little off its place."""
    rng = np.random.default_rng(seed)
    acts = [Act(0.0, KILL, target) for target, n in _apportion(kills, site).items() for _ in range(n)]
    acts += _others(rng, kills, site)
    order = [acts[i] for i in rng.permutation(len(acts))]
    order = _leaves_after_joins(order)
    step = seconds / (len(order) + 1)
    times = [(number + 1 + rng.uniform(-0.3, 0.3)) * step for number in range(len(order))]
    return [_at(act, at_s) for act, at_s in zip(order, times, strict=True)]


def _apportion(kills: int, site: Site) -> Mapping[str, int]:
    """Whole numbers nearest the shares, largest remainders first, so that they add up."""
    shares = {target: share for target, share in _SHARES.items() if target != "broker" or site.durable_broker}
    exact = {target: kills * share / sum(shares.values()) for target, share in shares.items()}
    counts = {target: int(number) for target, number in exact.items()}
    for target in sorted(exact, key=lambda one: counts[one] - exact[one])[: kills - sum(counts.values())]:
        counts[target] += 1
    return counts


def _others(rng: np.random.Generator, kills: int, site: Site) -> list[Act]:
    n = max(1, kills // 8)
    acts = [Act(0.0, POISON, "frames") for _ in range(2 * n)]
    # Long enough to be given up by the group, and to come back as an owner of old.
    acts += [Act(0.0, PAUSE, "worker", site.session_s * rng.uniform(1.1, 1.6)) for _ in range(n)]
    targets = ["store", "broker"] if site.durable_broker else ["store"]
    longest = min(LONGEST_OUTAGE_S, 2.0 * kills)
    for number in range(max(1, kills // 10)):
        for target in targets:
            for_s = rng.uniform(longest / 3, longest)
            acts.append(Act(0.0, OUTAGE, target, for_s, frozen=(number + (target == "store")) % 2 == 0))
    if site.durable_broker and site.workers > 1:
        acts += [Act(0.0, kind, "worker") for _ in range(n) for kind in (JOIN, LEAVE)]
    return acts


def _leaves_after_joins(order: Sequence[Act]) -> list[Act]:
    """Whoever leaves must have joined: the kinds change places where they came the other way round."""
    places = [i for i, act in enumerate(order) if act.kind in (JOIN, LEAVE)]
    out = list(order)
    for number, place in enumerate(places):
        out[place] = Act(0.0, JOIN if number % 2 == 0 else LEAVE, "worker")
    return out


def _at(act: Act, at_s: float) -> Act:
    return Act(at_s, act.kind, act.target, act.for_s, act.frozen)
