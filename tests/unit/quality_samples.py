"""Takes with known faults, and a plain batch reading of the formulas to hold the streaming judge against."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from kinestream.streams.quality import Context, Delivery, EpisodeJudge, Finding, Frames, Judgement

JOINTS = ("left_shoulder", "left_elbow", "left_wrist", "right_elbow")
START_NS = 1_790_000_000_123_456_789


def context(**changes):
    """Four joints, limits +-2 rad, 10 rad/s, 100 Hz."""
    width = len(JOINTS)
    known = Context(
        episode_id="01890000-0000-7000-8000-000000000001",
        joints=JOINTS,
        channels=(("position", width), ("velocity", width), ("command", width), ("hand", 2)),
        lower=np.full(width, -2.0),
        upper=np.full(width, 2.0),
        velocity=np.full(width, 10.0),
        model_known=True,
        nominal_rate_hz=100.0,
        element_names={"hand": ("thumb", "index")},
    )
    return replace(known, **changes)


def take(n=400, rate=100.0, wobble_ns=50_000, seed=1):
    """A clean take: sines well within the limits, stamps a little uneven as a real clock's are."""
    rng = np.random.default_rng(seed)
    seq = np.arange(n, dtype=np.int64)
    t = START_NS + np.rint(seq * 1e9 / rate).astype(np.int64) + rng.integers(-wobble_ns, wobble_ns + 1, n)
    phase = 2 * np.pi * 0.3 * (t - START_NS)[:, None] / 1e9 + np.arange(len(JOINTS))
    position = np.sin(phase).astype(np.float32)
    channels = {
        "position": position,
        "velocity": (2 * np.pi * 0.3 * np.cos(phase)).astype(np.float32),
        "command": np.sin(phase + 2 * np.pi * 0.3 * 0.03).astype(np.float32),  # the joints follow 30 ms later
        "hand": np.full((n, 2), 0.5, np.float32),
    }
    return Frames(seq, t, channels)


def without(frames, lost):
    """The take without these frame numbers."""
    keep = ~np.isin(frames.seq, lost)
    return Frames(frames.seq[keep], frames.t_ns[keep], {k: v[keep] for k, v in frames.channels.items()})


def part(frames, begin, end):
    """Frames [begin, end) by place, as read-only views like the decoder's."""
    pieces = {name: values[begin:end] for name, values in frames.channels.items()}
    for values in pieces.values():
        values.flags.writeable = False
    return Frames(frames.seq[begin:end], frames.t_ns[begin:end], pieces)


def whole(frames, **changes):
    """A complete delivery of these frames."""
    n = len(frames.seq)
    return replace(Delivery(expected=n, unique=n, status="COMPLETE"), **changes)


def judge(frames, cuts=(), known=None):
    """A judge that has seen the take in the pieces between ``cuts``."""
    judge = EpisodeJudge(known or context())
    edges = [0, *sorted(cuts), len(frames.seq)]
    for begin, end in pairwise(edges):
        judge.advance(part(frames, begin, end))
    return judge


def judged(frames, known=None, **delivery) -> Judgement:
    """The final judgement of a take seen in fetches of ten frames."""
    return judge(frames, range(10, len(frames.seq), 10), known).final(whole(frames, **delivery))


def value(judgement: Judgement, metric: str, joint: str = ""):
    """The one row of this metric and joint."""
    (row,) = [m for m in judgement.metrics if (m.id, m.joint) == (metric, joint)]
    return row


def only(findings) -> Finding:
    """The one finding there is."""
    (finding,) = findings
    return finding


def batch(frames, known):
    """The formulas of docs/metrics.md over the whole take at once, in plain float64."""
    q = frames.channels["position"].astype(np.float64)
    periods = np.diff(frames.t_ns)
    nominal = 1e9 / known.nominal_rate_hz
    steady = periods[(periods <= 2.5 * nominal) & (np.diff(frames.seq) == 1)]
    speed_ok = (periods > 0)[:, None] & np.isfinite(q[1:]) & np.isfinite(q[:-1])
    with np.errstate(invalid="ignore"):
        jumps = (
            np.abs(np.diff(q, axis=0)) > np.maximum(periods / 1e9, nominal / 2e9)[:, None] * known.velocity
        ) & speed_ok
        outside = ((q < known.lower) | (q > known.upper)) & np.isfinite(q)
    return {
        "T1": (len(q) - 1) / ((frames.t_ns[-1] - frames.t_ns[0]) / 1e9),
        "T1.steady": 1e9 / steady.mean() if len(steady) * 2 > len(periods) and steady.sum() > 0 else np.nan,
        "T2": float(np.std(periods - nominal)) / nominal,
        "T2.steady": float(np.std(steady - nominal)) / nominal,
        "T4": float(np.count_nonzero(periods > 2.5 * nominal)),
        "T4.longest": float(periods.max()) / 1e9 if (periods > 2.5 * nominal).any() else 0.0,
        "T4.sum": float(periods[periods > 2.5 * nominal].sum()) / 1e9,
        "E6": float(frames.t_ns[-1] - frames.t_ns[0]) / 1e9,
        "I1": sum(np.count_nonzero(~np.isfinite(v)) for v in frames.channels.values())
        / sum(v.size for v in frames.channels.values()),
        "I3": float(outside.sum(axis=0).max()) / len(q),
        "I8": float(jumps.sum(axis=0).max()),
    }
