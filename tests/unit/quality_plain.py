"""The catalogue's formulas over a whole take in plain float64: written from its text, not from the judge."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log, pi, sqrt, tan
from statistics import median

import numpy as np
from numpy.typing import NDArray

from kinestream.streams.quality import Context, Frames
from kinestream.streams.quality.arms import arms_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: a value on a limit passes
HAIR = 1e-9


class Plain:
    """A take with every channel in float64 and what its stamps say of each interval."""

    def __init__(self, known: Context, frames: Frames) -> None:
        self.known, self.t, self.n, self.rate = known, frames.t_ns, len(frames.seq), known.nominal_rate_hz
        given = {name: values.astype(np.float64) for name, values in frames.channels.items()}
        self.given = given
        self.q, self.v = given.get("position"), given.get("velocity")
        self.tau, self.c = given.get("effort"), given.get("command")
        period = np.diff(frames.t_ns)
        self.gap: Mask = period > 2.5e9 / self.rate * (1 + HAIR)
        self.steady: Mask = (period > 0) & ~self.gap & (np.diff(frames.seq) == 1)
        self.period: Floats = np.where(period > 0, period / 1e9, 1 / self.rate)
        self.seconds = float(frames.t_ns[-1] - frames.t_ns[0]) / 1e9

    @property
    def speed(self) -> Floats | None:
        """Measured velocity, else dq/D, (n, J); None where some of it is no number."""
        if self.v is not None:
            return self.v if np.isfinite(self.v).all() else None
        if self.q is None or not np.isfinite(self.q).all():
            return None
        return np.vstack((0 * self.q[:1], np.diff(self.q, axis=0) / self.period[:, None]))

    @property
    def slow(self) -> float:
        """What is idle, rad/s."""
        return 0.01 if self.v is not None else 0.015


def runs(mask: Mask) -> Iterator[tuple[int, int]]:
    """Begin and end (one behind the last) of each run."""
    begin = None
    for k, held in enumerate([*mask.tolist(), False]):
        if held and begin is None:
            begin = k
        elif not held and begin is not None:
            yield begin, k
            begin = None


def share_above(values: Floats | None, limit: Floats, n: int) -> float:
    """I4, I5: the worst joint's share of frames above its limit."""
    if values is None:
        return np.nan
    with np.errstate(invalid="ignore"):
        above = np.isfinite(values) & (np.abs(values) > limit * (1 + HAIR))
    return float(above.sum(axis=0).max()) / n


def saturated(take: Plain, limit: Floats) -> float:
    """I5.saturated: the worst joint's seconds in runs of more than one at 0.98 of its limit."""
    if take.tau is None:
        return np.nan
    worst = 0
    for values, most in zip(take.tau.T, limit, strict=True):
        with np.errstate(invalid="ignore"):
            full = np.isfinite(values) & (np.abs(values) >= 0.98 * most * (1 - HAIR))
        spans = [int(take.t[b - 1] - take.t[a]) for a, b in runs(full)]
        worst = max(worst, sum(span for span in spans if span > 1e9 * (1 + HAIR)))
    return worst / 1e9


def repeated(take: Plain) -> float:
    """I7: frames of the longest run of one measurement that claims to move."""
    if take.q is None or take.v is None:
        return np.nan
    same = (take.v[1:] != 0).any(axis=1)
    for values in (take.q, take.v, take.tau):
        if values is not None:
            same &= (values[1:] == values[:-1]).all(axis=1) & np.isfinite(values[1:]).all(axis=1)
    return float(max((b - a + 1 for a, b in runs(same) if b - a >= 2), default=0))


def resolution(take: Plain) -> float:
    """I10: the coarsest joint's least step."""
    if take.q is None or take.n < 100:
        return np.nan
    with np.errstate(invalid="ignore"):
        step = np.abs(np.diff(take.q, axis=0))
    usable = np.isfinite(step) & (step > 0) & take.steady[:, None]
    least = np.where(usable, step, np.inf).min(axis=0)
    return float(least[np.isfinite(least)].max(initial=-np.inf))


def tracking(take: Plain) -> dict[str, float]:
    """K1 and its further values."""
    if take.q is None or take.c is None:
        return {"K1": np.nan, "K1.max": np.nan, "K1.far": np.nan}
    good = np.isfinite(take.q) & np.isfinite(take.c)
    error = np.where(good, take.c, 0) - np.where(good, take.q, 0)
    rms = np.sqrt((error**2).sum(axis=0) / np.maximum(good.sum(axis=0), 1))
    far = np.count_nonzero(np.abs(error) > np.deg2rad(7) * (1 + HAIR)) / good.sum()
    return {"K1": float(rms.max()), "K1.max": float(np.abs(error).max()), "K1.far": float(far)}


def rest_offset(take: Plain) -> float:
    """K2: the largest mean c - q of a joint after 0.2 s at rest."""
    speed = take.speed
    if speed is None or take.q is None or take.c is None:
        return np.nan
    rest = (np.abs(speed) < 0.01) & np.isfinite(take.c) & np.isfinite(take.q)
    rest[0] = False
    rest[1:] &= take.steady[:, None]
    need, found = ceil(0.2 * take.rate * (1 - HAIR)), [0.0]
    for j in range(rest.shape[1]):
        late = [k for a, b in runs(rest[:, j]) for k in range(a + need, b)]
        if late:
            found.append(float(np.mean(take.c[late, j] - take.q[late, j])))
    return max(found[1:], key=abs, default=np.nan)


def copied(take: Plain) -> float:
    """K4: share of moving frames whose command is the position."""
    speed = take.speed
    if speed is None or take.q is None or take.c is None:
        return np.nan
    moving = (np.abs(speed).max(axis=1) >= take.slow)[1:] & take.steady
    if take.period[moving].sum() < 1 - HAIR:
        return np.nan
    with np.errstate(invalid="ignore"):
        equal = (np.abs(take.c - take.q) <= 1e-9).all(axis=1)[1:]
    return float((moving & equal).sum() / moving.sum())


def idle(take: Plain) -> dict[str, float]:
    """E1 and the longest of E2's pauses between motions, at the start and at the end."""
    speed = take.speed
    if speed is None or take.seconds <= 0:
        return {}
    still = list(runs((np.abs(speed[1:]).max(axis=1) < take.slow) & ~take.gap))
    lengths = [(a, b, float(take.t[b] - take.t[a]) / 1e9) for a, b in still]
    between = [s for a, b, s in lengths if a > 0 and b < take.n - 1 and s >= 0.5 - HAIR]
    return {
        "E1": sum(s for _, _, s in lengths if s >= 0.5 - HAIR) / take.seconds,
        "E2": max(between, default=0.0),
        "E2.lead": next((s for a, _, s in lengths if a == 0), 0.0),
        "E2.tail": next((s for _, b, s in lengths if b == take.n - 1), 0.0),
    }


def path(take: Plain) -> dict[str, float]:
    """E3 and E4."""
    q = take.q
    if q is None or not np.isfinite(q).all():
        return {}
    way = float(np.linalg.norm(np.diff(q, axis=0), axis=1).sum())
    if way == 0:
        return {"E3": 0.0, "E4": np.nan}
    far = q[np.argmax(((q - q[0]) ** 2).sum(axis=1))]
    split = float(np.linalg.norm(far - q[0]) + np.linalg.norm(q[-1] - far))
    return {"E3": way, "E4": float(np.linalg.norm(q[-1] - q[0])) / way, "E4.split": split / way}


def low_passed(values: Floats, rate: float) -> Floats:
    """Causal 2nd-order Butterworth of 10 Hz, sample by sample, as if the first value had always been."""
    k = tan(pi * 10 / rate)
    scale = 1 + sqrt(2) * k + k * k
    found = np.empty_like(values)
    x1 = x2 = y1 = y2 = values[0]
    for place, x in enumerate(values):
        y = (k * k * (x + 2 * x1 + x2) - 2 * (k * k - 1) * y1 - (1 - sqrt(2) * k + k * k) * y2) / scale
        found[place] = y
        x1, x2, y1, y2 = x, x1, y, y1
    return found


def movements(speed: Floats, rate: float) -> Iterator[tuple[int, int]]:
    """Begin and end of each: opens rising above 0.05, back to the last below 0.02; closes below max(0.02, 5 %)."""
    lead, before, k = 0, np.inf, 0
    while k < len(speed):
        if not (speed[k] > 0.05 and speed[k] > before * (1 + HAIR)):
            lead, before, k = (k if speed[k] < 0.02 else lead), speed[k], k + 1
            continue
        begin, peak, k = lead, speed[k], k + 1
        while k < len(speed) and k - begin < ceil(10 * rate):
            peak, k = max(peak, speed[k]), k + 1
            if speed[k - 1] < max(0.02, 0.05 * peak) * (1 - HAIR):
                break
        if k - begin >= 6:
            yield begin, k
        lead, before = k - 1, speed[k - 1]


def smoothness(take: Plain) -> dict[str, float]:
    """S1, S1v, S3 and S1.count of a take without holes; the worst arm counts."""
    speed = take.speed
    if speed is None or not take.steady.all():
        return {}
    smooth, rate = low_passed(speed, take.rate), take.rate
    bends = np.diff(np.vstack((smooth[:1], smooth[:1], smooth)), 2, axis=0) ** 2
    arms = []
    for columns in arms_of(take.known.joints).values():
        one = np.sqrt((smooth[:, columns] ** 2).sum(axis=1))
        figures = []
        for a, b in movements(one, rate):
            jerk, scale = bends[a + 2 : b, columns].sum(), ((b - a) / rate) ** 3 / one[a:b].max() ** 2 * rate**3
            own = scale * (np.diff(one[a:b], 2) ** 2).sum()
            if own < 1e-16:
                return {}  # a constant speed: rounding is all its jerk
            figures.append((-log(own), -log(scale * jerk), jerk, b - a - 2))
        if figures:
            arms.append(np.array(figures))
    if not arms:
        return {"S1.count": 0.0}
    return {
        "S1": min(median(arm[:, 0]) for arm in arms),
        "S1.worst": float(min(arm[:, 0].min() for arm in arms)),
        "S1v": min(median(arm[:, 1]) for arm in arms),
        "S1v.worst": float(min(arm[:, 1].min() for arm in arms)),
        "S3": max(sqrt(arm[:, 2].sum() * rate**4 / arm[:, 3].sum()) for arm in arms),
        "S1.count": float(sum(len(arm) for arm in arms)),
    }
