"""One robot of the chaos floor as a process: takes of known frames, and a file of what it promised.

``python -m kinestream.deploy.chaos.robot --robot-id R --seed N --promises F --until G``; it ends after its take once
the file G is there, when everything is delivered. A file, because a robot that just starts takes no signal politely.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kinestream.deploy.chaos.promises import Promise, PromiseFile
from kinestream.deploy.chaos.signal import JOINTS, LONGEST, MODEL, ODD, Measured, measured
from kinestream.producers.episode import Episode
from kinestream.producers.robot import Robot
from kinestream.producers.spool.places import find_spools, spool_folder
from kinestream.producers.spool.promised import promised
from kinestream.schemas.errors import KinestreamError
from kinestream.schemas.settings import Settings

#: Lengths of a take and of the pause after it, s.
TAKE, PAUSE = (1.5, 6.0), (0.1, 0.6)
#: Frames handed over at once.
_STEP: Final = 5
#: Longest the broker is waited for at the end, s: also while it is away, which `close` alone does not wait for.
_FLUSH_S: Final = 75.0


class Worker:
    """Take after take until told to stop."""

    def __init__(self, robot: Robot, promises: PromiseFile, seed: int, rate_hz: float, until: Path) -> None:
        self._robot, self._promises, self._seed, self._rate_hz, self._until = robot, promises, seed, rate_hz, until
        self._rng = np.random.default_rng([seed, int.from_bytes(robot.boot_id.encode()[:8])])
        self._recent: list[Episode] = []

    def run(self) -> None:
        """Returns when the last take is done and everything is delivered."""
        while not self._until.exists():
            self._take()
            time.sleep(self._rng.uniform(*PAUSE))
            self._note()
        try:
            self._robot.flush(_FLUSH_S)
        finally:
            self._robot.close()
        self._note()

    def _take(self) -> None:
        frames = min(int(self._rng.uniform(*TAKE) * self._rate_hz), LONGEST)
        with self._robot.episode(skill="pick_place", area="industry", task="chaos") as episode:
            t0_ns = time.time_ns()
            self._promises.begin(Promise(episode.id, self._robot.robot_id, self._seed, t0_ns, self._rate_hz))
            self._recent.append(episode)
            self._send(episode, measured(self._seed, episode.id, t0_ns, self._rate_hz), frames)

    def _send(self, episode: Episode, all_: Measured, frames: int) -> None:
        begun = time.monotonic()
        for first in range(0, frames, _STEP):
            last = min(first + _STEP, frames)
            part = all_.part(first, last)
            self._promises.sending(episode.id, last)
            episode.send_many(
                part.channels["position"],
                part.t_ns,
                velocity=part.channels["velocity"],
                channels={ODD.name: part.channels[ODD.name]},
            )
            self._note()
            time.sleep(max(0.0, begun + last / self._rate_hz - time.monotonic()))

    def _note(self) -> None:
        for episode in self._recent:
            self._promises.promise(episode.id, episode.accepted)
        self._recent = [one for one in self._recent if not (one.ended and one.accepted == one.frames)]


def _inherit(promises: PromiseFile, spool: Path) -> None:
    """What a life that was killed had promised, but not yet written down: its spool on the disk says it."""
    if find_spools(spool):
        for episode in promised(spool).values():
            promises.promise(episode.episode_id, episode.frames)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one robot; 1 when the broker does not have everything at the end."""
    parser = argparse.ArgumentParser(prog="kinestream.deploy.chaos.robot", description=__doc__)
    parser.add_argument("--robot-id", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, default=100.0, help="frames a second (100)")
    parser.add_argument("--promises", type=Path, required=True, help="file of what was promised, appended to")
    parser.add_argument("--until", type=Path, required=True, help="file whose appearance ends the work")
    given = parser.parse_args(arguments)
    settings = Settings.from_env()
    try:
        promises = PromiseFile(given.promises)
        _inherit(promises, spool_folder(settings, given.robot_id))
        robot = Robot(
            given.robot_id,
            model_id=MODEL,
            joints=JOINTS,
            channels={ODD.name: ODD},
            rate_hz=given.rate,
            settings=settings,
        )
        Worker(robot, promises, given.seed, given.rate, given.until).run()
    except KinestreamError as problem:
        print(f"{given.robot_id}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
