"""Fetch to verdict: the real worker beside its peers, over the same topic, in the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from kinestream.deploy.bench.contender import Figure
from kinestream.deploy.bench.floor import Floor, lengths
from kinestream.deploy.bench.peers import Peer, running
from kinestream.deploy.bench.site import Progress, Site, frames_topic, publish
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import StackError
from kinestream.schemas.registry import Registry

#: What a contender does before its clock runs: takes, and frames each.
_WARM_TAKES: Final = (300,) * 20


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One chunk size: every run of each contender, by its name (none where it is not at hand)."""

    chunk: int
    frames: int
    episodes: int
    messages: int
    bytes: int
    runs: Mapping[str, list[Figure]]

    def rate(self, of: str) -> float:
        """Median frames a CPU-second of a contender; NaN where it did not run."""
        runs = self.runs.get(of)
        return median(run.frames_per_cpu_s for run in runs) if runs else float("nan")

    def ratio(self, to: str) -> float:
        """How many times as many frames the worker does."""
        return self.rate("worker") / self.rate(to)


def default_frames(chunk: int) -> int:
    """Frames that keep the worker busy for some CPU-seconds, and the plain agent not for minutes."""
    return 250_000 if chunk < 10 else 500_000 if chunk < 64 else 1_000_000


def measure_worker(
    place: Site, chunk: int, frames: int, repeats: int, progress: Progress, contenders: Sequence[Peer]
) -> WorkerFigures:
    """Fill one topic, then let every contender that is at hand have it, one after the other, in ``repeats`` rounds."""
    with ExitStack() as ends:
        tenant = ends.enter_context(place.tenant())
        codec = Codec(Registry(), frames_topic(tenant))
        publish(tenant, Floor(codec, tenant.tenant, chunk).send(_WARM_TAKES))
        at_hand = [peer for peer in contenders if not peer.missing]
        rounds = [
            [(peer.name, ends.enter_context(running(peer, place, tenant, number))) for peer in at_hand]
            for number in range(repeats)
        ]
        for _, one in (each for round_ in rounds for each in round_):
            one.warm_up(len(_WARM_TAKES))
        takes = lengths(frames)
        progress(f"filling a topic: {len(takes)} episodes of {sum(takes):,} frames, {chunk} a chunk")
        messages, size = publish(tenant, Floor(codec, tenant.tenant, chunk).send(takes))
        found = WorkerFigures(chunk, sum(takes), len(takes), messages, size, {peer.name: [] for peer in at_hand})
        for name, one in (each for round_ in rounds for each in round_):
            found.runs[name].append(one.run(len(takes), sum(takes)))
            one.hold()
            progress(f"{one.name}: {found.runs[name][-1].frames_per_cpu_s:,.0f} frames a CPU-second")
    check_alike(found)
    return found


def check_alike(found: WorkerFigures) -> None:
    """A figure is worth nothing when the work was not the same, or was not done: raises :class:`StackError`."""
    verdicts = [run.verdicts for runs in found.runs.values() for run in runs]
    if any(one != verdicts[0] for one in verdicts):
        raise StackError(f"the contenders judged differently, their figures cannot be compared: {verdicts}")
