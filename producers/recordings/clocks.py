"""Stamps of recordings: from seconds, or from an index and a rate; it tells what is odd and never mends a stamp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.take import Clock
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.frames import Int64

#: Rates people mean, Hz: a measured one near but not at one of them is told.
_ROUND: Final = np.array([5, 10, 15, 20, 24, 25, 30, 50, 60, 90, 100, 120, 125, 200, 240, 250, 400, 500, 1000.0])
#: So near a round rate, that one is meant; periods that tell a rate.
_NEAR: Final = 0.01
_PERIODS: Final = 10
#: Of the nominal period: a longer gap is a stall, and the metric T4 counts as many (docs/metrics.md).
_STALL: Final = 2.5
#: By which a source of no rate is looked into; nothing that hangs on it is told.
SUPPOSED_HZ: Final = 50.0
_DAY_NS: Final = 86_400_000_000_000
#: Seconds that cannot be told from another unit or epoch by 64 bits of ns.
_LARGEST_S: Final = 9.2e9


def seconds_clock(where: object, name: str, seconds: npt.NDArray[Any], per_second: float = 1.0) -> Clock:
    """A clock of a column ``name`` in 1/``per_second`` s; stamps since 2001 count as absolute.

    Raises :class:`RecordingError` for a stamp that is no number or no nanosecond of int64.
    """
    if not np.isfinite(seconds).all():
        raise RecordingError(f"{where}: the column {name} holds NaN or infinity; a frame without a time is none")
    if not len(seconds):
        raise RecordingError(f"{where} has no frames; take it out")
    if np.abs(seconds.astype(np.float64)).max() / per_second > _LARGEST_S:
        raise RecordingError(f"{where}: the column {name} holds stamps that no clock of nanoseconds can hold; mend it")
    scale = 1e9 / per_second
    if seconds.dtype.kind in "iu":
        t_ns = (seconds.astype(np.int64) * int(scale)).astype(np.int64)
        resolution = int(scale)
        told = f"t_ns = {name} * {int(scale)}"
    else:
        t_ns = np.rint(seconds.astype(np.float64) * scale).astype(np.int64)
        resolution = int(np.ceil(float(np.spacing(np.abs(seconds).max())) * scale))
        told = f"t_ns = rint(float64({name}) * {scale:.0e})".replace("1e+09", "1e9").replace("e+0", "e")
    absolute = bool(t_ns.min() > 10**18)
    told += "" if absolute else ", seconds from the start of the episode" if per_second == 1 else ", from an own zero"
    return Clock(name, t_ns, max(resolution, 1), absolute, told)


def counted_clock(where: object, frames: int, rate_hz: float, why: str) -> Clock:
    """Stamps frame / rate, for a source that holds no time: ``why`` says who declares the rate.

    Raises :class:`UndecidedError` where nobody does.
    """
    if not np.isfinite(rate_hz) or rate_hz <= 0:
        raise UndecidedError(
            f"{where} holds no time and no rate of frames; give it with --rate HZ", "rate_hz", (), SUPPOSED_HZ
        )
    t_ns = np.rint(np.arange(frames) * (1e9 / rate_hz)).astype(np.int64)
    told = f"t_ns = rint(frame / {rate_hz:g} Hz * 1e9): the source holds no time; the rate is {why}"
    return Clock("frame number", t_ns, 1, False, told, synthetic=True)


def unequal(frames: Mapping[str, int]) -> str:
    """That arrays of these many frames are no one episode, in words."""
    told = ", ".join(f"{name}: {count}" for name, count in list(frames.items())[:6])
    return f"its arrays differ in frames or have none ({told}); each needs a row a frame: save them of one length"


def stamp_oddities(clock: Clock, rate_hz: float) -> tuple[str, ...]:
    """What is odd of the stamps of a take that declares ``rate_hz`` (0 = does not)."""
    if clock.synthetic:
        return (f"the stamps are computed, not measured: {clock.told.split(': ', 1)[-1]}",)
    steps = np.diff(clock.t_ns)
    if not len(steps):
        return ()
    if rate_hz and _is_index(clock, rate_hz):
        return (f"the stamps are synthetic: frame / {rate_hz:g} Hz, not measured",)
    median = _median(steps)
    return (
        *_period(clock.t_ns, steps, median, rate_hz),
        *_stalls(steps, median, rate_hz or usual_rate(clock)),
        *_order(steps),
    )


def usual_rate(clock: Clock) -> float:
    """Frames a second that a source without a rate means: of its median period, or the round one within 1 % of it.

    0 where its stamps do not tell: fewer than ten periods, or most of them not above 0. Gaps are judged against it.
    """
    steps = np.diff(clock.t_ns)
    median = _median(steps) if len(steps) >= _PERIODS else 0.0
    if median <= 0:
        return 0.0
    rate = 1e9 / median
    near = float(_ROUND[np.abs(_ROUND - rate).argmin()])
    return near if abs(rate / near - 1) < _NEAR else round(rate, 3)


def _median(steps: Int64) -> float:
    """As numpy's, which takes ten times as long over so few."""
    ordered = np.sort(steps)
    return (float(ordered[(len(steps) - 1) // 2]) + float(ordered[len(steps) // 2])) / 2


def _is_index(clock: Clock, rate_hz: float) -> bool:
    exact = np.arange(len(clock.t_ns)) * (1e9 / rate_hz)
    return bool(np.abs(clock.t_ns - clock.t_ns[0] - exact).max() <= 2 * max(clock.resolution_ns, 1000))


def _period(t_ns: Int64, steps: Int64, median: float, rate_hz: float) -> tuple[str, ...]:
    span = int(t_ns[-1]) - int(t_ns[0])
    if span <= 0 or median <= 0:
        return ()
    rate = len(steps) * 1e9 / span
    meant = rate_hz or float(_ROUND[np.abs(_ROUND - rate).argmin()])
    off = abs(rate / meant - 1)
    if 0.001 < off < (np.inf if rate_hz else _NEAR):
        return (f"the period is {1e3 / rate:.2f} ms ({rate:.2f} Hz), not {1e3 / meant:.2f} ms ({meant:g} Hz)",)
    return ()


def _stalls(steps: Int64, median: float, rate_hz: float) -> tuple[str, ...]:
    period = 1e9 / rate_hz if rate_hz else median
    if median <= 0 or steps.max() <= _STALL * period:
        return ()
    many = int((steps > _STALL * period).sum())
    return (
        f"{many} stall{'s' * (many > 1)}: two frames lie more than {_STALL * period / 1e6:.0f} ms apart ({_STALL:g}"
        f" periods), up to {steps.max() / 1e6:.0f} ms; mostly {median / 1e6:.0f} ms",
    )


def _order(steps: Int64) -> tuple[str, ...]:
    back, same = int((steps < 0).sum()), int((steps == 0).sum())
    told = [f"{back} stamps lie before the one that precedes them"] if back else []
    return (*told, *([f"{same} stamps are equal to the one before"] if same else []))


def between(best: Int64, other: Int64, name: str, best_name: str) -> str:
    """How far ``other`` lies from ``best`` at the first frame, in words; empty where they agree to a second."""
    ahead = int(best[0]) - int(other[0])
    if abs(ahead) < 10**9:
        return ""
    far = f"{abs(ahead) / _DAY_NS:.1f} days" if abs(ahead) > _DAY_NS else f"{abs(ahead) / 1e9:.1f} s"
    return f"the clock of {best_name} is {far} {'ahead of' if ahead > 0 else 'behind'} that of {name}"
