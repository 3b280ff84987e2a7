"""Smoothness of one movement, as published: plain functions over whole arrays. Never filters, never cuts."""

from __future__ import annotations

from math import ceil, log, log2

import numpy as np

from kinestream.streams.quality.model import NONE, Floats

#: SPARC: highest frequency (Hz), least amplitude that counts, zero padding in powers of two.
CUT_HZ, LEAST, PADDING = 10.0, 0.05, 4
#: Dimensionless jerk of a constant speed in float64, at most; one clean reach has 205.
_ROUNDING = 1e-16


def dimensionless_jerk(speed: Floats, rate_hz: float) -> float:
    """T^3 / s_peak^2 * sum(jerk^2) dt, T = N dt, jerk = diff(s, 2) / dt^2 (Balasubramanian 2012, 2015).

    ``speed`` (n,), any unit a second; NaN where nothing moves or fewer than three samples are given.
    """
    return jerk_scale(speed, rate_hz) * bend_energy(speed) * rate_hz**3 if len(speed) > 2 else NONE


def bend_energy(speed: Floats) -> float:
    """Sum of the squared second differences."""
    step = speed[1:] - speed[:-1]
    bend = step[1:] - step[:-1]
    return float(bend @ bend)


def jerk_scale(speed: Floats, rate_hz: float) -> float:
    """T^3 / s_peak^2; NaN where nothing moves."""
    peak = max(float(np.maximum.reduce(speed)), -float(np.minimum.reduce(speed)))
    return float((len(speed) / rate_hz) ** 3 / peak**2) if peak > 0 else NONE


def ldlj(speed: Floats, rate_hz: float) -> float:
    """S1 log dimensionless jerk: -ln of :func:`dimensionless_jerk`; NaN where jerk is zero."""
    return minus_log(dimensionless_jerk(speed, rate_hz))


def minus_log(value: float) -> float:
    """-ln(x), NaN unless x is above what rounding leaves of a jerk of zero."""
    return -log(value) if value > _ROUNDING else NONE


def vector_ldlj(position: Floats, rate_hz: float) -> float:
    """S1v: the same with jerk = |d3x/dt3| and s_peak = max |dx/dt|, ``position`` (n, d) (JNER 2015, table 3)."""
    dt = 1 / rate_hz
    steps = np.diff(position, axis=0)
    speed = np.linalg.norm(steps, axis=1) / dt
    jerk = np.diff(steps, 2, axis=0) / dt**3
    return minus_log(jerk_scale(speed, rate_hz) * float(np.sum(jerk * jerk)) * dt)


def sparc(speed: Floats, rate_hz: float) -> float:
    """S2 spectral arc length (Balasubramanian 2012): -sum sqrt((df / (f_c - f_0))^2 + dM^2), M = |FFT| / max.

    nfft = 2^(ceil(log2 N) + 4), to 10 Hz, cut at the last M >= 0.05; about -1.4 for one clean reach. NaN where the
    spectrum is empty or has one line.
    """
    points = 1 << ceil(log2(len(speed)))
    size = np.abs(np.fft.rfft(speed, points << PADDING))
    greatest = float(np.maximum.reduce(size))
    size = size[: int(CUT_HZ * (points << PADDING) / rate_hz * (1 + 1e-12)) + 1]
    if not greatest > 0:
        return NONE
    size = size / greatest
    (inside,) = (size >= LEAST).nonzero()
    if len(inside) < 2:
        return NONE
    size = size[inside[0] : inside[-1] + 1]
    change = size[1:] - size[:-1]
    change *= change
    change += 1 / len(change) ** 2
    return -float(np.add.reduce(np.sqrt(change)))


def rms_jerk(position: Floats, rate_hz: float) -> float:
    """S3: sqrt(mean(|d3x/dt3|^2)), ``position`` (n,) or (n, d); rad/s^3 or m/s^3; NaN below four samples."""
    jerk = np.diff(position.reshape(len(position), -1), 3, axis=0) * rate_hz**3
    return float(np.sqrt(np.mean(np.sum(jerk * jerk, axis=1)))) if len(jerk) else NONE


def normalised_jerk(speed: Floats, rate_hz: float) -> float:
    """S4: T^5 * integral(jerk^2) / L^2 with L the path; NaN where there is none."""
    path, seconds = float(speed.sum()) / rate_hz, len(speed) / rate_hz
    jerk = np.diff(speed, 2) * rate_hz**2
    return seconds**5 * float(jerk @ jerk) / rate_hz / path**2 if path > 0 else NONE


def peaks(speed: Floats, share: float = 0.05) -> int:
    """S5: local maxima of ``speed`` (n,) whose prominence is at least ``share`` of the greatest.

    Prominence: height above the higher of the lowest points on either side before a higher peak (or the end).
    """
    rises = np.empty(len(speed) + 1, np.bool_)
    rises[0], rises[-1] = True, False
    np.greater(speed[1:], speed[:-1], out=rises[1:-1])
    tops = (rises[:-1] > rises[1:]).nonzero()[0].tolist()
    least = share * float(np.maximum.reduce(speed)) * (1 - 1e-9)
    if len(tops) == 1 and 0 < tops[0] < len(speed) - 1:
        # it only rises before and only falls behind
        return int(speed[tops[0]] - max(speed[0], speed[-1]) >= least)
    return sum(_prominence(speed, top) >= least for top in tops)


def _prominence(speed: Floats, top: int) -> float:
    height = speed[top]
    higher = np.flatnonzero(speed[:top] > height)
    left = speed[higher[-1] if len(higher) else 0 : top + 1].min()
    higher = np.flatnonzero(speed[top + 1 :] > height)
    right = speed[top : top + 2 + higher[0] if len(higher) else len(speed)].min()
    # a movement begins and ends at rest, also where the record is cut
    base = max(left if top else 0.0, right if top < len(speed) - 1 else 0.0)
    return float(height - base)


def velocity_error(derived: Floats, velocity: Floats, least: float = 0.01) -> float:
    """C1's nRMSE: rms(derived - velocity) / max(rms(derived), least), ``derived`` some difference quotient of q."""
    error = derived - velocity
    return float(np.sqrt(np.mean(error * error)) / max(float(np.sqrt(np.mean(derived * derived))), least))
