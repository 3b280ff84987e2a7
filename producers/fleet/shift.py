"""One thread that works the floor in real time: whose chunk is due, next; never a motion, never a broker's business."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence

import numpy as np

from kinestream.producers.episode import Episode
from kinestream.producers.fleet.bad_line import SimulatedRobot
from kinestream.producers.fleet.floor import Floor, Post
from kinestream.producers.fleet.pace import Pace
from kinestream.producers.fleet.report import Report
from kinestream.schemas.frames import Int64

_CHUNK = 10
#: Shortest sleep, s: chunks that are due about the same time are handed over together, which costs less than
#: waking for each of them.
_TICK_S = 0.01
#: What the network adds before a chunk is handed over: mean and most, s.
_NETWORK_S, _NETWORK_MOST_S = 0.003, 0.04


class Station:
    """One robot at work: a pause, then a take sent chunk by chunk when its last frame would have been measured."""

    def __init__(self, post: Post, robot: SimulatedRobot, floor: Floor, report: Report, pace: Pace) -> None:
        self._post, self._robot, self._floor, self._report, self._pace = post, robot, floor, report, pace
        self._number = 0
        self._order = floor.order(post, 0)
        self._episode: Episode | None = None
        self._faults: list[dict[str, object]] = []
        self._cuts: list[int] = []
        self._sent = 0
        self._network = np.random.default_rng([post.index, 1])
        self._t0_ns = self._begun_ns = self._utc_ns = 0

    @property
    def at_rest(self) -> bool:
        """No take is under way."""
        return self._episode is None

    @property
    def pause_ns(self) -> int:
        """Pause before the next take."""
        return int(self._order.pause_s * 1e9)

    @property
    def done(self) -> bool:
        """The robot did all its takes."""
        takes = self._floor.takes(self._post)
        return takes is not None and self._number >= takes

    def begin(self, due_ns: int) -> int:
        """Begin the next take, due at monotonic ``due_ns``; returns when its first chunk is."""
        order = self._order
        self._episode = self._robot.episode(
            skill=order.skill, area=order.area, operator=order.operator, task="simulated motion"
        )
        self._robot.line.carry(order.take)
        self._begun_ns = due_ns
        self._utc_ns = time.time_ns() - (time.monotonic_ns() - due_ns)
        self._t0_ns = self._utc_ns + round(self._post.clock_off_s * 1e9)
        self._report.episode_started(
            self._episode.id,
            self._post,
            number=self._number,
            skill=order.skill,
            area=order.area,
            begun_ns=self._utc_ns,
        )
        self._cuts = _cuts(order.take.t_ns)
        self._faults, self._sent = [], 0
        return self._due()

    def send(self, due_ns: int) -> int:
        """Hand over the chunk due at ``due_ns``; returns when the next one is, or the next take (:attr:`at_rest`)."""
        episode = self._episode
        if episode is None:
            raise RuntimeError("send() between takes: begin() comes first")
        part = slice(self._sent, self._cuts[0])
        take, sent_ns = self._order.take, time.time_ns()
        episode.send_many(
            take.position[part],
            take.t_ns[part] + self._t0_ns,
            velocity=take.velocity[part],
            effort=take.effort[part],
            command=take.command[part],
        )
        fault = self._order.fault
        if fault and part.start <= fault.decisive_seq < part.stop:
            self._faults.append(self._report.fault(episode.id, self._post.robot_id, fault, sent_ns))
        self._sent = self._cuts.pop(0)
        if self._cuts:
            next_ns = self._due()
            self._pace.handed(part.stop - part.start, due_ns, next_ns)
            return next_ns
        period_ns = int(1e9 / self._floor.rate_hz)
        self._pace.handed(part.stop - part.start, due_ns, due_ns + _CHUNK * period_ns)
        self._pace.took(part.stop, self._begun_ns)
        ended_ns = time.monotonic_ns()
        self.end("SUCCESS")
        self._number += 1
        if not self.done:
            self._order = self._floor.order(self._post, self._number)
        return ended_ns + self.pause_ns

    def end(self, outcome: str, cause: str = "") -> None:
        """End the take under way, if there is one."""
        if self._episode is None:
            return
        episode, self._episode = self._episode, None
        end_sent_ns = time.time_ns()
        episode.end(outcome, cause)
        self._report.episode_ended(
            episode_id=episode.id,
            robot_id=self._post.robot_id,
            model_id=self._post.model.model_id,
            outcome=outcome,
            frames=episode.frames,
            content_hash=episode.content_hash or "",
            end_sent_ns=end_sent_ns,
            faults=self._faults,
        )

    def _due(self) -> int:
        """When the next chunk is measured, and the network took it."""
        late_s = min(float(self._network.exponential(_NETWORK_S)), _NETWORK_MOST_S)
        return self._begun_ns + int(self._order.take.t_ns[self._cuts[0] - 1]) + int(late_s * 1e9)


def work(stations: Sequence[Station], seconds: float, stop: threading.Event, pace: Pace) -> None:
    """Take after take for ``seconds``; takes under way then finish. ``stop`` aborts them instead."""
    begun = time.monotonic_ns()
    last_start = begun + int(seconds * 1e9)
    due = [(begun + station.pause_ns, index) for index, station in enumerate(stations)]
    heapq.heapify(due)
    while due and not stop.is_set():
        due_ns, index = due[0]
        wait = (due_ns - time.monotonic_ns()) * 1e-9
        if wait > 0 and stop.wait(max(wait, _TICK_S)):
            break
        station = stations[index]
        if due_ns >= last_start:
            pace.close()
        if station.at_rest and (due_ns >= last_start or station.done):
            heapq.heappop(due)
            continue
        heapq.heapreplace(due, (station.begin(due_ns) if station.at_rest else station.send(due_ns), index))
    for station in stations:
        station.end("ABORTED", "the floor was stopped")


def _cuts(t_ns: Int64) -> list[int]:
    """Ends of the chunks of a take: every ten frames, and before a gap, as a robot that stalls sends what it has."""
    gaps = np.flatnonzero(np.diff(t_ns) > 2.5 * np.median(np.diff(t_ns))) + 1
    return [int(cut) for cut in np.unique([*range(_CHUNK, len(t_ns), _CHUNK), *gaps, len(t_ns)])]
