"""Carries the plan out: signals to processes, at their time, from one loop; it decides nothing and judges nothing."""

from __future__ import annotations

import math
import signal
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
import psutil

from kinestream.deploy.chaos.crew import alive
from kinestream.deploy.chaos.exits import Interference
from kinestream.deploy.chaos.poison import Poisoner
from kinestream.deploy.chaos.promises import read_promises
from kinestream.deploy.chaos.recovery import Watch
from kinestream.deploy.chaos.schedule import JOIN, KILL, LEAVE, OUTAGE, PAUSE, POISON, Act
from kinestream.deploy.chaos.stage import Stage
from kinestream.deploy.local.stack import Progress
from kinestream.schemas.errors import StackError

#: Seconds a victim may take until it runs again and can be killed: a broker reads its whole log first.
_VICTIM_S: Final = 90.0
#: Does its work and says True, or False: not yet, ask again.
Step = Callable[[], bool]


class Actor:
    """Acts and what is still to follow of them (a pause ends, a service comes back)."""

    def __init__(self, stage: Stage, poisoner: Poisoner, watch: Watch, seed: int, progress: Progress) -> None:
        self._stage, self._poisoner, self._watch, self._progress = stage, poisoner, watch, progress
        self._rng = np.random.default_rng([seed, 11])
        self._due: list[tuple[float, float, str, Step]] = []
        self._joined: list[str] = []
        #: services in an outage
        self._out: set[str] = set()
        self._held: list[psutil.Process] = []
        #: what was done to whom so far
        self.interferences: list[Interference] = []
        self._begun_s = time.monotonic()
        self.kills: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    def begin(self, act: Act) -> None:
        """Do it as soon as its victim runs."""
        step = {KILL: self._kill, PAUSE: self._pause, OUTAGE: self._outage, JOIN: self._join, LEAVE: self._leave,
                POISON: self._poison}[act.kind]  # fmt: skip
        self._follow(0.0, f"{act.kind} {act.target}", lambda: step(act))

    def tick(self) -> None:
        """Do what is due; raises :class:`StackError` for what could not be done in time."""
        now = time.monotonic()
        waiting, self._due = self._due, []
        for due_s, deadline_s, what, step in waiting:
            if due_s > now or not step():
                if now > deadline_s:
                    raise StackError(f"chaos could not do {what}: it does not run (logs: {self._stage.folder})")
                self._due.append((due_s, deadline_s, what, step))

    def release(self) -> None:
        """Whatever is held still goes on: a run that was broken off must be able to stop its services."""
        for victim in self._held:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)

    @property
    def busy(self) -> bool:
        """Something is still to follow."""
        return bool(self._due)

    def _follow(self, after_s: float, what: str, step: Step) -> None:
        due_s = time.monotonic() + after_s
        self._due.append((due_s, due_s + _VICTIM_S, what, step))

    def _say(self, text: str) -> None:
        self._progress(f"{time.monotonic() - self._begun_s:6.1f} s  {text}")

    # -- victims ----------------------------------------------------------------

    def _victim(self, target: str) -> tuple[str, psutil.Process | None]:
        of_kind = {"worker": self._stage.workers(), "robot": self._stage.crew.names("robot")}
        name = str(self._rng.choice(of_kind[target])) if target in of_kind else target
        return name, alive(self._stage.pid(name))

    def _kill(self, act: Act) -> bool:
        name, victim = self._victim(act.target)
        if victim is None:
            return False
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
            self.kills[act.target] += 1
            self.interferences.append(Interference(name, time.time(), time.time()))
            self._say(f"kill -9 {name}")
            self._watch.disturbance(f"kill of {name} at {time.monotonic() - self._begun_s:.0f} s")
            return True
        return False

    def _pause(self, act: Act) -> bool:
        name, victim = self._victim(act.target)
        if victim is None:
            return False
        self._hold(victim)
        self.done["pauses"] += 1
        self._say(f"SIGSTOP {name} for {act.for_s:.1f} s")
        self._follow(act.for_s, f"SIGCONT {name}", lambda: self._resume(name, victim))
        return True

    def _outage(self, act: Act) -> bool:
        name, victim = self._victim(act.target)
        if victim is None or name in self._out:
            return False
        self._out.add(name)
        self.interferences.append(Interference(name, time.time(), math.inf))
        self.done["outages"] += 1
        self._say(f"{name} {'frozen' if act.frozen else 'down'} for {act.for_s:.1f} s")
        if act.frozen:
            self._hold(victim)
            self._follow(act.for_s, f"SIGCONT {name}", lambda: self._resume(name, victim))
        else:
            self._stage.supervisor().halt(name)
            self._follow(act.for_s, f"start of {name}", lambda: self._start(name))
        return True

    def _hold(self, victim: psutil.Process) -> None:
        self._held.append(victim)
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGSTOP)

    def _resume(self, name: str, victim: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):  # killed meanwhile
            victim.send_signal(signal.SIGCONT)
        self._back(name)
        return True

    def _start(self, name: str) -> bool:
        try:
            self._stage.supervisor().resume(name)
        except xmlrpc.client.Fault:  # still on its way down
            return False
        self._back(name)
        return True

    def _back(self, name: str) -> None:
        self._out.discard(name)
        over = [one for one in self.interferences if one.name == name and one.ended_s == math.inf]
        for one in over:
            self.interferences.remove(one)
            self.interferences.append(Interference(name, one.begun_s, time.time()))
        self._say(f"{name} goes on")
        self._watch.disturbance(f"the return of {name} at {time.monotonic() - self._begun_s:.0f} s")

    # -- members and messages -----------------------------------------------------

    def _join(self, act: Act) -> bool:
        name = f"{act.target}-joined-{self.done['joins'] + 1}"
        self._stage.add_worker(name)
        self._joined.append(name)
        self.done["joins"] += 1
        self._say(f"{name} joins")
        return True

    def _leave(self, _: Act) -> bool:
        name = self._joined.pop(0)
        self._stage.crew.leave(name)
        self.done["leaves"] += 1
        self._say(f"{name} leaves")
        self._watch.disturbance(f"the leave of {name} at {time.monotonic() - self._begun_s:.0f} s")
        return True

    def _poison(self, _: Act) -> bool:
        promises = [one for one in read_promises(self._stage.promise_files()).values() if one.promised]
        if not promises:
            return False
        promises.sort(key=lambda one: one.episode_id)  # ids rise with time: the newest of all robots
        one = promises[-int(self._rng.integers(1, min(len(promises), 4) + 1))]
        self._poisoner.poison(one.robot_id, one.episode_id)
        self._say(f"poison beside {one.robot_id}")
        return True
