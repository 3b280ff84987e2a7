"""Faults of stamps and of sending: pauses, uneven and swapped stamps, lost and repeated numbers; never of a value."""

from __future__ import annotations

import numpy as np

from kinestream.producers.fleet.faults import Fault
from kinestream.producers.fleet.faulty_values import middle
from kinestream.producers.fleet.take import Take
from kinestream.schemas.frames import Int64

#: Length of a gap, s; a take with one lasts at least so long, s: the gap must be no slow loop.
GAP = (0.38, 0.42)
GAP_TAKE = 5.0
#: Variation of uneven intervals; share of frames that are lost; frames whose numbers come twice.
JITTER_CV = 0.4
LOST = 0.03
REPEATED = 5
#: Frames at either end that are never lost: a lost tail shows with the end mark only.
_ENDS = 10
_JUDGED = 100


def open_gap(rng: np.random.Generator, t_ns: Int64) -> tuple[Int64, Fault]:
    """One interval of GAP seconds somewhere in the middle of the stamps."""
    k = middle(rng, len(t_ns))
    gap = round(rng.uniform(*GAP) * 1e9) - int(t_ns[k] - t_ns[k - 1])
    return np.concatenate([t_ns[:k], t_ns[k:] + gap]), Fault("gap", "", k, k)


def shake_stamps(rng: np.random.Generator, frames: int, rate_hz: float) -> tuple[Int64, Fault]:
    """Intervals of a loop without a scheduler: gamma distributed about the period, JITTER_CV of it wide."""
    shape = JITTER_CV**-2
    intervals = rng.gamma(shape, 1e9 / rate_hz / shape, frames - 1)
    intervals *= (frames - 1) * 1e9 / rate_hz / intervals.sum()
    t_ns: Int64 = np.concatenate([[0], np.cumsum(np.maximum(np.rint(intervals), 1000))]).astype(np.int64)
    return t_ns, Fault("jitter", "", 1, min(_JUDGED, frames - 1))


def swap_stamps(rng: np.random.Generator, take: Take) -> Fault:
    """Two neighbouring frames bear each other's stamp."""
    k = middle(rng, len(take))
    take.t_ns[[k, k + 1]] = take.t_ns[[k + 1, k]]
    return Fault("swapped_stamps", "", k, k + 1)


def lose_frames(rng: np.random.Generator, take: Take) -> Fault:
    """LOST of the frames are never sent."""
    inner = np.arange(_ENDS, len(take) - _ENDS)
    take.lost = np.sort(rng.choice(inner, max(2, round(LOST * len(take))), replace=False))
    first = int(take.lost[0])
    present = first + 1
    while present in take.lost:
        present += 1
    return Fault("loss", "", first, present)


def repeat_numbers(rng: np.random.Generator, take: Take) -> Fault:
    """A counter that stumbles: some numbers are sent again with the values of later frames."""
    k = middle(rng, len(take))
    take.repeated = np.arange(k, k + REPEATED)
    return Fault("repeated_numbers", "", k, k + 2 * REPEATED - 1)
